// The kernels of all operators, checked before they are run; register.cc joins them with their signatures.
#pragma once
#include <memory>

#include "ort/kernel.h"

namespace qc {

std::unique_ptr<ort::Kernel> make_quantize_clusters(const ort::Info& info);
std::unique_ptr<ort::Kernel> make_dequantize_clusters(const ort::Info& info);
std::unique_ptr<ort::Kernel> make_quantize_tokens(const ort::Info& info);
std::unique_ptr<ort::Kernel> make_layer_norm_quantize(const ort::Info& info);
std::unique_ptr<ort::Kernel> make_rms_norm_quantize(const ort::Info& info);
std::unique_ptr<ort::Kernel> make_cluster_matmul(const ort::Info& info);
std::unique_ptr<ort::Kernel> make_cluster_matmul_quantize(const ort::Info& info);
std::unique_ptr<ort::Kernel> make_int4_matmul(const ort::Info& info);
std::unique_ptr<ort::Kernel> make_int3_matmul(const ort::Info& info);

}  // namespace qc
