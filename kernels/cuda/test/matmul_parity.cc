// Products on the GPU against those on the CPU.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include "cpu/matmul.h"
#include "cpu/quantize.h"
#include "cuda/test/device_memory.h"
#include "cuda/test/gpus.h"
#include "cuda/test/random.h"
#include "launch.h"
#include "test/check.h"

namespace qc::cuda {
namespace {

constexpr Queue kQueue = {nullptr};
constexpr int kBits[] = {8, 4, 3};
constexpr Activation kActivations[] = {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kGeluTanh, Activation::kSilu};

struct Shape {
  int64_t rows;
  int64_t channels;
  int64_t columns;
  int clusters;
  std::string text() const {
    return std::to_string(rows) + " x " + std::to_string(channels) + " x " + std::to_string(columns) + ", " + std::to_string(clusters) +
           " clusters";
  }
};

// A tensor of the CPU and its copy.
struct Both {
  Both(const std::vector<float>& values, FloatType type) : cpu(values, type), gpu(cpu) {}
  FloatTensor cpu;
  DeviceTensor gpu;
};

// A weight of the CPU and its copy.
struct BothWeights {
  BothWeights(Random& random, const Shape& shape, int bits)
      : clusters(clusters_of(random.ends(shape.channels, shape.clusters))),
        packed(random.weight(shape.channels, shape.columns, bits)),
        scale(random.numbers(static_cast<int64_t>(clusters.count()) * shape.columns, -0.02f, 0.02f)),
        zero(scale.size()),
        device_packed(packed),
        device_scale(scale),
        device_zero(zeros(random, bits)) {
    const bool zeros = random.coin();
    cpu = {packed.data(), bits, clusters, shape.columns, scale.data(), zeros ? zero.data() : nullptr};
    gpu = {device_packed.data(), bits, clusters, shape.columns, device_scale.data(), zeros ? device_zero.data() : nullptr};
  }

  Clusters clusters;
  std::vector<uint8_t> packed;
  std::vector<float> scale;
  std::vector<int8_t> zero;
  DeviceArray<uint8_t> device_packed;
  DeviceArray<float> device_scale;
  DeviceArray<int8_t> device_zero;
  Weight cpu, gpu;

 private:
  const std::vector<int8_t>& zeros(Random& random, int bits) {
    for (int8_t& value : zero) value = static_cast<int8_t>(random.integer(-lift(bits), lift(bits) - 1));
    return zero;
  }
};

void check_near(const FloatTensor& result, const FloatTensor& expected, const std::string& what) {
  double worst = 0, greatest = 1e-30;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, std::fabs(static_cast<double>(result[i]) - expected[i]));
    greatest = std::max(greatest, std::fabs(static_cast<double>(expected[i])));
    if (std::isnan(result[i])) worst = INFINITY;
  }
  CHECK(worst <= tolerance_of(expected.type) * greatest, "%s differs by %g of %g", what.c_str(), worst, greatest);
}

