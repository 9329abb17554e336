#include "operators/operators.h"
#include "operators/packed_weight.h"

namespace qc {
namespace {

class WeightMatMulKernel : public ort::Kernel {
 public:
  WeightMatMulKernel(const ort::Info& info, int bits) : weight_(info, bits) {}

  void run(const ort::Context& context) const override {
    const ort::Tensor x = context.input("x"), bias = context.input("bias");
    require_last(x, weight_.clusters().channels());
    const Weight weight = weight_.weight(context);
    if (bias.present) require_shape(bias, {weight.columns});
    const ort::Output y = context.output("y", x.shape.with_last(weight.columns));
    context.device().weight_matmul({x.shape.rows(), x.floats(), weight, bias.floats(), {y.data, x.floats().type}});
  }

 private:
  PackedWeight weight_;
};

}  // namespace

std::unique_ptr<ort::Kernel> make_int4_matmul(const ort::Info& info) { return std::make_unique<WeightMatMulKernel>(info, 4); }
std::unique_ptr<ort::Kernel> make_int3_matmul(const ort::Info& info) { return std::make_unique<WeightMatMulKernel>(info, 3); }

}  // namespace qc
