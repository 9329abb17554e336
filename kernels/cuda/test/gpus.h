// The GPU that tests run on: the one that there is, or one of several emulated ones.
#pragma once
#include <cstdint>

#include "device/cuda.cuh"

namespace qc::cuda {

// Threads take turns in another order in every round, and shared memory is that of sm_90 and of sm_89.
inline void choose_gpu([[maybe_unused]] uint32_t round) {
#ifdef QC_EMULATE
  emulated::set_seed(round);
  emulated::set_max_shared_bytes((round % 2 == 1 ? 227 : 99) * 1024);
#endif
}

}  // namespace qc::cuda
