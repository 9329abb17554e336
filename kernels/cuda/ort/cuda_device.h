#pragma once
#include "core/device.h"
#include "launch.h"

namespace qc::cuda {

// A GPU, at the end of one queue.
class CudaDevice : public Device {
 public:
  explicit CudaDevice(Queue queue) : queue_(queue) {}

  void quantize_clusters(FloatIn x, int64_t rows, const Quantizer& quantizer, uint8_t* codes) const override;
  void dequantize_clusters(const uint8_t* codes, int64_t rows, const Quantizer& quantizer, float* y) const override;
  void quantize_tokens(FloatIn x, int64_t rows, const TokenQuantizer& quantizer, uint8_t* codes, float* scale,
                       float* zero) const override;
  void norm_quantize(const NormQuantize& norm) const override;
  void cluster_matmul(const ClusterMatMul& product) const override;
  void weight_matmul(const WeightMatMul& product) const override;

 private:
  Queue queue_;
};

}  // namespace qc::cuda
