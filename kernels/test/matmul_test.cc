// The products against sums in 64-bit integers and doubles, over codes that this file packs by itself, bit by bit.
#include "cpu/matmul.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/layout.h"
#include "isa/level.h"
#include "test/check.h"
#include "test/float_tensor.h"

namespace qc {
namespace {

constexpr double kPi = 3.14159265358979323846;

void in_three_threads(size_t count, const std::function<void(size_t)>& body) {
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (size_t i; (i = next++) < count;) body(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Writes a stored code into a step whose words lie `stride` bytes apart.
void put(uint8_t* step, int64_t stride, int bits, int64_t k, int stored) {
  const int64_t quad = k / 4, byte = k % 4;
  if (bits == 8) {
    step[quad * stride + byte] = static_cast<uint8_t>(stored);
  } else if (bits == 4) {
    step[quad / 2 * stride + byte] |= static_cast<uint8_t>(stored << (quad % 2 * 4));
  } else {
    step[quad / 4 * stride + byte] |= static_cast<uint8_t>((stored & 3) << (quad % 4 * 2));
    step[2 * stride + byte] |= static_cast<uint8_t>((stored >> 2) << quad);
  }
}

std::vector<uint8_t> pack_rows(const std::vector<int>& codes, int64_t rows, int64_t channels, int bits) {
  const int64_t steps = (channels + 31) / 32;
  std::vector<uint8_t> packed(static_cast<size_t>(rows * steps * 4 * bits));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t k = 0; k < channels; ++k) {
      const int stored = codes[static_cast<size_t>(row * channels + k)] + (1 << (bits - 1));
      put(&packed[static_cast<size_t>((row * steps + k / 32) * 4 * bits)], 4, bits, k % 32, stored);
    }
  }
  return packed;
}

std::vector<uint8_t> pack_weight(const std::vector<int>& codes, int64_t channels, int64_t columns, int bits) {
  const int64_t steps = (channels + 31) / 32, tiles = (columns + 15) / 16;
  std::vector<uint8_t> packed(static_cast<size_t>(tiles * steps * bits * 64));
  for (int64_t k = 0; k < channels; ++k) {
    for (int64_t n = 0; n < columns; ++n) {
      uint8_t* step = &packed[static_cast<size_t>((n / 16 * steps + k / 32) * bits * 64 + n % 16 * 4)];
      put(step, 64, bits, k % 32, codes[static_cast<size_t>(k * columns + n)] + (1 << (bits - 1)));
    }
  }
  return packed;
}

std::mt19937 random_bits(20240607);

int any_int(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_bits); }
float any_float(float low, float high) { return std::uniform_real_distribution<float>(low, high)(random_bits); }

std::vector<float> floats(int64_t count, float low, float high) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = any_float(low, high);
  return values;
}

enum class Fill { kRandom, kLeast, kGreatest, kEnds };

std::vector<int> codes_of(int64_t count, int bits, Fill fill) {
  const int least = -(1 << (bits - 1)), greatest = -least - 1;
  std::vector<int> codes(static_cast<size_t>(count));
  for (int& code : codes) {
    switch (fill) {
      case Fill::kRandom: code = any_int(least, greatest); break;
      case Fill::kLeast: code = least; break;
      case Fill::kGreatest: code = greatest; break;
      case Fill::kEnds: code = any_int(0, 1) ? least : greatest; break;
    }
  }
  return codes;
}

std::vector<Level> levels() {
  std::vector<Level> result;
  for (const Level level : {Level::kScalar, Level::kAvx2, Level::kAvxVnni, Level::kAvx512Vnni}) {
    if (supports(level)) result.push_back(level);
  }
  return result;
}

int64_t channels_of(const std::vector<int64_t>& ends) { return ends.back(); }

struct Shape {
  int64_t rows;
  std::vector<int64_t> ends;
  int64_t columns;
};

struct Options {
  int a_bits = 8;
  int w_bits = 4;
  Fill a_fill = Fill::kRandom;
  Fill w_fill = Fill::kRandom;
  bool zeros = false;
  // How far zero points stay from the least and from the greatest code.
  int above_least = 0;
  int below_greatest = 0;
  float scale = 0.01f;
  bool offset = false;
  bool token_scale = false;
  bool token_zero = false;
  bool bias = true;
  bool multiplier = false;
  FloatType type = FloatType::kF32;
  Activation activation = Activation::kNone;
};

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kRelu: return std::max(x, 0.0);
    case Activation::kGelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x)));
    case Activation::kSilu: return x / (1 + std::exp(-x));
  }
  return 0;
}

