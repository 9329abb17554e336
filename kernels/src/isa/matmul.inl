// The products, for one level: templates over a policy that says what a vector of columns is and how it takes in four channels.
#pragma once
#include <math.h>

#include <cstdint>
#include <cstring>

#include "core/layout.h"
#include "core/pack.h"
#include "isa/activation.inl"
#include "isa/matmul_kernels.h"
#include "isa/scalar.inl"

// Registers are told apart by constant indices only, so loops over them must be unrolled.
#if defined(__clang__)
#define QC_UNROLL _Pragma("unroll")
#else
#define QC_UNROLL _Pragma("GCC unroll 32")
#endif

#define QC_INLINE inline __attribute__((always_inline))

namespace qc {
namespace {

// How a level adds products of bytes up: exactly in 32 bits, or for some steps in 16 bits.
enum class Dot { kInt32, kInt16 };

constexpr int kQuads = kStep / 4;

// Four consecutive stored codes for each lane, those of a quad of a step whose words lie `stride` bytes apart.
template <class V, int kBits>
inline typename V::Int load_quad(const uint8_t* step, int stride, int quad) {
  if constexpr (kBits == 8) {
    return V::load(step + quad * stride);
  } else if constexpr (kBits == 4) {
    return V::bit_and(V::shift_right(V::load(step + quad / 2 * stride), quad % 2 * 4), V::splat(0x0F0F0F0F));
  } else {
    const auto low = V::bit_and(V::shift_right(V::load(step + quad / 4 * stride), quad % 4 * 2), V::splat(0x03030303));
    const auto word = V::load(step + 2 * stride);
    const auto moved = quad < 2 ? V::shift_left(word, 2 - quad) : V::shift_right(word, quad - 2);
    return V::bit_or(low, V::bit_and(moved, V::splat(0x04040404)));
  }
}

// The low or the high half of each code of a quad, as a number of 4 bits.
template <class V>
inline typename V::Int load_half_quad(const uint8_t* step, int quad, int half) {
  return V::bit_and(V::shift_right(V::load(step + quad * 4 * kTile), half * 4), V::splat(0x0F0F0F0F));
}

inline int32_t sum_of(const int8_t* codes, int64_t count) {
  int32_t sum = 0;
  for (int64_t k = 0; k < count; ++k) sum += codes[k];
  return sum;
}

// The codes of a row, 0 beyond K, of which each step goes to a place of its own.
inline void unpack_row(const ClusterJob& job, int64_t row, int8_t* codes, int64_t step_stride) {
  const int bits = job.product->a_bits;
  const uint8_t* words = job.product->codes + row * job.steps * 4 * bits;
  for (int64_t step = 0; step < job.steps; ++step) {
    uint8_t stored[kStep];
    unpack_step(words + step * 4 * bits, bits, stored);
    for (int k = 0; k < kStep; ++k) codes[step * step_stride + k] = static_cast<int8_t>(stored[k] - lift(bits));
  }
  const int64_t last = job.ends[job.groups - 1] - (job.steps - 1) * kStep;
  std::memset(codes + (job.steps - 1) * step_stride + last, 0, static_cast<size_t>(kStep - last));
}

void unpack(const ClusterJob& job, const Rows& rows) {
  const int factor = job.product->weight.zero ? -1 : -lift(job.product->weight.bits);
  const int64_t step_stride = rows.count * kStep;
  for (int64_t r = 0; r < rows.count; ++r) {
    int8_t* codes = job.activations + rows.first * job.steps * kStep + r * kStep;
    int32_t* corrections = job.corrections + rows.first * job.groups + r;
    unpack_row(job, rows.first + r, codes, step_stride);
    for (int64_t g = 0, step = 0; g < job.groups; ++g) {
      int32_t sum = 0;
      for (; step < job.step_ends[g]; ++step) sum += sum_of(codes + step * step_stride, kStep);
      corrections[g * rows.count] = factor * sum;
    }
  }
}

// Two tiles of the weight. A tile that does not exist is stood in for by the one before, and its results are dropped.
struct Pair {
  int64_t column;
  int64_t count;
  const uint8_t* tiles[2];
  int tile_bits;
  const float* scale;  // [groups, 32], a row being `stride` apart
  const int8_t* zero;
  int64_t stride;
  int lift;
};

// 32 values, zeros after the first `count`.
template <class T>
void copy_padded(const T* from, int64_t count, T* to) {
  if (count == kPair) {
    std::memcpy(to, from, kPair * sizeof(T));
    return;
  }
  for (int64_t i = 0; i < kPair; ++i) to[i] = i < count ? from[i] : T{0};
}

// Rows of the pair are copied if they are read for many rows of activations, or would be read beyond their end.
inline Pair pair_of(const Weight& weight, int64_t groups, int64_t steps, int64_t index, bool copy, const Block& block) {
  const int64_t column = index * kPair;
  const int64_t left = weight.columns - column;
  Pair pair = {column, left < kPair ? left : kPair, {}, weight.bits, weight.scale + column, weight.zero, weight.columns, lift(weight.bits)};
  const int64_t tile_bytes = steps * weight.bits * 4 * kTile;
  pair.tiles[0] = weight.packed + 2 * index * tile_bytes;
  pair.tiles[1] = pair.count > kTile ? pair.tiles[0] + tile_bytes : pair.tiles[0];
  if (weight.zero) pair.zero += column;
  if (!copy && pair.count == kPair) return pair;
  for (int64_t g = 0; g < groups; ++g) {
    copy_padded(pair.scale + g * pair.stride, pair.count, block.floats + g * kPair);
    if (weight.zero) copy_padded(pair.zero + g * pair.stride, pair.count, block.bytes + g * kPair);
  }
  pair.scale = block.floats;
  if (weight.zero) pair.zero = block.bytes;
  pair.stride = kPair;
  return pair;
}

// Makes bytes of the stored codes of both tiles: for many rows it pays to do so once.
template <class V, int kBits>
void unpack_tiles(Pair& pair, int64_t steps, uint8_t* bytes) {
  constexpr int64_t kStepBytes = kStep * kTile;
  for (auto& tile : pair.tiles) {
    for (int64_t step = 0; step < steps; ++step) {
      for (int first = 0; first < kTile; first += V::kLanes) {
        QC_UNROLL
        for (int quad = 0; quad < kQuads; ++quad) {
          V::store(bytes + step * kStepBytes + quad * 4 * kTile + 4 * first,
                   load_quad<V, kBits>(tile + step * kBits * 4 * kTile + 4 * first, 4 * kTile, quad));
        }
      }
    }
    tile = bytes;
    bytes += steps * kStepBytes;
  }
  pair.tile_bits = 8;
}

// kRows rows times kVectors vectors of columns, one cluster after the other. Weights are stored in so many bits, but none above a greatest.
template <class V, int kWeightBits, int kWeightMax, int kCodeBits, int kRows, int kVectors>
struct Kernel {
  using Int = typename V::Int;
  using Float = typename V::Float;
  using Sums = Int[kRows][kVectors];

