// As much of ONNX Runtime as operators see of it, for what no session on a CPU does.
#pragma once
#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "ort/abi.h"

struct OrtStatus {
  std::string message;
};

struct OrtValue {
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;  // that of an input that is left out
  std::vector<int64_t> dims;
  void* data = nullptr;
  bool constant = true;
};

struct OrtTensorTypeAndShapeInfo {
  const OrtValue* value;
};

namespace qc::fake {

using Attribute = std::variant<int64_t, float, std::string, std::vector<int64_t>>;

struct Node {
  std::map<std::string, Attribute> attributes;
  std::vector<OrtValue> inputs;
  // With the memory that they need.
  std::vector<OrtValue> outputs;
  void* stream = nullptr;
};

}  // namespace qc::fake

struct OrtKernelInfo {
  qc::fake::Node* node;
};
struct OrtKernelContext {
  qc::fake::Node* node;
};

namespace qc::fake {

template <class T>
OrtStatus* read_attribute(const OrtKernelInfo* info, const char* name, const T** found) {
  const auto entry = info->node->attributes.find(name);
  *found = entry == info->node->attributes.end() ? nullptr : std::get_if<T>(&entry->second);
  return *found ? nullptr : new OrtStatus{std::string("no attribute ") + name};
}

// A list is asked for twice: for its size, then for its elements.
template <class T>
OrtStatus* read_list(const OrtKernelInfo* info, const char* name, typename T::value_type* out, size_t* size) {
  const T* list;
  if (OrtStatus* status = read_attribute(info, name, &list)) return status;
  *size = list->size();
  if (out) std::copy(list->begin(), list->end(), out);
  return nullptr;
}

template <class T>
OrtStatus* read_value(const OrtKernelInfo* info, const char* name, T* out) {
  const T* value;
  if (OrtStatus* status = read_attribute(info, name, &value)) return status;
  *out = *value;
  return nullptr;
}

inline const OrtValue* present(const OrtValue& value) {
  return value.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED ? nullptr : &value;
}

inline void add_tensors(OrtApi& api) {
  api.GetTensorTypeAndShape = [](const OrtValue* value, OrtTensorTypeAndShapeInfo** out) noexcept -> OrtStatus* {
    *out = new OrtTensorTypeAndShapeInfo{value};
    return nullptr;
  };
  api.ReleaseTensorTypeAndShapeInfo = [](OrtTensorTypeAndShapeInfo* info) { delete info; };
  api.GetDimensionsCount = [](const OrtTensorTypeAndShapeInfo* info, size_t* out) noexcept -> OrtStatus* {
    *out = info->value->dims.size();
    return nullptr;
  };
  api.GetDimensions = [](const OrtTensorTypeAndShapeInfo* info, int64_t* values, size_t) noexcept -> OrtStatus* {
    std::copy(info->value->dims.begin(), info->value->dims.end(), values);
    return nullptr;
  };
  api.GetTensorElementType = [](const OrtTensorTypeAndShapeInfo* info, ONNXTensorElementDataType* out) noexcept -> OrtStatus* {
    *out = info->value->type;
    return nullptr;
  };
  api.GetTensorMutableData = [](OrtValue* value, void** out) noexcept -> OrtStatus* {
    *out = value->data;
    return nullptr;
  };
}

inline void add_info(OrtApi& api) {
  api.KernelInfoGetAttribute_int64 = [](const OrtKernelInfo* info, const char* name, int64_t* out) noexcept {
    return read_value(info, name, out);
  };
  api.KernelInfoGetAttribute_float = [](const OrtKernelInfo* info, const char* name, float* out) noexcept {
    return read_value(info, name, out);
  };
  api.KernelInfoGetAttribute_string = [](const OrtKernelInfo* info, const char* name, char* out, size_t* size) noexcept {
    return read_list<std::string>(info, name, out, size);
  };
  api.KernelInfoGetAttributeArray_int64 = [](const OrtKernelInfo* info, const char* name, int64_t* out, size_t* size) noexcept {
    return read_list<std::vector<int64_t>>(info, name, out, size);
  };
  api.KernelInfo_GetInputCount = [](const OrtKernelInfo* info, size_t* out) noexcept -> OrtStatus* {
    *out = info->node->inputs.size();
    return nullptr;
  };
  api.KernelInfo_GetNodeName = [](const OrtKernelInfo*, char* out, size_t* size) noexcept -> OrtStatus* {
    if (out) std::memcpy(out, "node", 5);
    *size = 5;
    return nullptr;
  };
  api.KernelInfoGetConstantInput_tensor = [](const OrtKernelInfo* info, size_t index, int* constant,
                                             const OrtValue** out) noexcept -> OrtStatus* {
    *out = present(info->node->inputs[index]);
    *constant = *out && (*out)->constant;
    return nullptr;
  };
}

inline void add_context(OrtApi& api) {
  api.KernelContext_GetInputCount = [](const OrtKernelContext* context, size_t* out) noexcept -> OrtStatus* {
    *out = context->node->inputs.size();
    return nullptr;
  };
  api.KernelContext_GetInput = [](const OrtKernelContext* context, size_t index, const OrtValue** out) noexcept -> OrtStatus* {
    *out = present(context->node->inputs[index]);
    return nullptr;
  };
  api.KernelContext_GetOutputCount = [](const OrtKernelContext* context, size_t* out) noexcept -> OrtStatus* {
    *out = context->node->outputs.size();
    return nullptr;
  };
  api.KernelContext_GetOutput = [](OrtKernelContext* context, size_t index, const int64_t* dims, size_t rank,
                                   OrtValue** out) noexcept -> OrtStatus* {
    *out = &context->node->outputs[index];
    (*out)->dims.assign(dims, dims + rank);
    return nullptr;
  };
  api.KernelContext_ParallelFor = [](const OrtKernelContext*, void (*body)(void*, size_t), size_t total, size_t,
                                     void* data) noexcept -> OrtStatus* {
    for (size_t i = 0; i < total; ++i) body(data, i);
    return nullptr;
  };
  api.KernelContext_GetGPUComputeStream = [](const OrtKernelContext* context, void** out) noexcept -> OrtStatus* {
    *out = context->node->stream;
    return nullptr;
  };
}

inline OrtApi make_api() {
  OrtApi api = {};
  api.CreateStatus = [](OrtErrorCode, const char* message) noexcept { return new OrtStatus{message}; };
  api.GetErrorMessage = [](const OrtStatus* status) noexcept { return status->message.c_str(); };
  api.ReleaseStatus = [](OrtStatus* status) { delete status; };
  add_tensors(api);
  add_info(api);
  add_context(api);
  return api;
}

inline const OrtApi& api() {
  static const OrtApi api = make_api();
  return api;
}

// What a status says; nothing if it is success.
inline std::string message_of(OrtStatus* status) {
  const std::string message = status ? status->message : "";
  delete status;
  return message;
}

// The kernel of a node.
class Kernel {
 public:
  Kernel(const OrtCustomOp& op, Node node) : op_(op), node_(std::move(node)) {
    const OrtKernelInfo info = {&node_};
    problem_ = message_of(op_.CreateKernelV2(&op_, &api(), &info, &kernel_));
  }
  ~Kernel() {
    if (kernel_) op_.KernelDestroy(kernel_);
  }
  Kernel(const Kernel&) = delete;

  // Why there is none.
  const std::string& problem() const { return problem_; }
  std::string run() {
    OrtKernelContext context = {&node_};
    return message_of(op_.KernelComputeV2(kernel_, &context));
  }
  const Node& node() const { return node_; }

 private:
  const OrtCustomOp& op_;
  Node node_;
  void* kernel_ = nullptr;
  std::string problem_;
};

}  // namespace qc::fake
