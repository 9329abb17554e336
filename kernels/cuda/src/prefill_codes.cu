// ClusterMatMul of many rows. Codes of activations are first made signed bytes, whatever their bits, and added up for each cluster, once
// for all columns; then the products run on bytes.
#include "matmul.cuh"
#include "prefill.cuh"
#include "scratch.h"

namespace qc::cuda {
namespace {

constexpr int kStepsOfChunk = kChunkBytes / static_cast<int>(kStep);

struct Unpacking {
  const uint8_t* codes;  // [rows, bytes_of(K, bits)]
  const int32_t* ends;   // [G], of clusters, in steps
  int64_t channels;
  int64_t rows;
  int32_t steps;
  int64_t pitch;    // of `bytes`: a multiple of kChunkBytes
  int64_t of_sums;  // rows that there is room for in `sums`
  int8_t* bytes;    // [rows, pitch], zeros from K on
  int32_t* sums;    // [G, of_sums]
};

// The quad q of a step.
template <int kBits>
__device__ uint32_t load_quad(const uint32_t* words, int q) {
  uint32_t of_lane[Quads<kBits>::kWords], quads[2];
#pragma unroll
  for (int i = 0; i < Quads<kBits>::kWords; ++i) of_lane[i] = words[Quads<kBits>::word(q / 2, i)];
  Quads<kBits>::unpack(of_lane, q / 2, quads[0], quads[1]);
  return q % 2 == 0 ? quads[0] : quads[1];
}

// A warp has a row; 8 lanes have the quads of a step.
template <int kBits>
__global__ void __launch_bounds__(256) unpack_codes(const __grid_constant__ Unpacking u) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * 8 + threadIdx.x / 32;
  if (row >= u.of_sums) return;
  // Rows beyond the last one are read by whole blocks: they get sums, of nothing.
  const bool exists = row < u.rows;
  const auto* words = reinterpret_cast<const uint32_t*>(u.codes + row * bytes_of(u.channels, kBits));
  auto* bytes = reinterpret_cast<uint32_t*>(u.bytes + row * u.pitch);
  int32_t sum = 0;
  int cluster = 0;
  int end = u.ends[0];
#pragma unroll 2
  for (int chunk = 0; chunk * kChunkBytes < u.pitch; ++chunk) {
    const int first = chunk * kStepsOfChunk;
    const int step = first + lane / 8, q = lane % 8;
    uint32_t quad = 0;
    if (exists && step < u.steps) {
      quad = signed_quad<kBits>(load_quad<kBits>(words + step * kBits, q)) & first_bytes(u.channels - step * kStep - 4 * q);
    }
    if (exists) bytes[chunk * 32 + lane] = quad;
    int32_t of_step = __dp4a(static_cast<int>(quad), 0x01010101, 0);
    for (int apart = 1; apart < 8; apart *= 2) of_step += __shfl_xor_sync(0xFFFFFFFF, of_step, apart);
    for (int i = 0; i < kStepsOfChunk && first + i < u.steps; ++i) {
      sum += __shfl_sync(0xFFFFFFFF, of_step, 8 * i);
      if (first + i + 1 < end) continue;
      if (lane == 0) u.sums[cluster * u.of_sums + row] = sum;
      sum = 0;
      if (first + i + 1 < u.steps) end = u.ends[++cluster];
    }
  }
}

struct Problem {
  DeviceWeight weight;
  Epilogue epilogue;
  Rows rows;
  const int32_t* sums;  // [G, of_sums]
  int64_t of_sums;
  int stages = 0;
};

// Integers between -2^22 and 2^22 that are added to the bits of this number are its value's last places, which costs less to take out than
// a conversion does.
constexpr int32_t kIntegersBits = 0x4B400000;
constexpr float kIntegers = 12582912.0f;

// Sums of one cluster for all rows of a warp: they begin with what the zero points take off.
template <int kWeightBits, int kEights>
class Sums {
 public:
  int32_t products[kEights][2][4];

