#include "cpu/quantize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/layout.h"
#include "isa/quantize_kernels.h"

namespace qc {

namespace {

// Runs body(row) for all rows, as many in one task as make it worth a thread.
template <class MakeBody>
void for_rows(int64_t rows, int64_t channels, const Parallel& parallel, MakeBody make_body) {
  constexpr int64_t kTaskElements = 16384;
  const int64_t block = std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, channels));
  parallel(static_cast<size_t>((rows + block - 1) / block), [&](size_t task) {
    auto body = make_body();
    const int64_t first = static_cast<int64_t>(task) * block;
    for (int64_t row = first; row < std::min(rows, first + block); ++row) body(row);
  });
}

// Gives rows of a float tensor as f32.
class RowReader {
 public:
  RowReader(FloatIn in, int64_t channels, const QuantizeKernels& kernels)
      : in_(in), channels_(channels), kernels_(kernels), widened_(in.data && !is_f32() ? static_cast<size_t>(channels) : 0) {}

  // Null if the tensor is missing; valid until the next call.
  const float* row(int64_t row) {
    if (!in_.data) return nullptr;
    if (is_f32()) return static_cast<const float*>(in_.data) + row * channels_;
    kernels_.widen(in_, row * channels_, channels_, widened_.data());
    return widened_.data();
  }

 private:
  bool is_f32() const { return in_.type == FloatType::kF32; }

  FloatIn in_;
  int64_t channels_;
  const QuantizeKernels& kernels_;
  std::vector<float> widened_;
};

void write_row(FloatOut out, int64_t row, const float* values, int64_t channels, const QuantizeKernels& kernels) {
  if (out.data) kernels.narrow(values, channels, out, row * channels);
}

Affine affine_of(const Quantizer& quantizer, size_t cluster) {
  return {quantizer.scale[cluster], quantizer.zero[cluster], quantizer.bits, static_cast<float>(quantizer.qmin),
          static_cast<float>(quantizer.qmax)};
}

// Runs body(first, count, affine) for all clusters; `first` is a multiple of kStep.
template <class Body>
void for_clusters(const Quantizer& quantizer, Body body) {
  int64_t first = 0;
  for (size_t g = 0; g < quantizer.clusters.count(); ++g) {
    const int64_t end = quantizer.clusters.ends[g];
    body(first, end - first, affine_of(quantizer, g));
    first = end;
  }
}

void quantize_row(const float* x, const Quantizer& quantizer, uint8_t* codes, const QuantizeKernels& kernels) {
  for_clusters(quantizer, [&](int64_t first, int64_t count, const Affine& affine) {
    kernels.quantize(x + first, count, affine, codes + bytes_of(first, quantizer.bits));
  });
}

Affine token_affine(float low, float high, const TokenQuantizer& quantizer, bool symmetric) {
  const auto qmin = static_cast<float>(quantizer.qmin), qmax = static_cast<float>(quantizer.qmax);
  if (symmetric) {
    high = std::max(-low, high);
    low = -high;
  }
  float scale = (high - low) / (qmax - qmin);
  if (scale == 0) scale = 1;
  const float quotient = low / scale;
  const float rounded = std::isnan(quotient) ? 0 : std::nearbyint(quotient);
  const float zero = symmetric ? 0 : std::clamp(qmin - rounded, qmin, qmax);
  return {scale, zero, quantizer.bits, qmin, qmax};
}

// One task's rows of norm_quantize, with the rows in between.
class NormRows {
 public:
  NormRows(const NormQuantize& norm, const float* gamma, const float* beta, const QuantizeKernels& kernels)
      : norm_(norm),
        gamma_(gamma),
        beta_(beta),
        kernels_(kernels),
        channels_(norm.quantizer.clusters.channels()),
        x_(norm.x, channels_, kernels),
        residual_(norm.residual, channels_, kernels),
        sum_(norm.residual.data ? static_cast<size_t>(channels_) : 0),
        rounded_sum_(norm.residual.data && norm.x.type != FloatType::kF32 ? static_cast<size_t>(channels_) : 0),
        normalized_(static_cast<size_t>(channels_)),
        reordered_(norm.order ? static_cast<size_t>(channels_) : 0) {}

