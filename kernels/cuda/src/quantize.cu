// Codes of float rows, and back. Eight lanes have the quads of a step.
#include <cmath>

#include "device/codes.cuh"
#include "device/edge.cuh"
#include "device/launch.cuh"
#include "device/quantize.cuh"
#include "device/reduce.cuh"
#include "launch.h"

namespace qc::cuda {
namespace {

constexpr int kThreads = 256;

// Rows are on the first axis of the grid, where there is room for them; `threads` threads have a row.
Shape shape_of_rows(int64_t rows, int64_t threads) {
  return {dim3(static_cast<unsigned>(rows), divide_up(threads, kThreads)), kThreads};
}

// The thread among those of a row.
__device__ int64_t thread_of_row() { return static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x; }

struct Clustered {
  FloatIn x;  // [rows, C]
  int64_t channels;
  bool whole;
  const float* scale;      // [G]
  const float* zero;       // [G]
  const int32_t* of_step;  // [steps]
  CodeRange range;
  uint8_t* codes;  // [rows, bytes_of(C, bits)]
};

__global__ void __launch_bounds__(kThreads) quantize(const __grid_constant__ Clustered c) {
  const int64_t row = blockIdx.x, quad = thread_of_row(), step = quad / 8, channel = 4 * quad;
  const int64_t count = c.channels - channel;
  const bool exists = step < steps_of(c.channels);
  const Four x = load_four(c.x, row * c.channels + channel, count, c.whole);
  const int cluster = exists ? c.of_step[step] : 0;
  const uint32_t stored = stored_quad(x, count, c.scale[cluster], c.zero[cluster], c.range);
  uint8_t* bytes = c.codes + row * bytes_of(c.channels, c.range.bits) + step * 4 * c.range.bits;
  store_quad(stored, static_cast<int>(quad % 8), c.range.bits, bytes, exists);
}

struct Dequantization {
  const uint8_t* codes;  // [rows, bytes_of(C, bits)]
  int64_t channels;
  bool whole;
  const float* scale;      // [G]
  const float* zero;       // [G]
  const int32_t* of_step;  // [steps]
  float* y;                // [rows, C]
};

// The quads q and q + 1 of a step, q being even, are the work of one thread.
template <int kBits>
__global__ void __launch_bounds__(kThreads) dequantize(const __grid_constant__ Dequantization d) {
  const int64_t row = blockIdx.x, index = thread_of_row(), step = index / 4;
  const int t = static_cast<int>(index % 4);
  if (step >= steps_of(d.channels)) return;
  const auto* words = reinterpret_cast<const uint32_t*>(d.codes + row * bytes_of(d.channels, kBits)) + step * kBits;
  uint32_t of_thread[Quads<kBits>::kWords], quads[2];
#pragma unroll
  for (int i = 0; i < Quads<kBits>::kWords; ++i) of_thread[i] = words[Quads<kBits>::word(t, i)];
  Quads<kBits>::unpack(of_thread, t, quads[0], quads[1]);
  const int cluster = d.of_step[step];
  const float scale = d.scale[cluster], zero = d.zero[cluster];
#pragma unroll
  for (int q = 0; q < 2; ++q) {
    const int64_t channel = step * kStep + 8 * t + 4 * q;
    Four y;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const auto code = static_cast<float>(static_cast<int>(quads[q] >> (8 * i) & 0xFF) - (1 << (kBits - 1)));
      y.values[i] = (code - zero) * scale;
    }
    store_four({d.y, FloatType::kF32}, row * d.channels + channel, d.channels - channel, d.whole, y);
  }
}

struct Tokens {
  FloatIn x;  // [rows, C]
  int64_t channels;
  bool whole;
  CodeRange range;
  uint8_t* codes;  // [rows, bytes_of(C, bits)]
  float* scale;    // [rows]
  float* zero;     // [rows], or null: symmetric
};

// low = min(x, 0) and high = max(x, 0) of a row, without regard to NaN.
__device__ void range_of_row(const Tokens& tokens, int64_t row, float* parts, float& low, float& high) {
  low = high = 0;
  for (int64_t channel = 4 * threadIdx.x; channel < tokens.channels; channel += 4 * kThreads) {
    const Four x = load_four(tokens.x, row * tokens.channels + channel, tokens.channels - channel, tokens.whole);
    for (const float value : x.values) {
      low = fminf(low, value);
      high = fmaxf(high, value);
    }
  }
  low = reduce_block(low, parts, [](float a, float b) { return fminf(a, b); });
  high = reduce_block(high, parts, [](float a, float b) { return fmaxf(a, b); });
}

// A block has a row.
__global__ void __launch_bounds__(kThreads) quantize_rows(const __grid_constant__ Tokens tokens) {
  __shared__ float parts[kMaxWarps];
  const int64_t row = blockIdx.x;
  const CodeRange& range = tokens.range;
  float low, high;
  range_of_row(tokens, row, parts, low, high);
  if (!tokens.zero) {
    high = fmaxf(-low, high);
    low = -high;
  }
  float scale = (high - low) / (range.qmax - range.qmin);
  if (scale == 0) scale = 1;
  const float quotient = low / scale;
  const float rounded = quotient != quotient ? 0.0f : rintf(quotient);
  const float zero = tokens.zero ? fminf(fmaxf(range.qmin - rounded, range.qmin), range.qmax) : 0.0f;
  if (threadIdx.x == 0) {
    tokens.scale[row] = scale;
    if (tokens.zero) tokens.zero[row] = zero;
  }
  uint8_t* codes = tokens.codes + row * bytes_of(tokens.channels, range.bits);
  const int64_t quads = steps_of(tokens.channels) * 8;
  // All lanes of a warp go round as long as one of them has a quad.
  for (int64_t first = 0; first < quads; first += kThreads) {
    const int64_t quad = first + threadIdx.x, channel = 4 * quad;
    const Four x = load_four(tokens.x, row * tokens.channels + channel, tokens.channels - channel, tokens.whole);
    const uint32_t stored = stored_quad(x, tokens.channels - channel, scale, zero, range);
    store_quad(stored, static_cast<int>(quad % 8), range.bits, codes + quad / 8 * 4 * range.bits, quad < quads);
  }
}

CodeRange range_of(int bits, int qmin, int qmax) { return {bits, static_cast<float>(qmin), static_cast<float>(qmax)}; }

}  // namespace

