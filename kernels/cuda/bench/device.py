"""What the kernels run on, and how long they take there."""

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

_SAMPLES = 9
_SECONDS_OF_SAMPLE = 2e-3


@dataclass(frozen=True)
class Time:
    """Seconds of one launch, and the difference between two measurements in parts of it."""

    seconds: float
    spread: float


def _twice(measure: Callable[[], float]) -> Time:
    a, b = measure(), measure()
    return Time((a + b) / 2, abs(a - b) / min(a, b))


class Gpu:
    """Launches are captured into a graph, so that what is timed is the GPU's work and not the putting of it on a stream."""

    name = "cuda"

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()
        torch.cuda.set_stream(self._stream)
        self._properties = torch.cuda.get_device_properties(0)

    @property
    def cache_bytes(self) -> int:
        return self._properties.L2_cache_size

    def stream(self) -> int:
        return torch.cuda.current_stream().cuda_stream

    def facts(self) -> dict[str, str]:
        p = self._properties
        return {
            "GPU": f"{p.name}, {p.multi_processor_count} multiprocessors, compute capability {p.major}.{p.minor}",
            "memory": f"{p.total_memory / 2**30:.0f} GiB, L2 {p.L2_cache_size / 2**20:.0f} MiB",
            "driver": _ask_driver("driver_version"),
            "PyTorch": f"{torch.__version__}, CUDA {torch.version.cuda}",
        }

    def clocks(self) -> str:
        return _ask_driver("clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.draw", "power.limit")

    def synchronize(self) -> None:
        torch.cuda.synchronize()

    def time(self, launches: Sequence[Callable[[], object]]) -> Time:
        """The mean over these, which are run one behind the other."""
        for launch in launches:
            launch()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(capture_error_mode="thread_local")
        for launch in launches:
            launch()
        graph.capture_end()
        graph.replay()
        result = _twice(lambda: self._median(graph) / len(launches))
        graph.reset()
        return result

    def _median(self, graph: torch.cuda.CUDAGraph) -> float:
        repeats = max(1, round(_SECONDS_OF_SAMPLE / self._replay(graph, 1)))
        return statistics.median(self._replay(graph, repeats) for _ in range(_SAMPLES))

    def _replay(self, graph: torch.cuda.CUDAGraph, repeats: int) -> float:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(repeats):
            graph.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / repeats


class Cpu:
    """The emulated kernels: times mean nothing, but are taken so that all that is around them runs."""

    name = "cpu"
    cache_bytes = 4096

    def stream(self) -> int:
        return 0

    def facts(self) -> dict[str, str]:
        return {"GPU": "none: emulated, no time below means anything", "PyTorch": torch.__version__}

    def clocks(self) -> str:
        return "none"

    def synchronize(self) -> None:
        pass

    def time(self, launches: Sequence[Callable[[], object]]) -> Time:
        def run() -> float:
            start = time.perf_counter()
            for launch in launches:
                launch()
            return (time.perf_counter() - start) / len(launches)

        return _twice(run)


Device = Gpu | Cpu


def _ask_driver(*fields: str) -> str:
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "--id=0"]
    values = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split(", ")
    return values[0] if len(fields) == 1 else ", ".join(map(" ".join, zip(fields, values, strict=True)))
