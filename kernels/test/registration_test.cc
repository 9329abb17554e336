// Every operator as the library registers it for CUDA, on an emulated GPU, against the same operator for the CPU.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/layout.h"
#include "cpu/quantize.h"
#include "operators/table.h"
#include "test/check.h"
#include "test/fake_runtime.h"
#include "test/float_tensor.h"

struct OrtCustomOpDomain {
  std::vector<const OrtCustomOp*> ops;
};
extern "C" OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) noexcept;

namespace qc {
namespace {

using Type = ONNXTensorElementDataType;
using Bytes = std::vector<uint8_t>;

constexpr int64_t kRows = 5, kChannels = 77, kColumns = 41;
const std::vector<int64_t> kGroups = {32, 32, 13}, kOutGroups = {32, 9};

OrtCustomOpDomain registered;

OrtApi registering_api() {
  OrtApi api = fake::make_api();
  api.CreateCustomOpDomain = [](const char*, OrtCustomOpDomain** out) noexcept -> OrtStatus* {
    *out = &registered;
    return nullptr;
  };
  api.CustomOpDomain_Add = [](OrtCustomOpDomain* domain, const OrtCustomOp* op) noexcept -> OrtStatus* {
    domain->ops.push_back(op);
    return nullptr;
  };
  api.AddCustomOpDomain = [](OrtSessionOptions*, OrtCustomOpDomain*) noexcept -> OrtStatus* { return nullptr; };
  return api;
}

void register_operators() {
  static const OrtApi api = registering_api();
  static const OrtApiBase base = {[](uint32_t) noexcept { return &api; }, []() noexcept { return "1.18"; }};
  const std::string problem = fake::message_of(RegisterCustomOps(nullptr, &base));
  CHECK(problem.empty(), "%s", problem.c_str());
}

std::mt19937 random_bits(5);

// What an input may be: numbers of a range, integers if `whole`.
struct Input {
  std::vector<int64_t> dims;
  float low, high;
  bool whole = false;
  bool constant = true;

  int64_t size() const {
    int64_t size = 1;
    for (const int64_t dim : dims) size *= dim;
    return size;
  }
};

Input input_of(const std::string& port, bool product, int bits) {
  const auto groups = static_cast<int64_t>(kGroups.size()), out_groups = static_cast<int64_t>(kOutGroups.size());
  const auto least = static_cast<float>(-lift(bits)), greatest = static_cast<float>(lift(bits) - 1);
  const std::map<std::string, Input> inputs = {
      {"x", {{kRows, kChannels}, -3, 3, false, false}},
      {"residual", {{kRows, kChannels}, -3, 3, false, false}},
      {"codes", {{kRows, bytes_of(kChannels, bits)}, least, greatest, true, false}},
      {"weight", {{tiles_of(kColumns), steps_of(kChannels), bits, 4 * kTile}, least, greatest, true}},
      {"scale", product ? Input{{groups, kColumns}, 0.001f, 0.01f} : Input{{groups}, 0.05f, 0.3f}},
      {"zero", product ? Input{{groups, kColumns}, least, greatest, true} : Input{{groups}, -3, 3, true}},
      {"out_scale", {{out_groups}, 0.05f, 0.3f}},
      {"out_zero", {{out_groups}, -2, 2, true}},
      {"bias", {{kColumns}, -1, 1}},
      {"offset", {{kColumns}, -1, 1}},
      {"token_scale", {{kRows, 1}, 0.5f, 1.5f, false, false}},
      {"token_zero", {{kRows, 1}, -3, 3, true, false}},
      {"multiplier", {{kRows, kColumns}, -1, 1, false, false}},
      {"gamma", {{kChannels}, 0.5f, 1.5f}},
      {"beta", {{kChannels}, -1, 1}},
      {"order", {{kChannels}, 0, static_cast<float>(kChannels - 1), true}},
  };
  return inputs.at(port);
}

FloatType float_type(Type type) {
  if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) return FloatType::kF32;
  return type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 ? FloatType::kF16 : FloatType::kBf16;
}

template <class T>
Bytes bytes_as(const std::vector<float>& values) {
  const std::vector<T> converted(values.begin(), values.end());
  const auto* first = reinterpret_cast<const uint8_t*>(converted.data());
  return {first, first + converted.size() * sizeof(T)};
}

Bytes encoded(const std::vector<float>& values, Type type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8: return bytes_as<uint8_t>(values);
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8: return bytes_as<int8_t>(values);
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32: return bytes_as<int32_t>(values);
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: return bytes_as<float>(values);
    default: break;
  }
  const FloatTensor tensor(values, float_type(type));
  const auto* first = reinterpret_cast<const uint8_t*>(tensor.words.data());
  return {first, first + tensor.words.size() * sizeof(uint16_t)};
}