void quantize_clusters(FloatIn x, int64_t rows, const Quantizer& quantizer, uint8_t* codes, Queue queue) {
  if (rows == 0) return;
  const int64_t channels = quantizer.clusters.channels();
  const Clustered work = {x,
                          channels,
                          in_fours(x.data, channels),
                          quantizer.scale,
                          quantizer.zero,
                          quantizer.clusters.on_device.get() + quantizer.clusters.count(),
                          range_of(quantizer.bits, quantizer.qmin, quantizer.qmax),
                          codes};
  launch(quantize, shape_of_rows(rows, steps_of(channels) * 8), queue.stream, work);
}

void dequantize_clusters(const uint8_t* codes, int64_t rows, const Quantizer& quantizer, float* y, Queue queue) {
  if (rows == 0) return;
  const int64_t channels = quantizer.clusters.channels();
  const int32_t* of_step = quantizer.clusters.on_device.get() + quantizer.clusters.count();
  const Dequantization work = {codes, channels, in_fours(y, channels), quantizer.scale, quantizer.zero, of_step, y};
  const Shape shape = shape_of_rows(rows, steps_of(channels) * 4);
  switch (quantizer.bits) {
    case 3: return launch(dequantize<3>, shape, queue.stream, work);
    case 4: return launch(dequantize<4>, shape, queue.stream, work);
    default: return launch(dequantize<8>, shape, queue.stream, work);
  }
}

void quantize_tokens(FloatIn x, int64_t rows, const TokenQuantizer& quantizer, uint8_t* codes, float* scale, float* zero, Queue queue) {
  if (rows == 0) return;
  const int64_t channels = quantizer.channels;
  const CodeRange range = range_of(quantizer.bits, quantizer.qmin, quantizer.qmax);
  const Tokens work = {x, channels, in_fours(x.data, channels), range, codes, scale, zero};
  launch(quantize_rows, {dim3(static_cast<unsigned>(rows)), kThreads}, queue.stream, work);
}

}  // namespace qc::cuda
