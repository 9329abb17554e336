// A float tensor of any type, for either side of a kernel.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/bf16.h"
#include "core/float_type.h"
#include "core/half.h"

namespace qc {

inline constexpr FloatType kFloatTypes[] = {FloatType::kF32, FloatType::kF16, FloatType::kBf16};

inline const char* name_of(FloatType type) { return type == FloatType::kF32 ? "f32" : type == FloatType::kF16 ? "f16" : "bf16"; }

// How far results may be from those in double, in parts of the greatest.
inline double tolerance_of(FloatType type) { return type == FloatType::kF32 ? 1e-5 : type == FloatType::kF16 ? 1e-3 : 1e-2; }

inline uint16_t to_word(float value, FloatType type) { return type == FloatType::kF16 ? float_to_half(value) : float_to_bf16(value); }
inline float from_word(uint16_t word, FloatType type) { return type == FloatType::kF16 ? half_to_float(word) : bf16_to_float(word); }

struct FloatTensor {
  FloatType type;
  std::vector<float> singles;
  std::vector<uint16_t> words;

  FloatTensor(size_t count, FloatType type) : type(type), singles(is_f32() ? count : 0), words(is_f32() ? 0 : count) {}
  FloatTensor(const std::vector<float>& values, FloatType type) : FloatTensor(values.size(), type) {
    for (size_t i = 0; i < values.size(); ++i) is_f32() ? void(singles[i] = values[i]) : void(words[i] = to_word(values[i], type));
  }

  bool is_f32() const { return type == FloatType::kF32; }
  size_t size() const { return is_f32() ? singles.size() : words.size(); }
  float operator[](size_t i) const { return is_f32() ? singles[i] : from_word(words[i], type); }
  std::vector<float> values() const {
    std::vector<float> result;
    for (size_t i = 0; i < size(); ++i) result.push_back((*this)[i]);
    return result;
  }
  // From an element on.
  FloatIn in(int64_t first = 0) const {
    if (is_f32()) return {singles.data() + first, type};
    return {words.data() + first, type};
  }
  FloatOut out() { return {is_f32() ? static_cast<void*>(singles.data()) : words.data(), type}; }
  bool equal_bits(const FloatTensor& other) const {
    const auto same = [](float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; };
    return words == other.words && std::equal(singles.begin(), singles.end(), other.singles.begin(), other.singles.end(), same);
  }
};

// What is left of values that a tensor of this type holds.
inline std::vector<float> rounded(const std::vector<float>& values, FloatType type) { return FloatTensor(values, type).values(); }

}  // namespace qc
