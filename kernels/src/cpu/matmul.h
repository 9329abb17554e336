// Products on the CPU.
#pragma once
#include <memory>

#include "core/matmul.h"
#include "cpu/parallel.h"

namespace qc {

std::shared_ptr<const PairTables> pair_tables(const Weight& weight);

void cluster_matmul(const ClusterMatMul& product, const Parallel& parallel);
void weight_matmul(const WeightMatMul& product, const Parallel& parallel);

}  // namespace qc
