// Attributes that several operators have. All throw an Error for values out of bounds.
#pragma once
#include <string>

#include "core/quantizer.h"
#include "ort/kernel.h"

namespace qc {

Clusters read_clusters(const ort::Info& info, const std::string& attribute);
int read_bits(const ort::Info& info, const std::string& attribute);

struct CodeRange {
  int qmin;
  int qmax;
};
// The attributes prefix + qmin and prefix + qmax.
CodeRange read_code_range(const ort::Info& info, const std::string& prefix, int bits);

}  // namespace qc
