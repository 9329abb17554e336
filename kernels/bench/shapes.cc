// Times of the products in one thread: the median of runs, in microseconds, and multiply-accumulates per nanosecond.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/layout.h"
#include "cpu/matmul.h"
#include "isa/level.h"

namespace qc {
namespace {

using Clock = std::chrono::steady_clock;

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

// The median of as many runs as fit in 0.3 seconds.
template <class Run>
double median(const Run& run) {
  run();
  std::vector<double> times;
  for (const auto start = Clock::now(); times.size() < 5 || Clock::now() - start < std::chrono::milliseconds(300);) {
    const auto before = Clock::now();
    run();
    times.push_back(microseconds(Clock::now() - before));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

std::vector<uint8_t> any_bytes(int64_t count) {
  std::vector<uint8_t> bytes(static_cast<size_t>(count));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(std::rand());
  return bytes;
}

Clusters even_clusters(int64_t channels, int64_t count) {
  Clusters clusters;
  for (int64_t g = 1; g <= count; ++g) clusters.ends.push_back(channels * g / count);
  return clusters;
}

void report(const char* name, int64_t rows, int64_t size, int64_t groups, double time) {
  std::printf("%-6s M %4d  K N %5d  clusters %3d %10.1f us %7.1f GMAC/s\n", name, static_cast<int>(rows), static_cast<int>(size),
              static_cast<int>(groups), time, static_cast<double>(rows * size * size) / time / 1e3);
  std::fflush(stdout);
}

struct Kind {
  const char* name;
  int a_bits;  // 0: float activations
  int w_bits;
  int64_t groups;
};

void time_shape(const Kind& kind, int64_t rows, int64_t size) {
  const auto packed = any_bytes(tiles_of(size) * steps_of(size) * kind.w_bits * 4 * kTile);
  const std::vector<float> scale(static_cast<size_t>(kind.groups * size), 1e-4f);
  // Symmetric weights have no zero points; 8-bit ones usually are.
  std::vector<int8_t> zero(static_cast<size_t>(kind.groups * size));
  for (int8_t& value : zero) value = static_cast<int8_t>(std::rand() % 5 - 2);
  const std::vector<float> bias(static_cast<size_t>(size), 0.5f);
  std::vector<float> y(static_cast<size_t>(rows * size));
  Weight weight = {packed.data(), kind.w_bits, even_clusters(size, kind.groups), size, scale.data(),
                         kind.w_bits == 8 ? nullptr : zero.data()};
  weight.tables = pair_tables(weight);
  if (kind.a_bits == 0) {
    const std::vector<float> x(static_cast<size_t>(rows * size), 0.25f);
    const WeightMatMul product = {rows, {x.data()}, weight, {bias.data()}, {y.data()}};
    report(kind.name, rows, size, kind.groups, median([&] { weight_matmul(product, serially); }));
  } else {
    const auto codes = any_bytes(rows * bytes_of(size, kind.a_bits));
    ClusterMatMul product = {};
    product.rows = rows;
    product.codes = codes.data();
    product.a_bits = kind.a_bits;
    product.weight = weight;
    product.bias.data = bias.data();
    product.y.data = y.data();
    report(kind.name, rows, size, kind.groups, median([&] { cluster_matmul(product, serially); }));
  }
}

}  // namespace
}  // namespace qc

int main() {
  constexpr qc::Kind kKinds[] = {{"W4A8", 8, 4, 1},  {"W4A8", 8, 4, 32}, {"W4A4", 4, 4, 32}, {"W8A8", 8, 8, 32},
                                 {"W3A8", 8, 3, 32}, {"W4", 0, 4, 32},   {"W3", 0, 3, 32}};
  std::printf("%s\n", qc::name_of(qc::level()));
  for (const int64_t size : {2048, 4096}) {
    for (const int64_t rows : {1, 8, 128}) {
      for (const qc::Kind& kind : kKinds) qc::time_shape(kind, rows, size);
    }
  }
}
