#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace qc {

// What is wrong with a model or its inputs. Becomes the status of the call that ONNX Runtime made.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws the parts, one after the other, as an Error.
template <class... Parts>
[[noreturn]] void reject(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw Error(message.str());
}

}  // namespace qc
