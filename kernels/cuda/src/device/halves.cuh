// Codes of weights as pairs of f16 or bf16, in which they are exact.
#pragma once
#include "device/codes.cuh"
#include "device/ptx.cuh"

namespace qc::cuda {

// A number whose last place is 1, as a pair: 1024 in f16, 128 in bf16. A stored code in the low bits of each half is added to it.
template <FloatType kType>
constexpr uint32_t kOnes = kType == FloatType::kF16 ? 0x64006400 : 0x43004300;

// Whether codes of 4 bits are also taken where they are the high half of a byte, 16 times their value: f16 has bits enough for that.
template <int kBits, FloatType kType>
constexpr bool kTakesHighHalves = kBits == 4 && kType == FloatType::kF16;

// What takes that number and the zero point of stored codes off again, of even and of odd quads.
template <int kBits, FloatType kType>
struct HalfZero {
  uint32_t even = 0;
  uint32_t odd = 0;

  HalfZero() = default;
  __device__ explicit HalfZero(int zero) {
    const uint32_t zeros = static_cast<uint32_t>(zero) * 0x00010001;
    even = (kOnes<kType> | 0x80008000) + zeros;
    // -(1024 / 16 + zero), whose last place is 1 / 16.
    odd = kTakesHighHalves<kBits, kType> ? 0xD400D400 + 16 * zeros : even;
  }
};

// The weights of a column in a step, less their zero point: of the quads 2 t and 2 t + 1, channels 0 and 2, and channels 1 and 3.
template <int kBits, FloatType kType>
struct HalfQuads {
  uint32_t pairs[2][2];

  __device__ HalfQuads(const uint32_t (&words)[Quads<kBits>::kWords], int t, const HalfZero<kBits, kType>& zero) {
    if constexpr (kTakesHighHalves<kBits, kType>) {
      constexpr uint32_t kSixteenth = 0x2C002C00;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        pairs[0][i] = add_halves<kType>(and_or(words[0] >> (8 * i), 0x000F000F, kOnes<kType>), zero.even);
        pairs[1][i] = multiply_add_halves<kType>(and_or(words[0] >> (8 * i), 0x00F000F0, kOnes<kType>), kSixteenth, zero.odd);
      }
    } else {
      uint32_t quads[2];
      Quads<kBits>::unpack(words, t, quads[0], quads[1]);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        pairs[0][i] = add_halves<kType>(and_or(quads[0] >> (8 * i), 0x00FF00FF, kOnes<kType>), zero.even);
        pairs[1][i] = add_halves<kType>(and_or(quads[1] >> (8 * i), 0x00FF00FF, kOnes<kType>), zero.odd);
      }
    }
  }
};

// Eight channels of activations as the operands B of the products of the quads 2 t and 2 t + 1, in the order of HalfQuads.
__device__ inline void activations_of_quads(const uint4& x, uint32_t (&b)[2][2]) {
  b[0][0] = __byte_perm(x.x, x.y, 0x5410);
  b[0][1] = __byte_perm(x.x, x.y, 0x7632);
  b[1][0] = __byte_perm(x.z, x.w, 0x5410);
  b[1][1] = __byte_perm(x.z, x.w, 0x7632);
}

}  // namespace qc::cuda