  // The next step of both operands.
  struct Cursor {
    const int8_t* activations;
    const uint8_t* weights[kVectors];

    QC_INLINE void skip(int64_t steps) {
      activations += steps * kRows * kStep;
      QC_UNROLL
      for (auto& weight : weights) weight += steps * kWeightBits * 4 * kTile;
    }
  };

  static QC_INLINE void clear(Sums& sums) {
    QC_UNROLL
    for (auto& row : sums) {
      QC_UNROLL
      for (Int& sum : row) sum = V::splat(0);
    }
  }

  // Quads go to the chains of sums in turn.
  template <int kCount, class LoadWeight>
  static QC_INLINE void add_step(const Cursor& at, Sums (&chains)[kCount], const LoadWeight& load_weight) {
    // Keeps GCC from loading operands of a step in the step before, for which registers do not suffice.
    __asm__ volatile("" ::: "memory");
    QC_UNROLL
    for (int quad = 0; quad < kQuads; ++quad) {
      Sums& sums = chains[quad % kCount];
      Int weights[kVectors];
      QC_UNROLL
      for (int c = 0; c < kVectors; ++c) weights[c] = load_weight(at.weights[c], quad);
      QC_UNROLL
      for (int r = 0; r < kRows; ++r) {
        int32_t codes;
        std::memcpy(&codes, at.activations + r * kStep + 4 * quad, sizeof codes);
        const Int activations = V::splat(codes);
        QC_UNROLL
        for (int c = 0; c < kVectors; ++c) sums[r][c] = V::dot(sums[r][c], weights[c], activations);
      }
    }
  }

