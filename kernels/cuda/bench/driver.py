"""The kernels, through the library of driver.cc. A call is prepared once, and then put on torch's current stream by calling it."""

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from bench.operands import Quantizer, Weight

Launch = Callable[[], None]

_TYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
_ACTIVATIONS = ("none", "relu", "gelu", "gelu_tanh", "silu")
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64


class _Weight(ctypes.Structure):
    _fields_ = [("clusters", _POINTER), ("packed", _POINTER), ("scale", _POINTER), ("zero", _POINTER), ("columns", _INT), ("bits", _INT)]


class _Quantizer(ctypes.Structure):
    _fields_ = [("clusters", _POINTER), ("scale", _POINTER), ("zero", _POINTER), ("bits", _INT)]


class _Norm(ctypes.Structure):
    _fields_ = [
        *((name, _INT) for name in ("rms", "rows", "type")),
        *((name, _POINTER) for name in ("x", "residual", "gamma", "beta", "order")),
        ("quantizer", _Quantizer),
        *((name, _POINTER) for name in ("codes", "normalized", "sum")),
    ]


class _Product(ctypes.Structure):
    _fields_ = [
        *((name, _INT) for name in ("rows", "type")),
        ("codes", _POINTER),
        ("a_bits", _INT),
        ("weight", _Weight),
        *((name, _POINTER) for name in ("offset", "token_scale", "token_zero", "bias", "multiplier")),
        ("activation", _INT),
        ("y", _POINTER),
        ("out_codes", _POINTER),
        ("out", _Quantizer),
    ]


class _WeightProduct(ctypes.Structure):
    _fields_ = [("rows", _INT), ("type", _INT), ("x", _POINTER), ("weight", _Weight), ("bias", _POINTER), ("y", _POINTER)]


def _at(tensor: Tensor | None) -> int | None:
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    return tensor.data_ptr()


class Driver:
    def __init__(self, library: str, stream: Callable[[], int]):
        """`stream` tells the one that launches go to."""
        self._library = ctypes.CDLL(library)
        self._stream = stream
        self._clusters: dict[tuple[int, ...], int] = {}

    def quantize_clusters(self, x: Tensor, quantizer: Quantizer, codes: Tensor) -> Launch:
        arguments = (_POINTER(_at(x)), _INT(_TYPES[x.dtype]), _INT(len(x)), ctypes.byref(self._quantizer(quantizer)), _POINTER(_at(codes)))
        return self._launch("qc_quantize_clusters", arguments, x, quantizer, codes)

    def dequantize_clusters(self, codes: Tensor, quantizer: Quantizer, y: Tensor) -> Launch:
        arguments = (_POINTER(_at(codes)), _INT(len(codes)), ctypes.byref(self._quantizer(quantizer)), _POINTER(_at(y)))
        return self._launch("qc_dequantize_clusters", arguments, codes, quantizer, y)

    def quantize_tokens(self, x: Tensor, bits: int, codes: Tensor, scale: Tensor, zero: Tensor | None) -> Launch:
        numbers = (_INT(_TYPES[x.dtype]), _INT(x.shape[0]), _INT(x.shape[1]), _INT(bits))
        arguments = (_POINTER(_at(x)), *numbers, *(_POINTER(_at(t)) for t in (codes, scale, zero)))
        return self._launch("qc_quantize_tokens", arguments, x, codes, scale, zero)

    def norm_quantize(self, rms: bool, x: Tensor, gamma: Tensor, quantizer: Quantizer, codes: Tensor, **others: Tensor) -> Launch:
        """`others` are of residual, beta, order, normalized and sum."""
        call = _Norm(rms=rms, rows=len(x), type=_TYPES[x.dtype], x=_at(x), gamma=_at(gamma), codes=_at(codes))
        call.quantizer = self._quantizer(quantizer)
        _set(call, others)
        return self._launch("qc_norm_quantize", (ctypes.byref(call),), x, gamma, quantizer, codes, others)

    def cluster_matmul(
        self, codes: Tensor, a_bits: int, weight: Weight, bias: Tensor, *, y: Tensor | None = None, out_codes: Tensor | None = None,
        out: Quantizer | None = None, activation: str = "none", **others: Tensor
    ) -> Launch:  # fmt: skip
        """Gives y, or out_codes by the quantizer `out`; `others` are of offset, token_scale, token_zero and multiplier."""
        call = _Product(rows=len(codes), type=_TYPES[bias.dtype], codes=_at(codes), a_bits=a_bits, bias=_at(bias), y=_at(y))
        call.weight = self._weight(weight)
        call.activation = _ACTIVATIONS.index(activation)
        if out is not None:
            call.out_codes = _at(out_codes)
            call.out = self._quantizer(out)
        _set(call, others)
        return self._launch("qc_cluster_matmul", (ctypes.byref(call),), codes, weight, bias, y, out_codes, out, others)

    def weight_matmul(self, x: Tensor, weight: Weight, bias: Tensor, y: Tensor) -> Launch:
        call = _WeightProduct(rows=len(x), type=_TYPES[x.dtype], x=_at(x), weight=self._weight(weight), bias=_at(bias), y=_at(y))
        return self._launch("qc_weight_matmul", (ctypes.byref(call),), x, weight, bias, y)

    def _weight(self, w: Weight) -> _Weight:
        return _Weight(self._clusters_of(w.ends), _at(w.packed), _at(w.scale), _at(w.zero), w.columns, w.bits)

    def _quantizer(self, q: Quantizer) -> _Quantizer:
        return _Quantizer(self._clusters_of(q.ends), _at(q.scale), _at(q.zero), q.bits)

    def _clusters_of(self, ends: tuple[int, ...]) -> int:
        if ends not in self._clusters:
            made = _POINTER()
            self._call("qc_make_clusters", (_INT * len(ends))(*ends), _INT(len(ends)), ctypes.byref(made))
            self._clusters[ends] = made.value or 0
        return self._clusters[ends]

    def _launch(self, name: str, arguments: tuple, *kept: object) -> Launch:
        """What is kept lives as long as the launch, so that memory stays where the arguments say."""

        def launch(_kept: tuple = kept) -> None:
            self._call(name, *arguments, _POINTER(self._stream()))

        return launch

    def _call(self, name: str, *arguments: object) -> None:
        function = getattr(self._library, name)
        function.restype = ctypes.c_char_p
        message = function(*arguments)
        if message is not None:
            raise RuntimeError(f"{name}: {message.decode()}")


def _set(call: ctypes.Structure, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        setattr(call, name, _at(tensor))
