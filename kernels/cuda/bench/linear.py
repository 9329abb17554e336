"""Products with a weight as nodes of ONNX, in the formats that are compared."""

from dataclasses import dataclass, field
from typing import Any

import torch
from onnx import TensorProto

from bench import operands
from bench.cases import FLOATS, FORMATS, GROUP, MANY_CLUSTERS, Format
from bench.graph import Graph, Values
from bench.operands import Random

# What ONNX Runtime has in the place of ours.
F16, NBITS = "f16", "MatMulNBits"
NAMES = (F16, NBITS, *(form.name for form in FORMATS))


def is_ours(name: str) -> bool:
    return name not in (F16, NBITS)


@dataclass(frozen=True)
class Linear:
    """x W + bias. Each time that it is put into a graph it gets constants of its own."""

    form: Format
    channels: int
    columns: int
    # By input.
    stored: dict[str, Values]
    groups: list[int] = field(default_factory=list)
    # What a weight of ours stands for, [K, N].
    meant: torch.Tensor | None = None

    def add_to(self, graph: Graph, x: str, activation: str = "none") -> str:
        """x are floats, or codes where the format has some."""
        if not self.form.floats:
            return self._of_codes(graph, "ClusterMatMul", x, (), activation=activation)
        given = self._constants(graph)
        if is_ours(self.form.name):
            inputs = (x, given["weight"], given["scale"], given["zero"], given["bias"])
            y = graph.node(f"Int{self.form.weight_bits}MatMul", *inputs, domain="qc", groups=self.groups)
        else:
            y = graph.node("Add", self._of_runtime(graph, x, given), given["bias"])
        return graph.node("Relu", y) if activation == "relu" else y

    def add_quantized_to(self, graph: Graph, x: str, quantizer: tuple[str, str], **attributes: Any) -> str:
        """Of codes to codes; `attributes` are activation and those of the quantizer."""
        return self._of_codes(graph, "ClusterMatMulQuantize", x, quantizer, **attributes)

    def _of_codes(self, graph: Graph, op: str, x: str, quantizer: tuple[str, ...], **attributes: Any) -> str:
        given = self._constants(graph)
        inputs = (x, given["weight"], given["scale"], given["bias"], *quantizer, given["zero"])
        bits = {"a_bits": self.form.code_bits, "w_bits": self.form.weight_bits}
        return graph.node(op, *inputs, domain="qc", groups=self.groups, **bits, **attributes)

    def _of_runtime(self, graph: Graph, x: str, given: dict[str, str]) -> str:
        if self.form.name == F16:
            return graph.node("MatMul", x, given["weight"])
        shape = {"K": self.channels, "N": self.columns, "bits": 4, "block_size": GROUP}
        return graph.node("MatMulNBits", x, given["weight"], given["scale"], domain="com.microsoft", **shape)

    def _constants(self, graph: Graph) -> dict[str, str]:
        return {name: graph.constant(values) for name, values in self.stored.items()}


def random_linear(graph: Graph, random: Random, name: str, channels: int, columns: int) -> Linear:
    """`name` is one of NAMES."""

    def store(**values: torch.Tensor) -> dict[str, Values]:
        return {key: graph.store(value) for key, value in values.items()}

    bias = random.normal(columns).half()
    if name == F16:
        weight = (random.normal(channels, columns) / channels**0.5).half()
        return Linear(Format(name, FLOATS, FLOATS), channels, columns, store(weight=weight, bias=bias))
    if name == NBITS:
        form, blocks = Format(name, 4, FLOATS), -(-channels // GROUP)
        weight = random.integers(columns, blocks, GROUP // 2, low=0, high=255).to(torch.uint8)
        scale = random.uniform(columns * blocks, low=0.5, high=1.5) * form.unit(channels)
        return Linear(form, channels, columns, store(weight=weight, scale=scale.half(), bias=bias))
    form = next(f for f in FORMATS if f.name == name)
    ends = operands.group_ends(channels, GROUP) if form.floats else operands.cluster_ends(channels, MANY_CLUSTERS)
    packed, codes = random.weight(channels, columns, form.weight_bits, ends, form.unit(channels))
    stored = store(weight=packed.packed, scale=packed.scale, zero=packed.zero, bias=bias)
    return Linear(form, channels, columns, stored, operands.sizes_of(ends), operands.dequantized(packed, codes))


def products(linear: Linear, graph: Graph, copies: int) -> bytes:
    """A model of x [M, K], or of codes of it, and of its products with so many copies of a weight."""
    form = linear.form
    x = (TensorProto.FLOAT16, linear.channels) if form.floats else (TensorProto.UINT8, operands.bytes_of(linear.channels, form.code_bits))
    names = [linear.add_to(graph, "x") for _ in range(copies)]
    outputs = {name: (TensorProto.FLOAT16, ["M", linear.columns]) for name in names}
    return graph.model({"x": (x[0], ["M", x[1]])}, outputs).SerializeToString()
