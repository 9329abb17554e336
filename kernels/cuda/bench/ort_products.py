"""Single products within ONNX Runtime, ours beside its own."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from bench import linear, operands
from bench.graph import HALF, Graph
from bench.report import table
from bench.sessions import Bound, Session, Setting

# Of f16 results, in parts of the greatest.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Sizes:
    products: tuple[tuple[int, int], ...]
    rows: tuple[int, ...]


REAL = Sizes(((2048, 8192), (4096, 4096), (4096, 11008)), (1, 8, 128, 2048))
TINY = Sizes(((128, 64),), (1, 20))


# Values, and these as a model takes them.
Input = tuple[torch.Tensor, torch.Tensor]


def microseconds(seconds: float) -> str:
    return f"{1e6 * seconds:.1f}"


class Products:
    def __init__(self, setting: Setting, sizes: Sizes):
        self._setting = setting
        self._sizes = sizes

    def report(self) -> str:
        head = ("K x N", "format", *(f"M {rows}, us" for rows in self._sizes.rows))
        body = [cells for shape in self._sizes.products for cells in self._of_shape(shape)]
        return f"{table(head, body)}\n\nOf a node: of a run until it is done, then of a replay of the run as a graph."

    def _of_shape(self, shape: tuple[int, int]) -> Iterator[list[str]]:
        for name in linear.NAMES:
            graph = Graph()
            made = linear.random_linear(graph, self._setting.random, name, *shape)
            copies = max(2, -(-3 * self._setting.device.cache_bytes // sum(v.nbytes for v in made.stored.values())))
            model = linear.products(made, graph, copies)
            inputs = [self._input(made, rows) for rows in self._sizes.rows]
            plain = self._times(model, made, inputs, copies)
            yield [f"{shape[0]} x {shape[1]}", name, *map(", ".join, zip(plain, self._replays(model, made, inputs, copies), strict=True))]

    def _times(self, model: bytes, made: linear.Linear, inputs: list[Input], copies: int) -> list[str]:
        session = Session(model, self._setting.library, self._setting.provider, ours=linear.is_ours(made.form.name))
        times = []
        for values, x in inputs:
            bound = self._bound(session, made, x)
            if made.meant is not None:
                bias = torch.as_tensor(made.stored["bias"]).to(made.meant)
                self._compare(made.form.name, values.double() @ made.meant + bias, bound.run())
            times.append(microseconds(bound.seconds() / copies))
        return times

    def _replays(self, model: bytes, made: linear.Linear, inputs: list[Input], copies: int) -> list[str]:
        """The times of runs that are graphs of CUDA, or why there are none."""
        setting = self._setting
        if not setting.provider.on_gpu:
            return ["-"] * len(inputs)
        try:
            session = Session(model, setting.library, setting.provider, ours=linear.is_ours(made.form.name), replay=True)
            bound = [self._bound(session, made, x) for _, x in inputs]
            return [microseconds(b.seconds(replay=i + 1) / copies) for i, b in enumerate(bound)]
        except Exception as error:  # Errors of ONNX Runtime have no class in common, and the rest of the table is worth having.
            return [str(error).splitlines()[0][:60]] * len(inputs)

    def _bound(self, session: Session, made: linear.Linear, x: torch.Tensor) -> Bound:
        return session.bind({"x": x.numpy(force=True)}, (len(x), made.columns), HALF)

    def _input(self, made: linear.Linear, rows: int) -> Input:
        bits = made.form.code_bits
        if made.form.floats:
            x = self._setting.random.normal(rows, made.channels, dtype=torch.float16)
            return x, x
        codes = self._setting.random.codes(rows, made.channels, bits=bits)
        return codes, operands.pack_rows(codes, bits)

    def _compare(self, name: str, wanted: torch.Tensor, results: list[np.ndarray]) -> None:
        greatest = float(wanted.abs().max())
        for result in results:
            apart = float((torch.from_numpy(result).to(wanted) - wanted).abs().max()) / greatest
            if not apart <= TOLERANCE:
                self._setting.wrong.append(f"{name}: a product differs by {apart:.1e}")
