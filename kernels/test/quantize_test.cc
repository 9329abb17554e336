// The quantizing kernels against references that are written straight from the equations of operators.json.
#include "cpu/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "core/bf16.h"
#include "core/half.h"
#include "core/layout.h"
#include "isa/level.h"
#include "isa/quantize_kernels.h"
#include "test/check.h"
#include "test/float_tensor.h"

using namespace qc;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

using Floats = std::vector<float>;
using Bytes = std::vector<uint8_t>;

std::mt19937 random_bits(7);

float normal(float deviation) { return std::normal_distribution<float>(0, deviation)(random_bits); }
int integer(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_bits); }

Floats normals(int64_t count, float deviation) {
  Floats values(static_cast<size_t>(count));
  for (float& value : values) value = normal(deviation);
  return values;
}

bool same_bits(const Floats& a, const Floats& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) { return std::memcmp(&x, &y, sizeof x) == 0; });
}

// The bit `bit` of the stored code of a channel within its step, as "Packing" of docs/operators.md places it.
void set_bit(uint8_t* step, int bits, int64_t channel, int bit) {
  const int64_t quad = channel / 4, byte = channel % 4;
  int64_t word = 0;
  int64_t place = 0;
  if (bits == 8) {
    word = quad;
    place = bit;
  } else if (bits == 4) {
    word = quad / 2;
    place = 4 * (quad % 2) + bit;
  } else if (bit < 2) {
    word = quad / 4;
    place = 2 * (quad % 4) + bit;
  } else {
    word = 2;
    place = quad;
  }
  step[4 * word + byte] = static_cast<uint8_t>(step[4 * word + byte] | 1 << place);
}

Bytes packed(const std::vector<int>& codes, int64_t channels, int bits) {
  const int64_t row_bytes = bytes_of(channels, bits), rows = static_cast<int64_t>(codes.size()) / channels;
  Bytes result(static_cast<size_t>(rows * row_bytes));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < channels; ++c) {
      const int stored = codes[static_cast<size_t>(row * channels + c)] + lift(bits);
      uint8_t* step = &result[static_cast<size_t>(row * row_bytes + c / kStep * 4 * bits)];
      for (int bit = 0; bit < bits; ++bit) {
        if (stored >> bit & 1) set_bit(step, bits, c % kStep, bit);
      }
    }
  }
  return result;
}

// Half to even without the rounding mode of the machine.
float half_to_even(float x) {
  if (!(std::fabs(x) < 8388608)) return x;
  const float below = std::floor(x), rest = x - below;
  const bool up = rest > 0.5f || (rest == 0.5f && std::fmod(below, 2.0f) != 0);
  return up ? below + 1 : below;
}

int code_of(float x, float scale, float zero, int qmin, int qmax) {
  const float quotient = x / scale;
  const float code = half_to_even(quotient != quotient ? 0 : quotient) + zero;
  if (code <= static_cast<float>(qmin)) return qmin;
  if (code >= static_cast<float>(qmax)) return qmax;
  return static_cast<int>(code);
}

size_t cluster_of(const Clusters& clusters, int64_t channel) {
  size_t g = 0;
  while (channel >= clusters.ends[g]) ++g;
  return g;
}

Bytes quantized(const Floats& x, const Quantizer& quantizer) {
  const int64_t channels = quantizer.clusters.channels();
  std::vector<int> codes;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t g = cluster_of(quantizer.clusters, static_cast<int64_t>(i) % channels);
    codes.push_back(code_of(x[i], quantizer.scale[g], quantizer.zero[g], quantizer.qmin, quantizer.qmax));
  }
  return packed(codes, channels, quantizer.bits);
}