  // Sums in 16 bits hold for this many steps of weights up to 15: each step adds up 8 times two products.
  static constexpr int kSpan = 32767 / (kQuads * 2 * (kWeightMax < 15 ? kWeightMax : 15) * lift(kCodeBits));

  template <class LoadWeight>
  static QC_INLINE void add_span(Cursor at, int64_t steps, int factor, Sums& sums, const LoadWeight& load_weight) {
    Sums partial[1];
    clear(partial[0]);
    if constexpr (kSpan == 1) {
      add_step(at, partial, load_weight);
    } else {
      for (; steps > 0; --steps, at.skip(1)) add_step(at, partial, load_weight);
    }
    QC_UNROLL
    for (int r = 0; r < kRows; ++r) {
      QC_UNROLL
      for (int c = 0; c < kVectors; ++c) sums[r][c] = V::add(sums[r][c], V::widen(partial[0][r][c], factor));
    }
  }

  static QC_INLINE void add_steps(Cursor& at, int64_t steps, Sums& sums) {
    const auto load = [](const uint8_t* step, int quad) { return load_quad<V, kWeightBits>(step, 4 * kTile, quad); };
    if constexpr (V::kDot == Dot::kInt32) {
      // Dot products take several cycles: few sums are split so that more of them are under way.
      constexpr int kSums = kRows * kVectors;
      constexpr int kChains = kSums <= 2 ? 4 : kSums <= 6 ? 2 : 1;
      Sums chains[kChains];
      QC_UNROLL
      for (Sums& chain : chains) clear(chain);
      for (; steps > 0; --steps, at.skip(1)) add_step(at, chains, load);
      QC_UNROLL
      for (const Sums& chain : chains) {
        QC_UNROLL
        for (int r = 0; r < kRows; ++r) {
          QC_UNROLL
          for (int c = 0; c < kVectors; ++c) sums[r][c] = V::add(sums[r][c], chain[r][c]);
        }
      }
    } else {
      for (int64_t span; steps > 0; steps -= span, at.skip(span)) {
        span = steps < kSpan ? steps : kSpan;
        if constexpr (kWeightMax > 15) {
          add_span(at, span, 1, sums, [](const uint8_t* step, int quad) { return load_half_quad<V>(step, quad, 0); });
          add_span(at, span, 16, sums, [](const uint8_t* step, int quad) { return load_half_quad<V>(step, quad, 1); });
        } else {
          add_span(at, span, 1, sums, load);
        }
      }
    }
  }

  // out[r][column] = sum over clusters of scale * (sum over k of a (stored w) - (zero + lift) sum over k of a)
  static void run(const ClusterJob& job, const Pair& pair, int64_t row, int column, float* out) {
    Cursor at = {job.activations + row * job.steps * kStep, {}};
    QC_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      const int first = column + c * V::kLanes;
      at.weights[c] = pair.tiles[first / kTile] + first % kTile * 4;
    }
    out += column;
    const int32_t* corrections = job.corrections + row * job.groups;
    const float* scale = pair.scale + column;
    const int8_t* zero = pair.zero ? pair.zero + column : nullptr;
    QC_UNROLL
    for (int r = 0; r < kRows; ++r) {
      QC_UNROLL
      for (int c = 0; c < kVectors; ++c) V::store(out + r * kPair + c * V::kLanes, V::splat(0.0f));
    }
    for (int64_t g = 0, step = 0; g < job.groups; ++g) {
      Sums sums;
      clear(sums);
      add_steps(at, job.step_ends[g] - step, sums);
      add_corrections(corrections, zero, pair.lift, sums);
      QC_UNROLL
      for (int c = 0; c < kVectors; ++c) {
        const Float scales = V::load(scale + c * V::kLanes);
        QC_UNROLL
        for (int r = 0; r < kRows; ++r) {
          float* total = out + r * kPair + c * V::kLanes;
          V::store(total, V::multiply_add(V::to_float(sums[r][c]), scales, V::load(total)));
        }
      }
      step = job.step_ends[g];
      corrections += kRows;
      scale += pair.stride;
      if (zero) zero += pair.stride;
    }
  }

