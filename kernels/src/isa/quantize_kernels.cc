#include "isa/quantize_kernels.h"

#include "isa/level.h"

namespace qc {

const QuantizeKernels& quantize_kernels() {
#if QC_X86
  switch (level()) {
    case Level::kScalar: return kQuantizeScalar;
    case Level::kAvx2:
    case Level::kAvxVnni: return kQuantizeAvx2;
    case Level::kAvx512Vnni: return kQuantizeAvx512;
  }
#endif
  return kQuantizeScalar;
}

}  // namespace qc
