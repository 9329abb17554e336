// Reductions over the threads of a block, in a fixed order.
#pragma once
#include "device/cuda.cuh"

namespace qc::cuda {

constexpr int kMaxWarps = 32;

// f of the values of all threads, which all get it. `parts` is shared memory, one value for each warp, and may be used again afterwards.
template <class F>
__device__ float reduce_block(float value, float* parts, F f) {
  for (int apart = 16; apart > 0; apart /= 2) value = f(value, __shfl_xor_sync(0xFFFFFFFF, value, apart));
  const int warp = static_cast<int>(threadIdx.x) / 32, warps = static_cast<int>(blockDim.x) / 32;
  if (threadIdx.x % 32 == 0) parts[warp] = value;
  __syncthreads();
  float total = parts[0];
  for (int w = 1; w < warps; ++w) total = f(total, parts[w]);
  __syncthreads();
  return total;
}

}  // namespace qc::cuda
