// The C ABI of ONNX Runtime: its own header where the build knows one, else our declaration of the part that is used here.
#pragma once

#ifdef QC_ORT_HEADERS
#include <onnxruntime_c_api.h>
#else
#include "ort/declared_abi.h"
#endif

namespace qc::ort {

// The least version of the API that has all that is used here.
inline constexpr uint32_t kApiVersion = 18;

}  // namespace qc::ort
