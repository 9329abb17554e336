// Arrays in the memory of the GPU. Under emulation they end where the host's memory for them ends, so that address sanitizers see what goes
// beyond.
#pragma once
#include <memory>
#include <vector>

#include "device/check.h"
#include "core/layout.h"
#include "core/quantizer.h"
#include "test/float_tensor.h"

namespace qc::cuda {

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : count_(count) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, bytes()));
    memory_ = std::shared_ptr<T>(static_cast<T*>(memory), [](T* p) { cudaFree(p); });
    // What no kernel writes is found by comparing.
    check(cudaMemset(memory, 0xCD, bytes()));
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    if (!values.empty()) check(cudaMemcpy(data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  }

  T* data() const { return memory_.get(); }
  std::shared_ptr<T> shared() const { return memory_; }

  std::vector<T> download() const {
    std::vector<T> values(count_);
    check(cudaDeviceSynchronize());
    if (count_ > 0) check(cudaMemcpy(values.data(), data(), values.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  size_t bytes() const { return count_ * sizeof(T); }

  size_t count_;
  std::shared_ptr<T> memory_;
};

// A float tensor of any type.
class DeviceTensor {
 public:
  explicit DeviceTensor(const FloatTensor& from) : type_(from.type), singles_(from.singles), words_(from.words) {}

  FloatIn in() const { return {data(), type_}; }
  FloatOut out() const { return {data(), type_}; }
  FloatTensor download() const {
    FloatTensor result(0, type_);
    result.singles = singles_.download();
    result.words = words_.download();
    return result;
  }

 private:
  void* data() const { return type_ == FloatType::kF32 ? static_cast<void*>(singles_.data()) : words_.data(); }

  FloatType type_;
  DeviceArray<float> singles_;
  DeviceArray<uint16_t> words_;
};

// Clusters with their ends for the CPU and for the GPU.
inline Clusters clusters_of(const std::vector<int64_t>& ends) {
  std::vector<int32_t> table;
  for (const int64_t end : ends) table.push_back(static_cast<int32_t>(steps_of(end)));
  for (size_t g = 0; g < ends.size(); ++g) {
    const int32_t first = g == 0 ? 0 : table[g - 1];
    table.insert(table.end(), static_cast<size_t>(table[g] - first), static_cast<int32_t>(g));
  }
  return {ends, DeviceArray<int32_t>(table).shared()};
}

}  // namespace qc::cuda
