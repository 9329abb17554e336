#include "core/layout.h"
#include "core/quantize.h"
#include "operators/attributes.h"
#include "operators/operators.h"
#include "ort/error.h"

namespace qc {
namespace {

class QuantizeTokens : public ort::Kernel {
 public:
  explicit QuantizeTokens(const ort::Info& info)
      : bits_(read_bits(info, "bits")), range_(read_code_range(info, "", bits_)), symmetric_(info.integer("symmetric")) {
    if (range_.qmin == range_.qmax) reject("qmin and qmax are both ", range_.qmin, ", which leaves no scale");
    if (symmetric_ != 0 && symmetric_ != 1) reject("symmetric is ", symmetric_, ", it must be 0 or 1");
  }

  void run(const ort::Context& context) const override {
    const ort::Tensor x = context.input("x");
    require_rows(x);
    const ort::Shape per_row = x.shape.with_last(1);
    const int64_t channels = x.shape.last();
    const ort::Output codes = context.output("codes", x.shape.with_last(bytes_of(channels, bits_)));
    const ort::Output scale = context.output("scale", per_row), zero = context.output("zero", per_row);
    if (zero.present && symmetric_) reject("the output zero must be left out when symmetric is 1");
    if (!zero.present && !symmetric_) reject("the output zero is missing, which needs symmetric to be 1");
    const TokenQuantizer quantizer = {channels, bits_, range_.qmin, range_.qmax};
    context.device().quantize_tokens(x.floats(), x.shape.rows(), quantizer, codes.as<uint8_t>(), scale.as<float>(), zero.as<float>());
  }

 private:
  int bits_;
  CodeRange range_;
  int64_t symmetric_;
};

}  // namespace

std::unique_ptr<ort::Kernel> make_quantize_tokens(const ort::Info& info) { return std::make_unique<QuantizeTokens>(info); }

}  // namespace qc
