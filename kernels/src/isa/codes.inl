// Activation codes as products read them.
#pragma once
#include <cstdint>
#include <cstring>

#include "core/layout.h"
#include "core/pack.h"
#include "isa/matmul_kernels.h"

namespace qc {
namespace {

inline int32_t sum_of(const int8_t* codes, int64_t count) {
  int32_t sum = 0;
  for (int64_t k = 0; k < count; ++k) sum += codes[k];
  return sum;
}

// The codes of a row, 0 beyond K, of which each step goes to a place of its own. Centered weights are multiplied by stored ones.
inline void unpack_row(const ClusterJob& job, int64_t row, int8_t* codes, int64_t step_stride) {
  const int bits = job.product->a_bits;
  const int zero = job.form == WeightForm::kCentered ? lift(bits) : 0;
  const uint8_t* words = job.product->codes + row * job.steps * 4 * bits;
  for (int64_t step = 0; step < job.steps; ++step) {
    uint8_t stored[kStep];
    unpack_step(words + step * 4 * bits, bits, stored);
    for (int k = 0; k < kStep; ++k) codes[step * step_stride + k] = static_cast<int8_t>(stored[k] - lift(bits) + zero);
  }
  const int64_t last = job.ends[job.groups - 1] - (job.steps - 1) * kStep;
  std::memset(codes + (job.steps - 1) * step_stride + last, zero, static_cast<size_t>(kStep - last));
}

void unpack(const ClusterJob& job, const Rows& rows) {
  const int64_t step_stride = rows.count * kStep;
  for (int64_t r = 0; r < rows.count; ++r) {
    int8_t* codes = job.activations + rows.first * job.steps * kStep + r * kStep;
    float* corrections = job.corrections + rows.first * job.groups + r;
    unpack_row(job, rows.first + r, codes, step_stride);
    if (job.form == WeightForm::kCentered) continue;
    for (int64_t g = 0, step = 0; g < job.groups; ++g) {
      int32_t sum = 0;
      for (; step < job.step_ends[g]; ++step) sum += sum_of(codes + step * step_stride, kStep);
      corrections[g * rows.count] = static_cast<float>(-sum);
    }
  }
}

}  // namespace
}  // namespace qc
