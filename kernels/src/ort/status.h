#pragma once
#include "ort/abi.h"

namespace qc::ort {

// Throws what a status other than success says, as an Error.
void check(const OrtApi& api, OrtStatus* status);

}  // namespace qc::ort
