#pragma once
#include <stdexcept>
#include <string>

#include "device/cuda.cuh"

namespace qc::cuda {

inline void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  // CUDA remembers it besides, and the next launch would be blamed.
  cudaGetLastError();
  throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

}  // namespace qc::cuda
