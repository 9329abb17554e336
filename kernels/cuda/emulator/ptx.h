// The instructions of device/ptx.cuh, on the CPU. Products are made of whole fragments, as the PTX manual lays them out.
#pragma once
#include <cstdint>
#include <cstring>

#include "core/bf16.h"
#include "core/float_type.h"
#include "core/half.h"
#include "emulator/copies.h"
#include "emulator/cuda.h"

namespace qc::cuda {

inline uint4 load_once(const uint4* from) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0) std::abort();
  return *from;
}

inline uint32_t and_or(uint32_t a, uint32_t mask, uint32_t bits) { return (a & mask) | bits; }

template <FloatType kType>
float from_half(uint16_t half) {
  return kType == FloatType::kF16 ? half_to_float(half) : bf16_to_float(half);
}

template <FloatType kType>
uint16_t to_half(float value) {
  return kType == FloatType::kF16 ? float_to_half(value) : float_to_bf16(value);
}

// d += a b of a warp: m16n8kK, an operand's register holding kInRegister values that `value` takes out.
template <int kInRegister, class Sum, class ValueOfA, class ValueOfB>
void mma(const char* what, Sum (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const ValueOfA& value_of_a,
         const ValueOfB& value_of_b) {
  struct Item {
    Sum* d;
    const uint32_t* a;
    const uint32_t* b;
  } item = {d, a, b};
  emulated::meet_warp(what, &item, [&](void* const* data) {
    constexpr int kHalf = 4 * kInRegister;
    const auto lane = [&](int g, int t) { return static_cast<Item*>(data[4 * g + t]); };
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        Sum sum = 0;
        for (int k = 0; k < 2 * kHalf; ++k) {
          const int t = k % kHalf / kInRegister, i = k % kInRegister;
          const uint32_t of_a = lane(row % 8, t)->a[row / 8 + 2 * (k / kHalf)], of_b = lane(column, t)->b[k / kHalf];
          sum += value_of_a(of_a, i) * value_of_b(of_b, i);
        }
        lane(row % 8, column / 2)->d[row / 8 * 2 + column % 2] += sum;
      }
    }
  });
}

inline void mma_bytes(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  mma<4>(
      "mma_bytes", d, a, b, [](uint32_t word, int i) { return static_cast<int32_t>(word >> (8 * i) & 0xFF); },
      [](uint32_t word, int i) { return static_cast<int32_t>(static_cast<int8_t>(word >> (8 * i))); });
}

template <FloatType kType>
void mma_halves(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const auto value = [](uint32_t word, int i) { return from_half<kType>(static_cast<uint16_t>(word >> (16 * i))); };
  mma<2>("mma_halves", d, a, b, value, value);
}

// The product and the sum of two halves are exact in doubles, which a float rounds as f16 and bf16 do not: values here need fewer bits.
template <FloatType kType>
uint32_t multiply_add_halves(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t sum = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    const auto value = [shift](uint32_t pair) { return static_cast<double>(from_half<kType>(static_cast<uint16_t>(pair >> shift))); };
    sum |= static_cast<uint32_t>(to_half<kType>(static_cast<float>(value(a) * value(b) + value(c)))) << shift;
  }
  return sum;
}

template <FloatType kType>
uint32_t add_halves(uint32_t a, uint32_t b) {
  return multiply_add_halves<kType>(a, kType == FloatType::kF16 ? 0x3C003C00 : 0x3F803F80, b);
}

inline void copy_async(void* shared, const void* global, bool exists) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0 || (exists && reinterpret_cast<uintptr_t>(global) % 16 != 0)) std::abort();
  emulated::copies().add(shared, global, exists);
}
inline void commit_copies() { emulated::copies().commit(); }
template <int kPending>
void wait_copies() {
  emulated::copies().wait(kPending);
}

inline uint8_t* shared_memory() { return emulated::shared_memory(); }

}  // namespace qc::cuda
