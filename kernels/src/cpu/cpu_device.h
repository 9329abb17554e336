#pragma once
#include "core/device.h"
#include "cpu/parallel.h"

namespace qc {

// The CPU, with the threads of one run.
class CpuDevice : public Device {
 public:
  explicit CpuDevice(Parallel parallel);

  void quantize_clusters(FloatIn x, int64_t rows, const Quantizer& quantizer, uint8_t* codes) const override;
  void dequantize_clusters(const uint8_t* codes, int64_t rows, const Quantizer& quantizer, float* y) const override;
  void quantize_tokens(FloatIn x, int64_t rows, const TokenQuantizer& quantizer, uint8_t* codes, float* scale,
                       float* zero) const override;
  void norm_quantize(const NormQuantize& norm) const override;
  void cluster_matmul(const ClusterMatMul& product) const override;
  void weight_matmul(const WeightMatMul& product) const override;

 private:
  Parallel parallel_;
};

}  // namespace qc
