// Custom operators over the C API of ONNX Runtime, with exceptions in place of its status codes.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/parallel.h"
#include "operators/signature.h"
#include "ort/abi.h"
#include "ort/tensor.h"

namespace qc::ort {

// A node as it is when its kernel is created.
class Info {
 public:
  Info(const OrtApi& api, const OrtKernelInfo* info, const Signature& signature);

  int64_t integer(const std::string& attribute) const;
  float number(const std::string& attribute) const;
  std::string string(const std::string& attribute) const;
  std::vector<int64_t> integers(const std::string& attribute) const;
  std::string node_name() const;
  // An input, present only if it is a constant.
  const Tensor& constant(std::string_view input) const;
  const std::vector<Tensor>& constants() const { return constants_; }

 private:
  void check_read(const std::string& attribute, OrtStatus* status) const;
  Tensor read_constant(size_t index) const;

  const OrtApi& api_;
  const OrtKernelInfo* info_;
  const Signature& signature_;
  std::vector<Tensor> constants_;
};

struct Output {
  // Whether the node has this output.
  bool present = false;
  void* data = nullptr;

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

struct Node;

// One run of a node.
class Context {
 public:
  Context(const Node& node, OrtKernelContext* context) : node_(node), context_(context) {}

  // An input; not present if it is left out, or if the operator has none of this name.
  Tensor input(std::string_view name) const;
  Output output(std::string_view name, const Shape& shape) const;
  // Runs on the threads of the session; valid as long as this is.
  Parallel parallel() const;

 private:
  const Node& node_;
  OrtKernelContext* context_;
};

// What an operator does for one node; runs may be concurrent.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void run(const Context& context) const = 0;
};
using Factory = std::unique_ptr<Kernel> (*)(const Info& info);

struct Node {
  const OrtApi& api;
  const Signature& signature;
  // QuantizeClusters 'name of the node'
  std::string title;
  std::vector<Tensor> constants;
  std::unique_ptr<Kernel> kernel;
};

// An operator for one type of its type parameter.
struct CustomOp : OrtCustomOp {
  CustomOp(const Signature& signature, Factory factory, ONNXTensorElementDataType type_parameter);

  ONNXTensorElementDataType type_of(const Port& port) const;

  const Signature& signature;
  const Factory factory;
  const ONNXTensorElementDataType type_parameter;
};

}  // namespace qc::ort
