// Instructions that C++ has no word for. Fragments of mma are laid out as in "Matrix Fragments for mma.m16n8k32" and "... for mma.m16n8k16"
// of the PTX manual: lane 4 g + t holds rows g and g + 8 of A and column g of B; of D, rows g and g + 8, columns 2 t and 2 t + 1.
#pragma once
#include <cstdint>

#include "core/float_type.h"
#include "device/cuda.cuh"

#ifdef QC_EMULATE
#include "emulator/ptx.h"
#else

namespace qc::cuda {

// 16 bytes that no other thread of the multiprocessor will want.
__device__ inline uint4 load_once(const uint4* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
  return v;
}

// a & mask | bits, as one instruction.
__device__ inline uint32_t and_or(uint32_t a, uint32_t mask, uint32_t bits) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(result) : "r"(a), "r"(mask), "r"(bits));
  return result;
}

// d += a b, unsigned bytes times signed bytes, in int32.
__device__ inline void mma_bytes(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a b, pairs of f16 or bf16, in f32.
template <FloatType kType>
__device__ inline void mma_halves(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (kType == FloatType::kF16) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

// a b + c of pairs, rounded once.
template <FloatType kType>
__device__ inline uint32_t multiply_add_halves(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t sum;
  if constexpr (kType == FloatType::kF16) {
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
  } else {
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
  }
  return sum;
}

// a + b of pairs.
template <FloatType kType>
__device__ inline uint32_t add_halves(uint32_t a, uint32_t b) {
  // Addition of bf16 came with sm_90; a product with one is as exact.
  if constexpr (kType == FloatType::kBf16) return multiply_add_halves<kType>(a, 0x3F803F80, b);
  uint32_t sum;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(sum) : "r"(a), "r"(b));
  return sum;
}

template <FloatType kType>
__device__ inline float from_half(uint16_t half) {
  float value;
  if constexpr (kType == FloatType::kF16) {
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
  } else {
    value = __uint_as_float(static_cast<uint32_t>(half) << 16);
  }
  return value;
}

// Rounds half to even.
template <FloatType kType>
__device__ inline uint16_t to_half(float value) {
  uint16_t half;
  if constexpr (kType == FloatType::kF16) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
  } else {
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(half) : "f"(value));
  }
  return half;
}

// Copies 16 bytes to shared memory without waiting for them, or fills them with zeros.
__device__ inline void copy_async(void* shared, const void* global, bool exists) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(exists ? 16 : 0) : "memory");
}

// Ends a group of copies, which may be empty.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until all but the last kPending groups of this thread have arrived.
template <int kPending>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Shared memory whose size is given at the launch.
__device__ inline uint8_t* shared_memory() {
  extern __shared__ __align__(1024) uint8_t memory[];
  return memory;
}

}  // namespace qc::cuda

#endif
