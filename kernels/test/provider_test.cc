// Operators on a device whose memory the host cannot read: which values are checked, and what reaches the device.
#include "ort/provider.h"

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "operators/operators.h"
#include "operators/table.h"
#include "test/check.h"
#include "test/fake_runtime.h"

namespace qc {
namespace {

// Where the device has what lies here in the memory of the host: to read there ends the test.
template <class T>
T* on_device(T* host) {
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(host) + (uintptr_t{1} << 60));
}

struct FakeMemory : ort::DeviceMemory {
  mutable std::set<const void*> downloaded;
  mutable std::vector<std::shared_ptr<std::vector<int32_t>>> uploaded;

  void download(const void* from, size_t bytes, void* to) const override {
    downloaded.insert(from);
    std::memcpy(to, reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(from) - (uintptr_t{1} << 60)), bytes);
  }
  std::shared_ptr<const int32_t> upload(const std::vector<int32_t>& values) const override {
    const auto& table = uploaded.emplace_back(std::make_shared<std::vector<int32_t>>(values));
    return {table, table->data()};
  }
};

FakeMemory memory;
std::vector<WeightMatMul> products;
std::vector<const int32_t*> orders;

struct FakeDevice : Device {
  void quantize_clusters(FloatIn, int64_t, const Quantizer&, uint8_t*) const override {}
  void dequantize_clusters(const uint8_t*, int64_t, const Quantizer&, float*) const override {}
  void quantize_tokens(FloatIn, int64_t, const TokenQuantizer&, uint8_t*, float*, float*) const override {}
  void norm_quantize(const NormQuantize& norm) const override { orders.push_back(norm.order); }
  void cluster_matmul(const ClusterMatMul&) const override {}
  void weight_matmul(const WeightMatMul& product) const override { products.push_back(product); }
};

const ort::Provider kProvider = {"FakeExecutionProvider", &memory, [](const OrtApi&, OrtKernelContext*) -> std::unique_ptr<Device> {
                                   return std::make_unique<FakeDevice>();
                                 }};

constexpr auto kF32 = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
constexpr auto kU8 = ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
constexpr auto kI8 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
constexpr auto kI32 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;

// Int4MatMul of 2 rows, 96 channels in clusters of 64 and 32, 16 columns.
struct Product {
  std::vector<float> x = std::vector<float>(2 * 96), scale = std::vector<float>(2 * 16, 1), y = std::vector<float>(2 * 16);
  std::vector<uint8_t> weight = std::vector<uint8_t>(3 * 4 * 64);
  std::vector<int8_t> zero = std::vector<int8_t>(2 * 16);
  bool constant_zero = true;

  fake::Node node() {
    return {{{"groups", std::vector<int64_t>{64, 32}}},
            {{kF32, {2, 96}, on_device(x.data()), false},
             {kU8, {1, 3, 4, 64}, on_device(weight.data())},
             {kF32, {2, 16}, on_device(scale.data())},
             {kI8, {2, static_cast<int64_t>(zero.size() / 2)}, on_device(zero.data()), constant_zero}},
            {{kF32, {}, on_device(y.data())}}};
  }
};

const ort::CustomOp kProduct(kInt4MatMul, make_int4_matmul, kProvider, kF32);

void constants() {
  Product product;
  memory = {};
  products.clear();
  std::weak_ptr<std::vector<int32_t>> table;
  {
    fake::Kernel kernel(kProduct, product.node());
    CHECK(kernel.problem().empty(), "%s", kernel.problem().c_str());
    const std::set<const void*> checked = {on_device(product.scale.data()), on_device(product.zero.data())};
    CHECK(memory.downloaded == checked, "%zu constants were downloaded", memory.downloaded.size());
    CHECK(memory.uploaded.size() == 1 && *memory.uploaded[0] == std::vector<int32_t>({2, 3, 0, 0, 1}), "ends and clusters of steps");
    table = memory.uploaded[0];
    memory.uploaded.clear();
    const std::string problem = kernel.run();
    CHECK(problem.empty() && products.size() == 1, "%s", problem.c_str());
    const Weight& weight = products[0].weight;
    CHECK(weight.packed == on_device(product.weight.data()) && weight.zero == on_device(product.zero.data()), "the weight");
    CHECK(weight.clusters.on_device.get() == table.lock()->data(), "the table of the clusters");
    CHECK(products[0].x.data == on_device(product.x.data()) && products[0].y.data == on_device(product.y.data()), "x and y");
    CHECK(memory.downloaded.size() == 2, "a run downloads nothing");
    products.clear();
  }
  CHECK(table.expired(), "the table outlives its kernel");
}

void wrong_constants() {
  Product product;
  product.zero[17] = 8;
  const fake::Kernel kernel(kProduct, product.node());
  const std::string expected = "Int4MatMul 'node': zero[1, 1] is 8, which is not a code of 4 bits";
  CHECK(kernel.problem() == expected, "%s", kernel.problem().c_str());
}

// Of what is no constant, only shapes are looked at.
void variables() {
  Product product;
  product.constant_zero = false;
  product.zero[17] = 8;
  memory = {};
  fake::Kernel kernel(kProduct, product.node());
  const std::string problem = kernel.run();
  CHECK(problem.empty() && memory.downloaded.count(on_device(product.zero.data())) == 0, "%s", problem.c_str());
  product.zero.pop_back();
  product.zero.pop_back();
  fake::Kernel narrow(kProduct, product.node());
  CHECK(narrow.run() == "Int4MatMul 'node': zero has shape [2, 15], it should be [2, 16]", "a narrow zero");
}

// A norm of one row of 32 channels.
void order(bool constant, int32_t last, const std::string& expected) {
  std::vector<float> floats(32, 1);
  std::vector<int32_t> order(32, 0);
  order[31] = last;
  std::vector<uint8_t> codes(32);
  const ort::CustomOp op(kRmsNormReorderQuantize, make_rms_norm_quantize, kProvider, kF32);
  const int64_t bits = 8, qmin = -128, qmax = 127;
  void* data = on_device(floats.data());
  fake::Kernel kernel(op, {{{"groups", std::vector<int64_t>{32}}, {"bits", bits}, {"qmin", qmin}, {"qmax", qmax}, {"epsilon", 1e-5f}},
                           {{kF32, {1, 32}, data, false},
                            {kF32, {1}, data},
                            {kF32, {1}, data},
                            {kF32, {32}, data},
                            {kI32, {32}, on_device(order.data()), constant}},
                           {{kU8, {}, on_device(codes.data())}}});
  const std::string problem = kernel.problem().empty() ? kernel.run() : kernel.problem();
  CHECK(problem == expected, "%s", problem.c_str());
  CHECK(!expected.empty() || orders.back() == on_device(order.data()), "the order");
}

}  // namespace
}  // namespace qc

int main() {
  qc::constants();
  qc::wrong_constants();
  qc::variables();
  qc::order(true, 31, "");
  qc::order(true, 32, "RmsNormReorderQuantize 'node': order[31] is 32, there are 32 channels");
  qc::order(false, 32, "");
  return qc::finish();
}
