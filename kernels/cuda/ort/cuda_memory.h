#pragma once
#include "ort/provider.h"

namespace qc::cuda {

// That of the GPU in use.
class CudaMemory : public ort::DeviceMemory {
 public:
  void download(const void* from, size_t bytes, void* to) const override;
  std::shared_ptr<const int32_t> upload(const std::vector<int32_t>& values) const override;
};

}  // namespace qc::cuda
