#include "cuda/ort/cuda_provider.h"

#include "cuda/ort/cuda_device.h"
#include "cuda/ort/cuda_memory.h"
#include "ort/status.h"

namespace qc::cuda {
namespace {

// Work goes to the stream of the run.
std::unique_ptr<Device> device(const OrtApi& api, OrtKernelContext* context) {
  void* stream = nullptr;
  ort::check(api, api.KernelContext_GetGPUComputeStream(context, &stream));
  return std::make_unique<CudaDevice>(Queue{static_cast<cudaStream_t>(stream)});
}

}  // namespace

ort::Provider provider() {
  static const CudaMemory memory;
  return {"CUDAExecutionProvider", &memory, device};
}

}  // namespace qc::cuda
