"""Checks the kernels against torch and times them: what check.sh runs behind the parity tests. Writes OUT/time.md."""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.cases import REAL, TINY, Sizes
from bench.correctness import Checks, Result
from bench.device import Cpu, Device, Gpu
from bench.driver import Driver
from bench.operands import Random
from bench.report import LINE_HEAD, Ceilings, digest, microseconds, percent, summary, table
from bench.timing import Timings


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", required=True, help="libqc_cuda_driver.so")
    parser.add_argument("--out", required=True, type=Path, help="folder for time.md")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**31, help="of the operands; another one each time by default")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU, by an emulated library")
    return parser.parse_args()


def machine(device: Device, seed: int) -> str:
    facts = device.facts() | {"clocks, at the start": device.clocks(), "seed": str(seed)}
    return table(("machine", ""), facts.items())


def correctness(results: list[Result]) -> str:
    wrong = [r for r in results if not r.right]
    rows = [(r.what, f"{r.error:.1e}", f"{r.tolerance:.0e}") for r in wrong]
    text = f"{len(results) - len(wrong)} of {len(results)} comparisons with torch in double are within their tolerance."
    return f"{text}\n\n{table(('wrong', 'error', 'tolerance'), rows)}" if wrong else text


def ceilings_of(ceilings: Ceilings, device: Device) -> str:
    rows = (
        ("copy by a kernel, read and written", f"{ceilings.bytes / 1e12:.2f} TB/s"),
        ("cuBLAS f16", f"{ceilings.float_operations / 1e12:.0f} TOPS"),
        ("cuBLAS int8", f"{ceilings.integer_operations / 1e12:.0f} TOPS"),
        ("clocks, behind these", device.clocks()),
    )
    return table(("ceiling", "measured"), rows)


def timings(timing: Timings, device: Device, sizes: Sizes) -> Iterator[str]:
    ceilings = timing.ceilings(sizes)
    yield ceilings_of(ceilings, device)
    lines = list(timing.products(sizes))
    yield digest(lines, ceilings)
    yield summary(lines, ceilings)
    others = ((name, microseconds(t), percent(t.spread), *rate(work.rate(t, ceilings))) for name, t, work in timing.others(sizes))
    yield table(("norms and quantizers, rows x channels", "us", "spread", "rate", "of ceiling"), others)
    yield table(LINE_HEAD, (line.cells(ceilings) for line in lines))


def rate(of_work: tuple[str, float]) -> tuple[str, str]:
    return of_work[0], percent(of_work[1])


def main() -> int:
    options = arguments()
    device: Device = Cpu() if options.dry_run else Gpu()
    sizes = TINY if options.dry_run else REAL
    driver, random = Driver(options.library, device.stream), Random(device.name, options.seed)
    results = list(Checks(driver, random).run(sizes))
    device.synchronize()
    right = all(r.right for r in results)
    parts = ["## Kernels, called directly", machine(device, options.seed), correctness(results)]
    if right:
        parts += timings(Timings(driver, device, random), device, sizes)
    (options.out / "time.md").write_text("\n\n".join(parts) + "\n")
    # The lines of all shapes are for the file.
    print("\n\n".join(parts[:-1] if right else parts))
    return 0 if right else 1


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(main())