  // `of_rows`: the sums of the codes of the warp's rows.
  __device__ void begin(const int32_t* of_rows, const ClusterColumns& columns, int steps, const Lane& lane) {
    small = static_cast<int64_t>(steps) * kStep * 128 * ((1 << kWeightBits) - 1) < (1 << 22);
    const int32_t start = small ? kIntegersBits : 0;
#pragma unroll
    for (int j = 0; j < kEights; ++j) {
      const int2 of_two = *reinterpret_cast<const int2*>(of_rows + 8 * j + 2 * lane.t);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        products[j][i / 2][i % 2 * 2] = start - columns.zero(i, kWeightBits) * of_two.x;
        products[j][i / 2][i % 2 * 2 + 1] = start - columns.zero(i, kWeightBits) * of_two.y;
      }
    }
  }

  // totals += scale (sum of a w - zero sum of a)
  __device__ void flush(const Four& scales, WarpTotals<kEights>& totals) const {
    if (small) {
      flush(scales, totals, [](int32_t sum) { return __int_as_float(sum) - kIntegers; });
    } else {
      flush(scales, totals, [](int32_t sum) { return static_cast<float>(sum); });
    }
  }

 private:
  template <class ToFloat>
  __device__ void flush(const Four& scales, WarpTotals<kEights>& totals, const ToFloat& to_float) const {
#pragma unroll
    for (int j = 0; j < kEights; ++j) {
#pragma unroll
      for (int row = 0; row < 2; ++row) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float& total = totals.rows[j][row].values[i];
          total = fmaf(to_float(products[j][i / 2][i % 2 * 2 + row]), scales.values[i], total);
        }
      }
    }
  }

  bool small = false;
};

// A chunk, and for each of its steps at which a cluster begins, the sums of its codes [rows].
template <int kWeightBits, int kBlockRows>
struct CodesStage : Stage<kWeightBits, kStepsOfChunk, kBlockRows> {
  using Base = Stage<kWeightBits, kStepsOfChunk, kBlockRows>;
  static constexpr int kSumsBytes = kBlockRows * static_cast<int>(sizeof(int32_t));
  static constexpr int kBytes = Base::kBytes + kStepsOfChunk * kSumsBytes;

  __device__ const int32_t* sums(int step) const {
    return reinterpret_cast<const int32_t*>(this->memory + Base::kBytes + step * kSumsBytes);
  }

  __device__ void copy_sums(const Problem& problem, int64_t first_row, int chunk) const {
    constexpr int kPieces = kSumsBytes / 16;
    static_assert(kStepsOfChunk * kPieces <= kPrefillThreads, "a thread has a piece");
    const int i = static_cast<int>(threadIdx.x) / kPieces, piece = static_cast<int>(threadIdx.x) % kPieces;
    const int step = chunk * kStepsOfChunk + i;
    if (i >= kStepsOfChunk || step >= problem.weight.steps) return;
    const int cluster = problem.weight.of_step[step];
    if (step > 0 && problem.weight.of_step[step - 1] == cluster) return;
    uint8_t* to = this->memory + Base::kBytes + i * kSumsBytes + piece * 16;
    copy_async(to, problem.sums + cluster * problem.of_sums + first_row + piece * 4, true);
  }
};

