// The intrinsics, or with QC_SIMDE stand-ins that need AVX2 only, for tests of the levels above it on CPUs that lack them.
#pragma once
#ifdef QC_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32
// SIMDe 0.7.4 lacks these two.
#define _mm512_cvtepu8_epi32(a) \
  _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_cvtepu8_epi32(a)), _mm256_cvtepu8_epi32(_mm_srli_si128(a, 8)), 1)
#define _mm512_cvtepi32_ps(a)                                                                         \
  _mm512_insertf32x8(simde_mm512_castps256_ps512(_mm256_cvtepi32_ps(simde_mm512_castsi512_si256(a))), \
                     _mm256_cvtepi32_ps(simde_mm512_extracti64x4_epi64(a, 1)), 1)
#else
#include <immintrin.h>
#endif
