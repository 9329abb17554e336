"""Checks and times the kernels within ONNX Runtime: single products beside its own, or whole models. Writes OUT/ort.md or models.md."""

import argparse
import sys
import time
from pathlib import Path

# In this order: onnxruntime takes the libraries of CUDA that torch has loaded.
import torch
import onnxruntime

from bench import ort_models, ort_products
from bench.device import Cpu, Gpu
from bench.operands import Random
from bench.sessions import CPU, CUDA, Setting


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("products", "models"))
    parser.add_argument("--library", required=True, help="libqc_kernels_cuda.so")
    parser.add_argument("--out", required=True, type=Path, help="folder for the table")
    parser.add_argument("--models", type=Path, help="folder of models, as models.sh makes it")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**31, help="of the operands; another one each time by default")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU's provider")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    device = Cpu() if options.dry_run else Gpu()
    setting = Setting(options.library, CPU if options.dry_run else CUDA, device, Random(device.name, options.seed))
    if options.part == "products":
        name, title = "ort.md", "## Products within ONNX Runtime"
        text = ort_products.Products(setting, ort_products.TINY if options.dry_run else ort_products.REAL).report()
    else:
        name, title = "models.md", "## Models within ONNX Runtime"
        text = ort_models.Models(setting, ort_models.TINY if options.dry_run else ort_models.REAL).report(options.models)
    wrong = [f"WRONG: {line}" for line in setting.wrong]
    page = "\n\n".join((title, f"ONNX Runtime {onnxruntime.__version__}, seed {options.seed}.", text, *wrong))
    (options.out / name).write_text(page + "\n")
    print(page)
    return 1 if wrong else 0


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(main())