  // Adds what the zero points and the lift of the stored weights make of the sums of codes.
  static QC_INLINE void add_corrections(const int32_t* corrections, const int8_t* zero, int lift, Sums& sums) {
    QC_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      if (zero) {
        const Int lifted = V::add(V::load_int8(zero + c * V::kLanes), V::splat(lift));
        QC_UNROLL
        for (int r = 0; r < kRows; ++r) sums[r][c] = V::add(sums[r][c], V::multiply(V::splat(corrections[r]), lifted));
      } else {
        QC_UNROLL
        for (int r = 0; r < kRows; ++r) sums[r][c] = V::add(sums[r][c], V::splat(corrections[r]));
      }
    }
  }
};

using RowsKernel = void (*)(const ClusterJob&, const Pair&, int64_t, float*);

template <class V, int kWeightBits, int kWeightMax, int kCodeBits, int kRows>
void multiply_rows(const ClusterJob& job, const Pair& pair, int64_t row, float* out) {
  constexpr int kVectors = V::vectors(kRows);
  for (int column = 0; column < kPair; column += kVectors * V::kLanes) {
    Kernel<V, kWeightBits, kWeightMax, kCodeBits, kRows, kVectors>::run(job, pair, row, column, out);
  }
}

// What multiplies `rows` rows.
template <class V, int kWeightBits, int kWeightMax, int kCodeBits, int kRows = V::kRows>
RowsKernel rows_kernel(int64_t rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return rows_kernel<V, kWeightBits, kWeightMax, kCodeBits, kRows - 1>(rows);
  }
  return multiply_rows<V, kWeightBits, kWeightMax, kCodeBits, kRows>;
}

// Sums in 32 bits do not depend on how great codes can be.
template <class V, int kWeightBits, int kWeightMax>
RowsKernel rows_kernel(int code_bits, int64_t rows) {
  if constexpr (V::kDot == Dot::kInt16) {
    if (code_bits == 4) return rows_kernel<V, kWeightBits, kWeightMax, 4>(rows);
    if (code_bits == 3) return rows_kernel<V, kWeightBits, kWeightMax, 3>(rows);
  }
  return rows_kernel<V, kWeightBits, kWeightMax, 8>(rows);
}

template <class V>
RowsKernel rows_kernel(const Pair& pair, int code_bits, int64_t rows) {
  if (pair.tile_bits == 3) return rows_kernel<V, 3, 7>(code_bits, rows);
  if (pair.tile_bits == 4) return rows_kernel<V, 4, 15>(code_bits, rows);
  if constexpr (V::kDot == Dot::kInt16) {
    if (pair.lift <= lift(4)) return rows_kernel<V, 8, 15>(code_bits, rows);
  }
  return rows_kernel<V, 8, 255>(code_bits, rows);
}

template <float (*kFunction)(float)>
inline void apply(float* y) {
  for (int i = 0; i < kPair; ++i) y[i] = kFunction(y[i]);
}

inline void activate(Activation activation, float* y) {
  switch (activation) {
    case Activation::kNone: return;
    case Activation::kRelu: return apply<relu>(y);
    case Activation::kGelu: return apply<gelu>(y);
    case Activation::kGeluTanh: return apply<gelu_tanh>(y);
    case Activation::kSilu: return apply<silu>(y);
  }
}

// What becomes of the sums of a pair, row by row.
struct Epilogue {
  const ClusterJob& job;
  const Pair& pair;
  float bias[kPair] = {};
  float offset[kPair] = {};

  Epilogue(const ClusterJob& job, const Pair& pair) : job(job), pair(pair) {
    const ClusterMatMul& product = *job.product;
    if (product.bias.data) job.quantize->widen(product.bias, pair.column, pair.count, bias);
    if (product.offset) std::memcpy(offset, product.offset + pair.column, static_cast<size_t>(pair.count) * sizeof(float));
  }

