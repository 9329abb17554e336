// Row operations of quantization, one table for each level. Rows may have any length, and need not be aligned.
#pragma once
#include <cstdint>

#include "core/float_type.h"

namespace qc {

// What the channels of one cluster share.
struct Affine {
  float scale;
  float zero;
  int bits;
  float qmin;
  float qmax;
};

struct QuantizeKernels {
  // Values of a tensor from an index on, as f32, and back.
  void (*widen)(const FloatIn& x, int64_t at, int64_t count, float* y);
  void (*narrow)(const float* x, int64_t count, const FloatOut& y, int64_t at);
  // codes [bytes_of(count, bits)]
  void (*quantize)(const float* x, int64_t count, const Affine& affine, uint8_t* codes);
  void (*dequantize)(const uint8_t* codes, int64_t count, const Affine& affine, float* y);
  // low = min(x, 0) and high = max(x, 0), without regard to NaN.
  void (*range)(const float* x, int64_t count, float* low, float* high);
  void (*add)(const float* a, const float* b, int64_t count, float* y);
  float (*sum)(const float* x, int64_t count);
  // Sum of (x - mean)².
  float (*sum_of_squares)(const float* x, int64_t count, float mean);
  // y = (x - mean) * inverse * gamma + beta; beta may be null.
  void (*normalize)(const float* x, int64_t count, float mean, float inverse, const float* gamma, const float* beta, float* y);
};

extern const QuantizeKernels kQuantizeScalar;
extern const QuantizeKernels kQuantizeAvx2;
extern const QuantizeKernels kQuantizeAvx512;

// Those of the level in use.
const QuantizeKernels& quantize_kernels();

}  // namespace qc
