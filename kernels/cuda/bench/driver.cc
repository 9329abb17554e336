// The kernels of launch.h by plain names and structs, for callers that are not C++: driver.py, which has the same structs. All pointers are
// to memory of the GPU, but for those to structs and to ends of clusters. Calls return null, or a message that lasts until the thread's
// next one.
#include <exception>
#include <string>

#include "cuda/test/device_memory.h"
#include "launch.h"

#define QC_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using namespace qc;

struct WeightOperand {
  const Clusters* clusters;
  const uint8_t* packed;
  const float* scale;
  const int8_t* zero;
  int64_t columns;
  int64_t bits;

  Weight weight() const { return {packed, static_cast<int>(bits), *clusters, columns, scale, zero}; }
};

// Of all codes of `bits`.
struct QuantizerOperand {
  const Clusters* clusters;
  const float* scale;
  const float* zero;
  int64_t bits;

  Quantizer quantizer() const {
    const int lifted = lift(static_cast<int>(bits));
    return {*clusters, scale, zero, static_cast<int>(bits), -lifted, lifted - 1};
  }
};

struct NormCall {
  int64_t rms;
  int64_t rows;
  int64_t type;
  const void* x;
  const void* residual;
  const void* gamma;
  const void* beta;
  const int32_t* order;
  QuantizerOperand quantizer;
  uint8_t* codes;
  void* normalized;
  void* sum;
};

struct ProductCall {
  int64_t rows;
  int64_t type;
  const uint8_t* codes;
  int64_t a_bits;
  WeightOperand weight;
  const float* offset;
  const float* token_scale;
  const float* token_zero;
  const void* bias;
  const void* multiplier;
  int64_t activation;
  void* y;
  // Where there are codes, the result is quantized.
  uint8_t* out_codes;
  QuantizerOperand out;
};

struct WeightProductCall {
  int64_t rows;
  int64_t type;
  const void* x;
  WeightOperand weight;
  const void* bias;
  void* y;
};

FloatIn in(const void* data, int64_t type) { return {data, static_cast<FloatType>(type)}; }
FloatOut out(void* data, int64_t type) { return {data, static_cast<FloatType>(type)}; }
cuda::Queue queue(void* stream) { return {static_cast<cudaStream_t>(stream)}; }

thread_local std::string message;

template <class F>
const char* guarded(const F& f) noexcept {
  try {
    f();
    return nullptr;
  } catch (const std::exception& error) {
    message = error.what();
    return message.c_str();
  }
}

}  // namespace

// Clusters with their table on the GPU, made once so that calls do nothing but launch. They live as long as the process.
QC_EXPORT const char* qc_make_clusters(const int64_t* ends, int64_t count, const Clusters** made) {
  return guarded([&] { *made = new Clusters(cuda::clusters_of(std::vector<int64_t>(ends, ends + count))); });
}

QC_EXPORT const char* qc_quantize_clusters(const void* x, int64_t type, int64_t rows, const QuantizerOperand* quantizer, uint8_t* codes,
                                           void* stream) {
  return guarded([&] { cuda::quantize_clusters(in(x, type), rows, quantizer->quantizer(), codes, queue(stream)); });
}

QC_EXPORT const char* qc_dequantize_clusters(const uint8_t* codes, int64_t rows, const QuantizerOperand* quantizer, float* y,
                                             void* stream) {
  return guarded([&] { cuda::dequantize_clusters(codes, rows, quantizer->quantizer(), y, queue(stream)); });
}

// Symmetric where `zero` is null.
QC_EXPORT const char* qc_quantize_tokens(const void* x, int64_t type, int64_t rows, int64_t channels, int64_t bits, uint8_t* codes,
                                         float* scale, float* zero, void* stream) {
  const int lifted = lift(static_cast<int>(bits));
  const TokenQuantizer quantizer = {channels, static_cast<int>(bits), zero ? -lifted : 1 - lifted, lifted - 1};
  return guarded([&] { cuda::quantize_tokens(in(x, type), rows, quantizer, codes, scale, zero, queue(stream)); });
}

QC_EXPORT const char* qc_norm_quantize(const NormCall* call, void* stream) {
  const NormCall& c = *call;
  constexpr float kEpsilon = 1e-5f;
  const NormQuantize norm = {c.rms != 0,
                             kEpsilon,
                             c.rows,
                             in(c.x, c.type),
                             in(c.residual, c.type),
                             in(c.gamma, c.type),
                             in(c.beta, c.type),
                             c.order,
                             c.quantizer.quantizer(),
                             c.codes,
                             out(c.normalized, c.type),
                             out(c.sum, c.type)};
  return guarded([&] { cuda::norm_quantize(norm, queue(stream)); });
}

QC_EXPORT const char* qc_cluster_matmul(const ProductCall* call, void* stream) {
  const ProductCall& c = *call;
  ClusterMatMul product = {};
  product.rows = c.rows;
  product.codes = c.codes;
  product.a_bits = static_cast<int>(c.a_bits);
  product.weight = c.weight.weight();
  product.offset = c.offset;
  product.token_scale = c.token_scale;
  product.token_zero = c.token_zero;
  product.bias = in(c.bias, c.type);
  product.multiplier = in(c.multiplier, c.type);
  product.activation = static_cast<Activation>(c.activation);
  product.y = out(c.y, c.type);
  Quantizer quantizer = {};
  if (c.out_codes) {
    quantizer = c.out.quantizer();
    product.requantize = &quantizer;
    product.out_codes = c.out_codes;
  }
  return guarded([&] { cuda::cluster_matmul(product, queue(stream)); });
}

QC_EXPORT const char* qc_weight_matmul(const WeightProductCall* call, void* stream) {
  const WeightProductCall& c = *call;
  const WeightMatMul product = {c.rows, in(c.x, c.type), c.weight.weight(), in(c.bias, c.type), out(c.y, c.type)};
  return guarded([&] { cuda::weight_matmul(product, queue(stream)); });
}