// A quantizer with the storage of its scales and zero points.
struct Case {
  Case(std::vector<int64_t> ends, int bits, int qmin, int qmax) : quantizer{{std::move(ends)}, nullptr, nullptr, bits, qmin, qmax} {
    const size_t groups = quantizer.clusters.count();
    for (size_t g = 0; g < groups; ++g) {
      scale.push_back(std::fabs(normal(0.1f)) + 0.01f);
      zero.push_back(static_cast<float>(integer(qmin, qmax)));
    }
    quantizer.scale = scale.data();
    quantizer.zero = zero.data();
  }
  Case(const Case&) = delete;
  int64_t channels() const { return quantizer.clusters.channels(); }

  Floats scale, zero;
  Quantizer quantizer;
};

// Runs f for codes of all widths and clusters of many sizes: whole steps, tails of all kinds, less than one step.
template <class F>
void for_cases(F f) {
  const std::vector<std::vector<int64_t>> all_ends = {{1}, {15}, {16}, {17}, {31}, {32}, {33}, {47}, {64}, {100}, {32, 64}, {96, 97},
                                                      {32, 160, 200}, {64, 96, 128, 159}};
  for (const int bits : {8, 4, 3}) {
    for (const auto& ends : all_ends) {
      const int qmin = -lift(bits) + integer(0, 2), qmax = lift(bits) - 1 - integer(0, 2);
      Case c(ends, bits, qmin, qmax);
      f(c);
    }
  }
}

// Values around which things go wrong: ties of the first scale, bounds of codes, not finite, very small.
void add_hard_values(Floats& x, const Quantizer& quantizer) {
  const float scale = quantizer.scale[0];
  const float hard[] = {kNan,        -kNan,       kInfinity,    -kInfinity,    0,          -0.0f,       kDenormal, -kDenormal,
                        0.5f * scale, 1.5f * scale, -0.5f * scale, -2.5f * scale, 3e38f,      -3e38f,      1e-38f,    126.5f * scale,
                        65504,       -65504,      1e9f,         -1e9f,         7.5f * scale, -8.5f * scale};
  for (const float value : hard) x[static_cast<size_t>(integer(0, static_cast<int>(x.size()) - 1))] = value;
}

void check_clusters(const Case& c, const Floats& x, const char* what) {
  const Quantizer& quantizer = c.quantizer;
  const int64_t rows = static_cast<int64_t>(x.size()) / c.channels();
  for (const FloatType type : kFloatTypes) {
    const FloatTensor tensor(x, type);
    const Bytes expected = quantized(tensor.values(), quantizer);
    Bytes codes(expected.size(), 0xAA);
    quantize_clusters(tensor.in(), rows, quantizer, codes.data(), serially);
    CHECK(codes == expected, "%s, %s: %d bits, %d channels", what, name_of(type), quantizer.bits, static_cast<int>(c.channels()));
  }
}

void test_quantize_clusters() {
  for_cases([](Case& c) {
    Floats x = normals(5 * c.channels(), 2);
    add_hard_values(x, c.quantizer);
    check_clusters(c, x, "random");
    for (float& scale : c.scale) scale = 4 * kDenormal;
    x[0] = 6 * kDenormal;
    check_clusters(c, x, "denormal scales");
    for (float& scale : c.scale) scale = 0.25f;
    for (float& zero : c.zero) zero = integer(0, 1) ? 3e9f : -16777217;
    check_clusters(c, x, "zeros far outside");
  });
}

void test_ties() {
  Case c({64}, 8, -128, 127);
  c.scale[0] = 0.25f;
  c.zero[0] = 3;
  Floats x;
  for (int i = 0; i < 1024; ++i) x.push_back(static_cast<float>(i - 512) * 0.125f);
  check_clusters(c, x, "ties");
}