// Operands of a product, of either kind.
struct Operands {
  Shape shape;
  Options options;
  int64_t groups;
  std::vector<int> a, w;
  std::vector<uint8_t> packed_a, packed_w;
  std::vector<float> scale, offset, token_scale, token_zero;
  std::vector<int8_t> zero;
  FloatTensor x, bias, multiplier;

  Operands(const Shape& shape, const Options& options)
      : shape(shape),
        options(options),
        groups(static_cast<int64_t>(shape.ends.size())),
        a(codes_of(shape.rows * channels_of(shape.ends), options.a_bits, options.a_fill)),
        w(codes_of(channels_of(shape.ends) * shape.columns, options.w_bits, options.w_fill)),
        packed_a(pack_rows(a, shape.rows, channels_of(shape.ends), options.a_bits)),
        packed_w(pack_weight(w, channels_of(shape.ends), shape.columns, options.w_bits)),
        scale(floats(groups * shape.columns, 0.5f * options.scale, options.scale)),
        offset(floats(shape.columns, -3, 3)),
        token_scale(floats(shape.rows, 0.25f, 2)),
        token_zero(floats(shape.rows, -8, 8)),
        x(floats(shape.rows * channels_of(shape.ends), -1, 1), options.type),
        bias(floats(shape.columns, -2, 2), options.type),
        multiplier(floats(shape.rows * shape.columns, -2, 2), options.type) {
    const int low = options.above_least - lift(options.w_bits), high = lift(options.w_bits) - 1 - options.below_greatest;
    for (int64_t i = 0; i < groups * shape.columns; ++i) {
      const int end = any_int(0, 1) ? low : high;
      zero.push_back(static_cast<int8_t>(any_int(0, 3) ? any_int(low, high) : end));
    }
  }

  int64_t channels() const { return channels_of(shape.ends); }

  Weight weight() const {
    return {packed_w.data(), options.w_bits, {shape.ends}, shape.columns, scale.data(), options.zeros ? zero.data() : nullptr};
  }

  ClusterMatMul cluster_product() const {
    ClusterMatMul product = {};
    product.rows = shape.rows;
    product.codes = packed_a.data();
    product.a_bits = options.a_bits;
    product.weight = weight();
    product.activation = options.activation;
    if (options.offset) product.offset = offset.data();
    if (options.token_scale) product.token_scale = token_scale.data();
    if (options.token_zero) product.token_zero = token_zero.data();
    if (options.bias) product.bias = bias.in();
    if (options.multiplier) product.multiplier = multiplier.in();
    return product;
  }

  double cluster_reference(size_t row, size_t n) const {
    const auto columns = static_cast<size_t>(shape.columns);
    double sum = 0;
    size_t k = 0;
    for (size_t g = 0; g < shape.ends.size(); ++g) {
      int64_t inner = 0;
      const int z = options.zeros ? zero[g * columns + n] : 0;
      for (; k < static_cast<size_t>(shape.ends[g]); ++k) inner += a[row * static_cast<size_t>(channels()) + k] * (w[k * columns + n] - z);
      sum += static_cast<double>(scale[g * columns + n]) * static_cast<double>(inner);
    }
    if (options.offset) sum -= static_cast<double>(options.token_zero ? token_zero[row] : 1.0f) * offset[n];
    if (options.token_scale) sum *= token_scale[row];
    if (options.bias) sum += bias[n];
    const double y = activated(options.activation, sum);
    return options.multiplier ? y * multiplier[row * columns + n] : y;
  }

  double weight_reference(size_t row, size_t n) const {
    const auto columns = static_cast<size_t>(shape.columns);
    double sum = options.bias ? bias[n] : 0.0f;
    size_t k = 0;
    for (size_t g = 0; g < shape.ends.size(); ++g) {
      const int z = options.zeros ? zero[g * columns + n] : 0;
      for (; k < static_cast<size_t>(shape.ends[g]); ++k) {
        sum += static_cast<double>(x[row * static_cast<size_t>(channels()) + k]) * scale[g * columns + n] * (w[k * columns + n] - z);
      }
    }
    return sum;
  }
};

