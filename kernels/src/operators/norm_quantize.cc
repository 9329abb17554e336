#include <cmath>

#include "core/layout.h"
#include "core/quantize.h"
#include "operators/attributes.h"
#include "operators/cluster_affine.h"
#include "operators/operators.h"
#include "ort/error.h"

namespace qc {
namespace {

class NormReorderQuantize : public ort::Kernel {
 public:
  NormReorderQuantize(const ort::Info& info, bool rms)
      : rms_(rms), affine_(info, ""), range_(read_code_range(info, "", affine_.bits())), epsilon_(info.number("epsilon")) {
    if (!(epsilon_ >= 0) || std::isinf(epsilon_)) reject("epsilon is ", epsilon_, ", it must be finite and not negative");
    info.check_constant("order", [this](const ort::Tensor& order) { check_order(order); });
  }

  void run(const ort::Context& context) const override {
    const int64_t channels = affine_.clusters().channels();
    const ort::Tensor x = context.input("x"), residual = context.input("residual"), order = context.input("order");
    require_last(x, channels);
    if (residual.present) require_shape(residual, x.shape);
    if (order.present && !order.constant) check_order(order);
    const ort::Tensor gamma = context.input("gamma"), beta = context.input("beta");
    require_shape(gamma, {channels});
    if (beta.present) require_shape(beta, {channels});
    const Quantizer quantizer = affine_.quantizer(context, range_.qmin, range_.qmax);
    const ort::Output codes = context.output("codes", x.shape.with_last(bytes_of(channels, affine_.bits())));
    const ort::Output normalized = context.output("normalized", x.shape), sum = context.output("sum", x.shape);
    const FloatType type = x.floats().type;
    context.device().norm_quantize({rms_, epsilon_, x.shape.rows(), x.floats(), residual.floats(), gamma.floats(), beta.floats(),
                                    order.as<int32_t>(), quantizer, codes.as<uint8_t>(), {normalized.data, type}, {sum.data, type}});
  }

 private:
  void check_order(const ort::Tensor& order) const {
    const int64_t channels = affine_.clusters().channels();
    require_shape(order, {channels});
    if (!order.on_host) return;
    for (int64_t c = 0; c < channels; ++c) {
      const int32_t from = order.as<int32_t>()[c];
      if (from < 0 || from >= channels) reject("order[", c, "] is ", from, ", there are ", channels, " channels");
    }
  }

  bool rms_;
  ClusterAffine affine_;
  CodeRange range_;
  float epsilon_;
};

}  // namespace

std::unique_ptr<ort::Kernel> make_layer_norm_quantize(const ort::Info& info) { return std::make_unique<NormReorderQuantize>(info, false); }
std::unique_ptr<ort::Kernel> make_rms_norm_quantize(const ort::Info& info) { return std::make_unique<NormReorderQuantize>(info, true); }

}  // namespace qc
