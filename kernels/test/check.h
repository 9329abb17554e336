// Assertions of the tests: a failed one prints where and what, and makes the test program fail at its end.
#pragma once
#include <cstdarg>
#include <cstdio>

namespace qc {

inline int failures = 0;

// Reports at most 20 failures: one cause often fails thousands of times.
__attribute__((format(printf, 3, 4))) inline void fail(const char* file, int line, const char* format, ...) {
  if (++failures > 20) return;
  std::fprintf(stderr, "%s:%d: ", file, line);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
}

// The exit status of a test program.
inline int finish() {
  if (failures > 0) std::fprintf(stderr, "%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace qc

// CHECK(sum == 3, "sum is %d", sum);
#define CHECK(condition, ...) ((condition) ? void() : qc::fail(__FILE__, __LINE__, __VA_ARGS__))
