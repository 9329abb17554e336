// Levels of instruction sets. Files named *_avx2.cc, *_avx_vnni.cc and *_avx512_vnni.cc are compiled for theirs.
// All levels give equal bits.
//
// A file of a level must define no inline function or template instance with external linkage: the linker keeps one copy of each for the
// whole library, and that copy could use instructions that the CPU does not have.
#pragma once

#if defined(__x86_64__) || defined(__i386__)
#define QC_X86 1
#else
#define QC_X86 0
#endif

namespace qc {

enum class Level { kScalar, kAvx2, kAvxVnni, kAvx512Vnni };

// The best level that this CPU has, or the one that QC_KERNELS_LEVEL names (scalar, avx2, avx_vnni, avx512_vnni) if the CPU has it.
Level level();
// Whether this CPU can run a level.
bool supports(Level level);
// For tests: all later calls run at this level.
void force(Level level);
const char* name_of(Level level);

}  // namespace qc
