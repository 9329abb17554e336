// What the kernels of products have in common.
#pragma once
#include "core/matmul.h"
#include "device/codes.cuh"
#include "device/epilogue.cuh"
#include "device/launch.cuh"

namespace qc::cuda {

// A weight as kernels see it. They take two tiles at a time: 32 columns, which are a step of the codes of the result.
struct DeviceWeight {
  const uint8_t* packed;  // [tiles, steps, bits, 64]
  const float* scale;     // [G, N]
  const int8_t* zero;     // [G, N], or null for zeros
  const int32_t* ends;     // [G], of clusters, in steps
  const int32_t* of_step;  // [steps], the cluster of each
  int64_t columns;
  int32_t clusters;
  int32_t tiles;
  int32_t steps;
  // Rows of scale and zero are aligned to four values.
  bool whole;
};

inline DeviceWeight device_weight(const Weight& weight) {
  if (reinterpret_cast<uintptr_t>(weight.packed) % 16 != 0) throw std::runtime_error("CUDA: a weight is not aligned to 16 bytes");
  DeviceWeight w = {};
  w.packed = weight.packed;
  w.scale = weight.scale;
  w.zero = weight.zero;
  w.ends = weight.clusters.on_device.get();
  w.of_step = w.ends + weight.clusters.count();
  w.columns = weight.columns;
  w.clusters = static_cast<int32_t>(weight.clusters.count());
  w.tiles = static_cast<int32_t>(tiles_of(weight.columns));
  w.steps = static_cast<int32_t>(steps_of(weight.clusters.channels()));
  w.whole = in_fours(weight.scale, weight.columns) && reinterpret_cast<uintptr_t>(weight.zero) % 4 == 0;
  return w;
}

inline Epilogue epilogue_of(FloatIn bias, FloatOut y, int64_t columns) {
  Epilogue e = {};
  e.columns = columns;
  e.unit = 1;
  e.bias = bias;
  e.activation = Activation::kNone;
  e.y = y;
  e.whole_bias = in_fours(bias.data, columns);
  e.whole_rows = in_fours(y.data, columns);
  return e;
}

inline Epilogue epilogue_of(const ClusterMatMul& product) {
  Epilogue e = epilogue_of(product.bias, product.y, product.weight.columns);
  e.unit = 1.0f / static_cast<float>(1 << (8 - product.a_bits));
  e.offset = product.offset;
  e.token_scale = product.token_scale;
  e.token_zero = product.token_zero;
  e.multiplier = product.multiplier;
  e.activation = product.activation;
  e.whole_rows = e.whole_rows && in_fours(product.multiplier.data, e.columns);
  if (const Quantizer* quantizer = product.requantize) {
    e.codes = product.out_codes;
    e.out_scale = quantizer->scale;
    e.out_zero = quantizer->zero;
    e.of_step = quantizer->clusters.on_device.get() + quantizer->clusters.count();
    e.range = {quantizer->bits, static_cast<float>(quantizer->qmin), static_cast<float>(quantizer->qmax)};
  }
  return e;
}

// A lane of a warp that has two tiles in hand. As the operand A of mma, the 32 columns are the rows of two products: lane 4 g + t holds
// the columns 4 g ... 4 g + 3, which lie side by side in memory, the first two as the rows g and g + 8 of the first product, the others as
// those of the second. Channels come as they lie in memory as well: the quads 2 t and 2 t + 1 of a step, of both operands.
struct Lane {
  int g;
  int t;
  __device__ Lane() : g(static_cast<int>(threadIdx.x) % 32 / 4), t(static_cast<int>(threadIdx.x) % 4) {}
  // Of the two tiles, and within it the 16 bytes of a word that are those of the four columns.
  __device__ int tile() const { return g / 4; }
  __device__ int offset() const { return g % 4 * 16; }
};

__device__ inline uint32_t component(const uint4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

// What four columns share in a cluster.
struct ClusterColumns {
  // In steps; a cluster that does not exist begins where the last one ends.
  int end;
  Four scales;
  // A byte each.
  uint32_t zeros;

  // A zero point, as of stored codes.
  __device__ int zero(int column, int bits) const { return static_cast<int8_t>(zeros >> (8 * column)) + (1 << (bits - 1)); }
};

// Goes through the clusters of four columns and reads each while the one before is in use.
class ClusterWalk {
 public:
  // From the cluster that has this step.
  __device__ ClusterWalk(const DeviceWeight& weight, int step, int64_t column)
      : columns_(weight.columns), left_(static_cast<int>(min(weight.columns - column, int64_t{4}))) {
    const int cluster = weight.of_step[step];
    clusters_ = weight.clusters - cluster;
    end_ = weight.ends + cluster;
    scale_ = weight.scale + cluster * columns_ + column;
    zero_ = weight.zero ? weight.zero + cluster * columns_ + column : nullptr;
    whole_ = weight.whole && left_ == 4;
    current_ = load();
    next_ = load();
  }
  __device__ const ClusterColumns& current() const { return current_; }
  __device__ void advance() {
    current_ = next_;
    next_ = load();
  }

 private:
  __device__ ClusterColumns load() {
    if (clusters_-- <= 0) return {};
    const ClusterColumns loaded = {*end_++, whole_ ? whole_scales() : load_part(scale_, left_),
                                   !zero_   ? 0
                                   : whole_ ? whole_zeros()
                                            : load_part(zero_, left_)};
    scale_ += columns_;
    if (zero_) zero_ += columns_;
    return loaded;
  }

  __device__ Four whole_scales() const {
    const float4 v = *reinterpret_cast<const float4*>(scale_);
    return {{v.x, v.y, v.z, v.w}};
  }
  __device__ uint32_t whole_zeros() const { return *reinterpret_cast<const uint32_t*>(zero_); }

  // Rare, and not to be in the way of what is not.
  __device__ __noinline__ static Four load_part(const float* scale, int count) {
    Four four = {};
    for (int i = 0; i < 4; ++i) {
      if (i < count) four.values[i] = scale[i];
    }
    return four;
  }
  __device__ __noinline__ static uint32_t load_part(const int8_t* zero, int count) {
    uint32_t zeros = 0;
    for (int i = 0; i < 4; ++i) {
      if (i < count) zeros |= static_cast<uint32_t>(static_cast<uint8_t>(zero[i])) << (8 * i);
    }
    return zeros;
  }

  int64_t columns_;
  // Of the four columns, how many exist.
  int left_;
  int clusters_;
  const int32_t* end_;
  const float* scale_;
  const int8_t* zero_;
  bool whole_;
  ClusterColumns current_, next_;
};

// Results of a warp on their way from the lanes that have added them up to those that finish them: four columns of eight are a lane's in
// both, but of rows 2 t and 2 t + 1 before, and of one row after, so that what is written lies side by side.
class ResultTile {
 public:
  // Rows are this many floats apart, so that the rows that lanes write at once lie in different banks.
  static constexpr int kPitch = 36;
  static constexpr int bytes(int rows) { return rows * kPitch * static_cast<int>(sizeof(float)); }

  __device__ explicit ResultTile(uint8_t* memory) : values_(reinterpret_cast<float*>(memory)) {}

  __device__ void put(int row, int q, const Four& four) const {
    const float* v = four.values;
    *reinterpret_cast<float4*>(values_ + row * kPitch + 4 * q) = {v[0], v[1], v[2], v[3]};
  }
  __device__ Four get(int row, int q) const {
    const float4 v = *reinterpret_cast<const float4*>(values_ + row * kPitch + 4 * q);
    return {{v.x, v.y, v.z, v.w}};
  }

 private:
  float* values_;
};

}  // namespace qc::cuda
