// ClusterMatMul of few rows.
#include "decode.cuh"
#include "matmul.cuh"

namespace qc::cuda {
namespace {

struct Problem {
  DeviceWeight weight;
  Epilogue epilogue;
  const uint8_t* codes;  // [rows, bytes_of(K, a_bits)]
  int64_t rows;
  // How many codes fill the last step up. They are stored as zeros, and count in the sums of codes alone, because the weight's are, too.
  int32_t filling;
};

// The quads 2 t and 2 t + 1 of a row, as the operand B.
template <int kBits>
class CodeReader {
 public:
  __device__ CodeReader(const Problem& problem, int64_t row, int step, const Lane& lane) : t_(lane.t) {
    const int64_t words = static_cast<int64_t>(problem.weight.steps) * kBits;
    from_ = reinterpret_cast<const uint32_t*>(problem.codes) + min(row, problem.rows - 1) * words + step * kBits;
  }

  // Of the step this many on.
  __device__ void load(int ahead, uint32_t (&words)[Quads<kBits>::kWords]) const {
#pragma unroll
    for (int i = 0; i < Quads<kBits>::kWords; ++i) words[i] = from_[ahead * kBits + Quads<kBits>::word(t_, i)];
  }
  __device__ void advance(int steps) { from_ += steps * kBits; }

  __device__ void unpack(const uint32_t (&words)[Quads<kBits>::kWords], uint32_t (&b)[2]) const {
    Quads<kBits>::unpack(words, t_, b[0], b[1]);
    b[0] = signed_quad<kBits>(b[0]);
    b[1] = signed_quad<kBits>(b[1]);
  }

 private:
  const uint32_t* from_;
  int t_;
};

// Sums of one cluster, of 8 rows of activations.
struct Sums {
  int32_t products[2][4] = {};
  int32_t codes = 0;

  __device__ void add(const uint32_t (&a)[2][4], const uint32_t (&b)[2]) {
    mma_bytes(products[0], a[0], b);
    mma_bytes(products[1], a[1], b);
    codes = __dp4a(static_cast<int>(b[0]), 0x01010101, codes);
    codes = __dp4a(static_cast<int>(b[1]), 0x01010101, codes);
  }

  // totals += scale (sum of a w - zero sum of a), `filling` codes being none.
  template <int kWeightBits>
  __device__ void flush(const Lane& lane, const ClusterColumns& columns, int32_t filling, Totals& totals) {
    codes += __shfl_xor_sync(0xFFFFFFFF, codes, 1);
    codes += __shfl_xor_sync(0xFFFFFFFF, codes, 2);
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const int32_t of_row = __shfl_sync(0xFFFFFFFF, codes, 4 * (2 * lane.t + row)) + 128 * filling;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int32_t sum = products[i / 2][i % 2 * 2 + row] - columns.zero(i, kWeightBits) * of_row;
        totals[row].values[i] = fmaf(static_cast<float>(sum), columns.scales.values[i], totals[row].values[i]);
      }
    }
    *this = Sums();
  }
};

template <int kWeightBits>
__device__ void unpack_columns(const WeightWords<kWeightBits>& words, int t, uint32_t (&a)[2][4]) {
#pragma unroll
  for (int column = 0; column < 4; ++column) {
    uint32_t of_column[Quads<kWeightBits>::kWords];
    words.of_column(column, of_column);
    Quads<kWeightBits>::unpack(of_column, t, a[column / 2][column % 2], a[column / 2][column % 2 + 2]);
  }
}

template <int kWeightBits, int kCodeBits, int kRowBlocks>
struct Slot {
  WeightWords<kWeightBits> weights;
  uint32_t codes[kRowBlocks][Quads<kCodeBits>::kWords];
};

template <int kWeightBits, int kCodeBits, int kRowBlocks>
__global__ void __launch_bounds__(kDecodeThreads, kRowBlocks == 1 ? 2 : 1) decode_codes(const __grid_constant__ Problem problem) {
  using SlotType = Slot<kWeightBits, kCodeBits, kRowBlocks>;
  constexpr int kAhead = Quads<kWeightBits>::kWords == 2 || kRowBlocks == 2 ? 4 : 8;
  const int steps = problem.weight.steps;
  const Lane lane;
  const int64_t pair = blockIdx.x;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int first = first_step(steps, warp), last = first_step(steps, warp + 1);
  Totals totals[kRowBlocks] = {};
  if (first < last) {
    WeightReader<kWeightBits> weights(problem.weight, pair, first, lane);
    const int64_t row = static_cast<int64_t>(blockIdx.y) * kRowBlocks * kRowsOfMma + lane.g;
    CodeReader<kCodeBits> rows[2] = {{problem, row, first, lane}, {problem, row + kRowsOfMma, first, lane}};
    const auto load = [&](int ahead, SlotType& slot) {
      weights.load(ahead, slot.weights);
#pragma unroll
      for (int block = 0; block < kRowBlocks; ++block) rows[block].load(ahead, slot.codes[block]);
    };
    SlotType slots[kAhead];
    begin_steps(first, last, slots, load);
    ClusterWalk walk(problem.weight, first, pair * kStep + 4 * lane.g);
    Sums sums[kRowBlocks];
    const auto advance = [&](int by) {
      weights.advance(by);
#pragma unroll
      for (int block = 0; block < kRowBlocks; ++block) rows[block].advance(by);
    };
    const auto use = [&](int step, const SlotType& slot) {
      uint32_t a[2][4];
      unpack_columns(slot.weights, lane.t, a);
#pragma unroll
      for (int block = 0; block < kRowBlocks; ++block) {
        uint32_t b[2];
        rows[block].unpack(slot.codes[block], b);
        sums[block].add(a, b);
      }
      if (step + 1 < walk.current().end && step + 1 < last) return;
      const int32_t filling = step + 1 == steps ? problem.filling : 0;
#pragma unroll
      for (int block = 0; block < kRowBlocks; ++block) {
        sums[block].template flush<kWeightBits>(lane, walk.current(), filling, totals[block]);
      }
      walk.advance();
    };
    for_steps(first, last, slots, load, advance, use);
  }
  reduce_and_finish<kRowBlocks>(totals, problem.epilogue, problem.rows, pair, lane);
}

template <int kWeightBits, int kCodeBits>
void launch_for(const Problem& problem, cudaStream_t stream) {
  if (problem.rows > kRowsOfMma) {
    return launch(decode_codes<kWeightBits, kCodeBits, 2>, decode_shape(problem.weight, problem.rows, 2), stream, problem);
  }
  launch(decode_codes<kWeightBits, kCodeBits, 1>, decode_shape(problem.weight, problem.rows, 1), stream, problem);
}

}  // namespace

void decode_codes_matmul(const ClusterMatMul& product, cudaStream_t stream) {
  const int64_t channels = product.weight.clusters.channels();
  const auto filling = static_cast<int32_t>(steps_of(channels) * kStep - channels);
  const Problem problem = {device_weight(product.weight), epilogue_of(product), product.codes, product.rows, filling};
  for_bits(product.weight.bits, [&](auto weight_bits) {
    for_bits(product.a_bits, [&](auto code_bits) { launch_for<weight_bits(), code_bits()>(problem, stream); });
  });
}

}  // namespace qc::cuda
