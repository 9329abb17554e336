#include "ort/status.h"

#include <string>

#include "ort/error.h"

namespace qc::ort {

void check(const OrtApi& api, OrtStatus* status) {
  if (!status) return;
  const std::string message = api.GetErrorMessage(status);
  api.ReleaseStatus(status);
  throw Error(message);
}

}  // namespace qc::ort
