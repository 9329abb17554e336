#include "cpu/matmul.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "core/layout.h"
#include "isa/matmul_kernels.h"

namespace qc {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Memory that is written before it is read.
template <class T>
std::unique_ptr<T[]> uninitialized(int64_t count) {
  return std::unique_ptr<T[]>(new T[static_cast<size_t>(count)]);
}

// Runs body(first, last) over parts of 0 ... count - 1, each of `grain` at the least if there are so many.
template <class Body>
void for_parts(int64_t count, int64_t grain, const Parallel& parallel, const Body& body) {
  const int64_t parts = std::max<int64_t>(1, count / std::max<int64_t>(1, grain));
  const auto part = [&](size_t index) {
    const auto i = static_cast<int64_t>(index);
    body(i * count / parts, (i + 1) * count / parts);
  };
  parts == 1 ? part(0) : parallel(static_cast<size_t>(parts), part);
}

// Splits a product into blocks: of rows, as many as have their activations fit in a second-level cache together, and of columns, enough
// for the work of a block to outweigh what it costs to hand it out.
template <class Body>
void for_blocks(int64_t rows, int64_t parts, int64_t columns, int64_t channels, int64_t row_bytes, const Parallel& parallel,
                const Body& body) {
  constexpr int64_t kCacheBytes = 256 * 1024;
  constexpr int64_t kGrain = 1600 * 1000;  // products
  const int64_t part_rows = divide_up(rows, parts);
  const int64_t row_blocks = divide_up(parts, std::max<int64_t>(4, kCacheBytes / (row_bytes * part_rows)));
  const int64_t pairs = pairs_of(columns);
  const int64_t grain = divide_up(kGrain, divide_up(rows, row_blocks) * kPair * channels);
  const int64_t pair_blocks = std::max<int64_t>(1, pairs / grain);
  for_parts(row_blocks * pair_blocks, 1, parallel, [&](int64_t index, int64_t) {
    const int64_t i = index / pair_blocks;
    const int64_t j = index % pair_blocks;
    Block block = {};
    block.part = i * parts / row_blocks;
    block.part_end = (i + 1) * parts / row_blocks;
    block.pair = j * pairs / pair_blocks;
    block.pair_end = (j + 1) * pairs / pair_blocks;
    body(block);
  });
}

// How many values are worth a task that only moves them.
constexpr int64_t kMoved = 64 * 1024;

std::vector<int64_t> in_steps(const Clusters& clusters) {
  std::vector<int64_t> ends;
  for (const int64_t end : clusters.ends) ends.push_back(steps_of(end));
  return ends;
}

std::vector<Affine> affines_of_pairs(const Quantizer& quantizer, int64_t columns) {
  std::vector<Affine> affines;
  size_t g = 0;
  for (int64_t column = 0; column < columns; column += kPair) {
    while (column >= quantizer.clusters.ends[g]) ++g;
    affines.push_back({quantizer.scale[g], quantizer.zero[g], quantizer.bits, static_cast<float>(quantizer.qmin),
                       static_cast<float>(quantizer.qmax)});
  }
  return affines;
}

// Whether sums of codes times stored weights, and what zero points take off them, are integers that floats hold exactly.
bool fits_floats(const ClusterMatMul& product) {
  const int64_t greatest = lift(product.a_bits) * ((int64_t{1} << product.weight.bits) - 1);
  int64_t first = 0;
  for (const int64_t end : product.weight.clusters.ends) {
    if ((end - first) * greatest > int64_t{1} << 24) return false;
    first = end;
  }
  return true;
}

WeightForm form_of(const Weight& weight, const MatMulKernels& level, int64_t parts) {
  if (parts <= kPartsToUnpack) return WeightForm::kStored;
  // Codes of 8 bits less their zero points take 9 bits.
  if (level.centers && (weight.bits < 8 || !weight.zero)) return WeightForm::kCentered;
  return weight.bits < 8 ? WeightForm::kBytes : WeightForm::kStored;
}

std::shared_ptr<const PairTables> tables_of(const Weight& weight) { return weight.tables ? weight.tables : pair_tables(weight); }

}  // namespace

