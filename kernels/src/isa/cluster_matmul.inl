// Products of codes: which inner loop multiplies what.
#pragma once
#include <cstdint>

#include "isa/cluster_kernel.inl"
#include "isa/codes.inl"
#include "isa/epilogue.inl"

namespace qc {
namespace {

using RowsKernel = void (*)(const ClusterJob&, const Pair&, int64_t, float*);

template <class V, WeightForm kForm, int kWeightBits, int kWeightMax, int kCodeBits, int kRows>
void multiply_rows(const ClusterJob& job, const Pair& pair, int64_t row, float* out) {
  constexpr int kVectors = V::vectors(kRows);
  for (int column = 0; column < kPair; column += kVectors * V::kLanes) {
    Kernel<V, kForm, kWeightBits, kWeightMax, kCodeBits, kRows, kVectors>::run(job, pair, row, column, out);
  }
}

// What multiplies `rows` rows.
template <class V, WeightForm kForm, int kWeightBits, int kWeightMax, int kCodeBits, int kRows = V::kRows>
RowsKernel rows_kernel(int64_t rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return rows_kernel<V, kForm, kWeightBits, kWeightMax, kCodeBits, kRows - 1>(rows);
  }
  return multiply_rows<V, kForm, kWeightBits, kWeightMax, kCodeBits, kRows>;
}

// Sums in 32 bits do not depend on how great codes can be.
template <class V, WeightForm kForm, int kWeightBits, int kWeightMax>
RowsKernel rows_kernel(int code_bits, int64_t rows) {
  if constexpr (V::kDot == Dot::kInt16) {
    if (code_bits == 4) return rows_kernel<V, kForm, kWeightBits, kWeightMax, 4>(rows);
    if (code_bits == 3) return rows_kernel<V, kForm, kWeightBits, kWeightMax, 3>(rows);
  }
  return rows_kernel<V, kForm, kWeightBits, kWeightMax, 8>(rows);
}

template <class V>
RowsKernel rows_kernel(const ClusterJob& job, int64_t rows) {
  constexpr WeightForm kStored = WeightForm::kStored, kBytes = WeightForm::kBytes, kCentered = WeightForm::kCentered;
  const int code_bits = job.product->a_bits;
  if constexpr (V::kDot == Dot::kInt32) {
    if (job.form == kCentered) return rows_kernel<V, kCentered, 8, 255>(code_bits, rows);
  } else {
    if (job.form == kBytes) return rows_kernel<V, kBytes, 8, 15>(code_bits, rows);
  }
  switch (job.product->weight.bits) {
    case 3: return rows_kernel<V, kStored, 3, 7>(code_bits, rows);
    case 4: return rows_kernel<V, kStored, 4, 15>(code_bits, rows);
    default: return rows_kernel<V, kStored, 8, 255>(code_bits, rows);
  }
}

// For many rows it pays to unpack weights once.
template <class V, int kBits>
void unpack_weights(const ClusterJob& job, Pair& pair, const Block& block) {
  if constexpr (V::kDot == Dot::kInt32) {
    if (job.form == WeightForm::kCentered) center_tiles<V, kBits>(job, pair, block);
  } else if constexpr (kBits < 8) {
    if (job.form == WeightForm::kBytes) unpack_tiles<V, kBits>(pair, job.steps, block.weights);
  }
}

template <class V>
void unpack_weights(const ClusterJob& job, Pair& pair, const Block& block) {
  switch (job.product->weight.bits) {
    case 3: return unpack_weights<V, 3>(job, pair, block);
    case 4: return unpack_weights<V, 4>(job, pair, block);
    default: return unpack_weights<V, 8>(job, pair, block);
  }
}

template <class V>
void multiply(const ClusterJob& job, const Block& block) {
  for (int64_t index = block.pair; index < block.pair_end; ++index) {
    Pair pair = pair_of(job, index);
    unpack_weights<V>(job, pair, block);
    const Epilogue epilogue(job, pair);
    for (int64_t part = block.part; part < block.part_end; ++part) {
      const Rows rows = rows_of(job.product->rows, job.parts, part);
      float y[V::kRows * kPair];
      rows_kernel<V>(job, rows.count)(job, pair, rows.first, y);
      for (int64_t r = 0; r < rows.count; ++r) epilogue.finish(rows.first + r, y + r * kPair);
    }
  }
}

}  // namespace
}  // namespace qc
