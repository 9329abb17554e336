// Putting kernels on a stream.
#pragma once
#include "check.h"

namespace qc::cuda {

struct Shape {
  dim3 blocks;
  unsigned threads;
  size_t shared = 0;  // bytes
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Shape& shape, [[maybe_unused]] cudaStream_t stream, Arguments... arguments) {
  constexpr size_t kWithoutAsking = 48 * 1024;
  if (shape.shared > kWithoutAsking) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared)));
  }
#ifdef QC_EMULATE
  emulated::run(shape.blocks, shape.threads, shape.shared, [=] { kernel(arguments...); });
#else
  kernel<<<shape.blocks, shape.threads, shape.shared, stream>>>(arguments...);
#endif
  check(cudaGetLastError());
}

// What a block can be given on the current device.
inline int shared_bytes_of_block() {
  int device, bytes;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return bytes;
}

constexpr unsigned divide_up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

}  // namespace qc::cuda