void test_dequantize_clusters() {
  for_cases([](Case& c) {
    const int64_t channels = c.channels();
    std::vector<int> codes;
    Floats expected;
    for (int64_t i = 0; i < 3 * channels; ++i) {
      const size_t g = cluster_of(c.quantizer.clusters, i % channels);
      codes.push_back(integer(-lift(c.quantizer.bits), lift(c.quantizer.bits) - 1));
      expected.push_back((static_cast<float>(codes.back()) - c.zero[g]) * c.scale[g]);
    }
    Floats y(expected.size(), kNan);
    dequantize_clusters(packed(codes, channels, c.quantizer.bits).data(), 3, c.quantizer, y.data(), serially);
    CHECK(same_bits(y, expected), "dequantize: %d bits, %d channels", c.quantizer.bits, static_cast<int>(channels));
  });
}

void check_tokens(const Floats& x, const TokenQuantizer& quantizer, bool symmetric, const char* what) {
  const size_t channels = static_cast<size_t>(quantizer.channels), rows = x.size() / channels;
  Floats expected_scale, expected_zero;
  std::vector<int> codes;
  for (size_t row = 0; row < rows; ++row) {
    double low = 0, high = 0;
    for (size_t c = 0; c < channels; ++c) {
      const float value = x[row * channels + c];
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (symmetric) high = std::max(-low, high), low = -high;
    float scale = (static_cast<float>(high) - static_cast<float>(low)) / static_cast<float>(quantizer.qmax - quantizer.qmin);
    if (scale == 0) scale = 1;
    const auto least = static_cast<float>(quantizer.qmin);
    const int zero = symmetric ? 0 : code_of(-static_cast<float>(low), scale, least, quantizer.qmin, quantizer.qmax);
    expected_scale.push_back(scale);
    expected_zero.push_back(static_cast<float>(zero));
    for (size_t c = 0; c < channels; ++c) {
      codes.push_back(code_of(x[row * channels + c], scale, expected_zero.back(), quantizer.qmin, quantizer.qmax));
    }
  }
  Floats scale(rows), zero(symmetric ? 0 : rows);
  const Bytes expected = packed(codes, quantizer.channels, quantizer.bits);
  Bytes bytes(expected.size(), 0xAA);
  quantize_tokens({x.data()}, static_cast<int64_t>(rows), quantizer, bytes.data(), scale.data(), symmetric ? nullptr : zero.data(),
                  serially);
  const int bits = quantizer.bits, count = static_cast<int>(channels);
  CHECK(same_bits(scale, expected_scale), "%s: scales, %d bits, %d channels, symmetric %d", what, bits, count, symmetric);
  CHECK(symmetric || same_bits(zero, expected_zero), "%s: zero points, %d bits, %d channels", what, bits, count);
  CHECK(bytes == expected, "%s: codes, %d bits, %d channels, symmetric %d", what, bits, count, symmetric);
}

void test_quantize_tokens() {
  for (const int bits : {8, 4, 3}) {
    for (const int64_t channels : {1, 7, 16, 31, 32, 33, 64, 100, 127}) {
      for (const bool symmetric : {false, true}) {
        const TokenQuantizer quantizer{channels, bits, -lift(bits) + symmetric, lift(bits) - 1};
        Floats x = normals(6 * channels, 3);
        check_tokens(x, quantizer, symmetric, "random");
        for (float& value : x) value = std::fabs(value) + 1;
        check_tokens(x, quantizer, symmetric, "positive");
        for (float& value : x) value = -value;
        check_tokens(x, quantizer, symmetric, "negative");
        for (float& value : x) value = integer(0, 1) ? 0 : -0.0f;
        check_tokens(x, quantizer, symmetric, "zeros");
        for (float& value : x) value = static_cast<float>(integer(-3, 3)) * kDenormal;
        check_tokens(x, quantizer, symmetric, "denormals");
        x = normals(6 * channels, 3);
        x.back() = kNan;
        x.front() = kNan;
        x[x.size() / 2] = kInfinity;
        check_tokens(x, quantizer, symmetric, "not finite");
        x = normals(6 * channels, 3e38f);
        check_tokens(x, quantizer, symmetric, "ranges that overflow");
      }
    }
  }
}

// Inputs of norm_quantize, and places for its outputs, of any type.
struct NormCase {
  NormCase(const Case& c, int64_t rows, bool rms, FloatType type, bool with_options)
      : clusters(c), rows(rows), rms(rms), type(type), with_options(with_options), channels(c.channels()) {
    x = input(normals(rows * channels, 2));
    gamma = input(normals(channels, 1));
    if (!with_options) return;
    residual = input(normals(rows * channels, 3));
    if (!rms) beta = input(normals(channels, 1));
    for (int32_t i = 0; i < channels; ++i) order.push_back(i);
    std::shuffle(order.begin(), order.end(), random_bits);
    order[0] = order.back();
  }

  Floats input(const Floats& values) const { return rounded(values, type); }

  // Runs the kernel; outputs come back as f32.
  void run(Bytes* codes, Floats* normalized, Floats* sum, const Parallel& parallel) const {
    const auto elements = static_cast<size_t>(rows * channels);
    const FloatTensor in[] = {{x, type}, {residual, type}, {gamma, type}, {beta, type}};
    const Floats unset(elements, kNan);
    FloatTensor out[] = {{unset, type}, {unset, type}};
    codes->assign(static_cast<size_t>(rows * bytes_of(channels, clusters.quantizer.bits)), 0xAA);
    const auto or_missing = [](const FloatTensor& tensor) { return tensor.size() == 0 ? FloatIn{} : tensor.in(); };
    norm_quantize({rms, epsilon, rows, in[0].in(), or_missing(in[1]), in[2].in(), or_missing(in[3]), order.empty() ? nullptr : order.data(),
                   clusters.quantizer, codes->data(), out[0].out(), out[1].out()},
                  parallel);
    *normalized = out[0].values();
    *sum = out[1].values();
  }

  const Case& clusters;
  const int64_t rows;
  const bool rms;
  const FloatType type;
  const bool with_options;
  const int64_t channels;
  const float epsilon = 1e-5f;
  Floats x, residual, gamma, beta;
  std::vector<int32_t> order;
};

void check_norm(const NormCase& norm) {
  const Quantizer& quantizer = norm.clusters.quantizer;
  const auto channels = static_cast<size_t>(norm.channels);
  Bytes codes;
  Floats normalized, sum;
  norm.run(&codes, &normalized, &sum, serially);
  Floats expected_sum = norm.x;
  if (norm.with_options) {
    for (size_t i = 0; i < expected_sum.size(); ++i) expected_sum[i] += norm.residual[i];
  }
  CHECK(same_bits(sum, rounded(expected_sum, norm.type)), "sum of %d channels, %s", static_cast<int>(channels), name_of(norm.type));
  expected_sum = sum;
  Floats reordered;
  for (size_t row = 0; row < static_cast<size_t>(norm.rows); ++row) {
    double mean = 0, variance = 0;
    for (size_t c = 0; c < channels; ++c) mean += expected_sum[row * channels + c];
    mean = norm.rms ? 0 : mean / static_cast<double>(channels);
    for (size_t c = 0; c < channels; ++c) variance += std::pow(expected_sum[row * channels + c] - mean, 2);
    variance /= static_cast<double>(channels);
    for (size_t c = 0; c < channels; ++c) {
      const size_t i = row * channels + c;
      const double beta = norm.beta.empty() ? 0 : norm.beta[c];
      const double expected = (expected_sum[i] - mean) / std::sqrt(variance + norm.epsilon) * norm.gamma[c] + beta;
      const double tolerance = tolerance_of(norm.type) * (1 + std::fabs(expected));
      const double error = std::fabs(normalized[i] - expected);
      CHECK(error <= tolerance, "normalized %g, expected %g, %s", normalized[i], expected, name_of(norm.type));
    }
    for (size_t c = 0; c < channels; ++c) {
      reordered.push_back(normalized[row * channels + (norm.order.empty() ? c : static_cast<size_t>(norm.order[c]))]);
    }
  }
  // In 16 bits the codes are those of the row before it is rounded, which only the levels can be compared on.
  if (norm.type != FloatType::kF32) return;
  CHECK(codes == quantized(reordered, quantizer), "codes of %d channels, rms %d", static_cast<int>(channels), norm.rms);
}

template <class F>
void for_norms(F f) {
  for_cases([&](Case& c) {
    for (const bool rms : {false, true}) {
      for (const FloatType type : kFloatTypes) {
        for (const bool with_options : {false, true}) f(NormCase(c, 3, rms, type, with_options));
      }
    }
  });
}

void test_norm_quantize() { for_norms(check_norm); }

// Rows with a mean that is large beside their deviation keep their variance.
void test_large_mean() {
  const Case c({256}, 8, -128, 127);
  NormCase norm(c, 2, false, FloatType::kF32, false);
  for (float& value : norm.x) value = 10000 + static_cast<float>(integer(-8, 8)) * 0.0625f;
  Bytes codes;
  Floats normalized, sum;
  norm.run(&codes, &normalized, &sum, serially);
  double squares = 0;
  for (size_t i = 0; i < 256; ++i) squares += std::pow(normalized[i] / norm.gamma[i], 2);
  CHECK(std::fabs(squares / 256 - 1) < 1e-3, "variance of the normalized row is %g", squares / 256);
}

// All outputs of a kernel, as bytes.
template <class T>
void append(Bytes* bytes, const std::vector<T>& values) {
  const auto* first = reinterpret_cast<const uint8_t*>(values.data());
  bytes->insert(bytes->end(), first, first + values.size() * sizeof(T));
}

Bytes outputs_of_everything() {
  random_bits.seed(11);
  Bytes all;
  for_cases([&](Case& c) {
    Floats x = normals(4 * c.channels(), 2);
    add_hard_values(x, c.quantizer);
    const int bits = c.quantizer.bits;
    Bytes codes(static_cast<size_t>(4 * bytes_of(c.channels(), bits)));
    for (const FloatType type : kFloatTypes) {
      const FloatTensor tensor(x, type);
      const FloatIn in = tensor.in();
      quantize_clusters(in, 4, c.quantizer, codes.data(), serially);
      append(&all, codes);
      Floats scale(4), zero(4);
      quantize_tokens(in, 4, {c.channels(), bits, -lift(bits), lift(bits) - 1}, codes.data(), scale.data(), zero.data(), serially);
      append(&all, codes);
      append(&all, scale);
      append(&all, zero);
    }
  });
  for_norms([&](NormCase norm) {
    // Sums that depend on their order.
    for (float& value : norm.x) value *= std::exp(normal(2));
    norm.x = norm.input(norm.x);
    Bytes codes;
    Floats normalized, sum;
    norm.run(&codes, &normalized, &sum, serially);
    append(&all, codes);
    append(&all, normalized);
    append(&all, sum);
  });
  return all;
}

// Tasks in reverse order, which shows rows that depend on one another.
void backwards(size_t count, const std::function<void(size_t)>& body) {
  while (count > 0) body(--count);
}

void test_many_rows() {
  const Case c({2048, 4096}, 4, -8, 7);
  for (const int64_t rows : {0, 1, 4, 9}) {
    const NormCase norm(c, rows, false, FloatType::kF32, true);
    Bytes codes, codes_backwards;
    Floats normalized, sum;
    norm.run(&codes, &normalized, &sum, serially);
    norm.run(&codes_backwards, &normalized, &sum, backwards);
    CHECK(codes == codes_backwards, "order of tasks, %d rows", static_cast<int>(rows));
    check_norm(norm);
  }
}

void test_halves() {
  CHECK(half_to_float(0x3C00) == 1, "one");
  CHECK(half_to_float(0x0001) == 0x1p-24f, "least subnormal");
  CHECK(half_to_float(0xFBFF) == -65504, "greatest negative");
  CHECK(half_to_float(0x7C00) == kInfinity, "infinity");
  CHECK(float_to_half(65519.996f) == 0x7BFF, "below half way to infinity");
  CHECK(float_to_half(65520) == 0x7C00, "half way to infinity");
  CHECK(float_to_half(0x1p-25f) == 0 && float_to_half(0x1.000002p-25f) == 1, "half way to the least subnormal");
  CHECK(float_to_half(1 + 0x1p-11f) == 0x3C00 && float_to_half(1 + 0x3p-11f) == 0x3C02, "ties to even");
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const auto bits = static_cast<uint16_t>(half);
    const bool nan = (bits & 0x7FFF) > 0x7C00;
    CHECK(float_to_half(half_to_float(bits)) == (nan ? (bits | 0x200) : bits), "there and back: %x", half);
  }
}

