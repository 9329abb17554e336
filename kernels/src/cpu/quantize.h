// Float rows to packed codes and back, on the CPU.
#pragma once
#include <cstdint>

#include "core/quantize.h"
#include "cpu/parallel.h"

namespace qc {

// codes [rows, bytes_of(C, bits)] of x [rows, C].
void quantize_clusters(FloatIn x, int64_t rows, const Quantizer& quantizer, uint8_t* codes, const Parallel& parallel);

// y [rows, C] = (code - zero) * scale.
void dequantize_clusters(const uint8_t* codes, int64_t rows, const Quantizer& quantizer, float* y, const Parallel& parallel);

// `zero` is null for a quantizer without zero points.
void quantize_tokens(FloatIn x, int64_t rows, const TokenQuantizer& quantizer, uint8_t* codes, float* scale, float* zero,
                     const Parallel& parallel);

void norm_quantize(const NormQuantize& norm, const Parallel& parallel);

}  // namespace qc
