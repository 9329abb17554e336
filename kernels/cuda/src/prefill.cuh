// Products of many rows on tensor cores. A block has 128 columns, two tiles for each of four warps, and 32 or 64 rows for each of two;
// weights and activations come through shared memory in chunks of 128 bytes of a row, some chunks ahead.
#pragma once
#include <algorithm>

#include "product.cuh"

namespace qc::cuda {

constexpr int kPrefillThreads = 256;
constexpr int kColumnWarps = 4;
constexpr int kRowWarps = 2;
constexpr int kBlockTiles = 2 * kColumnWarps;
constexpr int kChunkBytes = 128;
// Chunks that there is shared memory for at a time: as many as a GPU has room for, up to this.
constexpr int kMaxStages = 4;
constexpr int kMinStages = 2;

// Rows of activations, aligned to 16 bytes; what of a chunk is beyond `pitch` is zeros.
struct Rows {
  const uint8_t* data;
  int64_t pitch;  // bytes
  int64_t count;
};

// The warp's part of a block's work.
struct Place {
  int column_warp = static_cast<int>(threadIdx.x) / 32 % kColumnWarps;
  int row_warp = static_cast<int>(threadIdx.x) / 32 / kColumnWarps;
  int64_t tile = static_cast<int64_t>(blockIdx.x) * kBlockTiles;
};

// The chunks in shared memory: activations [rows][kChunkBytes], then weights [tiles][kSteps][kBits words of 64 bytes]. Pieces of 16 bytes
// change places so that what the lanes of a warp read at a time lies in different banks.
template <int kBits, int kSteps, int kBlockRows>
struct Stage {
  static constexpr int kStepBytes = kBits * 4 * static_cast<int>(kTile);
  static constexpr int kActivationBytes = kBlockRows * kChunkBytes;
  static constexpr int kBytes = kActivationBytes + kBlockTiles * kSteps * kStepBytes;
  // Of a row, what a step takes.
  static constexpr int kUnit = kChunkBytes / kSteps;

  uint8_t* memory;

  // Bytes of a step of a row, at an offset within these.
  __device__ uint8_t* activations(int row, int step, int offset) const {
    return memory + row * kChunkBytes + (step ^ (row % kSteps)) * kUnit + offset;
  }
  // A piece of a step of a tile.
  __device__ uint8_t* weights(int tile, int step, int piece) const {
    const int moved = piece ^ (2 * (piece / 8 % 4));
    return memory + kActivationBytes + (tile * kSteps + step) * kStepBytes + moved * 16;
  }

  // Calls take(column, words) with what a lane needs of a step, for its four columns.
  template <class Take>
  __device__ void load_columns(const Place& place, const Lane& lane, int step, const Take& take) const {
    const int tile = 2 * place.column_warp + lane.tile();
    uint4 words[Quads<kBits>::kWords];
#pragma unroll
    for (int i = 0; i < Quads<kBits>::kWords; ++i) {
      words[i] = *reinterpret_cast<const uint4*>(weights(tile, step, 4 * Quads<kBits>::word(lane.t, i) + lane.g % 4));
    }
#pragma unroll
    for (int column = 0; column < 4; ++column) {
      uint32_t of_column[Quads<kBits>::kWords];
#pragma unroll
      for (int i = 0; i < Quads<kBits>::kWords; ++i) of_column[i] = component(words[i], column);
      take(column, of_column);
    }
  }
};

// What a thread copies of the activations: the same 16 bytes of a chunk of every 32nd row.
template <class StageType, int kBlockRows>
class ActivationCopier {
 public:
  __device__ ActivationCopier(const Rows& rows, int64_t first_row)
      : rows_(rows),
        offset_(static_cast<int>(threadIdx.x) % kPieces * 16),
        from_(rows.data + (first_row + thread_row()) * rows.pitch + offset_),
        left_(static_cast<int>(min(rows.count - first_row, int64_t{kBlockRows})) - thread_row()) {}

  __device__ void copy(const StageType& stage, int chunk) const {
    const int64_t at = static_cast<int64_t>(chunk) * kChunkBytes;
    uint8_t* to = stage.activations(thread_row(), offset_ / StageType::kUnit, offset_ % StageType::kUnit);
#pragma unroll
    for (int row = 0; row < kBlockRows; row += kRowsAtOnce) {
      const bool exists = row < left_ && at + offset_ < rows_.pitch;
      copy_async(to + row * kChunkBytes, exists ? from_ + row * rows_.pitch + at : rows_.data, exists);
    }
  }

 private:
  static constexpr int kPieces = kChunkBytes / 16;
  static constexpr int kRowsAtOnce = kPrefillThreads / kPieces;
  __device__ static int thread_row() { return static_cast<int>(threadIdx.x) / kPieces; }

  const Rows& rows_;
  int offset_;
  const uint8_t* from_;
  int left_;
};

// What a thread copies of the weights: the same 16 bytes of a chunk, which lies as a whole in a tile, of one tile or of several.
template <class StageType, int kBits, int kSteps>
class WeightCopier {
 public:
  __device__ WeightCopier(const DeviceWeight& weight, int64_t first_tile)
      : tile_bytes_(static_cast<int64_t>(weight.steps) * StageType::kStepBytes),
        steps_(weight.steps),
        tiles_(static_cast<int>(min(weight.tiles - first_tile, int64_t{kBlockTiles}))),
        tile_(static_cast<int>(threadIdx.x) / kPieces),
        piece_(static_cast<int>(threadIdx.x) % kPieces),
        from_(weight.packed + (first_tile + tile_) * tile_bytes_ + piece_ * 16),
        nothing_(weight.packed) {}

