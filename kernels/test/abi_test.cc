// Proves that our declaration of the ABI equals the official one; whoever compiles this has passed.
#include <onnxruntime_c_api.h>

#include <cstddef>
#include <cstdint>

namespace declared {
#include "ort/declared_abi.h"
}

#define SAME_MEMBER(structure, member)                                                            \
  static_assert(offsetof(::structure, member) == offsetof(declared::structure, member), #member); \
  static_assert(sizeof(::structure::member) == sizeof(declared::structure::member), #member)
#define SAME_VALUE(name) static_assert(static_cast<int>(::name) == static_cast<int>(declared::name), #name)

SAME_MEMBER(OrtApi, CreateStatus);
SAME_MEMBER(OrtApi, GetErrorMessage);
SAME_MEMBER(OrtApi, CreateCustomOpDomain);
SAME_MEMBER(OrtApi, CustomOpDomain_Add);
SAME_MEMBER(OrtApi, AddCustomOpDomain);
SAME_MEMBER(OrtApi, GetTensorMutableData);
SAME_MEMBER(OrtApi, GetTensorElementType);
SAME_MEMBER(OrtApi, GetDimensionsCount);
SAME_MEMBER(OrtApi, GetDimensions);
SAME_MEMBER(OrtApi, GetTensorTypeAndShape);
SAME_MEMBER(OrtApi, KernelInfoGetAttribute_float);
SAME_MEMBER(OrtApi, KernelInfoGetAttribute_int64);
SAME_MEMBER(OrtApi, KernelInfoGetAttribute_string);
SAME_MEMBER(OrtApi, KernelContext_GetInputCount);
SAME_MEMBER(OrtApi, KernelContext_GetOutputCount);
SAME_MEMBER(OrtApi, KernelContext_GetInput);
SAME_MEMBER(OrtApi, KernelContext_GetOutput);
SAME_MEMBER(OrtApi, ReleaseStatus);
SAME_MEMBER(OrtApi, ReleaseTensorTypeAndShapeInfo);
SAME_MEMBER(OrtApi, AddSessionConfigEntry);
SAME_MEMBER(OrtApi, KernelInfoGetAttributeArray_int64);
SAME_MEMBER(OrtApi, KernelContext_GetGPUComputeStream);
SAME_MEMBER(OrtApi, RegisterCustomOpsLibrary_V2);
SAME_MEMBER(OrtApi, KernelInfo_GetInputCount);
SAME_MEMBER(OrtApi, KernelInfo_GetNodeName);
SAME_MEMBER(OrtApi, KernelInfoGetConstantInput_tensor);
SAME_MEMBER(OrtApi, KernelContext_ParallelFor);

SAME_MEMBER(OrtApiBase, GetApi);
SAME_MEMBER(OrtApiBase, GetVersionString);
static_assert(sizeof(::OrtApiBase) == sizeof(declared::OrtApiBase));

SAME_MEMBER(OrtCustomOp, version);
SAME_MEMBER(OrtCustomOp, CreateKernel);
SAME_MEMBER(OrtCustomOp, GetName);
SAME_MEMBER(OrtCustomOp, GetExecutionProviderType);
SAME_MEMBER(OrtCustomOp, GetInputType);
SAME_MEMBER(OrtCustomOp, GetInputTypeCount);
SAME_MEMBER(OrtCustomOp, GetOutputType);
SAME_MEMBER(OrtCustomOp, GetOutputTypeCount);
SAME_MEMBER(OrtCustomOp, KernelCompute);
SAME_MEMBER(OrtCustomOp, KernelDestroy);
SAME_MEMBER(OrtCustomOp, GetInputCharacteristic);
SAME_MEMBER(OrtCustomOp, GetOutputCharacteristic);
SAME_MEMBER(OrtCustomOp, GetInputMemoryType);
SAME_MEMBER(OrtCustomOp, GetVariadicInputMinArity);
SAME_MEMBER(OrtCustomOp, GetVariadicInputHomogeneity);
SAME_MEMBER(OrtCustomOp, GetVariadicOutputMinArity);
SAME_MEMBER(OrtCustomOp, GetVariadicOutputHomogeneity);
SAME_MEMBER(OrtCustomOp, CreateKernelV2);
SAME_MEMBER(OrtCustomOp, KernelComputeV2);
SAME_MEMBER(OrtCustomOp, InferOutputShapeFn);
SAME_MEMBER(OrtCustomOp, GetStartVersion);
SAME_MEMBER(OrtCustomOp, GetEndVersion);
SAME_MEMBER(OrtCustomOp, GetMayInplace);
SAME_MEMBER(OrtCustomOp, ReleaseMayInplace);
SAME_MEMBER(OrtCustomOp, GetAliasMap);
SAME_MEMBER(OrtCustomOp, ReleaseAliasMap);
// Later headers may append members, which the runtime does not read in a structure of version kApiVersion.
static_assert(sizeof(::OrtCustomOp) >= sizeof(declared::OrtCustomOp));

SAME_VALUE(ORT_FAIL);
SAME_VALUE(ORT_INVALID_ARGUMENT);
SAME_VALUE(ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED);
SAME_VALUE(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
SAME_VALUE(ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8);
SAME_VALUE(ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8);
SAME_VALUE(ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32);
SAME_VALUE(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16);
SAME_VALUE(ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16);
SAME_VALUE(OrtMemTypeDefault);
SAME_VALUE(INPUT_OUTPUT_REQUIRED);
SAME_VALUE(INPUT_OUTPUT_OPTIONAL);
static_assert(sizeof(::ONNXTensorElementDataType) == sizeof(declared::ONNXTensorElementDataType));
static_assert(sizeof(::OrtErrorCode) == sizeof(declared::OrtErrorCode));

int main() { return 0; }
