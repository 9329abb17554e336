// The products, for one level: templates over a policy that says what a vector of columns is and how it takes in four channels.
#pragma once
#include "isa/cluster_matmul.inl"
#include "isa/weight_matmul.inl"

namespace qc {
namespace {

template <class V>
constexpr MatMulKernels matmul_kernels() {
  return {V::kRows, V::kFloatRows, V::kDot == Dot::kInt32, unpack, multiply<V>, multiply_weight<V>};
}

}  // namespace
}  // namespace qc
