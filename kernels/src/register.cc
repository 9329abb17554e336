// What the library exports.
#include <iterator>
#include <map>
#include <mutex>
#include <vector>

#include "isa/level.h"
#include "operators/operators.h"
#include "operators/table.h"
#ifdef QC_CUDA
#include "cuda/ort/cuda_provider.h"
#endif

#define QC_EXPORT extern "C" __attribute__((visibility("default")))

namespace qc {
namespace {

struct Operator {
  const Signature& signature;
  ort::Factory factory;
};

constexpr Operator kOperators[] = {
    {kQuantizeClusters, make_quantize_clusters},
    {kDequantizeClusters, make_dequantize_clusters},
    {kQuantizeTokens, make_quantize_tokens},
    {kLayerNormReorderQuantize, make_layer_norm_quantize},
    {kRmsNormReorderQuantize, make_rms_norm_quantize},
    {kClusterMatMul, make_cluster_matmul},
    {kClusterMatMulQuantize, make_cluster_matmul_quantize},
    {kInt4MatMul, make_int4_matmul},
    {kInt3MatMul, make_int3_matmul},
};
static_assert(std::size(kOperators) == kOperatorCount, "every operator of the table has its kernel");

constexpr ONNXTensorElementDataType kFloatTypes[] = {
    ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
};

bool has_type_parameter(const Signature& signature) {
  for (const Ports& ports : {signature.inputs, signature.outputs}) {
    for (const Port& port : ports) {
      if (port.element == Element::kT) return true;
    }
  }
  return false;
}

const std::vector<ort::Provider>& providers() {
#ifdef QC_CUDA
  static const std::vector<ort::Provider> all = {{"CPUExecutionProvider", nullptr, ort::cpu_device}, cuda::provider()};
#else
  static const std::vector<ort::Provider> all = {{nullptr, nullptr, ort::cpu_device}};
#endif
  return all;
}

// Every operator under all of its names: a model gives calls with different bodies different names, because ONNX Runtime before 1.27 knows
// one body for a name.
std::vector<ort::CustomOp> custom_ops() {
  std::vector<ort::CustomOp> ops;
  for (const ort::Provider& provider : providers()) {
    for (const auto& [signature, factory] : kOperators) {
      for (const ONNXTensorElementDataType type : kFloatTypes) {
        for (size_t alias = 0; alias < kNames; ++alias) ops.emplace_back(signature, factory, provider, type, alias);
        if (!has_type_parameter(signature)) break;
      }
    }
  }
  return ops;
}

// Makes the domain of one runtime, with all operators.
OrtStatus* create_domain(const OrtApi& api, OrtCustomOpDomain** domain) {
  static const std::vector<ort::CustomOp> ops = custom_ops();
  if (OrtStatus* status = api.CreateCustomOpDomain(kDomain, domain)) return status;
  for (const ort::CustomOp& op : ops) {
    if (OrtStatus* status = api.CustomOpDomain_Add(*domain, &op)) return status;
  }
  return nullptr;
}

OrtStatus* add_domain(OrtSessionOptions* options, const OrtApi& api) {
  // Sessions refer to the domain as long as they live, so it lives as long as the process.
  static std::mutex mutex;
  static std::map<const OrtApi*, OrtCustomOpDomain*> domains;
  const std::lock_guard<std::mutex> lock(mutex);
  OrtCustomOpDomain*& domain = domains[&api];
  if (!domain) {
    if (OrtStatus* status = create_domain(api, &domain)) return status;
  }
  return api.AddCustomOpDomain(options, domain);
}

}  // namespace
}  // namespace qc

QC_EXPORT OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) noexcept {
  if (const OrtApi* api = base->GetApi(qc::ort::kApiVersion)) return qc::add_domain(options, *api);
  // The first members of the API are those of all versions.
  return base->GetApi(1)->CreateStatus(ORT_FAIL, "the operators of qc need ONNX Runtime 1.18 or later");
}

// The level of instructions that the operators run at here.
QC_EXPORT const char* QcKernelsLevel() noexcept { return qc::name_of(qc::level()); }