  void operator()(int64_t row) {
    const float* sum = sum_of_row(row);
    write_row(norm_.sum, row, sum, channels_, kernels_);
    const auto count = static_cast<float>(channels_);
    const float mean = norm_.rms ? 0 : kernels_.sum(sum, channels_) / count;
    const float variance = kernels_.sum_of_squares(sum, channels_, mean) / count;
    const float inverse = 1 / std::sqrt(variance + norm_.epsilon);
    kernels_.normalize(sum, channels_, mean, inverse, gamma_, beta_, normalized_.data());
    write_row(norm_.normalized, row, normalized_.data(), channels_, kernels_);
    uint8_t* codes = norm_.codes + row * bytes_of(channels_, norm_.quantizer.bits);
    quantize_row(reordered(), norm_.quantizer, codes, kernels_);
  }

 private:
  // x + residual, rounded to the type of the output `sum`.
  const float* sum_of_row(int64_t row) {
    const float* x = x_.row(row);
    const float* residual = residual_.row(row);
    if (!residual) return x;
    kernels_.add(x, residual, channels_, sum_.data());
    if (!rounded_sum_.empty()) {
      kernels_.narrow(sum_.data(), channels_, {rounded_sum_.data(), norm_.x.type}, 0);
      kernels_.widen({rounded_sum_.data(), norm_.x.type}, 0, channels_, sum_.data());
    }
    return sum_.data();
  }

  const float* reordered() {
    if (!norm_.order) return normalized_.data();
    for (int64_t c = 0; c < channels_; ++c) reordered_[static_cast<size_t>(c)] = normalized_[static_cast<size_t>(norm_.order[c])];
    return reordered_.data();
  }

  const NormQuantize& norm_;
  const float* gamma_;
  const float* beta_;
  const QuantizeKernels& kernels_;
  int64_t channels_;
  RowReader x_, residual_;
  std::vector<float> sum_;
  std::vector<uint16_t> rounded_sum_;
  std::vector<float> normalized_, reordered_;
};

}  // namespace

void quantize_clusters(FloatIn x, int64_t rows, const Quantizer& quantizer, uint8_t* codes, const Parallel& parallel) {
  const QuantizeKernels& k = quantize_kernels();
  const int64_t channels = quantizer.clusters.channels(), bytes = bytes_of(channels, quantizer.bits);
  for_rows(rows, channels, parallel, [&] {
    return [&, reader = RowReader(x, channels, k)](int64_t row) mutable {
      quantize_row(reader.row(row), quantizer, codes + row * bytes, k);
    };
  });
}

void dequantize_clusters(const uint8_t* codes, int64_t rows, const Quantizer& quantizer, float* y, const Parallel& parallel) {
  const QuantizeKernels& k = quantize_kernels();
  const int64_t channels = quantizer.clusters.channels(), bytes = bytes_of(channels, quantizer.bits);
  for_rows(rows, channels, parallel, [&] {
    return [&](int64_t row) {
      for_clusters(quantizer, [&](int64_t first, int64_t count, const Affine& affine) {
        k.dequantize(codes + row * bytes + bytes_of(first, quantizer.bits), count, affine, y + row * channels + first);
      });
    };
  });
}

void quantize_tokens(FloatIn x, int64_t rows, const TokenQuantizer& quantizer, uint8_t* codes, float* scale, float* zero,
                     const Parallel& parallel) {
  const QuantizeKernels& k = quantize_kernels();
  const int64_t channels = quantizer.channels, bytes = bytes_of(channels, quantizer.bits);
  for_rows(rows, channels, parallel, [&] {
    return [&, reader = RowReader(x, channels, k)](int64_t row) mutable {
      const float* values = reader.row(row);
      float low, high;
      k.range(values, channels, &low, &high);
      const Affine affine = token_affine(low, high, quantizer, !zero);
      scale[row] = affine.scale;
      if (zero) zero[row] = affine.zero;
      k.quantize(values, channels, affine, codes + row * bytes);
    };
  });
}

void norm_quantize(const NormQuantize& norm, const Parallel& parallel) {
  const QuantizeKernels& k = quantize_kernels();
  const int64_t channels = norm.quantizer.clusters.channels();
  RowReader gamma(norm.gamma, channels, k), beta(norm.beta, channels, k);
  const float* gamma_row = gamma.row(0);
  const float* beta_row = beta.row(0);
  for_rows(norm.rows, channels, parallel, [&] { return NormRows(norm, gamma_row, beta_row, k); });
}

}  // namespace qc
