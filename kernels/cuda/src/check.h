#pragma once
#include <stdexcept>
#include <string>

#include "device/cuda.cuh"

namespace qc::cuda {

inline void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

}  // namespace qc::cuda
