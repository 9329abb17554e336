// Layouts for 3-bit codes: time to turn a weight into bytes, four channels to a word, beside that of 4-bit codes. The layout in use is
// "two and one".
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

// Words of eight columns.
using Words = uint32_t __attribute__((vector_size(32)));

Words load(const uint32_t* at) {
  Words words;
  std::memcpy(&words, at, sizeof words);
  return words;
}

// A layout: words of 4 bytes in a step of 32 channels, and the four channels of a quad out of them.
struct Nibbles {
  static constexpr const char* kName = "4 bits";
  static constexpr int kWords = 4;
  static Words quad(const uint32_t* step, int q) { return (load(step + q / 2 * 8) >> (q % 2 * 4)) & 0x0F0F0F0Fu; }
};

// Two bits of each code in two words, the third bits in one.
struct TwoAndOne {
  static constexpr const char* kName = "3 bits, two and one";
  static constexpr int kWords = 3;
  static Words quad(const uint32_t* step, int q) {
    const Words low = (load(step + q / 4 * 8) >> (q % 4 * 2)) & 0x03030303u;
    const Words high = load(step + 2 * 8);
    return low | ((q < 2 ? high << (2 - q) : high >> (q - 2)) & 0x04040404u);
  }
};

// One word for each of the three bits.
struct Planes {
  static constexpr const char* kName = "3 bits, three planes";
  static constexpr int kWords = 3;
  static Words quad(const uint32_t* step, int q) {
    Words code = {};
    for (int bit = 0; bit < 3; ++bit) {
      const Words word = load(step + bit * 8);
      code |= (q < bit ? word << (bit - q) : word >> (q - bit)) & (0x01010101u << bit);
    }
    return code;
  }
};

// The codes of a column one behind the other, 32 in 96 bits: a quad is 12 bits, which may lie in two words.
struct Stream {
  static constexpr const char* kName = "3 bits, one stream";
  static constexpr int kWords = 3;
  static Words quad(const uint32_t* step, int q) {
    const int bit = 12 * q;
    Words bits = load(step + bit / 32 * 8) >> (bit % 32);
    if (bit % 32 > 20) bits |= load(step + (bit / 32 + 1) * 8) << (32 - bit % 32);
    return (bits & 7u) | (bits << 5 & 0x700u) | (bits << 10 & 0x70000u) | (bits << 15 & 0x7000000u);
  }
};

template <class Layout>
Words sum_of(const std::vector<uint32_t>& weight) {
  Words sum = {};
  for (size_t at = 0; at < weight.size(); at += Layout::kWords * 8) {
#pragma GCC unroll 8
    for (int q = 0; q < 8; ++q) sum += Layout::quad(weight.data() + at, q);
  }
  return sum;
}

template <class Layout>
void measure(int64_t channels, int64_t columns) {
  std::vector<uint32_t> weight(static_cast<size_t>(channels / 32 * columns * Layout::kWords));
  for (uint32_t& word : weight) word = static_cast<uint32_t>(std::rand());
  std::vector<double> times;
  uint32_t seen = 0;
  for (int run = 0; run < 21; ++run) {
    const auto start = std::chrono::steady_clock::now();
    seen += sum_of<Layout>(weight)[0];
    times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + 10, times.end());
  std::printf("%-22s %lld x %lld: %8.1f us (%u)\n", Layout::kName, static_cast<long long>(channels), static_cast<long long>(columns),
              times[10], seen & 1u);
}

}  // namespace

int main() {
  for (const int64_t size : {2048, 4096}) {
    measure<Nibbles>(size, size);
    measure<TwoAndOne>(size, size);
    measure<Planes>(size, size);
    measure<Stream>(size, size);
  }
}
