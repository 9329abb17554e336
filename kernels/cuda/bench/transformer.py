"""A decoder in the shape of an OPT, with random weights, as qc compiles it for qc-cuda and as ONNX Runtime's own operators have it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from bench import operands
from bench.cases import MANY_CLUSTERS
from bench.graph import HALF, Graph, Values
from bench.linear import random_linear
from bench.operands import Random

# Activations are about standard normal: codes reach as far as this.
_SPAN = 4.0


@dataclass(frozen=True)
class Shape:
    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int


OPT_1_3B = Shape(2048, 24, 32, 8192, 50272, 2048)
TINY = Shape(64, 2, 2, 128, 96, 32)


class Transformer:
    """Writes one model. All layers have equal weights, each in memory of its own: a file has them once."""

    def __init__(self, shape: Shape, name: str, random: Random, folder: Path):
        """`name` is that of the linears' format."""
        self._shape = shape
        self._path = folder / "model.onnx"
        self._graph = Graph(folder / "model.data")
        width, inner = shape.width, shape.inner
        sizes = dict.fromkeys("qkvo", (width, width)) | {"up": (width, inner), "down": (inner, width)}
        self._linears = {key: random_linear(self._graph, random, name, *size) for key, size in sizes.items()}
        form = self._linears["q"].form
        # Of codes of activations, 0 where these are floats.
        self._bits = 0 if form.floats else form.code_bits
        store = self._graph.store
        embedding = (random.normal(shape.vocabulary, width) * 0.7).half()
        self._embedding = store(embedding)
        self._head = store((embedding.t().contiguous().float() * (3 / width**0.5)).half())
        self._positions = store((random.normal(shape.positions, width) * 0.7).half())
        self._gamma = store(random.uniform(width, low=0.8, high=1.2).half())
        self._beta = store((random.normal(width) * 0.1).half())
        self._order = store(random.order(width))

    def write(self) -> Path:
        graph = self._graph
        ids = "input_ids"
        length = graph.node("Gather", graph.node("Shape", ids), graph.number(1))
        places = graph.node("Range", graph.number(0), length, graph.number(1))
        mask = self._mask(places)
        x = graph.node("Add", self._gather(self._embedding, ids), self._gather(self._positions, places))
        branch = ""
        for _ in range(self._shape.layers):
            normed, x = self._norm(x, branch)
            branch = self._linear("o", self._quantized(self._attention(normed, mask)))
            normed, x = self._norm(x, branch)
            branch = self._inner(normed)
        normed = self._layer_norm(graph.node("Add", x, branch))
        logits = graph.node("Cast", graph.node("MatMul", normed, graph.constant(self._head)), to=TensorProto.FLOAT)
        model = graph.model({ids: (TensorProto.INT64, [1, "S"])}, {logits: (TensorProto.FLOAT, [1, "S", self._shape.vocabulary])})
        onnx.save_model(model, self._path)
        return self._path

    def _gather(self, table: Values, indices: str) -> str:
        return self._graph.node("Gather", self._graph.constant(table), indices)

    def _mask(self, places: str) -> str:
        """[S, S]: 0 for what a row may look at."""
        graph = self._graph
        of_columns, of_rows = (graph.node("Unsqueeze", places, graph.number([axis])) for axis in (0, 1))
        seen = graph.node("LessOrEqual", of_columns, of_rows)
        return graph.node("Where", seen, graph.number(0, np.float32), graph.number(-1e9, np.float32))

    def _layer_norm(self, x: str) -> str:
        return self._graph.node("LayerNormalization", x, self._graph.constant(self._gamma), self._graph.constant(self._beta), epsilon=1e-5)

    def _norm(self, x: str, branch: str) -> tuple[str, str]:
        """The normalized sum of both, or its codes, and the sum; of x alone without a branch."""
        graph = self._graph
        if not self._bits:
            x = graph.node("Add", x, branch) if branch else x
            return self._layer_norm(x), x
        constants = (graph.constant(v) for v in (self._gamma, self._beta, self._order))
        inputs = (x, *self._quantizer(self._shape.width), *constants, *([branch] if branch else []))
        outputs = ("codes", "", "sum") if branch else ("codes",)
        results = graph.nodes_of("LayerNormReorderQuantize", inputs, outputs, "qc", **self._range(self._shape.width), epsilon=1e-5)
        return results[0], results[2] if branch else x

    def _quantizer(self, width: int) -> tuple[str, str]:
        count = len(operands.cluster_ends(width, MANY_CLUSTERS))
        graph = self._graph
        return graph.constant(np.full(count, _SPAN / operands.lift(self._bits), np.float32)), graph.constant(np.zeros(count, np.float32))

    def _range(self, width: int, prefix: str = "") -> dict:
        groups = operands.sizes_of(operands.cluster_ends(width, MANY_CLUSTERS))
        lifted = operands.lift(self._bits)
        values = {"groups": groups, "bits": self._bits, "qmin": -lifted, "qmax": lifted - 1}
        return {prefix + key: value for key, value in values.items()}

    def _quantized(self, x: str) -> str:
        if not self._bits:
            return x
        width = self._shape.width
        return self._graph.node("QuantizeClusters", x, *self._quantizer(width), domain="qc", **self._range(width))

    def _linear(self, key: str, x: str) -> str:
        return self._linears[key].add_to(self._graph, x)

    def _inner(self, x: str) -> str:
        graph, up, inner = self._graph, self._linears["up"], self._shape.inner
        if not self._bits:
            return self._linear("down", up.add_to(graph, x, "relu"))
        codes = up.add_quantized_to(graph, x, self._quantizer(inner), activation="relu", **self._range(inner, "out_"))
        return self._linear("down", codes)

    def _attention(self, x: str, mask: str) -> str:
        graph, shape = self._graph, self._shape
        size = shape.width // shape.heads

        def heads(key: str, order: list[int]) -> str:
            apart = graph.node("Reshape", self._linear(key, x), graph.number([0, 0, shape.heads, size]))
            return graph.node("Transpose", apart, perm=order)

        queries = graph.node("Mul", heads("q", [0, 2, 1, 3]), graph.number(size**-0.5, HALF))
        scores = graph.node("Cast", graph.node("MatMul", queries, heads("k", [0, 2, 3, 1])), to=TensorProto.FLOAT)
        weights = graph.node("Cast", graph.node("Softmax", graph.node("Add", scores, mask), axis=-1), to=TensorProto.FLOAT16)
        together = graph.node("Transpose", graph.node("MatMul", weights, heads("v", [0, 2, 1, 3])), perm=[0, 2, 1, 3])
        return graph.node("Reshape", together, graph.number([0, 0, shape.width]))
