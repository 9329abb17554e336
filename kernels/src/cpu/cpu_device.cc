#include "cpu/cpu_device.h"

#include <utility>

#include "cpu/matmul.h"
#include "cpu/quantize.h"

namespace qc {

CpuDevice::CpuDevice(Parallel parallel) : parallel_(std::move(parallel)) {}

void CpuDevice::quantize_clusters(FloatIn x, int64_t rows, const Quantizer& quantizer, uint8_t* codes) const {
  qc::quantize_clusters(x, rows, quantizer, codes, parallel_);
}

void CpuDevice::dequantize_clusters(const uint8_t* codes, int64_t rows, const Quantizer& quantizer, float* y) const {
  qc::dequantize_clusters(codes, rows, quantizer, y, parallel_);
}

void CpuDevice::quantize_tokens(FloatIn x, int64_t rows, const TokenQuantizer& quantizer, uint8_t* codes, float* scale,
                                float* zero) const {
  qc::quantize_tokens(x, rows, quantizer, codes, scale, zero, parallel_);
}

void CpuDevice::norm_quantize(const NormQuantize& norm) const { qc::norm_quantize(norm, parallel_); }
void CpuDevice::cluster_matmul(const ClusterMatMul& product) const { qc::cluster_matmul(product, parallel_); }
void CpuDevice::weight_matmul(const WeightMatMul& product) const { qc::weight_matmul(product, parallel_); }

}  // namespace qc
