#include "cuda/ort/cuda_memory.h"

#include "device/check.h"

namespace qc::cuda {

void CudaMemory::download(const void* from, size_t bytes, void* to) const { check(cudaMemcpy(to, from, bytes, cudaMemcpyDefault)); }

std::shared_ptr<const int32_t> CudaMemory::upload(const std::vector<int32_t>& values) const {
  const size_t bytes = values.size() * sizeof(int32_t);
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes));
  const std::shared_ptr<int32_t> table(static_cast<int32_t*>(memory), cudaFree);
  check(cudaMemcpy(memory, values.data(), bytes, cudaMemcpyHostToDevice));
  // The copy may still be under way, and streams of ONNX Runtime do not wait for it.
  check(cudaStreamSynchronize(nullptr));
  return table;
}

}  // namespace qc::cuda
