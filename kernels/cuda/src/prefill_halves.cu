// Int4MatMul and Int3MatMul of many rows of f16 or bf16.
#include "device/halves.cuh"
#include "matmul.cuh"
#include "prefill.cuh"

namespace qc::cuda {
namespace {

constexpr int kStepsOfChunk = kChunkBytes / (2 * static_cast<int>(kStep));

struct Problem {
  DeviceWeight weight;
  Epilogue epilogue;
  Rows rows;
  int stages = 0;
};

template <int kEights>
struct Sums {
  float products[kEights][2][4] = {};

  // totals += scale * sum of x (w - zero)
  __device__ void flush(const Four& scales, WarpTotals<kEights>& totals) {
#pragma unroll
    for (int j = 0; j < kEights; ++j) {
#pragma unroll
      for (int row = 0; row < 2; ++row) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float& total = totals.rows[j][row].values[i];
          total = fmaf(products[j][i / 2][i % 2 * 2 + row], scales.values[i], total);
        }
      }
    }
    *this = Sums();
  }
};

template <int kBits, FloatType kType, int kEights>
__global__ void __launch_bounds__(kPrefillThreads, 1) prefill_halves(const __grid_constant__ Problem problem) {
  constexpr int kWarpRows = 8 * kEights;
  using StageType = Stage<kBits, kStepsOfChunk, kRowWarps * kWarpRows>;
  const int steps = problem.weight.steps;
  const Lane lane;
  const Place place;
  const int64_t block_row = static_cast<int64_t>(blockIdx.y) * kRowWarps * kWarpRows;
  const int row = place.row_warp * kWarpRows;
  WarpTotals<kEights> totals;
  Sums<kEights> sums;
  ClusterWalk walk(problem.weight, 0, (place.tile / 2 + place.column_warp) * kStep + 4 * lane.g);
  const ActivationCopier<StageType, kRowWarps * kWarpRows> activations(problem.rows, block_row);
  const WeightCopier<StageType, kBits, kStepsOfChunk> weights(problem.weight, place.tile);
  const auto copy = [&](const StageType& stage, int chunk) {
    activations.copy(stage, chunk);
    weights.copy(stage, chunk);
  };
  const auto compute = [&](const StageType& stage, int chunk) {
#pragma unroll
    for (int i = 0; i < kStepsOfChunk; ++i) {
      const int step = chunk * kStepsOfChunk + i;
      if (step >= steps) break;
      uint32_t a[2][2][4];
      stage.load_columns(place, lane, i, [&](int column, const auto& words) {
        const HalfQuads<kBits, kType> quads(words, lane.t, HalfZero<kBits, kType>(walk.current().zero(column, kBits)));
#pragma unroll
        for (int k = 0; k < 4; ++k) a[k / 2][column / 2][column % 2 + k % 2 * 2] = quads.pairs[k / 2][k % 2];
      });
#pragma unroll
      for (int j = 0; j < kEights; ++j) {
        const auto x = *reinterpret_cast<const uint4*>(stage.activations(row + 8 * j + lane.g, i, 16 * lane.t));
        uint32_t b[2][2];
        activations_of_quads(x, b);
#pragma unroll
        for (int q = 0; q < 2; ++q) {
          mma_halves<kType>(sums.products[j][0], a[q][0], b[q]);
          mma_halves<kType>(sums.products[j][1], a[q][1], b[q]);
        }
      }
      if (step + 1 < walk.current().end) continue;
      sums.flush(walk.current().scales, totals);
      walk.advance();
    }
  };
  for_chunks<StageType>(problem.stages, divide_up(steps, kStepsOfChunk), copy, compute);
  totals.finish_all(problem.epilogue, place, lane, block_row + row, problem.rows.count);
}

template <int kBits, FloatType kType, int kEights>
void launch_for(const Problem& problem, cudaStream_t stream) {
  const PrefillShape how = prefill_shape<Stage<kBits, kStepsOfChunk, kRowWarps * 8 * kEights>, kEights>(problem.weight, problem.rows.count);
  Problem staged = problem;
  staged.stages = how.stages;
  launch(prefill_halves<kBits, kType, kEights>, how.shape, stream, staged);
}

template <int kBits, FloatType kType>
void launch_for(const Problem& problem, cudaStream_t stream) {
  problem.rows.count <= kRowsForSmallBlocks ? launch_for<kBits, kType, 4>(problem, stream) : launch_for<kBits, kType, 8>(problem, stream);
}

}  // namespace

void prefill_halves_matmul(const WeightMatMul& product, const HalfRows& x, cudaStream_t stream) {
  const Weight& weight = product.weight;
  const Rows rows = {reinterpret_cast<const uint8_t*>(x.data), 2 * x.pitch, x.count};
  const Problem problem = {device_weight(weight), epilogue_of(product.bias, product.y, weight.columns), rows};
  for_halves(weight.bits, product.x.type, [&](auto bits, auto type) { launch_for<bits(), type()>(problem, stream); });
}

}  // namespace qc::cuda
