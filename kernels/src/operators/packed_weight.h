// The packed weight of a product, with its scales and zero points: attribute `groups`, inputs `weight`, `scale` and `zero`.
#pragma once
#include "core/matmul.h"
#include "ort/kernel.h"

namespace qc {

class PackedWeight {
 public:
  PackedWeight(const ort::Info& info, int bits);

  const Clusters& clusters() const { return clusters_; }
  // The weight of one run.
  Weight weight(const ort::Context& context) const;

 private:
  void check_scale(const ort::Tensor& scale) const;
  void check_zero(const ort::Tensor& zero) const;
  void require_table(const ort::Tensor& table) const;
  void check_weight(const ort::Tensor& weight, int64_t columns) const;

  int bits_;
  Clusters clusters_;
  std::shared_ptr<const PairTables> tables_;  // of constants
};

}  // namespace qc
