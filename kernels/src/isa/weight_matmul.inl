// Products of float activations.
#pragma once
#include <math.h>

#include <cstdint>
#include <cstring>

#include "isa/weights.inl"

namespace qc {
namespace {

// The code of channel 4 * quad + byte for each lane, less its zero point.
template <class V, int kBits>
inline typename V::Float load_weights(const uint8_t* step, int quad, int byte, typename V::Float zero) {
  if constexpr (kBits == 4) {
    const auto words = V::load(step + quad / 2 * 4 * kTile);
    return V::subtract(V::to_float(V::bit_and(V::shift_right(words, 8 * byte + quad % 2 * 4), V::splat(15))), zero);
  } else {
    const auto codes = load_quad<V, kBits>(step, 4 * kTile, quad);
    return V::subtract(V::to_float(V::bit_and(V::shift_right(codes, 8 * byte), V::splat(15))), zero);
  }
}

// out[column] = sum over clusters of scale * sum over k of x (w - zero), the inner sum being one chain of fma.
template <class V, int kBits, int kVectors>
void multiply_weight_row(const WeightJob& job, const Pair& pair, const float* x, int column, float* out) {
  using Float = typename V::Float;
  const uint8_t* weights[kVectors];
  Float totals[kVectors];
  QC_UNROLL
  for (int c = 0; c < kVectors; ++c) {
    const int first = column + c * V::kLanes;
    weights[c] = pair.tiles[first / kTile] + first % kTile * 4;
    totals[c] = V::splat(0.0f);
  }
  for (int64_t g = 0, step = 0; g < job.groups; ++g) {
    Float zeros[kVectors];
    Float sums[kVectors];
    QC_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      zeros[c] = V::to_float(load_zeros<V>(pair, g, column + c * V::kLanes));
      sums[c] = V::splat(0.0f);
    }
    for (; step < job.step_ends[g]; ++step) {
      QC_UNROLL
      for (int k = 0; k < kStep; ++k) {
        const Float channel = V::splat(x[step * kStep + k]);
        QC_UNROLL
        for (int c = 0; c < kVectors; ++c) {
          const Float weight = load_weights<V, kBits>(weights[c] + step * kBits * 4 * kTile, k / 4, k % 4, zeros[c]);
          sums[c] = V::multiply_add(channel, weight, sums[c]);
        }
      }
    }
    QC_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      totals[c] = V::multiply_add(sums[c], V::load(pair.scale + g * kPair + column + c * V::kLanes), totals[c]);
    }
  }
  QC_UNROLL
  for (int c = 0; c < kVectors; ++c) V::store(out + column + c * V::kLanes, totals[c]);
}

// For more rows, weights are turned to floats once for all of them, some steps at a time.
constexpr int kChunk = 4;

template <class V, int kBits>
void unpack_floats(const Pair& pair, int64_t g, int64_t step, int64_t step_end, float* weights) {
  for (int column = 0; column < kPair; column += V::kLanes) {
    const auto zero = V::to_float(load_zeros<V>(pair, g, column));
    const uint8_t* tile = pair.tiles[column / kTile] + column % kTile * 4;
    for (int64_t s = step; s < step_end; ++s) {
      float* to = weights + (s - step) * kStep * kPair + column;
      QC_UNROLL
      for (int k = 0; k < kStep; ++k) V::store(to + k * kPair, load_weights<V, kBits>(tile + s * kBits * 4 * kTile, k / 4, k % 4, zero));
    }
  }
}

// sums[r][column] goes on by these channels.
template <class V, int kRows>
void add_channels(const float* x, int64_t x_stride, const float* weights, int64_t channels, float* sums) {
  constexpr int kVectors = V::kFloatVectors;
  for (int column = 0; column < kPair; column += kVectors * V::kLanes) {
    typename V::Float kept[kRows][kVectors];
    QC_UNROLL
    for (int r = 0; r < kRows; ++r) {
      QC_UNROLL
      for (int c = 0; c < kVectors; ++c) kept[r][c] = V::load(sums + r * kPair + column + c * V::kLanes);
    }
    for (int64_t k = 0; k < channels; ++k) {
      typename V::Float weight[kVectors];
      QC_UNROLL
      for (int c = 0; c < kVectors; ++c) weight[c] = V::load(weights + k * kPair + column + c * V::kLanes);
      QC_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const auto channel = V::splat(x[r * x_stride + k]);
        QC_UNROLL
        for (int c = 0; c < kVectors; ++c) kept[r][c] = V::multiply_add(channel, weight[c], kept[r][c]);
      }
    }
    QC_UNROLL
    for (int r = 0; r < kRows; ++r) {
      QC_UNROLL
      for (int c = 0; c < kVectors; ++c) V::store(sums + r * kPair + column + c * V::kLanes, kept[r][c]);
    }
  }
}

