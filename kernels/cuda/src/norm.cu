// LayerNormReorderQuantize and RmsNormReorderQuantize: a block has a row, which is read once, kept as floats, and written once. The reorder
// is in the reading of what is kept.
#include "device/codes.cuh"
#include "device/edge.cuh"
#include "device/launch.cuh"
#include "device/quantize.cuh"
#include "device/reduce.cuh"
#include "launch.h"
#include "scratch.h"

namespace qc::cuda {
namespace {

constexpr int kThreads = 256;

struct Norm {
  bool rms;
  float epsilon;
  int64_t channels;
  FloatIn x;         // [rows, C]
  FloatIn residual;  // [rows, C], or missing
  FloatIn gamma;     // [C]
  FloatIn beta;      // [C], or missing
  const int32_t* order;  // [C], or null
  const float* scale;      // [G]
  const float* zero;       // [G]
  const int32_t* of_step;  // [steps]
  CodeRange range;
  uint8_t* codes;      // [rows, bytes_of(C, bits)]
  FloatOut normalized;  // [rows, C], or missing
  FloatOut sum;         // [rows, C], or missing
  bool whole;
  // [rows, C] for rows that are too long for shared memory, else null.
  float* kept;
};

// Runs body(channel, count) for the fours of channels that are a thread's.
template <class Body>
__device__ void for_fours(int64_t channels, const Body& body) {
  for (int64_t channel = 4 * threadIdx.x; channel < channels; channel += 4 * kThreads) body(channel, channels - channel);
}

__device__ Four kept_four(const Norm& n, const float* kept, int64_t channel, int64_t count) {
  return load_four({kept, FloatType::kF32}, channel, count, n.whole);
}
__device__ void keep_four(const Norm& n, float* kept, int64_t channel, int64_t count, const Four& four) {
  store_four({kept, FloatType::kF32}, channel, count, n.whole, four);
}

// x + residual, rounded to their type, to `kept`; its sum over the thread's channels is the result.
__device__ float read_row(const Norm& n, int64_t row, float* kept) {
  float total = 0;
  for_fours(n.channels, [&](int64_t channel, int64_t count) {
    const int64_t at = row * n.channels + channel;
    Four x = load_four(n.x, at, count, n.whole);
    if (n.residual.data) {
      const Four residual = load_four(n.residual, at, count, n.whole);
      for (int i = 0; i < 4; ++i) x.values[i] = rounded(n.x.type, x.values[i] + residual.values[i]);
    }
    if (n.sum.data) store_four(n.sum, at, count, n.whole, x);
    keep_four(n, kept, channel, count, x);
    for (const float value : x.values) total += value;
  });
  return total;
}

__device__ float squares_of_row(const Norm& n, const float* kept, float mean) {
  float total = 0;
  for_fours(n.channels, [&](int64_t channel, int64_t count) {
    const Four x = kept_four(n, kept, channel, count);
    for (int i = 0; i < 4; ++i) {
      const float difference = i < count ? x.values[i] - mean : 0.0f;
      total += difference * difference;
    }
  });
  return total;
}

__device__ void normalize_row(const Norm& n, int64_t row, float mean, float inverse, float* kept) {
  for_fours(n.channels, [&](int64_t channel, int64_t count) {
    const Four gamma = load_four(n.gamma, channel, count, n.whole);
    Four beta = {};
    if (n.beta.data) beta = load_four(n.beta, channel, count, n.whole);
    Four y = kept_four(n, kept, channel, count);
    for (int i = 0; i < 4; ++i) {
      const float scaled = (y.values[i] - mean) * inverse * gamma.values[i];
      y.values[i] = n.beta.data ? scaled + beta.values[i] : scaled;
    }
    keep_four(n, kept, channel, count, y);
    if (n.normalized.data) store_four(n.normalized, row * n.channels + channel, count, n.whole, y);
  });
}

__device__ void quantize_row(const Norm& n, int64_t row, const float* kept) {
  uint8_t* codes = n.codes + row * bytes_of(n.channels, n.range.bits);
  const int64_t quads = steps_of(n.channels) * 8;
  // All lanes of a warp go round as long as one of them has a quad.
  for (int64_t first = 0; first < quads; first += kThreads) {
    const int64_t quad = first + threadIdx.x, channel = 4 * quad;
    const int cluster = quad < quads ? n.of_step[quad / 8] : 0;
    Four x = {};
    for (int i = 0; i < 4; ++i) {
      if (channel + i >= n.channels) continue;
      int64_t from = channel + i;
      // Where the order is not a constant, nothing else has looked at it.
      if (n.order) from = min(max(n.order[channel + i], 0), static_cast<int32_t>(n.channels) - 1);
      x.values[i] = kept[from];
    }
    const uint32_t stored = stored_quad(x, n.channels - channel, n.scale[cluster], n.zero[cluster], n.range);
    store_quad(stored, static_cast<int>(quad % 8), n.range.bits, codes + quad / 8 * 4 * n.range.bits, quad < quads);
  }
}

__global__ void __launch_bounds__(kThreads) normalize(const __grid_constant__ Norm n) {
  __shared__ float parts[kMaxWarps];
  const int64_t row = blockIdx.x;
  float* kept = n.kept ? n.kept + row * n.channels : reinterpret_cast<float*>(shared_memory());
  const auto plus = [](float a, float b) { return a + b; };
  const auto count = static_cast<float>(n.channels);
  const float total = reduce_block(read_row(n, row, kept), parts, plus);
  const float mean = n.rms ? 0.0f : total / count;
  const float variance = reduce_block(squares_of_row(n, kept, mean), parts, plus) / count;
  normalize_row(n, row, mean, 1 / sqrtf(variance + n.epsilon), kept);
  __syncthreads();
  quantize_row(n, row, kept);
}

// Shared memory that every GPU from sm_80 on gives a block.
constexpr size_t kSharedBytes = 96 * 1024;

bool all_in_fours(const NormQuantize& norm, int64_t channels) {
  for (const void* data : {norm.x.data, norm.residual.data, norm.gamma.data, norm.beta.data, static_cast<const void*>(norm.normalized.data),
                           static_cast<const void*>(norm.sum.data)}) {
    if (!in_fours(data, channels)) return false;
  }
  return true;
}

}  // namespace

void norm_quantize(const NormQuantize& norm, Queue queue) {
  if (norm.rows == 0) return;
  const Quantizer& quantizer = norm.quantizer;
  const int64_t channels = quantizer.clusters.channels();
  Norm work = {norm.rms,
               norm.epsilon,
               channels,
               norm.x,
               norm.residual,
               norm.gamma,
               norm.beta,
               norm.order,
               quantizer.scale,
               quantizer.zero,
               quantizer.clusters.on_device.get() + quantizer.clusters.count(),
               {quantizer.bits, static_cast<float>(quantizer.qmin), static_cast<float>(quantizer.qmax)},
               norm.codes,
               norm.normalized,
               norm.sum,
               all_in_fours(norm, channels),
               nullptr};
  const dim3 blocks(static_cast<unsigned>(norm.rows));
  const size_t row_bytes = static_cast<size_t>(channels) * sizeof(float);
  if (row_bytes <= kSharedBytes) return launch(normalize, {blocks, kThreads, row_bytes}, queue.stream, work);
  const Scratch kept(static_cast<size_t>(norm.rows) * row_bytes, queue.stream);
  work.kept = kept.as<float>();
  launch(normalize, {blocks, kThreads}, queue.stream, work);
}

}  // namespace qc::cuda
