// The inner loops of products of codes.
#pragma once
#include <cstdint>
#include <cstring>

#include "isa/weights.inl"

namespace qc {
namespace {

// kRows rows times kVectors vectors of columns, one cluster after the other. Weights are stored in so many bits, but none above a greatest.
template <class V, WeightForm kForm, int kWeightBits, int kWeightMax, int kCodeBits, int kRows, int kVectors>
struct Kernel {
  static constexpr bool kCentered = kForm == WeightForm::kCentered;
  using Int = typename V::Int;
  using Float = typename V::Float;
  using Sums = Int[kRows][kVectors];

  // The next step of both operands.
  struct Cursor {
    const int8_t* activations;
    const uint8_t* weights[kVectors];

    QC_INLINE void skip(int64_t steps) {
      activations += steps * kRows * kStep;
      QC_UNROLL
      for (auto& weight : weights) weight += steps * kWeightBits * 4 * kTile;
    }
  };

  static QC_INLINE void clear(Sums& sums) {
    QC_UNROLL
    for (auto& row : sums) {
      QC_UNROLL
      for (Int& sum : row) sum = V::splat(0);
    }
  }

  static QC_INLINE void add(Sums& sums, const Sums& more) {
    QC_UNROLL
    for (int r = 0; r < kRows; ++r) {
      QC_UNROLL
      for (int c = 0; c < kVectors; ++c) sums[r][c] = V::add(sums[r][c], more[r][c]);
    }
  }

  // Else GCC would keep them in registers, and what changes more often in memory.
  static QC_INLINE void stay_in_memory(Sums& sums) { __asm__ volatile("" : : "r"(&sums) : "memory"); }

  // Quads go to the chains of sums in turn. The first step of sums in 16 bits needs no sums to start from.
  template <bool kFirst, int kCount, class LoadWeight>
  static QC_INLINE void add_step(const Cursor& at, Sums (&chains)[kCount], const LoadWeight& load_weight) {
    // Keeps GCC from loading operands of a step in the step before, for which registers do not suffice.
    __asm__ volatile("" ::: "memory");
    QC_UNROLL
    for (int quad = 0; quad < kQuads; ++quad) {
      Sums& sums = chains[quad % kCount];
      Int weights[kVectors];
      QC_UNROLL
      for (int c = 0; c < kVectors; ++c) weights[c] = load_weight(at.weights[c], quad);
      QC_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const Int activations = V::splat_quad(at.activations + r * kStep + 4 * quad);
        QC_UNROLL
        for (int c = 0; c < kVectors; ++c) {
          if constexpr (kFirst) {
            sums[r][c] = quad == 0 ? V::dot(weights[c], activations) : V::dot(sums[r][c], weights[c], activations);
          } else if constexpr (kCentered) {
            sums[r][c] = V::dot(sums[r][c], activations, weights[c]);
          } else {
            sums[r][c] = V::dot(sums[r][c], weights[c], activations);
          }
        }
      }
    }
  }

  // Sums in 16 bits hold for this many steps of weights up to 15: each step adds up 8 times two products.
  static constexpr int kSpan = 32767 / (kQuads * 2 * (kWeightMax < 15 ? kWeightMax : 15) * lift(kCodeBits));

  template <bool kFirst, class LoadWeight>
  static QC_INLINE void add_span(Cursor at, int64_t steps, int factor, Sums& sums, const LoadWeight& load_weight) {
    Sums partial[1];
    if constexpr (kSpan == 1) {
      add_step<true>(at, partial, load_weight);
    } else {
      clear(partial[0]);
      for (; steps > 0; --steps, at.skip(1)) add_step<false>(at, partial, load_weight);
    }
    QC_UNROLL
    for (int r = 0; r < kRows; ++r) {
      QC_UNROLL
      for (int c = 0; c < kVectors; ++c) {
        const Int wide = V::widen(partial[0][r][c], factor);
        sums[r][c] = kFirst ? wide : V::add(sums[r][c], wide);
      }
    }
  }

  template <bool kFirst>
  static QC_INLINE void add_spans(const Cursor& at, int64_t steps, Sums& sums) {
    if constexpr (kWeightMax > 15) {
      add_span<kFirst>(at, steps, 1, sums, [](const uint8_t* step, int quad) { return load_half_quad<V>(step, quad, 0); });
      add_span<false>(at, steps, 16, sums, [](const uint8_t* step, int quad) { return load_half_quad<V>(step, quad, 1); });
    } else {
      add_span<kFirst>(at, steps, 1, sums, load_stored_quad);
    }
  }

  static QC_INLINE Int load_stored_quad(const uint8_t* step, int quad) { return load_quad<V, kWeightBits>(step, 4 * kTile, quad); }

