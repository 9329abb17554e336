// Operands of quantizers. Nothing here knows of ONNX Runtime; callers have checked shapes and bounds.
#pragma once
#include <cstdint>

#include "core/float_type.h"
#include "core/quantizer.h"

namespace qc {

// One scale, and unless `zero` is null one zero point, for each row.
struct TokenQuantizer {
  int64_t channels;
  int bits;
  int qmin;
  int qmax;
};

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

}  // namespace qc
