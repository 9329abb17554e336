// Memory of the GPU for the time between two kernels of a stream.
#pragma once
#include "device/launch.cuh"

namespace qc::cuda {

// Allocated and freed in the order of the stream, from a pool that keeps what it has: no call waits for the GPU.
class Scratch {
 public:
  Scratch(size_t bytes, cudaStream_t stream);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(memory_);
  }

 private:
  void* memory_ = nullptr;
  cudaStream_t stream_;
};

}  // namespace qc::cuda