  // The sums of a cluster.
  static QC_INLINE void sum_cluster(Cursor& at, int64_t steps, const int32_t* start, Sums& sums) {
    if constexpr (V::kDot == Dot::kInt32) {
      // Dot products take several cycles: few sums are split so that more of them are under way.
      constexpr int kSums = kRows * kVectors;
      constexpr int kChains = kSums <= 2 ? 4 : kSums <= 6 ? 2 : 1;
      Sums chains[kChains];
      QC_UNROLL
      for (Sums& chain : chains) clear(chain);
      if constexpr (kCentered) {
        QC_UNROLL
        for (int r = 0; r < kRows; ++r) {
          QC_UNROLL
          for (int c = 0; c < kVectors; ++c) chains[0][r][c] = V::load(reinterpret_cast<const uint8_t*>(start + c * V::kLanes));
        }
      }
      for (; steps > 0; --steps, at.skip(1)) add_step<false>(at, chains, load_stored_quad);
      QC_UNROLL
      for (int chain = 1; chain < kChains; ++chain) add(chains[0], chains[chain]);
      std::memcpy(&sums, &chains[0], sizeof sums);
    } else {
      // Sums of spans before the last wait in memory, those of the last go on in registers.
      Sums before;
      const bool more = steps > kSpan;
      if (more) {
        stay_in_memory(before);
        add_spans<true>(at, kSpan, before);
        for (at.skip(kSpan), steps -= kSpan; steps > kSpan; at.skip(kSpan), steps -= kSpan) {
          stay_in_memory(before);
          add_spans<false>(at, kSpan, before);
        }
        stay_in_memory(before);
      }
      add_spans<true>(at, steps, sums);
      at.skip(steps);
      if (more) {
        stay_in_memory(before);
        add(sums, before);
      }
    }
  }

  // out[r][column] = sum over clusters of scale * (sum over k of a (stored w) - (stored zero) sum over k of a), or for centered weights
  // of scale * (start + sum over k of (stored a) w)
  static void run(const ClusterJob& job, const Pair& pair, int64_t row, int column, float* out) {
    Cursor at = {job.activations + row * job.steps * kStep, {}};
    QC_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      const int first = column + c * V::kLanes;
      at.weights[c] = pair.tiles[first / kTile] + first % kTile * 4;
    }
    out += column;
    const float* corrections = job.corrections + row * job.groups;
    const float* scale = pair.scale + column;
    QC_UNROLL
    for (int r = 0; r < kRows; ++r) {
      QC_UNROLL
      for (int c = 0; c < kVectors; ++c) V::store(out + r * kPair + c * V::kLanes, V::splat(0.0f));
    }
    for (int64_t g = 0, step = 0; g < job.groups; ++g) {
      Sums sums;
      sum_cluster(at, job.step_ends[g] - step, kCentered ? pair.start + g * kPair + column : nullptr, sums);
      Float zeros[kVectors];
      if constexpr (!kCentered) take_zeros(job, pair, g, column, corrections, sums, zeros);
      Float scales[kVectors];
      QC_UNROLL
      for (int c = 0; c < kVectors; ++c) scales[c] = V::load(scale + c * V::kLanes);
      QC_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const Float correction = V::splat(kCentered ? 0.0f : corrections[r]);
        QC_UNROLL
        for (int c = 0; c < kVectors; ++c) {
          Float sum = V::to_float(sums[r][c]);
          if constexpr (!kCentered) sum = V::multiply_add(correction, zeros[c], sum);
          float* total = out + r * kPair + c * V::kLanes;
          V::store(total, V::multiply_add(sum, scales[c], V::load(total)));
        }
      }
      step = job.step_ends[g];
      corrections += kRows;
      scale += kPair;
    }
  }

  // The zero points of a cluster, that times its corrections are added to its sums. If floats do not hold all that is on the way exactly,
  // this is done here, in integers, and leaves zeros of 0.
  static QC_INLINE void take_zeros(const ClusterJob& job, const Pair& pair, int64_t g, int column, const float* corrections, Sums& sums,
                                   Float (&zeros)[kVectors]) {
    QC_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      const Int stored = load_zeros<V>(pair, g, column + c * V::kLanes);
      zeros[c] = V::to_float(stored);
      if (job.small) continue;
      QC_UNROLL
      for (int r = 0; r < kRows; ++r) {
        sums[r][c] = V::add(sums[r][c], V::multiply(V::splat(static_cast<int>(corrections[r])), stored));
      }
      zeros[c] = V::splat(0.0f);
    }
  }
};

}  // namespace
}  // namespace qc
