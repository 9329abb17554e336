// How many pairs of vpmaddubsw and vpaddw this CPU does in a nanosecond with nothing else to do: what the products of AVX2 are made of.
// g++ -O3 -mavx2 kernels/bench/peak.cc -o kernels/build-test/peak && kernels/build-test/peak
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace {

// The compiler must neither drop nor join them.
inline void add_products(__m256i& sum, __m256i u8, __m256i s8) {
  __m256i products;
  __asm__ volatile("vpmaddubsw %2, %1, %0" : "=x"(products) : "x"(u8), "x"(s8));
  __asm__ volatile("vpaddw %1, %0, %0" : "+x"(sum) : "x"(products));
}

// Eight sums, as in a tile of the kernels.
double pairs_per_nanosecond() {
  constexpr long kRounds = 20000000;
  const __m256i u8 = _mm256_set1_epi8(3), s8 = _mm256_set1_epi8(-2);
  __m256i a = u8, b = u8, c = u8, d = u8, e = u8, f = u8, g = u8, h = u8;
  const auto start = std::chrono::steady_clock::now();
  for (long round = 0; round < kRounds; ++round) {
    add_products(a, u8, s8);
    add_products(b, u8, s8);
    add_products(c, u8, s8);
    add_products(d, u8, s8);
    add_products(e, u8, s8);
    add_products(f, u8, s8);
    add_products(g, u8, s8);
    add_products(h, u8, s8);
  }
  return 8.0 * kRounds / std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main() {
  double best = 0;
  for (int run = 0; run < 5; ++run) best = std::max(best, pairs_per_nanosecond());
  std::printf("%.1f pairs in a nanosecond\n", best);
}
