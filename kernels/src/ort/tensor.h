// Tensors as operators see them.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/float_type.h"
#include "ort/abi.h"

namespace qc::ort {

class Shape {
 public:
  static constexpr size_t kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);

  size_t rank() const { return rank_; }
  void set_rank(size_t rank);
  const int64_t* data() const { return dims_.data(); }
  int64_t* data() { return dims_.data(); }
  int64_t operator[](size_t axis) const { return dims_[axis]; }
  bool operator==(const Shape& other) const;

  // The product of all dimensions.
  int64_t size() const;
  // The last dimension, and the product of all others; of rank 1 or more.
  int64_t last() const { return dims_[rank_ - 1]; }
  int64_t rows() const;
  // The same with another last dimension.
  Shape with_last(int64_t dim) const;
  // [2, 3]
  std::string text() const;

 private:
  std::array<int64_t, kMaxRank> dims_ = {};
  size_t rank_ = 0;
};

struct Tensor {
  const char* name = "";
  // Whether the node has this input.
  bool present = false;
  // Constants stay where they are as long as the kernel lives.
  bool constant = false;
  // Whether the host can read its values.
  bool on_host = true;
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  Shape shape;
  const void* data = nullptr;

  template <class T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
  FloatIn floats() const;
  size_t bytes() const;
};

// Throw an Error that names the tensor.
void require_shape(const Tensor& tensor, const Shape& shape);
void require_rows(const Tensor& tensor);
void require_last(const Tensor& tensor, int64_t dim);

}  // namespace qc::ort
