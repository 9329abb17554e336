// Codes of rows on the GPU against those on the CPU.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <string>

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

struct Problem {
  int64_t rows;
  Clusters clusters;
  int bits;
  FloatType type;
  std::string text() const {
    return std::to_string(rows) + " rows, " + std::to_string(clusters.channels()) + " channels, " + std::to_string(clusters.count()) +
           " clusters, " + std::to_string(bits) + " bits, " + name_of(type);
  }
  size_t values() const { return static_cast<size_t>(rows * clusters.channels()); }
  size_t bytes() const { return static_cast<size_t>(rows * bytes_of(clusters.channels(), bits)); }
};

// A quantizer whose scales and zero points are on both sides.
struct BothQuantizers {
  BothQuantizers(Random& random, const Clusters& clusters, int bits, float span)
      : scale(random.numbers(static_cast<int64_t>(clusters.count()), 0.2f * span, span)),
        zero(random.integers(clusters.count(), -lift(bits), lift(bits) - 1)),
        device_scale(scale),
        device_zero(zero),
        cpu{clusters, scale.data(), zero.data(), bits, -lift(bits), lift(bits) - 1},
        gpu{clusters, device_scale.data(), device_zero.data(), bits, -lift(bits), lift(bits) - 1} {}

  std::vector<float> scale, zero;
  DeviceArray<float> device_scale, device_zero;
  Quantizer cpu, gpu;
};

constexpr float kHostile[] = {0.0f,
                              -0.0f,
                              std::numeric_limits<float>::quiet_NaN(),
                              std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity(),
                              3e38f,
                              -3e38f,
                              1e-40f};

std::vector<float> hostile_numbers(Random& random, int64_t count) {
  std::vector<float> values = random.numbers(count, -4, 4);
  for (float& value : values) {
    if (random.integer(0, 7) == 0) value = random.one_of(kHostile);
  }
  return values;
}

void test_clusters(Random& random, const Problem& p) {
  const FloatTensor x(hostile_numbers(random, static_cast<int64_t>(p.values())), p.type);
  const BothQuantizers quantizers(random, p.clusters, p.bits, 1.0f);
  std::vector<uint8_t> expected(p.bytes());
  qc::quantize_clusters(x.in(), p.rows, quantizers.cpu, expected.data(), serially);
  const DeviceTensor device_x(x);
  const DeviceArray<uint8_t> codes(p.bytes());
  quantize_clusters(device_x.in(), p.rows, quantizers.gpu, codes.data(), kQueue);
  CHECK(codes.download() == expected, "quantize_clusters: %s", p.text().c_str());

  std::vector<float> expected_y(p.values());
  qc::dequantize_clusters(expected.data(), p.rows, quantizers.cpu, expected_y.data(), serially);
  const DeviceArray<float> y(p.values());
  dequantize_clusters(codes.data(), p.rows, quantizers.gpu, y.data(), kQueue);
  CHECK(y.download() == expected_y, "dequantize_clusters: %s", p.text().c_str());
}

void test_tokens(Random& random, const Problem& p, bool symmetric, bool hostile) {
  const auto count = static_cast<int64_t>(p.values());
  const FloatTensor x(hostile ? hostile_numbers(random, count) : random.numbers(count, -3, 1), p.type);
  const TokenQuantizer quantizer = {p.clusters.channels(), p.bits, symmetric ? 1 - lift(p.bits) : -lift(p.bits), lift(p.bits) - 1};
  const auto rows = static_cast<size_t>(p.rows);
  std::vector<uint8_t> expected(p.bytes());
  std::vector<float> expected_scale(rows), expected_zero(symmetric ? 0 : rows);
  qc::quantize_tokens(x.in(), p.rows, quantizer, expected.data(), expected_scale.data(), symmetric ? nullptr : expected_zero.data(),
                      serially);
  const DeviceTensor device_x(x);
  const DeviceArray<uint8_t> codes(p.bytes());
  const DeviceArray<float> scale(rows), zero(expected_zero.size());
  quantize_tokens(device_x.in(), p.rows, quantizer, codes.data(), scale.data(), symmetric ? nullptr : zero.data(), kQueue);
  CHECK(scale.download() == expected_scale, "quantize_tokens, scale: %s", p.text().c_str());
  CHECK(zero.download() == expected_zero, "quantize_tokens, zero: %s", p.text().c_str());
  CHECK(codes.download() == expected, "quantize_tokens: %s", p.text().c_str());
}

// Results that are summed in another order may end up on the other side of a boundary between two codes.
void check_near(const std::vector<float>& result, const std::vector<float>& expected, double tolerance, const char* what,
                const Problem& p) {
  double worst = 0, greatest = 1e-30;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, std::fabs(static_cast<double>(result[i]) - expected[i]));
    greatest = std::max(greatest, std::fabs(static_cast<double>(expected[i])));
    if (std::isnan(result[i])) worst = INFINITY;
  }
  CHECK(worst <= tolerance * greatest, "%s differs by %g of %g: %s", what, worst, greatest, p.text().c_str());
}