void test_codes(Random& random, const Shape& shape, int a_bits, int w_bits, FloatType type) {
  const BothWeights weights(random, shape, w_bits);
  const std::vector<uint8_t> codes = random.codes(shape.rows, shape.channels, a_bits);
  const std::vector<float> offset = random.numbers(shape.columns, -1, 1), token_scale = random.numbers(shape.rows, 0.5f, 2),
                           token_zero = random.integers(static_cast<size_t>(shape.rows), -3, 3);
  const DeviceArray<uint8_t> device_codes(codes);
  const DeviceArray<float> device_offset(offset), device_token_scale(token_scale), device_token_zero(token_zero);
  const Both bias(random.numbers(shape.columns, -3, 3), type), multiplier(random.numbers(shape.rows * shape.columns, -2, 2), type);
  const auto values = static_cast<size_t>(shape.rows * shape.columns);
  FloatTensor expected(values, type);
  const DeviceTensor y(expected);

  ClusterMatMul cpu = {}, gpu = {};
  cpu.rows = gpu.rows = shape.rows;
  cpu.a_bits = gpu.a_bits = a_bits;
  cpu.codes = codes.data();
  gpu.codes = device_codes.data();
  cpu.weight = weights.cpu;
  gpu.weight = weights.gpu;
  cpu.bias = bias.cpu.in();
  gpu.bias = bias.gpu.in();
  if (random.coin()) {
    cpu.offset = offset.data();
    gpu.offset = device_offset.data();
  }
  if (random.coin()) {
    cpu.token_scale = token_scale.data();
    gpu.token_scale = device_token_scale.data();
  }
  if (random.coin()) {
    cpu.token_zero = token_zero.data();
    gpu.token_zero = device_token_zero.data();
  }
  if (random.coin()) {
    cpu.multiplier = multiplier.cpu.in();
    gpu.multiplier = multiplier.gpu.in();
  }
  cpu.activation = gpu.activation = random.one_of(kActivations);
  cpu.y = expected.out();
  gpu.y = y.out();
  qc::cluster_matmul(cpu, serially);
  cluster_matmul(gpu, kQueue);
  const std::string what =
      "cluster_matmul " + shape.text() + ", W" + std::to_string(w_bits) + "A" + std::to_string(a_bits) + ", " + name_of(type);
  check_near(y.download(), expected, what);

  // The same, quantized for the next product.
  const int bits = random.one_of(kBits);
  const Clusters out = clusters_of(random.ends(shape.columns, 3));
  const std::vector<float> scale = random.numbers(static_cast<int64_t>(out.count()), 0.02f, 0.2f),
                           zero = random.integers(out.count(), -lift(bits), lift(bits) - 1);
  const DeviceArray<float> device_scale(scale), device_zero(zero);
  const Quantizer on_cpu = {out, scale.data(), zero.data(), bits, -lift(bits), lift(bits) - 1};
  const Quantizer on_gpu = {out, device_scale.data(), device_zero.data(), bits, -lift(bits), lift(bits) - 1};
  std::vector<uint8_t> expected_codes(static_cast<size_t>(shape.rows * bytes_of(shape.columns, bits)));
  const DeviceArray<uint8_t> out_codes(expected_codes.size());
  cpu.requantize = &on_cpu;
  gpu.requantize = &on_gpu;
  cpu.out_codes = expected_codes.data();
  gpu.out_codes = out_codes.data();
  qc::cluster_matmul(cpu, serially);
  cluster_matmul(gpu, kQueue);
  std::vector<float> a(values), b(values);
  const std::vector<float> one(out.count(), 1.0f), none(out.count(), 0.0f);
  const Quantizer plain = {out, one.data(), none.data(), bits, 0, 0};
  qc::dequantize_clusters(expected_codes.data(), shape.rows, plain, a.data(), serially);
  const std::vector<uint8_t> downloaded = out_codes.download();
  qc::dequantize_clusters(downloaded.data(), shape.rows, plain, b.data(), serially);
  size_t others = 0;
  for (size_t i = 0; i < values; ++i) {
    CHECK(std::fabs(a[i] - b[i]) <= 1, "%s: code %zu is %g, should be %g", what.c_str(), i, b[i], a[i]);
    others += a[i] != b[i];
  }
  CHECK(others * 500 <= values + 999, "%s: %zu of %zu codes differ", what.c_str(), others, values);
  // What fills the last step up is stored as well, as zeros.
  if (others == 0) CHECK(downloaded == expected_codes, "%s: %d bits, what fills a step up differs", what.c_str(), bits);
}

void test_floats(Random& random, const Shape& shape, int bits, FloatType type) {
  const BothWeights weights(random, shape, bits);
  const Both x(random.numbers(shape.rows * shape.channels, -2, 2), type), bias(random.numbers(shape.columns, -3, 3), type);
  FloatTensor expected(static_cast<size_t>(shape.rows * shape.columns), type);
  const DeviceTensor y(expected);
  const bool has_bias = random.coin();
  qc::weight_matmul({shape.rows, x.cpu.in(), weights.cpu, has_bias ? bias.cpu.in() : FloatIn{}, expected.out()}, serially);
  weight_matmul({shape.rows, x.gpu.in(), weights.gpu, has_bias ? bias.gpu.in() : FloatIn{}, y.out()}, kQueue);
  const std::string what = "weight_matmul " + shape.text() + ", W" + std::to_string(bits) + ", " + name_of(type);
  if (type == FloatType::kF32) {
    CHECK(y.download().equal_bits(expected), "%s has other bits", what.c_str());
  } else {
    check_near(y.download(), expected, what);
  }
}

// Few rows and many, one and several blocks, odd sizes, clusters of one step and of many.
constexpr Shape kShapes[] = {
    {1, 1, 1, 1},      {1, 256, 32, 4},   {2, 320, 48, 10}, {8, 96, 33, 1},    {9, 257, 16, 3},   {16, 512, 70, 2},
    {17, 64, 32, 2},   {33, 129, 130, 4}, {64, 300, 96, 5}, {65, 129, 20, 2},  {70, 256, 140, 8}, {130, 161, 36, 3}, {260, 70, 40, 2},
};
// Clusters whose sums are too great for the shorter way to turn them to floats.
constexpr Shape kLong = {65, 5000, 12, 2};

void test_all(uint32_t seed) {
  Random random(seed);
  for (const Shape& shape : kShapes) {
    for (const int w_bits : kBits) {
      // Of many rows, codes are made bytes before all else.
      constexpr int64_t kFewRows = 64;
      for (const int a_bits : kBits) {
        if (shape.rows <= kFewRows || a_bits == random.one_of(kBits)) test_codes(random, shape, a_bits, w_bits, random.one_of(kFloatTypes));
      }
      if (w_bits == 8) continue;
      for (const FloatType type : kFloatTypes) test_floats(random, shape, w_bits, type);
    }
  }
  for (const int w_bits : kBits) test_codes(random, kLong, 8, w_bits, FloatType::kF32);
}

}  // namespace
}  // namespace qc::cuda

// Argument: how often, each time with other operands; twice without it.
int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 2;
  for (uint32_t seed = 1; seed <= static_cast<uint32_t>(rounds); ++seed) {
    qc::cuda::choose_gpu(seed);
    qc::cuda::test_all(seed);
  }
  return qc::finish();
}
