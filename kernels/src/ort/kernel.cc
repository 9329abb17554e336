#include "ort/kernel.h"

#include <exception>

#include "ort/error.h"
#include "ort/status.h"

namespace qc::ort {
namespace {

// The index of a port, or the count of ports if there is none of this name.
size_t index_of(const Ports& ports, std::string_view name) {
  size_t index = 0;
  while (index < ports.count && ports.list[index].name != name) ++index;
  return index;
}

Tensor read_tensor(const OrtApi& api, const Provider& provider, const char* name, const OrtValue* value) {
  Tensor tensor;
  tensor.name = name;
  tensor.on_host = !provider.memory;
  if (!value) return tensor;
  OrtTensorTypeAndShapeInfo* raw;
  check(api, api.GetTensorTypeAndShape(value, &raw));
  const auto release = api.ReleaseTensorTypeAndShapeInfo;
  const std::unique_ptr<OrtTensorTypeAndShapeInfo, decltype(api.ReleaseTensorTypeAndShapeInfo)> info(raw, release);
  size_t rank;
  check(api, api.GetDimensionsCount(raw, &rank));
  tensor.shape.set_rank(rank);
  check(api, api.GetDimensions(raw, tensor.shape.data(), rank));
  check(api, api.GetTensorElementType(raw, &tensor.type));
  // Inputs are only read, whatever the name of the call.
  void* data;
  check(api, api.GetTensorMutableData(const_cast<OrtValue*>(value), &data));
  tensor.data = data;
  tensor.present = true;
  return tensor;
}

// Calls f; what it throws becomes a status.
template <class F>
OrtStatus* guarded(const OrtApi& api, const std::string& title, F f) noexcept {
  try {
    f();
    return nullptr;
  } catch (const Error& error) {
    return api.CreateStatus(ORT_INVALID_ARGUMENT, (title + ": " + error.what()).c_str());
  } catch (const std::exception& error) {
    return api.CreateStatus(ORT_FAIL, (title + ": " + error.what()).c_str());
  }
}

}  // namespace

Info::Info(const OrtApi& api, const OrtKernelInfo* info, const Signature& signature, const Provider& provider)
    : api_(api), info_(info), signature_(signature), provider_(provider) {
  for (size_t i = 0; i < signature.inputs.count; ++i) constants_.push_back(read_constant(i));
}

Tensor Info::read_constant(size_t index) const {
  const char* name = signature_.inputs.list[index].name;
  size_t count;
  check(api_, api_.KernelInfo_GetInputCount(info_, &count));
  int is_constant = 0;
  const OrtValue* value = nullptr;
  if (index < count) check(api_, api_.KernelInfoGetConstantInput_tensor(info_, index, &is_constant, &value));
  Tensor tensor = read_tensor(api_, provider_, name, is_constant ? value : nullptr);
  tensor.constant = tensor.present;
  return tensor;
}

const Tensor& Info::constant(std::string_view input) const { return constants_.at(index_of(signature_.inputs, input)); }

void Info::check_constant(std::string_view input, const std::function<void(const Tensor&)>& check) const {
  Tensor tensor = constant(input);
  if (!tensor.present) return;
  std::vector<uint8_t> copy(tensor.on_host ? 0 : tensor.bytes());
  if (!tensor.on_host) {
    provider_.memory->download(tensor.data, copy.size(), copy.data());
    tensor.data = copy.data();
    tensor.on_host = true;
  }
  check(tensor);
}

void Info::check_read(const std::string& attribute, OrtStatus* status) const {
  if (!status) return;
  api_.ReleaseStatus(status);
  reject("the attribute ", attribute, " is missing, or of another type");
}

int64_t Info::integer(const std::string& attribute) const {
  int64_t value;
  check_read(attribute, api_.KernelInfoGetAttribute_int64(info_, attribute.c_str(), &value));
  return value;
}

float Info::number(const std::string& attribute) const {
  float value;
  check_read(attribute, api_.KernelInfoGetAttribute_float(info_, attribute.c_str(), &value));
  return value;
}

std::string Info::string(const std::string& attribute) const {
  size_t size = 0;
  check_read(attribute, api_.KernelInfoGetAttribute_string(info_, attribute.c_str(), nullptr, &size));
  std::string value(size, '\0');
  check_read(attribute, api_.KernelInfoGetAttribute_string(info_, attribute.c_str(), value.data(), &size));
  // The size includes the terminating zero.
  return value.c_str();
}

std::vector<int64_t> Info::integers(const std::string& attribute) const {
  size_t size = 0;
  check_read(attribute, api_.KernelInfoGetAttributeArray_int64(info_, attribute.c_str(), nullptr, &size));
  std::vector<int64_t> values(size);
  check_read(attribute, api_.KernelInfoGetAttributeArray_int64(info_, attribute.c_str(), values.data(), &size));
  return values;
}

std::string Info::node_name() const {
  size_t size = 0;
  check(api_, api_.KernelInfo_GetNodeName(info_, nullptr, &size));
  std::string name(size, '\0');
  check(api_, api_.KernelInfo_GetNodeName(info_, name.data(), &size));
  return name.c_str();
}

Tensor Context::input(std::string_view name) const {
  const Ports& inputs = node_.signature.inputs;
  const size_t index = index_of(inputs, name);
  if (index == inputs.count) return {};
  if (node_.constants[index].present) return node_.constants[index];
  size_t count;
  check(node_.api, node_.api.KernelContext_GetInputCount(context_, &count));
  const OrtValue* value = nullptr;
  if (index < count) check(node_.api, node_.api.KernelContext_GetInput(context_, index, &value));
  return read_tensor(node_.api, node_.provider, inputs.list[index].name, value);
}

Output Context::output(std::string_view name, const Shape& shape) const {
  const size_t index = index_of(node_.signature.outputs, name);
  size_t count;
  check(node_.api, node_.api.KernelContext_GetOutputCount(context_, &count));
  OrtValue* value = nullptr;
  if (index < count) check(node_.api, node_.api.KernelContext_GetOutput(context_, index, shape.data(), shape.rank(), &value));
  Output output;
  if (!value) return output;
  output.present = true;
  check(node_.api, node_.api.GetTensorMutableData(value, &output.data));
  return output;
}

ONNXTensorElementDataType CustomOp::type_of(const Port& port) const {
  switch (port.element) {
    case Element::kT: return type_parameter;
    case Element::kF32: return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    case Element::kU8: return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
    case Element::kI8: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
    case Element::kI32: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
  }
  return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

namespace {

const CustomOp& self(const OrtCustomOp* op) { return *static_cast<const CustomOp*>(op); }
const Port& input_of(const OrtCustomOp* op, size_t index) { return self(op).signature.inputs.list[index]; }
const Port& output_of(const OrtCustomOp* op, size_t index) { return self(op).signature.outputs.list[index]; }

OrtCustomOpInputOutputCharacteristic characteristic(const Port& port) {
  return port.optional ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
}

OrtStatus* create_kernel(const OrtCustomOp* op, const OrtApi* api, const OrtKernelInfo* raw, void** kernel) {
  const CustomOp& custom = self(op);
  std::string title = custom.signature.name;
  return guarded(*api, title, [&] {
    const Info info(*api, raw, custom.signature, custom.provider);
    title += " '" + info.node_name() + "'";
    *kernel = new Node{*api, custom.signature, custom.provider, title, info.constants(), custom.factory(info)};
  });
}

OrtStatus* run_kernel(void* kernel, OrtKernelContext* context) {
  const Node& node = *static_cast<const Node*>(kernel);
  return guarded(node.api, node.title, [&] {
    const std::unique_ptr<Device> device = node.provider.device(node.api, context);
    node.kernel->run(Context(node, context, *device));
  });
}

}  // namespace

CustomOp::CustomOp(const Signature& signature, Factory factory, const Provider& provider, ONNXTensorElementDataType type_parameter,
                   size_t alias)
    : OrtCustomOp{},
      signature(signature),
      name(alias == 0 ? signature.name : std::string(signature.name) + "_" + std::to_string(alias)),
      factory(factory),
      provider(provider),
      type_parameter(type_parameter) {
  version = kApiVersion;
  GetName = [](const OrtCustomOp* op) { return self(op).name.c_str(); };
  GetExecutionProviderType = [](const OrtCustomOp* op) { return self(op).provider.name; };
  GetInputTypeCount = [](const OrtCustomOp* op) { return self(op).signature.inputs.count; };
  GetInputType = [](const OrtCustomOp* op, size_t index) { return self(op).type_of(input_of(op, index)); };
  GetInputCharacteristic = [](const OrtCustomOp* op, size_t index) { return characteristic(input_of(op, index)); };
  GetInputMemoryType = [](const OrtCustomOp*, size_t) { return OrtMemTypeDefault; };
  GetOutputTypeCount = [](const OrtCustomOp* op) { return self(op).signature.outputs.count; };
  GetOutputType = [](const OrtCustomOp* op, size_t index) { return self(op).type_of(output_of(op, index)); };
  GetOutputCharacteristic = [](const OrtCustomOp* op, size_t index) { return characteristic(output_of(op, index)); };
  CreateKernelV2 = create_kernel;
  KernelComputeV2 = run_kernel;
  KernelDestroy = [](void* kernel) { delete static_cast<Node*>(kernel); };
}

}  // namespace qc::ort
