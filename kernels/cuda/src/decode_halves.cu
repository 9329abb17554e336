// Int4MatMul and Int3MatMul of few rows of f16 or bf16.
#include "decode.cuh"
#include "device/halves.cuh"
#include "matmul.cuh"

namespace qc::cuda {
namespace {

struct Problem {
  DeviceWeight weight;
  Epilogue epilogue;
  HalfRows x;
};

// Channels 8 t ... 8 t + 7 of a step of one row.
class RowReader {
 public:
  __device__ RowReader(const HalfRows& x, int64_t row, int step, const Lane& lane)
      : from_(reinterpret_cast<const uint4*>(x.data + min(row, x.count - 1) * x.pitch + step * kStep + 8 * lane.t)) {}

  // Of the step this many on.
  __device__ uint4 load(int ahead) const { return from_[ahead * kStepVectors]; }
  __device__ void advance(int steps) { from_ += steps * kStepVectors; }

 private:
  static constexpr int kStepVectors = 4;
  const uint4* from_;
};

// Sums of one cluster, of 8 rows of activations.
struct Sums {
  float products[2][4] = {};

  // totals += scale * sum of x (w - zero)
  __device__ void flush(const Four& scales, Totals& totals) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
#pragma unroll
      for (int column = 0; column < 4; ++column) {
        totals[row].values[column] = fmaf(products[column / 2][column % 2 * 2 + row], scales.values[column], totals[row].values[column]);
      }
    }
    *this = Sums();
  }
};

// The operands A of the quads 2 t and 2 t + 1, for both products of columns.
template <int kBits, FloatType kType>
__device__ void unpack_columns(const WeightWords<kBits>& words, int t, const HalfZero<kBits, kType> (&zeros)[4], uint32_t (&a)[2][2][4]) {
#pragma unroll
  for (int column = 0; column < 4; ++column) {
    uint32_t of_column[Quads<kBits>::kWords];
    words.of_column(column, of_column);
    const HalfQuads<kBits, kType> quads(of_column, t, zeros[column]);
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i / 2][column / 2][column % 2 + i % 2 * 2] = quads.pairs[i / 2][i % 2];
  }
}

template <int kBits, int kRowBlocks>
struct Slot {
  WeightWords<kBits> weights;
  uint4 x[kRowBlocks];
};

template <int kBits, FloatType kType, int kRowBlocks>
__global__ void __launch_bounds__(kDecodeThreads, kRowBlocks == 1 ? 2 : 1) decode_halves(const __grid_constant__ Problem problem) {
  using SlotType = Slot<kBits, kRowBlocks>;
  constexpr int kAhead = Quads<kBits>::kWords == 2 || kRowBlocks == 2 ? 4 : 6;
  const Lane lane;
  const int64_t pair = blockIdx.x;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int first = first_step(problem.weight.steps, warp), last = first_step(problem.weight.steps, warp + 1);
  Totals totals[kRowBlocks] = {};
  if (first < last) {
    WeightReader<kBits> weights(problem.weight, pair, first, lane);
    const int64_t row = static_cast<int64_t>(blockIdx.y) * kRowBlocks * kRowsOfMma + lane.g;
    RowReader rows[2] = {{problem.x, row, first, lane}, {problem.x, row + kRowsOfMma, first, lane}};
    const auto load = [&](int ahead, SlotType& slot) {
      weights.load(ahead, slot.weights);
#pragma unroll
      for (int block = 0; block < kRowBlocks; ++block) slot.x[block] = rows[block].load(ahead);
    };
    SlotType slots[kAhead];
    begin_steps(first, last, slots, load);
    ClusterWalk walk(problem.weight, first, pair * kStep + 4 * lane.g);
    Sums sums[kRowBlocks];
    HalfZero<kBits, kType> zeros[4];
    const auto enter_cluster = [&] {
#pragma unroll
      for (int i = 0; i < 4; ++i) zeros[i] = HalfZero<kBits, kType>(walk.current().zero(i, kBits));
    };
    enter_cluster();
    const auto advance = [&](int by) {
      weights.advance(by);
#pragma unroll
      for (int block = 0; block < kRowBlocks; ++block) rows[block].advance(by);
    };
    const auto use = [&](int step, const SlotType& slot) {
      uint32_t a[2][2][4];
      unpack_columns<kBits, kType>(slot.weights, lane.t, zeros, a);
#pragma unroll
      for (int block = 0; block < kRowBlocks; ++block) {
        uint32_t b[2][2];
        activations_of_quads(slot.x[block], b);
#pragma unroll
        for (int q = 0; q < 2; ++q) {
          mma_halves<kType>(sums[block].products[0], a[q][0], b[q]);
          mma_halves<kType>(sums[block].products[1], a[q][1], b[q]);
        }
      }
      if (step + 1 < walk.current().end && step + 1 < last) return;
#pragma unroll
      for (int block = 0; block < kRowBlocks; ++block) sums[block].flush(walk.current().scales, totals[block]);
      walk.advance();
      enter_cluster();
    };
    for_steps(first, last, slots, load, advance, use);
  }
  reduce_and_finish<kRowBlocks>(totals, problem.epilogue, problem.x.count, pair, lane);
}

template <int kBits, FloatType kType>
void launch_for(const Problem& problem, cudaStream_t stream) {
  const int row_blocks = problem.x.count > kRowsOfMma ? 2 : 1;
  const Shape shape = decode_shape(problem.weight, problem.x.count, row_blocks);
  launch(row_blocks == 2 ? decode_halves<kBits, kType, 2> : decode_halves<kBits, kType, 1>, shape, stream, problem);
}

}  // namespace

void decode_halves_matmul(const WeightMatMul& product, const HalfRows& x, cudaStream_t stream) {
  const Weight& weight = product.weight;
  const Problem problem = {device_weight(weight), epilogue_of(product.bias, product.y, weight.columns), x};
  for_halves(weight.bits, product.x.type, [&](auto bits, auto type) { launch_for<bits(), type()>(problem, stream); });
}

}  // namespace qc::cuda
