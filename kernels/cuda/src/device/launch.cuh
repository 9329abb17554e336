// Putting kernels on a stream.
#pragma once
#include "device/check.h"

namespace qc::cuda {

struct Shape {
  dim3 blocks;
  unsigned threads;
  size_t shared = 0;  // bytes
};

// What a block can be given on the current device.
inline int shared_bytes_of_block() {
  int device, bytes;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return bytes;
}

// Lets a kernel have all dynamic shared memory that there is beside its own: the same for all launches, which other threads may be at.
template <class Kernel>
void allow_shared(Kernel* kernel) {
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, kernel));
  const int bytes = shared_bytes_of_block() - static_cast<int>(attributes.sharedSizeBytes);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Shape& shape, [[maybe_unused]] cudaStream_t stream, Arguments... arguments) {
  // A block has 48 KB without asking, its static shared memory included.
  constexpr size_t kWithoutAsking = 32 * 1024;
  if (shape.shared > kWithoutAsking) allow_shared(kernel);
#ifdef QC_EMULATE
  emulated::run(shape.blocks, shape.threads, shape.shared, [=] { kernel(arguments...); });
#else
  kernel<<<shape.blocks, shape.threads, shape.shared, stream>>>(arguments...);
#endif
  check(cudaGetLastError());
}

constexpr unsigned divide_up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

}  // namespace qc::cuda