FloatTensor run_clusters(ClusterMatMul product, FloatType type, const Parallel& parallel) {
  FloatTensor result(static_cast<size_t>(product.rows * product.weight.columns), type);
  product.y = result.out();
  cluster_matmul(product, parallel);
  return result;
}

FloatTensor run_weight(const Operands& operands, int64_t rows, int64_t first_row, const Parallel& parallel) {
  FloatTensor result(static_cast<size_t>(rows * operands.shape.columns), operands.options.type);
  const FloatIn x = operands.x.in(first_row * operands.channels());
  weight_matmul({rows, x, operands.weight(), operands.options.bias ? operands.bias.in() : FloatIn{}, result.out()}, parallel);
  return result;
}

std::string name_of_case(const Operands& operands) {
  const Options& options = operands.options;
  const Shape& shape = operands.shape;
  return std::to_string(shape.rows) + " x " + std::to_string(operands.channels()) + " x " + std::to_string(shape.columns) + " in " +
         std::to_string(operands.groups) + ", a" + std::to_string(options.a_bits) + " w" + std::to_string(options.w_bits);
}

template <class Reference>
void check_close(const FloatTensor& result, const Operands& operands, const Reference& reference) {
  const auto rows = static_cast<size_t>(operands.shape.rows), columns = static_cast<size_t>(operands.shape.columns);
  std::vector<double> expected;
  double greatest = 0;
  for (size_t row = 0; row < rows; ++row) {
    for (size_t n = 0; n < columns; ++n) {
      expected.push_back(reference(row, n));
      greatest = std::max(greatest, std::abs(expected.back()));
    }
  }
  const double tolerance = tolerance_of(result.type) * greatest;
  for (size_t i = 0; i < expected.size(); ++i) {
    CHECK(std::abs(result[i] - expected[i]) <= tolerance, "%s at row %zu column %zu: %g, expected %g", name_of_case(operands).c_str(),
          i / columns, i % columns, static_cast<double>(result[i]), expected[i]);
  }
}

// All levels give the bits of the first, with threads and without.
template <class Run>
auto at_all_levels(const Operands& operands, const Run& run) {
  force(Level::kScalar);
  const auto first = run(Parallel(serially));
  for (const Level level : levels()) {
    force(level);
    CHECK(run(Parallel(serially)).equal_bits(first), "%s: %s differs from scalar", name_of_case(operands).c_str(), name_of(level));
    CHECK(run(Parallel(in_three_threads)).equal_bits(first), "%s: %s differs in threads", name_of_case(operands).c_str(), name_of(level));
  }
  return first;
}

void check_clusters(const Shape& shape, const Options& options) {
  const Operands operands(shape, options);
  const ClusterMatMul product = operands.cluster_product();
  const auto result = at_all_levels(operands, [&](const Parallel& parallel) { return run_clusters(product, options.type, parallel); });
  check_close(result, operands, [&](size_t row, size_t n) { return operands.cluster_reference(row, n); });
}

void check_weight(const Shape& shape, const Options& options) {
  const Operands operands(shape, options);
  const auto result = at_all_levels(operands, [&](const Parallel& parallel) { return run_weight(operands, shape.rows, 0, parallel); });
  check_close(result, operands, [&](size_t row, size_t n) { return operands.weight_reference(row, n); });
}

const std::vector<int64_t> kOneStepClusters = {32, 64, 96, 128, 160};
const std::vector<int64_t> kUnevenClusters = {32, 160, 192, 203};

void all_bits_and_rows() {
  for (const int a_bits : {8, 4, 3}) {
    for (const int w_bits : {8, 4, 3}) {
      for (int64_t rows = 1; rows <= 17; ++rows) {
        Options options;
        options.a_bits = a_bits;
        options.w_bits = w_bits;
        options.zeros = rows % 2 == 0;
        options.bias = rows % 3 != 0;
        check_clusters({rows, rows % 4 < 2 ? kUnevenClusters : std::vector<int64_t>{203}, 16 + 7 * rows}, options);
      }
      Options options;
      options.a_bits = a_bits;
      options.w_bits = w_bits;
      check_clusters({128, kOneStepClusters, 96}, options);
      check_clusters({3, {1}, 1}, options);
      check_clusters({2, {1185}, 33}, options);
    }
  }
}

