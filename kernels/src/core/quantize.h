// Float rows to packed codes and back. Nothing here knows of ONNX Runtime; callers have checked shapes and bounds.
#pragma once
#include "core/matmul.h"
#include "core/parallel.h"
#include "core/quantizer.h"

namespace qc {

// codes [rows, bytes_of(C, bits)] of x [rows, C].
void quantize_clusters(FloatIn x, int64_t rows, const Quantizer& quantizer, uint8_t* codes, const Parallel& parallel);

// y [rows, C] = (code - zero) * scale.
void dequantize_clusters(const uint8_t* codes, int64_t rows, const Quantizer& quantizer, float* y, const Parallel& parallel);

// One scale, and unless `zero` is null one zero point, for each row.
struct TokenQuantizer {
  int64_t channels;
  int bits;
  int qmin;
  int qmax;
};
void quantize_tokens(FloatIn x, int64_t rows, const TokenQuantizer& quantizer, uint8_t* codes, float* scale, float* zero,
                     const Parallel& parallel);

// LayerNormReorderQuantize, or RmsNormReorderQuantize when `rms`.
struct NormQuantize {
  bool rms;
  float epsilon;
  int64_t rows;
  FloatIn x;         // [rows, C]
  FloatIn residual;  // [rows, C], or missing
  FloatIn gamma;     // [C]
  FloatIn beta;      // [C], or missing
  const int32_t* order = nullptr;  // [C], or null; checked to be within 0 ... C - 1
  Quantizer quantizer;
  uint8_t* codes;
  FloatOut normalized;  // [rows, C], or missing
  FloatOut sum;         // [rows, C], or missing
};
void norm_quantize(const NormQuantize& norm, const Parallel& parallel);

}  // namespace qc
