// Packed weights as products read them, two tiles at a time.
#pragma once
#include <cstdint>

#include "core/layout.h"
#include "isa/matmul_kernels.h"

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

// Two tiles of the weight. A tile that does not exist is stood in for by the one before, and its results are dropped.
struct Pair {
  int64_t column;
  int64_t count;
  const uint8_t* tiles[2];
  const float* scale;   // [groups, 32]
  const uint8_t* zero;  // [groups, 32], stored like codes, or null
  int lift;
  const int32_t* start;  // [groups, 32], what sums of a cluster start from if the weights are centered
};

template <class Job>
inline Pair pair_of(const Job& job, int64_t index) {
  const Weight& weight = job.product->weight;
  const int64_t column = index * kPair;
  const int64_t left = weight.columns - column;
  const int64_t tile_bytes = job.steps * weight.bits * 4 * kTile;
  const uint8_t* tile = weight.packed + 2 * index * tile_bytes;
  const int64_t table = index * job.groups * kPair;
  return {column,
          left < kPair ? left : kPair,
          {tile, left > kTile ? tile + tile_bytes : tile},
          job.tables->scale.data() + table,
          weight.zero ? job.tables->zero.data() + table : nullptr,
          lift(weight.bits),
          nullptr};
}

template <class V>
typename V::Int load_zeros(const Pair& pair, int64_t g, int column) {
  return pair.zero ? V::load_uint8(pair.zero + g * kPair + column) : V::splat(pair.lift);
}

// Makes bytes of the stored codes of both tiles.
template <class V, int kBits>
void unpack_tiles(Pair& pair, int64_t steps, uint8_t* bytes) {
  constexpr int64_t kStepBytes = kStep * kTile;
  for (auto& tile : pair.tiles) {
    const uint8_t* from = tile;
    tile = bytes;
    for (int64_t step = 0; step < steps; ++step, from += kBits * 4 * kTile, bytes += kStepBytes) {
      for (int first = 0; first < 4 * kTile; first += 4 * V::kLanes) {
        QC_UNROLL
        for (int quad = 0; quad < kQuads; ++quad) {
          V::store(bytes + quad * 4 * kTile + first, load_quad<V, kBits>(from + first, 4 * kTile, quad));
        }
      }
    }
  }
}

// Takes zero points off the codes of both tiles. Such weights w are multiplied by stored activations a + lift, so sums start from
// -lift times the sum of w.
template <class V, int kBits>
void center_tiles(const ClusterJob& job, Pair& pair, const Block& block) {
  constexpr int64_t kStepBytes = kStep * kTile;
  const auto ones = V::splat(0x01010101);
  const auto factor = V::splat(-lift(job.product->a_bits));
  for (int column = 0; column < kPair; column += V::kLanes) {
    const int first = column % kTile * 4;
    const uint8_t* from = pair.tiles[column / kTile] + first;
    uint8_t* to = block.weights + column / kTile * job.steps * kStepBytes + first;
    for (int64_t g = 0, step = 0; g < job.groups; ++g) {
      const auto zeros = V::multiply(load_zeros<V>(pair, g, column), ones);
      auto sum = V::splat(0);
      for (; step < job.step_ends[g]; ++step) {
        QC_UNROLL
        for (int quad = 0; quad < kQuads; ++quad) {
          const auto weights = V::subtract_bytes(load_quad<V, kBits>(from + step * kBits * 4 * kTile, 4 * kTile, quad), zeros);
          V::store(to + step * kStepBytes + quad * 4 * kTile, weights);
          sum = V::dot(sum, ones, weights);
        }
      }
      V::store(reinterpret_cast<uint8_t*>(block.starts + g * kPair + column), V::multiply(sum, factor));
    }
  }
  pair.tiles[0] = block.weights;
  pair.tiles[1] = block.weights + job.steps * kStepBytes;
  pair.start = block.starts;
}

}  // namespace
}  // namespace qc
