#pragma once
#include <cstddef>
#include <functional>

namespace qc {

// Runs body(0) ... body(count - 1), in any order, on as many threads as there are to be had, and returns when all are done.
using Parallel = std::function<void(size_t count, const std::function<void(size_t)>& body)>;

inline void serially(size_t count, const std::function<void(size_t)>& body) {
  for (size_t i = 0; i < count; ++i) body(i);
}

}  // namespace qc
