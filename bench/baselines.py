"""Quantizes a model by onnxruntime's own tools, to be measured beside ours: python bench/baselines.py MODEL.onnx FOLDER

Needs `pip install onnx onnxruntime`. Writes dynamic-int8.onnx (quantize_dynamic, int8 weights per channel) and nbits.onnx
(MatMulNBits, 4 bits in blocks of 128, accuracy level 4).
"""

import os
import sys

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.shape_inference import quant_pre_process


def main(model: str, folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    prepared = os.path.join(folder, "prepared.onnx")
    quant_pre_process(model, prepared, skip_symbolic_shape=True)
    quantize_dynamic(
        prepared, os.path.join(folder, "dynamic-int8.onnx"), weight_type=QuantType.QInt8, per_channel=True
    )
    plain = ONNXModel(onnx.load(prepared))
    plain.replace_gemm_with_matmul()
    nbits = MatMulNBitsQuantizer(plain.model, block_size=128, is_symmetric=False, accuracy_level=4, bits=4)
    nbits.process()
    nbits.model.save_model_to_file(os.path.join(folder, "nbits.onnx"))
    os.remove(prepared)


if __name__ == "__main__":
    main(*sys.argv[1:])