std::shared_ptr<const PairTables> pair_tables(const Weight& weight) {
  const auto groups = static_cast<int64_t>(weight.clusters.count());
  const auto size = static_cast<size_t>(pairs_of(weight.columns) * groups * kPair);
  auto tables = std::make_shared<PairTables>();
  tables->scale.resize(size);
  if (weight.zero) tables->zero.resize(size);
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t column = 0; column < weight.columns; ++column) {
      const auto to = static_cast<size_t>((column / kPair * groups + g) * kPair + column % kPair);
      tables->scale[to] = weight.scale[g * weight.columns + column];
      if (weight.zero) tables->zero[to] = static_cast<uint8_t>(weight.zero[g * weight.columns + column] + lift(weight.bits));
    }
  }
  return tables;
}

void cluster_matmul(const ClusterMatMul& product, const Parallel& parallel) {
  const Weight& weight = product.weight;
  if (product.rows == 0 || weight.columns == 0) return;
  const MatMulKernels& level = matmul_kernels();
  const auto groups = static_cast<int64_t>(weight.clusters.count());
  const int64_t channels = weight.clusters.channels();
  const int64_t steps = steps_of(channels);
  const int64_t parts = divide_up(product.rows, level.cluster_rows);
  const auto activations = uninitialized<int8_t>(product.rows * steps * kStep);
  const auto corrections = uninitialized<float>(product.rows * groups);
  const auto tables = tables_of(weight);
  const std::vector<int64_t> step_ends = in_steps(weight.clusters);
  std::vector<Affine> out_affines;
  if (product.requantize) out_affines = affines_of_pairs(*product.requantize, weight.columns);
  const ClusterJob job = {&product, &quantize_kernels(), tables.get(), parts, weight.clusters.ends.data(), step_ends.data(), groups, steps,
                          activations.get(), corrections.get(), fits_floats(product), form_of(weight, level, parts), out_affines.data()};
  for_parts(parts, divide_up(kMoved, channels * level.cluster_rows), parallel, [&](int64_t part, int64_t part_end) {
    for (; part < part_end; ++part) level.unpack(job, rows_of(product.rows, parts, part));
  });
  for_blocks(product.rows, parts, weight.columns, channels, steps * kStep, parallel, [&](Block block) {
    const auto weights = uninitialized<uint8_t>(job.form == WeightForm::kStored ? 0 : steps * kStep * kPair);
    const auto starts = uninitialized<int32_t>(job.form == WeightForm::kCentered ? groups * kPair : 0);
    block.weights = weights.get();
    block.starts = starts.get();
    level.multiply(job, block);
  });
}

void weight_matmul(const WeightMatMul& product, const Parallel& parallel) {
  const Weight& weight = product.weight;
  if (product.rows == 0 || weight.columns == 0) return;
  const MatMulKernels& level = matmul_kernels();
  const auto groups = static_cast<int64_t>(weight.clusters.count());
  const int64_t channels = weight.clusters.channels();
  const int64_t steps = steps_of(channels);
  const int64_t parts = divide_up(product.rows, level.weight_rows);
  const int64_t row_floats = steps * kStep;
  const auto x = uninitialized<float>(product.rows * row_floats);
  const auto tables = tables_of(weight);
  const std::vector<int64_t> step_ends = in_steps(weight.clusters);
  const WeightJob job = {&product, &quantize_kernels(), tables.get(), parts, step_ends.data(), groups, steps, x.get()};
  for_parts(product.rows, divide_up(kMoved, channels), parallel, [&](int64_t row, int64_t row_end) {
    for (; row < row_end; ++row) {
      float* to = x.get() + row * row_floats;
      job.quantize->widen(product.x, row * channels, channels, to);
      std::fill(to + channels, to + row_floats, 0.0f);
    }
  });
  // Of a row, some steps are in use at a time, and the sums.
  constexpr int64_t kRowBytes = 1024;
  for_blocks(product.rows, parts, weight.columns, channels, kRowBytes, parallel, [&](Block block) {
    const int64_t rows = rows_of(product.rows, parts, block.part_end).first - rows_of(product.rows, parts, block.part).first;
    const auto sums = uninitialized<float>(2 * rows * kPair);
    block.sums = sums.get();
    level.multiply_weight(job, block);
  });
}

}  // namespace qc
