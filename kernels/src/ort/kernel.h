// Custom operators over the C API of ONNX Runtime, with exceptions in place of its status codes.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "ort/signature.h"
#include "ort/abi.h"
#include "ort/provider.h"
#include "ort/tensor.h"

namespace qc::ort {

// A node as it is when its kernel is created.
class Info {
 public:
  Info(const OrtApi& api, const OrtKernelInfo* info, const Signature& signature, const Provider& provider);

  int64_t integer(const std::string& attribute) const;
  float number(const std::string& attribute) const;
  std::string string(const std::string& attribute) const;
  std::vector<int64_t> integers(const std::string& attribute) const;
  std::string node_name() const;
  // An input, present only if it is a constant.
  const Tensor& constant(std::string_view input) const;
  const std::vector<Tensor>& constants() const { return constants_; }
  // Calls `check` with an input if it is a constant, its values being where the host can read them.
  void check_constant(std::string_view input, const std::function<void(const Tensor&)>& check) const;
  const Provider& provider() const { return provider_; }

 private:
  void check_read(const std::string& attribute, OrtStatus* status) const;
  Tensor read_constant(size_t index) const;

  const OrtApi& api_;
  const OrtKernelInfo* info_;
  const Signature& signature_;
  const Provider& provider_;
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
  Context(const Node& node, OrtKernelContext* context, const Device& device) : node_(node), context_(context), device_(device) {}

  // An input; not present if it is left out, or if the operator has none of this name.
  Tensor input(std::string_view name) const;
  Output output(std::string_view name, const Shape& shape) const;
  const Device& device() const { return device_; }

 private:
  const Node& node_;
  OrtKernelContext* context_;
  const Device& device_;
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
  const Provider& provider;
  // QuantizeClusters 'name of the node'
  std::string title;
  std::vector<Tensor> constants;
  std::unique_ptr<Kernel> kernel;
};

// An operator for one provider and one type of its type parameter.
struct CustomOp : OrtCustomOp {
  CustomOp(const Signature& signature, Factory factory, const Provider& provider, ONNXTensorElementDataType type_parameter,
           size_t alias = 0);

  ONNXTensorElementDataType type_of(const Port& port) const;

  const Signature& signature;
  // That of the signature, with the number of the alias behind it.
  const std::string name;
  const Factory factory;
  const Provider& provider;
  const ONNXTensorElementDataType type_parameter;
};

}  // namespace qc::ort