// Where sums of 16 bits would overflow first.
void extreme_codes() {
  for (const int a_bits : {8, 4, 3}) {
    for (const int w_bits : {8, 4, 3}) {
      for (const Fill a_fill : {Fill::kLeast, Fill::kGreatest, Fill::kEnds}) {
        for (const Fill w_fill : {Fill::kLeast, Fill::kGreatest, Fill::kEnds}) {
          Options options;
          options.a_bits = a_bits;
          options.w_bits = w_bits;
          options.a_fill = a_fill;
          options.w_fill = w_fill;
          options.zeros = a_fill == Fill::kLeast;
          check_clusters({5, {3200}, 48}, options);
          check_clusters({1, {3072, 3104}, 40}, options);
          // The most channels of 8-bit codes whose sums a float holds, and more.
          check_clusters({3, {512}, 32}, options);
          check_clusters({3, {512, 1056}, 32}, options);
        }
      }
    }
  }
}

void zero_points() {
  for (const int w_bits : {8, 4, 3}) {
    // All of them the least code, 0 and the greatest.
    const int span = 2 * lift(w_bits) - 1;
    for (const int above_least : {0, lift(w_bits), span}) {
      Options options;
      options.w_bits = w_bits;
      options.zeros = true;
      options.above_least = above_least;
      options.below_greatest = span - above_least;
      check_clusters({7, kUnevenClusters, 50}, options);
    }
  }
}

void epilogues() {
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kGeluTanh, Activation::kSilu}) {
    for (int flags = 0; flags < 16; ++flags) {
      Options options;
      options.scale = 1e-3f;
      options.activation = activation;
      options.offset = flags & 1;
      options.token_scale = flags & 2;
      options.token_zero = flags & 4;
      options.multiplier = flags & 8;
      for (const FloatType type : kFloatTypes) {
        options.type = type;
        check_clusters({6, kUnevenClusters, 45}, options);
      }
    }
  }
}

void huge_and_tiny_scales() {
  for (const float scale : {1e30f, 1e-30f}) {
    Options options;
    options.bias = false;
    options.scale = scale;
    check_clusters({4, kUnevenClusters, 32}, options);
    options.activation = Activation::kSilu;
    check_clusters({4, kUnevenClusters, 32}, options);
  }
}

// A row does not depend on the rows it is computed with.
void rows_alone() {
  Options options;
  options.zeros = true;
  const Operands operands({29, kUnevenClusters, 70}, options);
  for (const Level level : levels()) {
    force(level);
    const ClusterMatMul product = operands.cluster_product();
    const FloatTensor together = run_clusters(product, FloatType::kF32, serially);
    const FloatTensor weight_together = run_weight(operands, 29, 0, serially);
    for (int row = 0; row < 29; ++row) {
      ClusterMatMul one = product;
      one.rows = 1;
      one.codes += row * bytes_of(operands.channels(), options.a_bits);
      const FloatTensor alone = run_clusters(one, FloatType::kF32, serially);
      const FloatTensor weight_alone = run_weight(operands, 1, row, serially);
      for (size_t n = 0; n < 70; ++n) {
        const size_t i = static_cast<size_t>(row) * 70 + n;
        CHECK(alone[n] == together[i], "%s row %d column %zu", name_of(level), row, n);
        CHECK(weight_alone[n] == weight_together[i], "%s weight row %d column %zu", name_of(level), row, n);
      }
    }
  }
}

struct Codes {
  std::vector<uint8_t> bytes;
  bool equal_bits(const Codes& other) const { return bytes == other.bytes; }
};