template <int kWeightBits, int kEights>
__global__ void __launch_bounds__(kPrefillThreads, 1) prefill_codes(const __grid_constant__ Problem problem) {
  constexpr int kWarpRows = 8 * kEights;
  using StageType = CodesStage<kWeightBits, kRowWarps * kWarpRows>;
  const int steps = problem.weight.steps;
  const Lane lane;
  const Place place;
  const int64_t block_row = static_cast<int64_t>(blockIdx.y) * kRowWarps * kWarpRows;
  const int row = place.row_warp * kWarpRows;
  WarpTotals<kEights> totals;
  Sums<kWeightBits, kEights> sums;
  ClusterWalk walk(problem.weight, 0, (place.tile / 2 + place.column_warp) * kStep + 4 * lane.g);
  int start = 0;
  const ActivationCopier<StageType, kRowWarps * kWarpRows> activations(problem.rows, block_row);
  const WeightCopier<StageType, kWeightBits, kStepsOfChunk> weights(problem.weight, place.tile);
  const auto copy = [&](const StageType& stage, int chunk) {
    activations.copy(stage, chunk);
    weights.copy(stage, chunk);
    stage.copy_sums(problem, block_row, chunk);
  };
  const auto compute = [&](const StageType& stage, int chunk) {
#pragma unroll
    for (int i = 0; i < kStepsOfChunk; ++i) {
      const int step = chunk * kStepsOfChunk + i;
      if (step >= steps) break;
      if (step == start) sums.begin(stage.sums(i) + row, walk.current(), walk.current().end - start, lane);
      uint32_t a[2][4];
      stage.load_columns(place, lane, i, [&](int column, const auto& words) {
        Quads<kWeightBits>::unpack(words, lane.t, a[column / 2][column % 2], a[column / 2][column % 2 + 2]);
      });
#pragma unroll
      for (int j = 0; j < kEights; ++j) {
        const auto quads = *reinterpret_cast<const uint2*>(stage.activations(row + 8 * j + lane.g, i, 8 * lane.t));
        const uint32_t b[2] = {quads.x, quads.y};
        mma_bytes(sums.products[j][0], a[0], b);
        mma_bytes(sums.products[j][1], a[1], b);
      }
      if (step + 1 < walk.current().end) continue;
      sums.flush(walk.current().scales, totals);
      start = step + 1;
      walk.advance();
    }
  };
  for_chunks<StageType>(problem.stages, divide_up(steps, kStepsOfChunk), copy, compute);
  totals.finish_all(problem.epilogue, place, lane, block_row + row, problem.rows.count);
}

template <int kWeightBits, int kEights>
void launch_for(const Problem& problem, cudaStream_t stream) {
  const PrefillShape how = prefill_shape<CodesStage<kWeightBits, kRowWarps * 8 * kEights>, kEights>(problem.weight, problem.rows.count);
  Problem staged = problem;
  staged.stages = how.stages;
  launch(prefill_codes<kWeightBits, kEights>, how.shape, stream, staged);
}

}  // namespace

void prefill_codes_matmul(const ClusterMatMul& product, cudaStream_t stream) {
  const Weight& weight = product.weight;
  const int64_t channels = weight.clusters.channels();
  const int64_t pitch = (channels + kChunkBytes - 1) / kChunkBytes * kChunkBytes;
  // Blocks have 128 rows at the most.
  const int64_t of_sums = (product.rows + 127) / 128 * 128;
  const Scratch bytes(static_cast<size_t>(product.rows * pitch), stream);
  const Scratch sums(static_cast<size_t>(of_sums) * weight.clusters.count() * sizeof(int32_t), stream);
  const DeviceWeight w = device_weight(weight);
  const Unpacking unpacking = {product.codes, w.ends,  channels,           product.rows,      w.steps,
                               pitch,         of_sums, bytes.as<int8_t>(), sums.as<int32_t>()};
  for_bits(product.a_bits, [&](auto bits) { launch(unpack_codes<bits()>, {dim3(divide_up(of_sums, 8)), 256}, stream, unpacking); });
  const Problem problem = {w, epilogue_of(product), {bytes.as<uint8_t>(), pitch, product.rows}, sums.as<int32_t>(), of_sums};
  for_bits(weight.bits, [&](auto bits) {
    product.rows <= kRowsForSmallBlocks ? launch_for<bits(), 4>(problem, stream) : launch_for<bits(), 8>(problem, stream);
  });
}

}  // namespace qc::cuda
