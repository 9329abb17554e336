"""Sessions of ONNX Runtime on one provider, which must have every operator of ours: it falls back to the CPU without a word."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

# In this order: onnxruntime takes the libraries of CUDA that torch has loaded.
import torch
import onnxruntime

from bench.device import Device
from bench.operands import Random

_RUNS = 7
_SECONDS_OF_RUN = 0.02


@dataclass(frozen=True)
class Provider:
    name: str
    # Where its tensors are.
    device: str

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"


CUDA = Provider("CUDAExecutionProvider", "cuda")
CPU = Provider("CPUExecutionProvider", "cpu")


@dataclass(frozen=True)
class Setting:
    """What all that is run has in common."""

    library: str
    provider: Provider
    device: Device
    random: Random
    # What came out wrong, a line each.
    wrong: list[str] = field(default_factory=list)


class Session:
    def __init__(self, model: bytes | Path, library: str, provider: Provider, *, ours: bool = True, replay: bool = False):
        """`ours`: it has operators of ours. `replay`: runs may be captured into a graph of CUDA, if the model is on the GPU as a whole."""
        options = onnxruntime.SessionOptions()
        options.register_custom_ops_library(library)
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        # A warning says that nodes of shapes are on the CPU, which they are.
        options.log_severity_level = 3
        providers = [(CUDA.name, {"enable_cuda_graph": str(int(replay))})] if provider.on_gpu else []
        source = model if isinstance(model, bytes) else str(model)
        self._session = onnxruntime.InferenceSession(source, options, providers=[*providers, CPU.name])
        self._provider = provider
        self._check_places(ours)

    def _check_places(self, ours: bool) -> None:
        if self._session.get_providers()[0] != self._provider.name:
            raise RuntimeError(f"ONNX Runtime has no {self._provider.name} here: {self._session.get_providers()}")
        parts = self._session.get_provider_graph_assignment_info()
        places = [(part.ep_name, node.op_type) for part in parts for node in part.get_nodes() if node.domain == "qc"]
        if ours and not places:
            raise RuntimeError("no operator of ours is run: function bodies are in their place")
        for place, operator in places:
            if place != self._provider.name:
                raise RuntimeError(f"{operator} is on {place}, not on {self._provider.name}")

    @property
    def inputs(self) -> list[str]:
        return [value.name for value in self._session.get_inputs()]

    @property
    def outputs(self) -> list[str]:
        return [value.name for value in self._session.get_outputs()]

    def run(self, feeds: dict[str, np.ndarray]) -> np.ndarray:
        """The first output, in memory of the host."""
        return self._session.run(self.outputs[:1], feeds)[0]

    def bind(self, feeds: dict[str, np.ndarray], shape: tuple[int, ...], dtype: type) -> "Bound":
        """All outputs have this shape and type."""
        binding = self._session.io_binding()
        device = self._provider.device
        for name, array in feeds.items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array, device, 0))
        results = [onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, device, 0) for _ in self.outputs]
        for name, value in zip(self.outputs, results, strict=True):
            binding.bind_ortvalue_output(name, value)
        return Bound(self._session, binding, results)


@dataclass(frozen=True)
class Bound:
    """A session with its inputs and outputs on the provider's device."""

    session: onnxruntime.InferenceSession
    binding: onnxruntime.IOBinding
    results: list[onnxruntime.OrtValue]

    def run(self) -> list[np.ndarray]:
        """The first and the last result."""
        self._runner(None)()
        return [self.results[0].numpy(), self.results[-1].numpy()]

    def seconds(self, replay: int | None = None) -> float:
        """The median time of a run; `replay` is a number of its own for each binding that is to be replayed as a graph."""
        run = self._runner(replay)
        # To capture a graph takes a run or two.
        for _ in range(4):
            run()
        repeats = max(1, round(_SECONDS_OF_RUN / _timed(run, 1)))
        return statistics.median(_timed(run, repeats) for _ in range(_RUNS))

    def _runner(self, replay: int | None) -> Callable[[], None]:
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", "-1" if replay is None else str(replay))
        return lambda: self.session.run_with_iobinding(self.binding, options)


def _timed(run: Callable[[], None], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def used_bytes() -> int:
    """Memory of the GPU that is in use, by whomever; 0 without one."""
    if not torch.cuda.is_available():
        return 0
    free, total = torch.cuda.mem_get_info()
    return total - free