std::vector<float> random_values(const Input& input, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    value = std::uniform_real_distribution<float>(input.low, input.high)(random_bits);
    if (input.whole) value = std::round(value);
  }
  return values;
}

// Rows of packed codes, the last steps filled up with stored zeros.
Bytes random_codes(const Input& input, int64_t rows, int bits) {
  const std::vector<float> values = random_values(input, rows * kChannels);
  const float scale = 1, zero = 0;
  const Quantizer quantizer = {{{kChannels}}, &scale, &zero, bits, -lift(bits), lift(bits) - 1};
  Bytes codes(static_cast<size_t>(rows * bytes_of(kChannels, bits)));
  quantize_clusters({values.data()}, rows, quantizer, codes.data(), serially);
  return codes;
}

// The codes of a column lie as those of a row do, but for the words of other columns between theirs.
Bytes random_weight(const Input& input, int bits) {
  const Bytes columns = random_codes(input, kColumns, bits);
  Bytes weight(static_cast<size_t>(input.size()));
  const int64_t words = steps_of(kChannels) * bits;
  for (int64_t column = 0; column < kColumns; ++column) {
    for (int64_t word = 0; word < words; ++word) {
      const int64_t to = (column / kTile * words + word) * 4 * kTile + column % kTile * 4;
      std::memcpy(&weight[static_cast<size_t>(to)], &columns[static_cast<size_t>((column * words + word) * 4)], 4);
    }
  }
  return weight;
}

Bytes random_data(const std::string& port, const Input& input, Type type, int bits) {
  if (port == "codes") return random_codes(input, kRows, bits);
  if (port == "weight") return random_weight(input, bits);
  return encoded(random_values(input, input.size()), type);
}

// ClusterMatMul of ClusterMatMul_3.
std::string operator_of(const std::string& name) { return name.substr(0, name.find('_')); }

const Signature& signature_of(const std::string& name) {
  for (const Signature* signature : {&kQuantizeClusters, &kDequantizeClusters, &kQuantizeTokens, &kLayerNormReorderQuantize,
                                     &kRmsNormReorderQuantize, &kClusterMatMul, &kClusterMatMulQuantize, &kInt4MatMul}) {
    if (name == signature->name) return *signature;
  }
  return kInt3MatMul;
}

std::map<std::string, fake::Attribute> attributes_of(int64_t bits, bool everything) {
  const int64_t qmin = -(int64_t{1} << (bits - 1)), qmax = -qmin - 1;
  return {
      {"groups", kGroups},
      {"out_groups", kOutGroups},
      {"bits", bits},
      {"a_bits", bits},
      {"w_bits", bits},
      {"out_bits", bits},
      {"qmin", qmin},
      {"qmax", qmax},
      {"out_qmin", qmin},
      {"out_qmax", qmax},
      {"epsilon", 1e-5f},
      {"symmetric", int64_t{!everything}},
      {"activation", std::string(everything ? "gelu" : "none")},
  };
}

// A call of an operator with all that is optional, or with nothing of it.
struct Call {
  std::string name;
  fake::Node node;
  std::vector<Bytes> inputs, outputs;

