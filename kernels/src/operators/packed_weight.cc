#include "operators/packed_weight.h"

#include <cmath>

#include "core/layout.h"
#include "operators/attributes.h"
#include "ort/error.h"

namespace qc {

PackedWeight::PackedWeight(const ort::Info& info, int bits) : bits_(bits), clusters_(read_clusters(info, "groups")) {
  const ort::Tensor& scale = info.constant("scale");
  if (!scale.present) return;
  check_scale(scale);
  if (info.constant("weight").present) check_weight(info.constant("weight"), scale.shape[1]);
  if (info.constant("zero").present) require_shape(info.constant("zero"), scale.shape);
}

Weight PackedWeight::weight(const ort::Context& context) const {
  const ort::Tensor weight = context.input("weight"), scale = context.input("scale"), zero = context.input("zero");
  if (!scale.constant) check_scale(scale);
  check_weight(weight, scale.shape[1]);
  if (zero.present) require_shape(zero, scale.shape);
  return {weight.as<uint8_t>(), bits_, clusters_, scale.shape[1], scale.as<float>(), zero.as<int8_t>()};
}

void PackedWeight::check_scale(const ort::Tensor& scale) const {
  const auto groups = static_cast<int64_t>(clusters_.count());
  if (scale.shape.rank() != 2 || scale.shape[0] != groups) {
    reject("scale has shape ", scale.shape.text(), ", it should be [", groups, ", columns]");
  }
  for (int64_t i = 0; i < groups * scale.shape[1]; ++i) {
    if (!std::isfinite(scale.as<float>()[i])) reject("scale[", i / scale.shape[1], ", ", i % scale.shape[1], "] is not finite");
  }
}

void PackedWeight::check_weight(const ort::Tensor& weight, int64_t columns) const {
  require_shape(weight, {tiles_of(columns), steps_of(clusters_.channels()), bits_, 4 * kTile});
}

}  // namespace qc
