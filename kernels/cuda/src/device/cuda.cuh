// CUDA, or for tests on machines without a GPU its emulation on the CPU.
#pragma once

#ifdef QC_EMULATE
#include "emulator/cuda.h"
#else
#include <cuda_runtime.h>
#endif
