// Operands of products with packed weights. Nothing here knows of ONNX Runtime; callers have checked shapes and bounds.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/float_type.h"
#include "core/quantizer.h"

namespace qc {

enum class Activation { kNone, kRelu, kGelu, kGeluTanh, kSilu };

// Scales and zero points of a weight in the order in which the CPU reads them: those of 32 columns, cluster after cluster, side by side.
struct PairTables {
  std::vector<float> scale;   // [pairs, G, 32], 0 beyond N
  std::vector<uint8_t> zero;  // [pairs, G, 32], stored like codes; empty for zeros
};

// w[k, n] of the packed weight, and what goes with it.
struct Weight {
  const uint8_t* packed;  // [tiles, steps, bits, 64]
  int bits;               // 8, 4 or 3
  Clusters clusters;      // of the rows; channels() is K
  int64_t columns;        // N
  const float* scale;     // [G, N]
  const int8_t* zero;     // [G, N], or null for zeros
  // For the CPU, if they have been made once for all runs.
  std::shared_ptr<const PairTables> tables = nullptr;
};

// y = activation(token_scale * (S - token_zero * offset) + bias) * multiplier; see ClusterMatMul in kernels/operators.json.
struct ClusterMatMul {
  int64_t rows;
  const uint8_t* codes;  // [rows, bytes_of(K, a_bits)]
  int a_bits;
  Weight weight;
  const float* offset = nullptr;       // [N]
  const float* token_scale = nullptr;  // [rows]
  const float* token_zero = nullptr;   // [rows]
  FloatIn bias;                        // [N]
  FloatIn multiplier;                  // [rows, N]
  Activation activation = Activation::kNone;
  // Either y, or codes by this quantizer.
  FloatOut y;                           // [rows, N]
  const Quantizer* requantize = nullptr;
  uint8_t* out_codes = nullptr;         // [rows, bytes_of(N, requantize->bits)]
};

// y = x Q(W) + bias.
struct WeightMatMul {
  int64_t rows;
  FloatIn x;  // [rows, K]
  Weight weight;
  FloatIn bias;  // [N]
  FloatOut y;    // [rows, N]
};

}  // namespace qc
