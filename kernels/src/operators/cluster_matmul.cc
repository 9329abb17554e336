
#include "core/layout.h"
#include "operators/attributes.h"
#include "operators/cluster_affine.h"
#include "operators/operators.h"
#include "operators/packed_weight.h"
#include "ort/error.h"

namespace qc {
namespace {

Activation read_activation(const ort::Info& info) {
  const std::string name = info.string("activation");
  if (name == "none") return Activation::kNone;
  if (name == "relu") return Activation::kRelu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_tanh") return Activation::kGeluTanh;
  if (name == "silu") return Activation::kSilu;
  reject("activation is '", name, "', it must be none, relu, gelu, gelu_tanh or silu");
}

// Codes of activations are within -128 ... 127, codes of weights less their zero points within -255 ... 255.
constexpr int64_t kMaxClusterSize = (int64_t{1} << 31) / (255 * 128);

void check_sums(const Clusters& clusters) {
  int64_t first = 0;
  for (const int64_t end : clusters.ends) {
    if (end - first > kMaxClusterSize) reject("groups has a cluster of ", end - first, " channels, sums in int32 hold ", kMaxClusterSize);
    first = end;
  }
}

// ClusterMatMul but for its output.
class Product {
 public:
  explicit Product(const ort::Info& info)
      : a_bits_(read_bits(info, "a_bits")), weight_(info, read_bits(info, "w_bits")), activation_(read_activation(info)) {
    check_sums(weight_.clusters());
  }

  // What is to be computed in one run, and the shape [..., N] of y.
  ClusterMatMul bind(const ort::Context& context, ort::Shape* y_shape) const {
    const ort::Tensor codes = context.input("codes"), bias = context.input("bias"), multiplier = context.input("multiplier");
    require_last(codes, bytes_of(weight_.clusters().channels(), a_bits_));
    ClusterMatMul product = {};
    product.rows = codes.shape.rows();
    product.codes = codes.as<uint8_t>();
    product.a_bits = a_bits_;
    product.weight = weight_.weight(context);
    const int64_t columns = product.weight.columns;
    *y_shape = codes.shape.with_last(columns);
    const ort::Shape per_row = codes.shape.with_last(1);
    product.offset = optional_floats(context, "offset", {columns});
    product.token_scale = optional_floats(context, "token_scale", per_row);
    product.token_zero = optional_floats(context, "token_zero", per_row);
    require_shape(bias, {columns});
    if (multiplier.present) require_shape(multiplier, *y_shape);
    product.bias = bias.floats();
    product.multiplier = multiplier.floats();
    product.activation = activation_;
    return product;
  }

 private:
  static const float* optional_floats(const ort::Context& context, const char* name, const ort::Shape& shape) {
    const ort::Tensor tensor = context.input(name);
    if (tensor.present) require_shape(tensor, shape);
    return tensor.as<float>();
  }

  int a_bits_;
  PackedWeight weight_;
  Activation activation_;
};

class ClusterMatMulKernel : public ort::Kernel {
 public:
  explicit ClusterMatMulKernel(const ort::Info& info) : product_(info) {}

  void run(const ort::Context& context) const override {
    ort::Shape shape;
    ClusterMatMul product = product_.bind(context, &shape);
    product.y = {context.output("y", shape).data, product.bias.type};
    context.device().cluster_matmul(product);
  }

 private:
  Product product_;
};

class ClusterMatMulQuantizeKernel : public ort::Kernel {
 public:
  explicit ClusterMatMulQuantizeKernel(const ort::Info& info)
      : product_(info), affine_(info, "out_"), range_(read_code_range(info, "out_", affine_.bits())) {}

  void run(const ort::Context& context) const override {
    ort::Shape shape;
    ClusterMatMul product = product_.bind(context, &shape);
    const int64_t channels = affine_.clusters().channels();
    if (channels != shape.last()) reject("out_groups add up to ", channels, ", the product has ", shape.last(), " columns");
    const Quantizer quantizer = affine_.quantizer(context, range_.qmin, range_.qmax);
    product.requantize = &quantizer;
    product.out_codes = context.output("out_codes", shape.with_last(bytes_of(channels, quantizer.bits))).as<uint8_t>();
    context.device().cluster_matmul(product);
  }

 private:
  Product product_;
  ClusterAffine affine_;
  CodeRange range_;
};

}  // namespace

std::unique_ptr<ort::Kernel> make_cluster_matmul(const ort::Info& info) { return std::make_unique<ClusterMatMulKernel>(info); }
std::unique_ptr<ort::Kernel> make_cluster_matmul_quantize(const ort::Info& info) {
  return std::make_unique<ClusterMatMulQuantizeKernel>(info);
}

}  // namespace qc
