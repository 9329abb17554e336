#include "ort/tensor.h"

#include <algorithm>
#include <numeric>

#include "ort/error.h"

namespace qc::ort {

Shape::Shape(std::initializer_list<int64_t> dims) : rank_(dims.size()) { std::copy(dims.begin(), dims.end(), dims_.begin()); }

void Shape::set_rank(size_t rank) {
  if (rank > kMaxRank) reject("a tensor of rank ", rank, " is not supported");
  rank_ = rank;
}

int64_t Shape::size() const { return rank_ == 0 ? 1 : rows() * last(); }

int64_t Shape::rows() const {
  return std::accumulate(dims_.begin(), dims_.begin() + rank_ - 1, int64_t{1}, [](int64_t a, int64_t b) { return a * b; });
}

Shape Shape::with_last(int64_t dim) const {
  Shape result = *this;
  result.dims_[rank_ - 1] = dim;
  return result;
}

bool Shape::operator==(const Shape& other) const {
  return rank_ == other.rank_ && std::equal(dims_.begin(), dims_.begin() + rank_, other.dims_.begin());
}

std::string Shape::text() const {
  std::string list;
  for (size_t axis = 0; axis < rank_; ++axis) list += (axis ? ", " : "") + std::to_string(dims_[axis]);
  return "[" + list + "]";
}

namespace {

FloatType float_type(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16: return FloatType::kF16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16: return FloatType::kBf16;
    default: return FloatType::kF32;
  }
}

size_t element_bytes(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32: return 4;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16: return 2;
    default: return 1;
  }
}

}  // namespace

FloatIn Tensor::floats() const { return {data, float_type(type)}; }

size_t Tensor::bytes() const { return static_cast<size_t>(shape.size()) * element_bytes(type); }

void require_shape(const Tensor& tensor, const Shape& shape) {
  if (!(tensor.shape == shape)) reject(tensor.name, " has shape ", tensor.shape.text(), ", it should be ", shape.text());
}

void require_rows(const Tensor& tensor) {
  if (tensor.shape.rank() == 0) reject(tensor.name, " is a scalar, it should have at least one dimension");
}

void require_last(const Tensor& tensor, int64_t dim) {
  require_rows(tensor);
  if (tensor.shape.last() != dim) reject(tensor.name, " has shape ", tensor.shape.text(), ", its last dimension should be ", dim);
}

}  // namespace qc::ort