  Call(const OrtCustomOp& op, int bits, bool everything) : name(operator_of(op.GetName(&op))) {
    const Signature& signature = signature_of(name);
    const bool product = name.find("MatMul") != std::string::npos;
    const int w_bits = name == "Int4MatMul" ? 4 : name == "Int3MatMul" ? 3 : bits;
    node.attributes = attributes_of(bits, everything);
    for (size_t i = 0; i < signature.inputs.count; ++i) {
      const Port& port = signature.inputs.list[i];
      const Type type = op.GetInputType(&op, i);
      const bool there = everything || !port.optional;
      const Input input = input_of(port.name, product, w_bits);
      inputs.push_back(there ? random_data(port.name, input, type, w_bits) : Bytes());
      node.inputs.push_back(there ? OrtValue{type, input.dims, nullptr, input.constant} : OrtValue{});
    }
    for (size_t i = 0; i < signature.outputs.count; ++i) {
      if (!everything && signature.outputs.list[i].optional) break;
      outputs.emplace_back(kRows * 4 * 96, uint8_t{0});
      node.outputs.push_back({op.GetOutputType(&op, i), {}});
    }
  }

  // The emulated GPU has its memory where the host has its own.
  std::vector<Bytes> results(const OrtCustomOp& op) const {
    std::vector<Bytes> in = inputs, out = outputs;
    fake::Node copy = node;
    for (size_t i = 0; i < in.size(); ++i) copy.inputs[i].data = in[i].data();
    for (size_t i = 0; i < out.size(); ++i) copy.outputs[i].data = out[i].data();
    fake::Kernel kernel(op, copy);
    const std::string problem = kernel.problem().empty() ? kernel.run() : kernel.problem();
    CHECK(problem.empty(), "%s", problem.c_str());
    return out;
  }
};

std::vector<float> values_of(const Bytes& bytes, Type type) {
  if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8) return {bytes.begin(), bytes.end()};
  FloatTensor tensor(bytes.size() / (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT ? 4 : 2), float_type(type));
  std::memcpy(tensor.out().data, bytes.data(), bytes.size());
  return tensor.values();
}

// Codes may differ where a float that is computed first lies between two of them.
void check_equal(const Call& call, const Bytes& cpu, const Bytes& cuda, Type type) {
  const std::vector<float> expected = values_of(cpu, type), values = values_of(cuda, type);
  const bool codes = type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
  float greatest = 0;
  size_t apart = 0;
  for (const float value : expected) greatest = std::max(greatest, std::fabs(value));
  const double tolerance = codes ? 0 : tolerance_of(float_type(type)) * greatest;
  for (size_t i = 0; i < expected.size(); ++i) apart += !(std::fabs(values[i] - expected[i]) <= tolerance);
  CHECK(apart <= (codes ? expected.size() / 100 : 0), "%s: %zu of %zu values differ", call.name.c_str(), apart, expected.size());
  CHECK(greatest > 0, "%s computed nothing", call.name.c_str());
}

void check_operator(const OrtCustomOp& cpu, const OrtCustomOp& cuda) {
  CHECK(std::string(cpu.GetName(&cpu)) == cuda.GetName(&cuda), "%s and %s", cpu.GetName(&cpu), cuda.GetName(&cuda));
  CHECK(std::string(cpu.GetExecutionProviderType(&cpu)) == "CPUExecutionProvider", "the provider of the CPU");
  CHECK(std::string(cuda.GetExecutionProviderType(&cuda)) == "CUDAExecutionProvider", "the provider of CUDA");
  for (const int bits : {8, 4, 3}) {
    for (const bool everything : {false, true}) {
      const Call call(cpu, bits, everything);
      const std::vector<Bytes> expected = call.results(cpu), results = call.results(cuda);
      for (size_t i = 0; i < results.size(); ++i) check_equal(call, expected[i], results[i], call.node.outputs[i].type);
    }
  }
}

}  // namespace
}  // namespace qc

int main() {
  qc::register_operators();
  const auto& ops = qc::registered.ops;
  // Three types each, but for DequantizeClusters; all of them under every name.
  constexpr size_t kCount = (3 * qc::kOperatorCount - 2) * qc::kNames;
  CHECK(ops.size() == 2 * kCount, "there are %zu operators", ops.size());
  std::set<std::string> names;
  for (size_t i = 0; i < kCount; ++i) {
    names.insert(ops.at(i)->GetName(ops.at(i)));
    const size_t alias = i % qc::kNames;
    if (alias == 0 || alias == qc::kNames - 1) qc::check_operator(*ops.at(i), *ops.at(i + kCount));
  }
  CHECK(names.size() == qc::kOperatorCount * qc::kNames, "there are %zu names", names.size());
  return qc::finish();
}
