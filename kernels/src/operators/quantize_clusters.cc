#include "core/layout.h"
#include "core/quantize.h"
#include "operators/attributes.h"
#include "operators/cluster_affine.h"
#include "operators/operators.h"
#include "ort/error.h"

namespace qc {
namespace {

class QuantizeClusters : public ort::Kernel {
 public:
  explicit QuantizeClusters(const ort::Info& info) : affine_(info, ""), range_(read_code_range(info, "", affine_.bits())) {}

  void run(const ort::Context& context) const override {
    const ort::Tensor x = context.input("x");
    require_last(x, affine_.clusters().channels());
    const int64_t bytes = bytes_of(affine_.clusters().channels(), affine_.bits());
    const ort::Output codes = context.output("codes", x.shape.with_last(bytes));
    const Quantizer quantizer = affine_.quantizer(context, range_.qmin, range_.qmax);
    context.device().quantize_clusters(x.floats(), x.shape.rows(), quantizer, codes.as<uint8_t>());
  }

 private:
  ClusterAffine affine_;
  CodeRange range_;
};

class DequantizeClusters : public ort::Kernel {
 public:
  explicit DequantizeClusters(const ort::Info& info) : affine_(info, "") {}

  void run(const ort::Context& context) const override {
    const ort::Tensor codes = context.input("codes");
    const int64_t channels = affine_.clusters().channels();
    require_last(codes, bytes_of(channels, affine_.bits()));
    const ort::Output y = context.output("y", codes.shape.with_last(channels));
    // Codes are not clipped on the way back.
    const Quantizer quantizer = affine_.quantizer(context, 0, 0);
    context.device().dequantize_clusters(codes.as<uint8_t>(), codes.shape.rows(), quantizer, y.as<float>());
  }

 private:
  ClusterAffine affine_;
};

}  // namespace

std::unique_ptr<ort::Kernel> make_quantize_clusters(const ort::Info& info) { return std::make_unique<QuantizeClusters>(info); }
std::unique_ptr<ort::Kernel> make_dequantize_clusters(const ort::Info& info) { return std::make_unique<DequantizeClusters>(info); }

}  // namespace qc
