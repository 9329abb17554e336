// The products, one table for each level. These structs hold plain data only (see level.h).
#pragma once
#include <cstdint>

#include "core/layout.h"
#include "core/matmul.h"
#include "isa/quantize_kernels.h"

namespace qc {

// Rows are split into parts that a kernel multiplies at once. They differ by one row at the most: a last part of few rows would be slow.
struct Rows {
  int64_t first, count;
};
namespace {
inline constexpr Rows rows_of(int64_t rows, int64_t parts, int64_t part) {
  return {part * rows / parts, (part + 1) * rows / parts - part * rows / parts};
}
}  // namespace

// What one task computes of a product, and memory for it.
struct Block {
  int64_t part, part_end;
  int64_t pair, pair_end;
  uint8_t* weights;  // [steps, 32, 32] if weights are unpacked
  int32_t* starts;   // [groups, 32] if they are centered
  float* sums;       // [2 rows, 32], of products with float activations
};

// Weights of a product of more parts are unpacked once for all of them.
inline constexpr int64_t kPartsToUnpack = 3;

// How a kernel reads weights.
enum class WeightForm {
  kStored,    // as they are packed
  kBytes,     // a byte for each stored code
  kCentered,  // a byte for each code less its zero point, which leaves nothing to take off the sums of a cluster
};

struct ClusterJob {
  const ClusterMatMul* product;
  const QuantizeKernels* quantize;
  const PairTables* tables;
  int64_t parts;
  const int64_t* ends;       // of the clusters, in channels
  const int64_t* step_ends;  // and in steps
  int64_t groups;
  int64_t steps;
  // For every part of the rows one after the other:
  int8_t* activations;        // [steps, rows of the part, 32], the codes, 0 beyond K; stored ones if weights are centered
  float* corrections;         // [groups, rows of the part], sums of the codes of a cluster, times -1
  bool small;                 // whether floats hold all sums of products of codes exactly
  WeightForm form;
  const Affine* out_affines;  // [pairs], when the result is quantized
};

struct WeightJob {
  const WeightMatMul* product;
  const QuantizeKernels* quantize;
  const PairTables* tables;
  int64_t parts;
  const int64_t* step_ends;
  int64_t groups;
  int64_t steps;
  float* x;  // [rows, steps * 32], 0 beyond K
};

struct MatMulKernels {
  // The most rows in a part.
  int cluster_rows, weight_rows;
  // Whether weights may be centered: it takes sums in 32 bits.
  bool centers;
  // Fills job.activations and job.corrections for a part.
  void (*unpack)(const ClusterJob& job, const Rows& rows);
  void (*multiply)(const ClusterJob& job, const Block& block);
  void (*multiply_weight)(const WeightJob& job, const Block& block);
};

extern const MatMulKernels kMatMulScalar;
extern const MatMulKernels kMatMulAvx2;
extern const MatMulKernels kMatMulAvxVnni;
extern const MatMulKernels kMatMulAvx512Vnni;

// Those of the level in use.
const MatMulKernels& matmul_kernels();

}  // namespace qc
