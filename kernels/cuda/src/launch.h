// The computations of core/ on an NVIDIA GPU: the same structs, with pointers to its memory.
#pragma once
#include "core/matmul.h"
#include "core/quantize.h"
#include "device/cuda.cuh"

namespace qc::cuda {

// Where work is put. Launchers return when it is queued, and throw a std::runtime_error with CUDA's message if that fails.
struct Queue {
  cudaStream_t stream;
};

void quantize_clusters(FloatIn x, int64_t rows, const Quantizer& quantizer, uint8_t* codes, Queue queue);
void dequantize_clusters(const uint8_t* codes, int64_t rows, const Quantizer& quantizer, float* y, Queue queue);
void quantize_tokens(FloatIn x, int64_t rows, const TokenQuantizer& quantizer, uint8_t* codes, float* scale, float* zero, Queue queue);
void norm_quantize(const NormQuantize& norm, Queue queue);
void cluster_matmul(const ClusterMatMul& product, Queue queue);
void weight_matmul(const WeightMatMul& product, Queue queue);

}  // namespace qc::cuda