  __device__ void copy(const StageType& stage, int chunk) const {
    if (tile_ >= kTilesAtOnce) return;
    const int step = piece_ / kPiecesOfStep;
    const bool has_step = chunk * kSteps + step < steps_;
    const uint8_t* from = from_ + static_cast<int64_t>(chunk) * kSteps * StageType::kStepBytes;
    uint8_t* to = stage.weights(tile_, step, piece_ % kPiecesOfStep);
#pragma unroll
    for (int tile = 0; tile < kBlockTiles; tile += kTilesAtOnce) {
      if (tile_ + tile >= kBlockTiles) break;
      const bool exists = has_step && tile_ + tile < tiles_;
      copy_async(to + tile * kSteps * StageType::kStepBytes, exists ? from + tile * tile_bytes_ : nothing_, exists);
    }
  }

 private:
  static constexpr int kPiecesOfStep = StageType::kStepBytes / 16;
  static constexpr int kPieces = kSteps * kPiecesOfStep;
  static constexpr int kTilesAtOnce = kPrefillThreads / kPieces < kBlockTiles ? kPrefillThreads / kPieces : kBlockTiles;

  int64_t tile_bytes_;
  int steps_;
  // Of those of the block, how many exist.
  int tiles_;
  int tile_, piece_;
  const uint8_t* from_;
  const uint8_t* nothing_;
};

// Waits for the chunk that is next, the `stages` - 2 after it being under way.
__device__ inline void wait_for_chunk(int stages) {
  if (stages == kMaxStages) {
    wait_copies<2>();
  } else if (stages == 3) {
    wait_copies<1>();
  } else {
    wait_copies<0>();
  }
}

// Calls copy(stage, chunk) some chunks ahead, and compute(stage, chunk) when what was copied has arrived, for all chunks in order.
template <class StageType, class Copy, class Compute>
__device__ void for_chunks(int stages, int chunks, const Copy& copy, const Compute& compute) {
  uint8_t* memory = shared_memory();
  const auto stage_of = [&](int index) { return StageType{memory + index * StageType::kBytes}; };
  const auto copy_if_any = [&](int chunk, int index) {
    if (chunk < chunks) copy(stage_of(index), chunk);
    commit_copies();
  };
  for (int chunk = 0; chunk < stages - 1; ++chunk) copy_if_any(chunk, chunk);
  for (int chunk = 0, index = 0; chunk < chunks; ++chunk) {
    wait_for_chunk(stages);
    __syncthreads();
    // The stage that was read in the last round is free: all have passed the barrier since.
    copy_if_any(chunk + stages - 1, index == 0 ? stages - 1 : index - 1);
    compute(stage_of(index), chunk);
    index = index + 1 == stages ? 0 : index + 1;
  }
}

// Four columns of the rows 2 t and 2 t + 1 of eight, for each eight rows of a warp.
template <int kEights>
struct WarpTotals {
  static constexpr int kRows = 8 * kEights;
  Four rows[kEights][2] = {};

  static constexpr int kSharedBytes = kPrefillThreads / 32 * ResultTile::bytes(kRows);

  // Takes the shared memory of the stages, which have been read.
  __device__ void finish_all(const Epilogue& epilogue, const Place& place, const Lane& lane, int64_t first_row, int64_t count) const {
    const int warp = static_cast<int>(threadIdx.x) / 32, index = static_cast<int>(threadIdx.x) % 32;
    const ResultTile tile(shared_memory() + warp * ResultTile::bytes(kRows));
    wait_copies<0>();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2 * kEights; ++i) tile.put(i / 2 * 8 + 2 * lane.t + i % 2, lane.g, rows[i / 2][i % 2]);
    __syncwarp();
    const int q = index % 8;
#pragma unroll 1
    for (int row = index / 8; row < kRows; row += 4) {
      finish(epilogue, first_row + row, first_row + row < count, place.tile / 2 + place.column_warp, q, tile.get(row, q));
    }
  }
};

// Up to so many rows, blocks have fewer of them, so that there are more blocks.
constexpr int64_t kRowsForSmallBlocks = 256;

// How a product is launched, and with how many stages.
struct PrefillShape {
  Shape shape;
  int stages;
};

template <class StageType, int kEights>
PrefillShape prefill_shape(const DeviceWeight& weight, int64_t rows) {
  constexpr int64_t kBlockRows = kRowWarps * WarpTotals<kEights>::kRows;
  const int stages = std::min(kMaxStages, shared_bytes_of_block() / StageType::kBytes);
  if (stages < kMinStages) throw std::runtime_error("CUDA: a block has too little shared memory for the products of qc");
  const int bytes = std::max(stages * StageType::kBytes, WarpTotals<kEights>::kSharedBytes);
  return {{dim3(divide_up(weight.tiles, kBlockTiles), divide_up(rows, kBlockRows)), kPrefillThreads, static_cast<size_t>(bytes)}, stages};
}

}  // namespace qc::cuda