  void finish(int64_t row, float* y) const {
    const ClusterMatMul& product = *job.product;
    const int64_t at = row * product.weight.columns + pair.column;
    const float token_scale = product.token_scale ? product.token_scale[row] : 1.0f;
    const float token_zero = product.token_zero ? product.token_zero[row] : 1.0f;
    for (int i = 0; i < kPair; ++i) y[i] = fmaf(token_scale, fmaf(-token_zero, offset[i], y[i]), bias[i]);
    activate(product.activation, y);
    if (product.multiplier.data) {
      float multiplier[kPair] = {};
      job.quantize->widen(product.multiplier, at, pair.count, multiplier);
      for (int i = 0; i < kPair; ++i) y[i] *= multiplier[i];
    }
    if (product.requantize) {
      const int64_t index = pair.column / kPair;
      const int64_t step_bytes = 4 * product.requantize->bits;
      const int64_t row_bytes = steps_of(product.weight.columns) * step_bytes;
      job.quantize->quantize(y, pair.count, job.out_affines[index], product.out_codes + row * row_bytes + index * step_bytes);
    } else {
      job.quantize->narrow(y, pair.count, product.y, at);
    }
  }
};

template <class V>
void multiply(const ClusterJob& job, const Block& block) {
  const ClusterMatMul& product = *job.product;
  const bool copy = block.part_end - block.part > 1;
  for (int64_t index = block.pair; index < block.pair_end; ++index) {
    Pair pair = pair_of(product.weight, job.groups, job.steps, index, copy, block);
    if (block.part_end - block.part > kPartsToUnpack) {
      if (pair.tile_bits == 4) unpack_tiles<V, 4>(pair, job.steps, block.weights);
      if (pair.tile_bits == 3) unpack_tiles<V, 3>(pair, job.steps, block.weights);
    }
    const Epilogue epilogue(job, pair);
    for (int64_t part = block.part; part < block.part_end; ++part) {
      const Rows rows = rows_of(product.rows, job.parts, part);
      float y[V::kRows * kPair];
      rows_kernel<V>(pair, product.a_bits, rows.count)(job, pair, rows.first, y);
      for (int64_t r = 0; r < rows.count; ++r) epilogue.finish(rows.first + r, y + r * kPair);
    }
  }
}

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

template <class V, int kBits>
inline typename V::Float load_zero(const Pair& pair, int64_t g, int column) {
  const auto lifted = V::splat(lift(kBits));
  return V::to_float(pair.zero ? V::add(V::load_int8(pair.zero + g * pair.stride + column), lifted) : lifted);
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
      zeros[c] = load_zero<V, kBits>(pair, g, column + c * V::kLanes);
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
      totals[c] = V::multiply_add(sums[c], V::load(pair.scale + g * pair.stride + column + c * V::kLanes), totals[c]);
    }
  }
  QC_UNROLL
  for (int c = 0; c < kVectors; ++c) V::store(out + column + c * V::kLanes, totals[c]);
}

// For more rows, weights are turned to floats once for all of them, some steps at a time.
constexpr int kChunk = 4;

template <class V, int kBits>
void unpack_weights(const Pair& pair, int64_t g, int64_t step, int64_t step_end, float* weights) {
  for (int column = 0; column < kPair; column += V::kLanes) {
    const auto zero = load_zero<V, kBits>(pair, g, column);
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
      unpack_weights<V, kBits>(pair, g, step, chunk_end, weights);
      for (int64_t part = block.part; part < block.part_end; ++part) {
        const Rows rows = rows_of(job.product->rows, job.parts, part);
        const float* x = job.x + rows.first * x_stride + step * kStep;
        channels_kernel<V>(rows.count)(x, x_stride, weights, (chunk_end - step) * kStep, sums + (rows.first - row) * kPair);
      }
    }
    const float* scale = pair.scale + g * pair.stride;
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
  float* sums = block.floats + job.groups * kPair;
  float* totals = sums + rows * kPair;
  for (int64_t index = block.pair; index < block.pair_end; ++index) {
    const Pair pair = pair_of(product.weight, job.groups, job.steps, index, rows > 1, block);
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

template <class V>
constexpr MatMulKernels matmul_kernels() {
  return {V::kRows, V::kFloatRows, unpack, multiply<V>, multiply_weight<V>};
}

}  // namespace
}  // namespace qc
