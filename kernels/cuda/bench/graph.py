"""Writing models in ONNX."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

HALF = np.float16
_PAGE = 4096


@dataclass(frozen=True)
class Stored:
    """Where the values of a constant lie in a data file."""

    file: str
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


# Types and shapes by name.
Interface = Mapping[str, tuple[int, list]]
# What a constant is made of.
Values = Stored | np.ndarray


@dataclass
class Graph:
    """A graph that grows. With a data file, one array that is stored there may be the values of many constants."""

    data: Path | None = None
    nodes: list = field(default_factory=list)
    constants: list = field(default_factory=list)

    def store(self, tensor: torch.Tensor) -> Values:
        array = tensor.numpy(force=True)
        if self.data is None:
            return array
        with self.data.open("ab") as file:
            file.write(b"\0" * (-file.tell() % _PAGE))
            stored = Stored(self.data.name, file.tell(), array.dtype, array.shape)
            array.tofile(file)
        return stored

    def constant(self, values: Values) -> str:
        name = f"c{len(self.constants)}"
        dtype = helper.np_dtype_to_tensor_dtype(values.dtype)
        if isinstance(values, Stored):
            tensor = TensorProto(name=name, data_type=dtype, dims=values.shape, data_location=TensorProto.EXTERNAL)
            for key, value in (("location", values.file), ("offset", values.offset), ("length", values.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
        else:
            tensor = helper.make_tensor(name, dtype, values.shape, values.tobytes(), raw=True)
        self.constants.append(tensor)
        return name

    def number(self, value: float | list[int], dtype: type = np.int64) -> str:
        return self.constant(np.array(value, dtype))

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        return self.nodes_of(op, inputs, ("y",), domain, **attributes)[0]

    def nodes_of(self, op: str, inputs: tuple[str, ...], outputs: tuple[str, ...], domain: str, **attributes: Any) -> list[str]:
        """The names of the outputs, which are left out where they are empty."""
        names = [output and f"v{len(self.nodes)}.{output}" for output in outputs]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names

    def model(self, inputs: Interface, outputs: Interface) -> onnx.ModelProto:
        of_inputs, of_outputs = ([helper.make_tensor_value_info(name, *what) for name, what in side.items()] for side in (inputs, outputs))
        graph = helper.make_graph(self.nodes, "checked", of_inputs, of_outputs, self.constants)
        domains = [helper.make_opsetid(*d) for d in (("", 21), ("qc", 1), ("com.microsoft", 1))]
        return helper.make_model(graph, opset_imports=domains, ir_version=10)
