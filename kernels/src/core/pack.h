// One step of 32 stored codes, a byte each, to and from its packed words (docs/operators.md, "Packing").
// Two quads are handled at a time, the even one in the low half of 64 bits, the odd one in the high half.
#pragma once
#include <cstdint>
#include <cstring>

#include "core/layout.h"

namespace qc {
// Files of all levels include this: no instance compiled for one level may be linked into another.
namespace {

constexpr uint64_t kNibbles = 0x0F0F0F0F0F0F0F0F;
constexpr uint64_t kPairs = 0x0303030303030303;
constexpr uint64_t kBits = 0x0101010101010101;

inline uint64_t load_quads(const uint8_t* stored) {
  uint64_t quads;
  std::memcpy(&quads, stored, sizeof quads);
  return quads;
}

inline void store_quads(uint8_t* stored, uint64_t quads) { std::memcpy(stored, &quads, sizeof quads); }

inline uint64_t load_word(const uint8_t* packed) {
  uint32_t word;
  std::memcpy(&word, packed, sizeof word);
  return word;
}

inline void store_word(uint8_t* packed, uint64_t word) {
  const auto low = static_cast<uint32_t>(word);
  std::memcpy(packed, &low, sizeof low);
}

inline void pack4(const uint8_t* stored, uint8_t* packed) {
  for (int i = 0; i < 4; ++i) {
    const uint64_t quads = load_quads(stored + 8 * i);
    store_word(packed + 4 * i, quads | quads >> 28);
  }
}

inline void unpack4(const uint8_t* packed, uint8_t* stored) {
  for (int i = 0; i < 4; ++i) {
    const uint64_t word = load_word(packed + 4 * i);
    store_quads(stored + 8 * i, (word | word << 28) & kNibbles);
  }
}

inline void pack3(const uint8_t* stored, uint8_t* packed) {
  uint64_t third_bits = 0;
  for (int h = 0; h < 2; ++h) {
    const uint64_t first = load_quads(stored + 16 * h);
    const uint64_t second = load_quads(stored + 16 * h + 8);
    const uint64_t pairs = (first & kPairs) | (second & kPairs) << 4;
    store_word(packed + 4 * h, pairs | pairs >> 30);
    const uint64_t bits = (first >> 2 & kBits) | (second >> 2 & kBits) << 2;
    third_bits |= (bits | bits >> 31) << (4 * h);
  }
  store_word(packed + 8, third_bits);
}

inline void unpack3(const uint8_t* packed, uint8_t* stored) {
  const uint64_t third_bits = load_word(packed + 8);
  for (int h = 0; h < 2; ++h) {
    const uint64_t word = load_word(packed + 4 * h);
    const uint64_t pairs = word | word << 30;
    const uint64_t bits = (third_bits | third_bits << 31) >> (4 * h);
    store_quads(stored + 16 * h, (pairs & kPairs) | (bits & kBits) << 2);
    store_quads(stored + 16 * h + 8, (pairs >> 4 & kPairs) | (bits >> 2 & kBits) << 2);
  }
}

inline void pack_step(const uint8_t* stored, int bits, uint8_t* packed) {
  switch (bits) {
    case 3: return pack3(stored, packed);
    case 4: return pack4(stored, packed);
    default: std::memcpy(packed, stored, kStep);
  }
}

inline void unpack_step(const uint8_t* packed, int bits, uint8_t* stored) {
  switch (bits) {
    case 3: return unpack3(packed, stored);
    case 4: return unpack4(packed, stored);
    default: std::memcpy(stored, packed, kStep);
  }
}

}  // namespace
}  // namespace qc