std::vector<float> unpacked(const std::vector<uint8_t>& codes, const Problem& p) {
  const std::vector<float> one(p.clusters.count(), 1.0f), none(p.clusters.count(), 0.0f);
  std::vector<float> y(p.values());
  qc::dequantize_clusters(codes.data(), p.rows, {p.clusters, one.data(), none.data(), p.bits, 0, 0}, y.data(), serially);
  return y;
}

void check_codes(const std::vector<uint8_t>& codes, const std::vector<uint8_t>& expected, const Problem& p, const char* what) {
  const std::vector<float> a = unpacked(codes, p), b = unpacked(expected, p);
  size_t others = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    CHECK(std::fabs(a[i] - b[i]) <= 1, "%s: code %zu is %g, should be %g: %s", what, i, a[i], b[i], p.text().c_str());
    others += a[i] != b[i];
  }
  CHECK(others * 1000 <= a.size() + 999, "%s: %zu of %zu codes differ: %s", what, others, a.size(), p.text().c_str());
}

std::vector<int32_t> shuffled(Random& random, int64_t count) {
  std::vector<int32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[static_cast<size_t>(random.integer(0, static_cast<int>(i) - 1))]);
  return order;
}

struct NormOptions {
  bool rms;
  bool residual;
  bool beta;
  bool order;
};

void test_norm(Random& random, const Problem& p, const NormOptions& options) {
  const int64_t channels = p.clusters.channels();
  const auto count = static_cast<int64_t>(p.values());
  const auto tensor = [&](int64_t n, float low, float high) { return FloatTensor(random.numbers(n, low, high), p.type); };
  const FloatTensor x = tensor(count, -2, 4), residual = tensor(count, -1, 1);
  const FloatTensor gamma = tensor(channels, 0.5f, 2), beta = tensor(channels, -1, 1);
  const std::vector<int32_t> order = shuffled(random, channels);
  const BothQuantizers quantizers(random, p.clusters, p.bits, 8.0f / static_cast<float>(1 << p.bits));
  FloatTensor expected_normalized(p.values(), p.type), expected_sum(p.values(), p.type);
  std::vector<uint8_t> expected(p.bytes());
  NormQuantize norm = {options.rms, 1e-5f,          p.rows,          x.in(), {}, gamma.in(), {}, nullptr,
                       quantizers.cpu, expected.data(), expected_normalized.out(), expected_sum.out()};
  if (options.residual) norm.residual = residual.in();
  if (options.beta) norm.beta = beta.in();
  if (options.order) norm.order = order.data();
  qc::norm_quantize(norm, serially);

  const DeviceTensor device_x(x), device_residual(residual), device_gamma(gamma), device_beta(beta);
  const DeviceTensor normalized(FloatTensor(p.values(), p.type)), sum(FloatTensor(p.values(), p.type));
  const DeviceArray<int32_t> device_order(order);
  const DeviceArray<uint8_t> codes(p.bytes());
  NormQuantize on_gpu = norm;
  on_gpu.x = device_x.in();
  on_gpu.gamma = device_gamma.in();
  on_gpu.quantizer = quantizers.gpu;
  on_gpu.codes = codes.data();
  on_gpu.normalized = normalized.out();
  on_gpu.sum = sum.out();
  if (options.residual) on_gpu.residual = device_residual.in();
  if (options.beta) on_gpu.beta = device_beta.in();
  if (options.order) on_gpu.order = device_order.data();
  norm_quantize(on_gpu, kQueue);
  CHECK(sum.download().equal_bits(expected_sum), "norm_quantize, sum: %s", p.text().c_str());
  check_near(normalized.download().values(), expected_normalized.values(), tolerance_of(p.type), "norm_quantize, normalized", p);
  check_codes(codes.download(), expected, p, "norm_quantize");
}

void test_all(uint32_t seed) {
  Random random(seed);
  for (const int64_t channels : {1, 30, 32, 33, 96, 130, 384, 1100}) {
    for (const int bits : kBits) {
      for (const FloatType type : kFloatTypes) {
        const int64_t rows = random.integer(1, 5);
        const Problem p = {rows, clusters_of(random.ends(channels, random.integer(1, 6))), bits, type};
        test_clusters(random, p);
        test_tokens(random, p, random.coin(), random.coin());
        test_norm(random, p, {random.coin(), random.coin(), random.coin(), random.coin()});
      }
    }
  }
  // Rows that take nearly what shared memory a block has without asking, and that are too long for any.
  test_norm(random, {1, clusters_of(random.ends(12288, 4)), 8, FloatType::kF32}, {true, false, false, false});
  test_norm(random, {2, clusters_of(random.ends(30000, 7)), 4, FloatType::kF16}, {false, true, true, true});
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
