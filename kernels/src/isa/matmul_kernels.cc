#include "isa/matmul_kernels.h"

#include "isa/level.h"

namespace qc {

const MatMulKernels& matmul_kernels() {
#if QC_X86
  switch (level()) {
    case Level::kAvx512Vnni: return kMatMulAvx512Vnni;
    case Level::kAvxVnni: return kMatMulAvxVnni;
    case Level::kAvx2: return kMatMulAvx2;
    case Level::kScalar: break;
  }
#endif
  return kMatMulScalar;
}

}  // namespace qc