void test_bf16() {
  CHECK(bf16_to_float(0x3F80) == 1 && bf16_to_float(0xC040) == -3, "the upper half of a float");
  CHECK(float_to_bf16(1 + 0x1p-8f) == 0x3F80 && float_to_bf16(1 + 0x3p-8f) == 0x3F82, "ties to even");
  CHECK(float_to_bf16(1 + 0x1.02p-8f) == 0x3F81, "above half way");
  CHECK(float_to_bf16(std::numeric_limits<float>::max()) == 0x7F80, "beyond the greatest");
  CHECK(float_to_bf16(kDenormal) == 0 && float_to_bf16(0x1p-133f) == 1, "subnormals");
  const uint32_t signaling = 0xFF800001;
  float nan;
  std::memcpy(&nan, &signaling, sizeof nan);
  CHECK(float_to_bf16(nan) == 0xFFC0, "NaN becomes quiet");
  for (uint32_t word = 0; word < 0x10000; ++word) {
    const auto bits = static_cast<uint16_t>(word);
    CHECK(float_to_bf16(bf16_to_float(bits)) == ((bits & 0x7FFF) > 0x7F80 ? (bits | 0x40) : bits), "there and back: %x", word);
  }
}

// The rows of a level against the scalar functions: all words, and floats at and beside the ties between them.
void test_words() {
  const QuantizeKernels& k = quantize_kernels();
  for (const FloatType type : {FloatType::kF16, FloatType::kBf16}) {
    FloatTensor tensor(size_t{0x10000}, type);
    for (size_t i = 0; i < tensor.words.size(); ++i) tensor.words[i] = static_cast<uint16_t>(i);
    Floats widened(tensor.size());
    k.widen(tensor.in(), 0, 0x10000, widened.data());
    CHECK(same_bits(widened, tensor.values()), "%s to f32", name_of(type));
    Floats values;
    for (uint32_t upper = 0; upper < 0x10000; ++upper) {
      for (const uint32_t lower : {0x0000, 0x0001, 0x1000, 0x7FFF, 0x8000, 0x8001, 0xFFFF}) {
        const uint32_t bits = upper << 16 | lower;
        std::memcpy(&values.emplace_back(), &bits, sizeof bits);
      }
    }
    FloatTensor narrowed(values.size(), type);
    k.narrow(values.data(), static_cast<int64_t>(values.size()), narrowed.out(), 0);
    CHECK(narrowed.equal_bits(FloatTensor(values, type)), "f32 to %s", name_of(type));
  }
}

}  // namespace

int main() {
  test_halves();
  test_bf16();
  Bytes scalar;
  for (const Level level : {Level::kScalar, Level::kAvx2, Level::kAvxVnni, Level::kAvx512Vnni}) {
    if (!supports(level)) continue;
    force(level);
    test_words();
    test_quantize_clusters();
    test_ties();
    test_dequantize_clusters();
    test_quantize_tokens();
    test_norm_quantize();
    test_large_mean();
    test_many_rows();
    const Bytes outputs = outputs_of_everything();
    if (level == Level::kScalar) scalar = outputs;
    CHECK(outputs == scalar, "%s differs from scalar", name_of(level));
  }
  return finish();
}