// Codes must be those of the float result, whatever it is.
void check_requantized(Options options, int out_bits, bool with_infinities) {
  options.multiplier = true;
  Operands operands({9, kUnevenClusters, 107}, options);
  if (with_infinities) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float odd[] = {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity};
    for (size_t i = 0; i < operands.multiplier.size(); i += 5) operands.multiplier.singles[i] = odd[i % 3];
  }
  const ClusterMatMul product = operands.cluster_product();
  const std::vector<int64_t> out_ends = {64, 107};
  const float scale[] = {0.05f, 0.013f};
  const float zero[] = {-2, 1};
  const int least = -(1 << (out_bits - 1));
  const Quantizer quantizer = {{out_ends}, scale, zero, out_bits, least + 1, -least - 1};
  const Codes codes = at_all_levels(operands, [&](const Parallel& parallel) {
    ClusterMatMul requantizing = product;
    Codes result = {std::vector<uint8_t>(static_cast<size_t>(9 * bytes_of(107, out_bits)), 0xFF)};
    requantizing.requantize = &quantizer;
    requantizing.out_codes = result.bytes.data();
    cluster_matmul(requantizing, parallel);
    return result;
  });
  const FloatTensor y = run_clusters(product, FloatType::kF32, serially);
  std::vector<int> expected;
  for (size_t i = 0; i < 9 * 107; ++i) {
    const size_t g = i % 107 < 64 ? 0 : 1;
    const float steps = y[i] / scale[g];
    const float code = std::rint(std::isnan(steps) ? 0.0f : steps) + zero[g];
    expected.push_back(static_cast<int>(std::clamp(code, static_cast<float>(quantizer.qmin), static_cast<float>(quantizer.qmax))));
  }
  CHECK(codes.bytes == pack_rows(expected, 9, 107, out_bits), "%s requantized to %d bits", name_of_case(operands).c_str(), out_bits);
}

void requantized() {
  for (const int out_bits : {8, 4, 3}) {
    for (const Activation activation : {Activation::kNone, Activation::kGelu}) {
      Options options;
      options.activation = activation;
      check_requantized(options, out_bits, false);
      check_requantized(options, out_bits, true);
      options.token_scale = true;
      options.a_bits = out_bits;
      options.w_bits = 3;
      check_requantized(options, out_bits, true);
    }
  }
}

// The scale of a column is made its argument: code 1 times code 1.
void activation_accuracy() {
  constexpr int64_t kColumns = 1 << 16;
  Operands operands({1, {1}, kColumns}, {});
  operands.packed_a = pack_rows({1}, 1, 1, 8);
  operands.packed_w = pack_weight(std::vector<int>(kColumns, 1), 1, kColumns, 4);
  for (size_t i = 0; i < kColumns; ++i) operands.scale[i] = static_cast<float>(i) * 1e-3f - 32.0f;
  for (const Activation activation : {Activation::kGelu, Activation::kGeluTanh, Activation::kSilu}) {
    ClusterMatMul product = operands.cluster_product();
    product.activation = activation;
    product.bias = {};
    const auto result = at_all_levels(operands, [&](const Parallel& p) { return run_clusters(product, FloatType::kF32, p); });
    for (size_t i = 0; i < kColumns; ++i) {
      const double x = operands.scale[i], expected = activated(activation, x);
      CHECK(std::abs(result[i] - expected) <= 1e-6 * std::max(1.0, std::abs(x)), "activation %d of %g: %.9g, expected %.9g",
            static_cast<int>(activation), x, static_cast<double>(result[i]), expected);
    }
  }
}

void weights_only() {
  for (const int w_bits : {4, 3}) {
    for (const FloatType type : kFloatTypes) {
      for (int64_t rows = 1; rows <= 17; ++rows) {
        Options options;
        options.w_bits = w_bits;
        options.type = type;
        options.zeros = rows % 2 == 0;
        options.bias = rows % 3 != 0;
        check_weight({rows, rows % 4 < 2 ? kUnevenClusters : std::vector<int64_t>{203}, 16 + 7 * rows}, options);
      }
      Options options;
      options.w_bits = w_bits;
      options.type = type;
      check_weight({128, kOneStepClusters, 96}, options);
      check_weight({1, {1}, 1}, options);
      check_weight({100, {512}, 65}, options);
    }
  }
}

}  // namespace
}  // namespace qc

int main() {
  qc::all_bits_and_rows();
  qc::extreme_codes();
  qc::zero_points();
  qc::epilogues();
  qc::huge_and_tiny_scales();
  qc::rows_alone();
  qc::requantized();
  qc::activation_accuracy();
  qc::weights_only();
  return qc::finish();
}
