#pragma once
#include <cstdint>
#include <memory>
#include <vector>

namespace qc {

// Clusters of channels: cluster g holds the channels from ends[g - 1], or 0, up to ends[g].
struct Clusters {
  std::vector<int64_t> ends;
  // For kernels on a GPU, in its memory: the ends in steps [G], then the cluster of each step [steps]. Null on the CPU.
  std::shared_ptr<const int32_t> on_device = nullptr;
  int64_t channels() const { return ends.empty() ? 0 : ends.back(); }
  size_t count() const { return ends.size(); }
};

// code = clip(round half to even(x / scale[g]) + zero[g], qmin, qmax); NaN counts as 0.
struct Quantizer {
  Clusters clusters;
  const float* scale;  // [G]
  const float* zero;   // [G], integers
  int bits;
  int qmin;
  int qmax;
};

}  // namespace qc
