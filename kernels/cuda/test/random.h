// Random operands of the tests; the same in every run.
#pragma once
#include <cstdint>
#include <random>
#include <vector>

#include "core/layout.h"
#include "core/pack.h"

namespace qc::cuda {

class Random {
 public:
  explicit Random(uint32_t seed) : bits_(seed) {}

  int integer(int low, int high) { return std::uniform_int_distribution<int>(low, high)(bits_); }
  float number(float low, float high) { return std::uniform_real_distribution<float>(low, high)(bits_); }
  bool coin() { return integer(0, 1) == 1; }
  template <class T, size_t kCount>
  T one_of(const T (&list)[kCount]) {
    return list[integer(0, static_cast<int>(kCount) - 1)];
  }

  std::vector<float> numbers(int64_t count, float low, float high) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = number(low, high);
    return values;
  }
  std::vector<float> integers(size_t count, int low, int high) {
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(integer(low, high));
    return values;
  }

  // Packed rows of codes: all that there are, or only the least and the greatest.
  std::vector<uint8_t> codes(int64_t rows, int64_t channels, int bits) {
    std::vector<uint8_t> packed(static_cast<size_t>(rows * bytes_of(channels, bits)));
    const bool ends = integer(0, 3) == 0;
    for (int64_t step = 0; step < rows * steps_of(channels); ++step) {
      uint8_t stored[kStep];
      const int64_t left = channels - step % steps_of(channels) * kStep;
      for (int64_t k = 0; k < kStep; ++k) stored[k] = k < left ? stored_code(bits, ends) : uint8_t{0};
      pack_step(stored, bits, packed.data() + step * 4 * bits);
    }
    return packed;
  }

  // A packed weight, zeros in its last tile beyond the last column.
  std::vector<uint8_t> weight(int64_t channels, int64_t columns, int bits) {
    std::vector<uint8_t> packed(static_cast<size_t>(tiles_of(columns) * steps_of(channels) * bits * 4 * kTile));
    const bool ends = integer(0, 3) == 0;
    for (int64_t column = 0; column < columns; ++column) {
      for (int64_t step = 0; step < steps_of(channels); ++step) {
        uint8_t stored[kStep], words[kStep];
        for (int64_t k = 0; k < kStep; ++k) stored[k] = step * kStep + k < channels ? stored_code(bits, ends) : uint8_t{0};
        pack_step(stored, bits, words);
        uint8_t* to = packed.data() + (column / kTile * steps_of(channels) + step) * bits * 4 * kTile + column % kTile * 4;
        for (int word = 0; word < bits; ++word) std::memcpy(to + word * 4 * kTile, words + word * 4, 4);
      }
    }
    return packed;
  }

  // Ends of clusters of whole steps, the last of which may have a part of one.
  std::vector<int64_t> ends(int64_t channels, int clusters) {
    std::vector<int64_t> result;
    for (int g = 1; g < clusters; ++g) {
      const int64_t end = channels * g / clusters / kStep * kStep;
      if (end > (result.empty() ? 0 : result.back())) result.push_back(end);
    }
    if (result.empty() || result.back() < channels) result.push_back(channels);
    return result;
  }

 private:
  uint8_t stored_code(int bits, bool ends) {
    const int greatest = (1 << bits) - 1;
    return static_cast<uint8_t>(ends ? (coin() ? greatest : 0) : integer(0, greatest));
  }

  std::mt19937 bits_;
};

}  // namespace qc::cuda
