// The static scales and zero points of clusters: attribute `groups` and inputs `scale` and `zero`, or with another prefix.
#pragma once
#include <string>

#include "core/quantizer.h"
#include "ort/kernel.h"

namespace qc {

class ClusterAffine {
 public:
  ClusterAffine(const ort::Info& info, const std::string& prefix);

  const Clusters& clusters() const { return clusters_; }
  int bits() const { return bits_; }
  // The quantizer of one run.
  Quantizer quantizer(const ort::Context& context, int qmin, int qmax) const;

 private:
  void check_scale(const ort::Tensor& scale) const;
  void check_zero(const ort::Tensor& zero) const;

  std::string scale_name_, zero_name_;
  Clusters clusters_;
  int bits_;
};

}  // namespace qc
