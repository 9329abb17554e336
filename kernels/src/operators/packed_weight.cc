#include "operators/packed_weight.h"

#include <cmath>

#include "core/layout.h"
#include "cpu/matmul.h"
#include "operators/attributes.h"
#include "ort/error.h"

namespace qc {

PackedWeight::PackedWeight(const ort::Info& info, int bits) : bits_(bits), clusters_(read_clusters(info, "groups")) {
  info.check_constant("scale", [this](const ort::Tensor& scale) { check_scale(scale); });
  info.check_constant("zero", [this](const ort::Tensor& zero) { check_zero(zero); });
  const ort::Tensor& scale = info.constant("scale");
  if (!scale.present) return;
  if (info.constant("weight").present) check_weight(info.constant("weight"), scale.shape[1]);
  const ort::Tensor& zero = info.constant("zero");
  if (zero.present) require_shape(zero, scale.shape);
  if (scale.on_host) tables_ = pair_tables({nullptr, bits_, clusters_, scale.shape[1], scale.as<float>(), zero.as<int8_t>()});
}

Weight PackedWeight::weight(const ort::Context& context) const {
  const ort::Tensor weight = context.input("weight"), scale = context.input("scale"), zero = context.input("zero");
  if (!scale.constant) check_scale(scale);
  check_weight(weight, scale.shape[1]);
  if (zero.present && !zero.constant) check_zero(zero);
  if (zero.present) require_shape(zero, scale.shape);
  const bool same = scale.constant && (zero.constant || !zero.present);
  return {weight.as<uint8_t>(), bits_, clusters_, scale.shape[1], scale.as<float>(), zero.as<int8_t>(), same ? tables_ : nullptr};
}

void PackedWeight::check_scale(const ort::Tensor& scale) const {
  require_table(scale);
  if (!scale.on_host) return;
  for (int64_t i = 0; i < scale.shape.size(); ++i) {
    if (!std::isfinite(scale.as<float>()[i])) reject("scale[", i / scale.shape[1], ", ", i % scale.shape[1], "] is not finite");
  }
}

void PackedWeight::check_zero(const ort::Tensor& zero) const {
  require_table(zero);
  if (!zero.on_host) return;
  for (int64_t i = 0; i < zero.shape.size(); ++i) {
    const int value = zero.as<int8_t>()[i];
    if (value >= -lift(bits_) && value < lift(bits_)) continue;
    reject("zero[", i / zero.shape[1], ", ", i % zero.shape[1], "] is ", value, ", which is not a code of ", bits_, " bits");
  }
}

// [G, columns]
void PackedWeight::require_table(const ort::Tensor& table) const {
  const auto groups = static_cast<int64_t>(clusters_.count());
  if (table.shape.rank() == 2 && table.shape[0] == groups) return;
  reject(table.name, " has shape ", table.shape.text(), ", it should be [", groups, ", columns]");
}

void PackedWeight::check_weight(const ort::Tensor& weight, int64_t columns) const {
  require_shape(weight, {tiles_of(columns), steps_of(clusters_.channels()), bits_, 4 * kTile});
}

}  // namespace qc
