// Stored codes in registers: a quad is four of them, a byte each (docs/operators.md, "Packing").
#pragma once
#include "core/layout.h"
#include "device/cuda.cuh"

namespace qc::cuda {

// How the quads 2 t and 2 t + 1 of a step, t being 0 ... 3, come out of its packed words.
template <int kBits>
struct Quads;

template <>
struct Quads<8> {
  static constexpr int kWords = 2;
  __device__ static int word(int t, int i) { return 2 * t + i; }
  __device__ static void unpack(const uint32_t (&words)[kWords], int, uint32_t& even, uint32_t& odd) {
    even = words[0];
    odd = words[1];
  }
};

template <>
struct Quads<4> {
  static constexpr int kWords = 1;
  __device__ static int word(int t, int) { return t; }
  __device__ static void unpack(const uint32_t (&words)[kWords], int, uint32_t& even, uint32_t& odd) {
    even = words[0] & 0x0F0F0F0F;
    odd = words[0] >> 4 & 0x0F0F0F0F;
  }
};

template <>
struct Quads<3> {
  static constexpr int kWords = 2;
  __device__ static int word(int t, int i) { return i == 0 ? t / 2 : 2; }
  __device__ static void unpack(const uint32_t (&words)[kWords], int t, uint32_t& even, uint32_t& odd) {
    const uint32_t pairs = words[0] >> (t % 2 * 4);
    const uint32_t thirds = words[1] >> (2 * t);
    even = (pairs & 0x03030303) | (thirds << 2 & 0x04040404);
    odd = (pairs >> 2 & 0x03030303) | (thirds << 1 & 0x04040404);
  }
};

// Stored codes as signed bytes, times 2^(8 - kBits): exact, and the same bounds for all widths.
template <int kBits>
__device__ inline uint32_t signed_quad(uint32_t stored) {
  return (stored << (8 - kBits)) ^ 0x80808080;
}

// A mask of the first `count` bytes; of none below 1, of all above 3.
__device__ inline uint32_t first_bytes(int64_t count) {
  if (count >= 4) return 0xFFFFFFFF;
  return count <= 0 ? 0 : (1u << (8 * static_cast<int>(count))) - 1;
}

// Stores the quad q of a step; lanes 8 i + q of a warp have the same step, whose bytes these are. All lanes take part, those with `write`
// unset only in the exchange.
__device__ inline void store_quad(uint32_t stored, int q, int bits, uint8_t* bytes, bool write) {
  const auto of_lane = [](uint32_t value, int apart) { return __shfl_xor_sync(0xFFFFFFFF, value, apart); };
  auto* words = reinterpret_cast<uint32_t*>(bytes);
  if (bits == 8) {
    if (write) words[q] = stored;
  } else if (bits == 4) {
    const uint32_t odd = of_lane(stored, 1);
    if (write && q % 2 == 0) words[q / 2] = stored | odd << 4;
  } else {
    uint32_t pairs = (stored & 0x03030303) << (2 * (q % 4));
    uint32_t thirds = (stored >> 2 & 0x01010101) << q;
    pairs |= of_lane(pairs, 1);
    pairs |= of_lane(pairs, 2);
    thirds |= of_lane(thirds, 1);
    thirds |= of_lane(thirds, 2);
    thirds |= of_lane(thirds, 4);
    if (write && q % 4 == 0) words[q / 4] = pairs;
    if (write && q == 0) words[2] = thirds;
  }
}

}  // namespace qc::cuda