using ChannelsKernel = void (*)(const float*, int64_t, const float*, int64_t, float*);

template <class V, int kRows = V::kFloatRows>
ChannelsKernel channels_kernel(int64_t rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return channels_kernel<V, kRows - 1>(rows);
  }
  return add_channels<V, kRows>;
}

template <class V, int kBits>
void multiply_weight_rows(const WeightJob& job, const Pair& pair, const Block& block, float* sums, float* totals) {
  const int64_t row = rows_of(job.product->rows, job.parts, block.part).first;
  const int64_t row_end = rows_of(job.product->rows, job.parts, block.part_end).first;
  const int64_t count = (row_end - row) * kPair;
  const int64_t x_stride = job.steps * kStep;
  std::memset(totals, 0, static_cast<size_t>(count) * sizeof(float));
  for (int64_t g = 0, step = 0; g < job.groups; ++g) {
    std::memset(sums, 0, static_cast<size_t>(count) * sizeof(float));
    const int64_t cluster_end = job.step_ends[g];
    for (int64_t chunk_end; step < cluster_end; step = chunk_end) {
      chunk_end = step + kChunk < cluster_end ? step + kChunk : cluster_end;
      float weights[kChunk * kStep * kPair];
      unpack_floats<V, kBits>(pair, g, step, chunk_end, weights);
      for (int64_t part = block.part; part < block.part_end; ++part) {
        const Rows rows = rows_of(job.product->rows, job.parts, part);
        const float* x = job.x + rows.first * x_stride + step * kStep;
        channels_kernel<V>(rows.count)(x, x_stride, weights, (chunk_end - step) * kStep, sums + (rows.first - row) * kPair);
      }
    }
    const float* scale = pair.scale + g * kPair;
    for (int64_t r = 0; r < row_end - row; ++r) {
      for (int i = 0; i < kPair; ++i) totals[r * kPair + i] = fmaf(sums[r * kPair + i], scale[i], totals[r * kPair + i]);
    }
  }
}

template <class V, int kBits>
void multiply_weight(const WeightJob& job, const Block& block) {
  const WeightMatMul& product = *job.product;
  const int64_t row = rows_of(product.rows, job.parts, block.part).first;
  const int64_t row_end = rows_of(product.rows, job.parts, block.part_end).first;
  const int64_t rows = row_end - row;
  float* sums = block.sums;
  float* totals = sums + rows * kPair;
  for (int64_t index = block.pair; index < block.pair_end; ++index) {
    const Pair pair = pair_of(job, index);
    if (rows == 1) {
      constexpr int kVectors = 4 * V::kLanes < kPair ? 4 : kPair / V::kLanes;
      for (int column = 0; column < kPair; column += kVectors * V::kLanes) {
        multiply_weight_row<V, kBits, kVectors>(job, pair, job.x + row * job.steps * kStep, column, totals);
      }
    } else {
      multiply_weight_rows<V, kBits>(job, pair, block, sums, totals);
    }
    float bias[kPair] = {};
    if (product.bias.data) job.quantize->widen(product.bias, pair.column, pair.count, bias);
    for (int64_t r = 0; r < rows; ++r) {
      float* y = totals + r * kPair;
      for (int i = 0; i < kPair; ++i) y[i] += bias[i];
      job.quantize->narrow(y, pair.count, product.y, (row + r) * product.weight.columns + pair.column);
    }
  }
}

template <class V>
void multiply_weight(const WeightJob& job, const Block& block) {
  job.product->weight.bits == 4 ? multiply_weight<V, 4>(job, block) : multiply_weight<V, 3>(job, block);
}

}  // namespace
}  // namespace qc
