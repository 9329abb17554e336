#include "isa/level.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#if QC_X86
#include <cpuid.h>
#endif

namespace qc {
namespace {

constexpr Level kLevels[] = {Level::kScalar, Level::kAvx2, Level::kAvxVnni, Level::kAvx512Vnni};

#if QC_X86
// The compiler's own checks include whether the operating system saves the registers.
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && [] {
    constexpr unsigned kF16c = 1u << 29;
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & kF16c);
  }();
}
#ifdef QC_SIMDE
bool has_avx_vnni() { return has_avx2(); }
bool has_avx512_vnni() { return has_avx2(); }
#else
bool has_avx_vnni() {
  constexpr unsigned kAvxVnni = 1u << 4;
  unsigned eax, ebx, ecx, edx;
  return has_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & kAvxVnni);
}
bool has_avx512_vnni() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}
#endif
#endif

Level best() {
  const char* wanted = std::getenv("QC_KERNELS_LEVEL");
  Level result = Level::kScalar;
  for (const Level level : kLevels) {
    if (!supports(level)) continue;
    if (wanted && std::strcmp(wanted, name_of(level)) == 0) return level;
    result = level;
  }
  return result;
}

std::atomic<Level>& current() {
  static std::atomic<Level> level{best()};
  return level;
}

}  // namespace

Level level() { return current().load(std::memory_order_relaxed); }

void force(Level level) { current().store(level, std::memory_order_relaxed); }

bool supports(Level level) {
  switch (level) {
    case Level::kScalar: return true;
#if QC_X86
    case Level::kAvx2: return has_avx2();
    case Level::kAvxVnni: return has_avx_vnni();
    case Level::kAvx512Vnni: return has_avx512_vnni();
#endif
    default: return false;
  }
}

const char* name_of(Level level) {
  switch (level) {
    case Level::kScalar: return "scalar";
    case Level::kAvx2: return "avx2";
    case Level::kAvxVnni: return "avx_vnni";
    case Level::kAvx512Vnni: return "avx512_vnni";
  }
  return "";
}

}  // namespace qc
