#include "cuda/ort/cuda_device.h"

namespace qc::cuda {

void CudaDevice::quantize_clusters(FloatIn x, int64_t rows, const Quantizer& quantizer, uint8_t* codes) const {
  cuda::quantize_clusters(x, rows, quantizer, codes, queue_);
}

void CudaDevice::dequantize_clusters(const uint8_t* codes, int64_t rows, const Quantizer& quantizer, float* y) const {
  cuda::dequantize_clusters(codes, rows, quantizer, y, queue_);
}

void CudaDevice::quantize_tokens(FloatIn x, int64_t rows, const TokenQuantizer& quantizer, uint8_t* codes, float* scale,
                                 float* zero) const {
  cuda::quantize_tokens(x, rows, quantizer, codes, scale, zero, queue_);
}

void CudaDevice::norm_quantize(const NormQuantize& norm) const { cuda::norm_quantize(norm, queue_); }
void CudaDevice::cluster_matmul(const ClusterMatMul& product) const { cuda::cluster_matmul(product, queue_); }
void CudaDevice::weight_matmul(const WeightMatMul& product) const { cuda::weight_matmul(product, queue_); }

}  // namespace qc::cuda
