// As much of CUDA C++ and its runtime as our kernels use, on the CPU.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "emulator/fibers.h"

#define __global__
#define __device__
#define __host__
#define __noinline__
#define __grid_constant__
#define __launch_bounds__(...)
// One block runs at a time.
#define __shared__ static
#define threadIdx (qc::emulated::thread_place())
#define blockIdx (qc::emulated::block_place())
#define blockDim (qc::emulated::block_size())

struct uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct int2 {
  int32_t x, y;
};
struct alignas(16) int4 {
  int32_t x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct char4 {
  signed char x, y, z, w;
};
struct dim3 {
  unsigned x, y, z;
  explicit dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  operator qc::emulated::Place() const { return {x, y, z}; }
};

using std::max;
using std::min;

// There are no streams: work is done when it is queued.
using cudaStream_t = void*;
using cudaError_t = int;
using cudaMemPool_t = void*;
constexpr cudaError_t cudaSuccess = 0;
enum {
  cudaFuncAttributeMaxDynamicSharedMemorySize,
  cudaMemPoolAttrReleaseThreshold,
  cudaMemAllocationTypePinned,
  cudaMemLocationTypeDevice
};
struct cudaMemPoolProps {
  int allocType;
  struct {
    int type, id;
  } location;
};

inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
struct cudaFuncAttributes {
  size_t sharedSizeBytes;
};
template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel) {
  *attributes = {};
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, int, int) {
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
enum { cudaDevAttrMaxSharedMemoryPerBlockOptin };
inline cudaError_t cudaDeviceGetAttribute(int* value, int, int) {
  *value = qc::emulated::max_shared_bytes();
  return cudaSuccess;
}
inline cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
  *pool = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, int, void*) { return cudaSuccess; }
inline cudaError_t cudaMallocFromPoolAsync(void** memory, size_t bytes, cudaMemPool_t, cudaStream_t) {
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(*memory, 0xCD, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaFreeAsync(void* memory, cudaStream_t) {
  std::free(memory);
  return cudaSuccess;
}

enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
inline cudaError_t cudaMalloc(void** memory, size_t bytes) {
  *memory = std::malloc(bytes);
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
inline cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  std::memset(memory, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

inline void __syncthreads() { qc::emulated::meet_block("__syncthreads"); }
inline void __syncwarp() {
  qc::emulated::meet_warp("__syncwarp", nullptr, [](void* const*) {});
}

namespace qc::emulated {
// Every lane gets the value of the lane that `from` says.
template <class T, class From>
T shuffle(const char* what, T value, const From& from) {
  struct Item {
    T value, result;
    unsigned from;
  } item = {value, value, from(lane()) % 32};
  meet_warp(what, &item, [](void* const* data) {
    for (unsigned i = 0; i < 32; ++i) {
      auto* to = static_cast<Item*>(data[i]);
      to->result = static_cast<Item*>(data[to->from])->value;
    }
  });
  return item.result;
}
}  // namespace qc::emulated

template <class T>
T __shfl_xor_sync(unsigned, T value, int apart) {
  return qc::emulated::shuffle("__shfl_xor_sync", value, [=](unsigned lane) { return lane ^ static_cast<unsigned>(apart); });
}
template <class T>
T __shfl_sync(unsigned, T value, int from) {
  return qc::emulated::shuffle("__shfl_sync", value, [=](unsigned) { return static_cast<unsigned>(from); });
}

inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; ++i) sum += static_cast<int8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
  return sum;
}

inline uint32_t __byte_perm(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) result |= static_cast<uint32_t>(bytes >> (8 * (selector >> (4 * i) & 7)) & 0xFF) << (8 * i);
  return result;
}

inline float __int_as_float(int32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
