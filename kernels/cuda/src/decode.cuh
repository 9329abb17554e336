// Products of few rows that are bound by reading the weight. A block has two tiles of the weight; its warps share the
// channels, each reading its part of the tiles from front to back, 16 bytes a lane and several steps ahead, once.
//
// Lanes of rows and of tiles that do not exist read the last one that does, and their results are dropped.
#pragma once
#include "product.cuh"

namespace qc::cuda {

constexpr int kDecodeWarps = 8;
constexpr int kDecodeThreads = 32 * kDecodeWarps;
constexpr int kRowsOfMma = 8;
// More rows than fit a block are the work of others, which read the weight again, from the cache.
constexpr int64_t kDecodeRows = 64;

// The words of four columns that a lane needs of a step.
template <int kBits>
struct WeightWords {
  uint4 words[Quads<kBits>::kWords];

  __device__ void of_column(int column, uint32_t (&to)[Quads<kBits>::kWords]) const {
#pragma unroll
    for (int i = 0; i < Quads<kBits>::kWords; ++i) to[i] = component(words[i], column);
  }
};

// Reads one pair of tiles from a step on.
template <int kBits>
class WeightReader {
 public:
  __device__ WeightReader(const DeviceWeight& weight, int64_t pair, int step, const Lane& lane) {
    const int64_t tile = min(2 * pair + lane.tile(), static_cast<int64_t>(weight.tiles) - 1);
    const uint8_t* from = weight.packed + (tile * weight.steps + step) * kStepBytes + lane.offset();
#pragma unroll
    for (int i = 0; i < Quads<kBits>::kWords; ++i) {
      from_[i] = reinterpret_cast<const uint4*>(from + Quads<kBits>::word(lane.t, i) * 4 * kTile);
    }
  }

  // Of the step this many on.
  __device__ void load(int ahead, WeightWords<kBits>& to) const {
#pragma unroll
    for (int i = 0; i < Quads<kBits>::kWords; ++i) to.words[i] = load_once(from_[i] + ahead * kStepVectors);
  }
  __device__ void advance(int steps) {
#pragma unroll
    for (const uint4*& from : from_) from += steps * kStepVectors;
  }

 private:
  static constexpr int kStepBytes = kBits * 4 * static_cast<int>(kTile);
  static constexpr int kStepVectors = kStepBytes / 16;
  const uint4* from_[Quads<kBits>::kWords];
};

// Of rows 2 t and 2 t + 1 and four columns.
using Totals = Four[2];

// Steps first ... last - 1, `kAhead` of which are on their way at any time, to slots that stay in registers. load(ahead, slot) reads the
// step so many on from where advance(steps) has come to. First of all, what comes first is sent for:
template <int kAhead, class Slot, class Load>
__device__ void begin_steps(int first, int last, Slot (&slots)[kAhead], const Load& load) {
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    if (first + i < last) load(i, slots[i]);
  }
}

// Then use(step, slot) has one after the other.
template <int kAhead, class Slot, class Load, class Advance, class Use>
__device__ void for_steps(int first, int last, Slot (&slots)[kAhead], const Load& load, const Advance& advance, const Use& use) {
  for (int step = first; step < last; step += kAhead) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (step + i >= last) return;
      use(step + i, slots[i]);
      if (step + i + kAhead < last) load(i + kAhead, slots[i]);
    }
    advance(kAhead);
  }
}

// The steps of a warp: a share of all of them, as even as can be.
__device__ inline int first_step(int steps, int warp) { return static_cast<int>(static_cast<int64_t>(steps) * warp / kDecodeWarps); }

// Blocks have 8 * row_blocks rows.
inline Shape decode_shape(const DeviceWeight& weight, int64_t rows, int row_blocks) {
  const auto shared = static_cast<size_t>(kDecodeWarps * ResultTile::bytes(kRowsOfMma * row_blocks));
  return {dim3(divide_up(weight.tiles, 2), divide_up(rows, kRowsOfMma * row_blocks)), kDecodeThreads, shared};
}

// Adds up what the warps have, in their order, and finishes it.
template <int kRowBlocks>
__device__ void reduce_and_finish(const Totals (&totals)[kRowBlocks], const Epilogue& epilogue, int64_t rows, int64_t pair,
                                  const Lane& lane) {
  constexpr int kRows = kRowsOfMma * kRowBlocks;
  const int warp = static_cast<int>(threadIdx.x) / 32, index = static_cast<int>(threadIdx.x) % 32;
  const auto tile_of = [](int w) { return ResultTile(shared_memory() + w * ResultTile::bytes(kRows)); };
#pragma unroll
  for (int i = 0; i < 2 * kRowBlocks; ++i) tile_of(warp).put(i / 2 * kRowsOfMma + 2 * lane.t + i % 2, lane.g, totals[i / 2][i % 2]);
  __syncthreads();
  // A warp finishes four rows.
  if (4 * warp >= kRows) return;
  const int row = 4 * warp + index / 8, q = index % 8;
  Four sum = {};
  for (int w = 0; w < kDecodeWarps; ++w) {
    const Four part = tile_of(w).get(row, q);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum.values[i] += part.values[i];
  }
  const int64_t at = static_cast<int64_t>(blockIdx.y) * kRows + row;
  finish(epilogue, at, at < rows, pair, q, sum);
}

}  // namespace qc::cuda
