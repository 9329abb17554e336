// Float tensors at the edges of the kernels, which compute in f32.
#pragma once

namespace qc {

enum class FloatType { kF32, kF16, kBf16 };

struct FloatIn {
  const void* data = nullptr;  // null: missing
  FloatType type = FloatType::kF32;
};
struct FloatOut {
  void* data = nullptr;
  FloatType type = FloatType::kF32;
};

}  // namespace qc
