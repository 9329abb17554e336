// What kernels run on. All pointers that a device is given are to memory that it computes in.
#pragma once
#include "core/matmul.h"
#include "core/quantize.h"

namespace qc {

class Device {
 public:
  virtual ~Device() = default;
  virtual void quantize_clusters(FloatIn x, int64_t rows, const Quantizer& quantizer, uint8_t* codes) const = 0;
  virtual void dequantize_clusters(const uint8_t* codes, int64_t rows, const Quantizer& quantizer, float* y) const = 0;
  virtual void quantize_tokens(FloatIn x, int64_t rows, const TokenQuantizer& quantizer, uint8_t* codes, float* scale,
                               float* zero) const = 0;
  virtual void norm_quantize(const NormQuantize& norm) const = 0;
  virtual void cluster_matmul(const ClusterMatMul& product) const = 0;
  virtual void weight_matmul(const WeightMatMul& product) const = 0;
};

}  // namespace qc
