#include "operators/cluster_affine.h"

#include <cmath>

#include "operators/attributes.h"
#include "ort/error.h"

namespace qc {

ClusterAffine::ClusterAffine(const ort::Info& info, const std::string& prefix)
    : scale_name_(prefix + "scale"),
      zero_name_(prefix + "zero"),
      clusters_(read_clusters(info, prefix + "groups")),
      bits_(read_bits(info, prefix + "bits")) {
  info.check_constant(scale_name_, [this](const ort::Tensor& scale) { check_scale(scale); });
  info.check_constant(zero_name_, [this](const ort::Tensor& zero) { check_zero(zero); });
}

Quantizer ClusterAffine::quantizer(const ort::Context& context, int qmin, int qmax) const {
  const ort::Tensor scale = context.input(scale_name_), zero = context.input(zero_name_);
  if (!scale.constant) check_scale(scale);
  if (!zero.constant) check_zero(zero);
  return {clusters_, scale.as<float>(), zero.as<float>(), bits_, qmin, qmax};
}

void ClusterAffine::check_scale(const ort::Tensor& scale) const {
  require_shape(scale, {static_cast<int64_t>(clusters_.count())});
  if (!scale.on_host) return;
  for (size_t g = 0; g < clusters_.count(); ++g) {
    const float value = scale.as<float>()[g];
    if (!(value > 0) || std::isinf(value)) reject(scale.name, "[", g, "] is ", value, ", it must be positive and finite");
  }
}

void ClusterAffine::check_zero(const ort::Tensor& zero) const {
  require_shape(zero, {static_cast<int64_t>(clusters_.count())});
  if (!zero.on_host) return;
  for (size_t g = 0; g < clusters_.count(); ++g) {
    const float value = zero.as<float>()[g];
    if (!std::isfinite(value) || value != std::nearbyint(value)) reject(zero.name, "[", g, "] is ", value, ", it must be an integer");
  }
}

}  // namespace qc
