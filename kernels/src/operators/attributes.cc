#include "operators/attributes.h"

#include <limits>

#include "core/layout.h"
#include "ort/error.h"

namespace qc {
namespace {

// What Clusters::on_device has.
std::vector<int32_t> step_table(const Clusters& clusters, const std::string& attribute) {
  if (clusters.channels() > std::numeric_limits<int32_t>::max()) reject(attribute, " add up to ", clusters.channels());
  std::vector<int32_t> table;
  for (const int64_t end : clusters.ends) table.push_back(static_cast<int32_t>(steps_of(end)));
  int64_t step = 0;
  for (size_t g = 0; g < clusters.count(); ++g) {
    for (; step < steps_of(clusters.ends[g]); ++step) table.push_back(static_cast<int32_t>(g));
  }
  return table;
}

}  // namespace

Clusters read_clusters(const ort::Info& info, const std::string& attribute) {
  const std::vector<int64_t> sizes = info.integers(attribute);
  if (sizes.empty()) reject(attribute, " is empty");
  Clusters clusters;
  int64_t end = 0;
  for (size_t g = 0; g < sizes.size(); ++g) {
    // Sums of channels and bytes stay far from the bounds of int64.
    if (sizes[g] <= 0 || sizes[g] > std::numeric_limits<int32_t>::max()) reject(attribute, "[", g, "] is ", sizes[g]);
    const bool last = g + 1 == sizes.size();
    if (!last && sizes[g] % kStep != 0) reject(attribute, "[", g, "] is ", sizes[g], ", all but the last must be multiples of ", kStep);
    clusters.ends.push_back(end += sizes[g]);
  }
  if (const ort::DeviceMemory* memory = info.provider().memory) clusters.on_device = memory->upload(step_table(clusters, attribute));
  return clusters;
}

int read_bits(const ort::Info& info, const std::string& attribute) {
  const int64_t bits = info.integer(attribute);
  if (bits != 8 && bits != 4 && bits != 3) reject(attribute, " is ", bits, ", it must be 8, 4 or 3");
  return static_cast<int>(bits);
}

CodeRange read_code_range(const ort::Info& info, const std::string& prefix, int bits) {
  const int64_t qmin = info.integer(prefix + "qmin"), qmax = info.integer(prefix + "qmax");
  if (qmin > qmax) reject(prefix, "qmin ", qmin, " is greater than ", prefix, "qmax ", qmax);
  if (qmin < -lift(bits) || qmax >= lift(bits)) {
    reject(prefix, "qmin ", qmin, " or ", prefix, "qmax ", qmax, " is not a code of ", bits, " bits");
  }
  return {static_cast<int>(qmin), static_cast<int>(qmax)};
}

}  // namespace qc
