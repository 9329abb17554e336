// How codes lie in memory (docs/operators.md, "Packing").
#pragma once
#include <cstddef>
#include <cstdint>

namespace qc {

// Codes are stored in steps of 32 along the channels: 4 * bits bytes each, the last step filled up with stored zeros.
inline constexpr int64_t kStep = 32;
// Weights of 16 output channels lie side by side: one step of one tile is bits x 16 words of 4 bytes.
inline constexpr int64_t kTile = 16;

// The CPU works on two tiles at a time, so that a step of output codes is of one piece.
inline constexpr int kPair = 2 * kTile;

inline constexpr int64_t steps_of(int64_t channels) { return (channels + kStep - 1) / kStep; }
inline constexpr int64_t tiles_of(int64_t columns) { return (columns + kTile - 1) / kTile; }
inline constexpr int64_t pairs_of(int64_t columns) { return (columns + kPair - 1) / kPair; }
// Bytes of a row of codes.
inline constexpr int64_t bytes_of(int64_t channels, int bits) { return steps_of(channels) * 4 * bits; }
// A code c of b bits is stored as c + lift(b), which is never negative.
inline constexpr int lift(int bits) { return 1 << (bits - 1); }

}  // namespace qc
