#pragma once
#include "ort/provider.h"

namespace qc::cuda {

ort::Provider provider();

}  // namespace qc::cuda
