"""The next token by a compiled model in stock onnxruntime: python3 predict.py MODEL.onnx ID... [--kernels libqc_kernels.so]"""

import argparse
import ctypes
import time

import numpy as np
import onnxruntime as ort


def session_for(model, library):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if library is not None:
        options.register_custom_ops_library(library)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def feeds_for(session, ids):
    row = np.array([ids], dtype=np.int64)
    every = {"input_ids": row, "attention_mask": np.ones_like(row), "position_ids": np.arange(row.size)[None]}
    return {i.name: every[i.name] for i in session.get_inputs()}


def level_of(library):
    level = ctypes.CDLL(library).QcKernelsLevel
    level.restype = ctypes.c_char_p
    return level().decode()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("ids", type=int, nargs="+")
    parser.add_argument("--kernels", metavar="libqc_kernels.so")
    args = parser.parse_args()
    ways = {"function bodies": None}
    if args.kernels is not None:
        ways[f"kernels {level_of(args.kernels)}"] = args.kernels
    for way, library in ways.items():
        session = session_for(args.model, library)
        start = time.perf_counter()
        (logits,) = session.run(["logits"], feeds_for(session, args.ids))
        milliseconds = 1000 * (time.perf_counter() - start)
        print(f"{way}: next token {logits[0, -1].argmax()}, {milliseconds:.1f} ms")


if __name__ == "__main__":
    main()
