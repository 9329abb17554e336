// Execution providers of ONNX Runtime, as far as kernels see them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/device.h"
#include "ort/abi.h"

namespace qc::ort {

// Memory of a device, apart from that of the host.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  virtual void download(const void* from, size_t bytes, void* to) const = 0;
  virtual std::shared_ptr<const int32_t> upload(const std::vector<int32_t>& values) const = 0;
};

struct Provider {
  // Null: that of the CPU.
  const char* name;
  // Where tensors are. Null: in the memory of the host.
  const DeviceMemory* memory;
  // The device of one run, valid as long as the run.
  std::unique_ptr<Device> (*device)(const OrtApi& api, OrtKernelContext* context);
};

// On the threads of the session.
std::unique_ptr<Device> cpu_device(const OrtApi& api, OrtKernelContext* context);

}  // namespace qc::ort
