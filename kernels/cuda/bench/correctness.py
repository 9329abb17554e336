"""The kernels against products in double by torch: a reference that shares nothing with the C++ but the packing's description."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench import operands
from bench.cases import FORMATS, Format, Sizes, clusterings
from bench.driver import Driver
from bench.operands import Random, Weight

TOLERANCES = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 1e-2}
# Of codes, how many may be off by one: results on both sides of a boundary between two.
OTHER_CODES = 2e-3


@dataclass(frozen=True)
class Result:
    what: str
    # The greatest difference in parts of the greatest value, or the share of codes that differ; infinite where one is off by more.
    error: float
    tolerance: float

    @property
    def right(self) -> bool:
        return self.error <= self.tolerance


def _far(found: Tensor, wanted: Tensor) -> float:
    found, wanted = found.double(), wanted.double()
    if not bool(found.isfinite().all()):
        return math.inf
    return float((found - wanted).abs().max() / wanted.abs().max())


def _others(packed: Tensor, wanted: Tensor, bits: int) -> float:
    apart = (operands.unpack_rows(packed, wanted.shape[1], bits) - wanted).abs()
    return math.inf if int(apart.max()) > 1 else float(apart.double().mean())


def _unwritten(rows: int, width: int, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Memory in which what no kernel writes is found: NaN, or codes that are unlikely."""
    dtype = dtype or like.dtype
    return torch.full((rows, width), 0xA5 if dtype == torch.uint8 else math.nan, dtype=dtype, device=like.device)


class Checks:
    def __init__(self, driver: Driver, random: Random):
        self._driver = driver
        self._random = random

    def run(self, sizes: Sizes) -> Iterator[Result]:
        for channels, columns in sizes.checked:
            for form in FORMATS:
                for name, ends in clusterings(form, channels).items():
                    weight, codes = self._random.weight(channels, columns, form.weight_bits, ends, form.unit(channels))
                    meant = operands.dequantized(weight, codes)
                    what = f"{form.name}, {channels} x {columns}, clusters {name}"
                    yield from self._products(what, form, weight, meant, sizes.rows)
        for channels in sizes.channels:
            for dtype in TOLERANCES:
                yield from self._quantizers(channels, sizes.rows[-1], dtype)

    def _products(self, what: str, form: Format, weight: Weight, meant: Tensor, rows: tuple[int, ...]) -> Iterator[Result]:
        for count in rows:
            for dtype, tolerance in TOLERANCES.items():
                error = (self._of_floats if form.floats else self._of_codes)(form, weight, meant, count, dtype)
                yield Result(f"{what}, M {count}, {_name(dtype)}", error, tolerance)
            if not form.floats:
                yield Result(f"{what}, M {count}, quantized", self._requantized(form, weight, meant, count), OTHER_CODES)

    def _of_floats(self, _: Format, weight: Weight, meant: Tensor, rows: int, dtype: torch.dtype) -> float:
        x, bias = self._random.normal(rows, meant.shape[0], dtype=dtype), self._random.normal(weight.columns, dtype=dtype)
        y = _unwritten(rows, weight.columns, x)
        self._driver.weight_matmul(x, weight, bias, y)()
        return _far(y, x.double() @ meant + bias.double())

    def _of_codes(self, form: Format, weight: Weight, meant: Tensor, rows: int, dtype: torch.dtype) -> float:
        """All that a product may have."""
        random = self._random
        codes = random.codes(rows, meant.shape[0], bits=form.code_bits)
        bias, multiplier = random.normal(weight.columns, dtype=dtype), random.normal(rows, weight.columns, dtype=dtype)
        scale, zero, offset = random.uniform(rows, 1, low=0.5), random.normal(rows, 1), random.normal(weight.columns)
        y = _unwritten(rows, weight.columns, bias)
        self._driver.cluster_matmul(
            operands.pack_rows(codes, form.code_bits), form.code_bits, weight, bias, y=y, activation="relu",
            token_scale=scale, token_zero=zero, offset=offset, multiplier=multiplier,
        )()  # fmt: skip
        wanted = scale.double() * (codes.double() @ meant - zero.double() * offset.double()) + bias.double()
        return _far(y, wanted.relu() * multiplier.double())

    def _requantized(self, form: Format, weight: Weight, meant: Tensor, rows: int) -> float:
        codes = self._random.codes(rows, meant.shape[0], bits=form.code_bits)
        bias = self._random.normal(weight.columns, dtype=torch.float16)
        out = self._random.quantizer(operands.cluster_ends(weight.columns, 32), form.code_bits, 4.0)
        out_codes = _unwritten(rows, operands.bytes_of(weight.columns, out.bits), bias, torch.uint8)
        packed = operands.pack_rows(codes, form.code_bits)
        self._driver.cluster_matmul(packed, form.code_bits, weight, bias, out_codes=out_codes, out=out)()
        return _others(out_codes, operands.quantized(codes.double() @ meant + bias.double(), out), out.bits)

    def _quantizers(self, channels: int, rows: int, dtype: torch.dtype) -> Iterator[Result]:
        ends = operands.cluster_ends(channels, 32)
        x = self._random.normal(rows, channels, dtype=dtype)
        for bits in (8, 4, 3):
            quantizer = self._random.quantizer(ends, bits, 3.0)
            what = f"{channels} channels, {bits} bits, {_name(dtype)}"
            codes = _unwritten(rows, operands.bytes_of(channels, bits), x, torch.uint8)
            self._driver.quantize_clusters(x, quantizer, codes)()
            wanted = operands.quantized(x.float(), quantizer)
            yield Result(f"QuantizeClusters, {what}", _others(codes, wanted, bits), 0.0)
            y = _unwritten(rows, channels, x, torch.float32)
            self._driver.dequantize_clusters(codes, quantizer, y)()
            scale, zero = (operands.by_channel(t, ends) for t in (quantizer.scale, quantizer.zero))
            yield Result(f"DequantizeClusters, {what}", _far(y, (wanted - zero) * scale), 0.0)
            for symmetric in (True, False):
                yield Result(f"QuantizeTokens, {what}, {'symmetric' if symmetric else 'asymmetric'}", self._tokens(x, bits, symmetric), 0.0)
            for rms in (False, True):
                yield from self._norm(rms, x, quantizer, what)

    def _tokens(self, x: Tensor, bits: int, symmetric: bool) -> float:
        rows, channels = x.shape
        codes = _unwritten(rows, operands.bytes_of(channels, bits), x, torch.uint8)
        scale, zero = _unwritten(rows, 1, x, torch.float32), _unwritten(rows, 1, x, torch.float32)
        self._driver.quantize_tokens(x, bits, codes, scale, None if symmetric else zero)()
        qmin, qmax = (1 - operands.lift(bits) if symmetric else -operands.lift(bits)), operands.lift(bits) - 1
        low, high = x.float().amin(1, keepdim=True).clamp(max=0), x.float().amax(1, keepdim=True).clamp(min=0)
        if symmetric:
            high = torch.maximum(-low, high)
            low = -high
        # By a tensor: on CUDA, torch multiplies by the reciprocal of a number, which is off by one unit in the last place.
        wanted_scale = (high - low) / torch.full_like(high, qmax - qmin)
        wanted_zero = torch.zeros_like(high) if symmetric else (qmin - torch.round(low / wanted_scale)).clamp(qmin, qmax)
        wanted = (torch.round(x.float() / wanted_scale) + wanted_zero).clamp(qmin, qmax).to(torch.int16)
        equal = torch.equal(scale, wanted_scale) and (symmetric or torch.equal(zero, wanted_zero))
        return _others(codes, wanted, bits) if equal else math.inf

    def _norm(self, rms: bool, x: Tensor, quantizer: operands.Quantizer, what: str) -> Iterator[Result]:
        random, (rows, channels) = self._random, x.shape
        residual, gamma = random.normal(rows, channels, dtype=x.dtype), random.uniform(channels, low=0.5).to(x.dtype)
        beta, order = random.normal(channels, dtype=x.dtype), random.order(channels)
        codes = _unwritten(rows, operands.bytes_of(channels, quantizer.bits), x, torch.uint8)
        normalized, added = _unwritten(rows, channels, x), _unwritten(rows, channels, x)
        self._driver.norm_quantize(
            rms, x, gamma, quantizer, codes, residual=residual, beta=beta, order=order, normalized=normalized, sum=added
        )()
        wanted_sum = x + residual
        centred = wanted_sum.double() if rms else wanted_sum.double() - wanted_sum.double().mean(1, keepdim=True)
        wanted = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() * gamma.double() + beta.double()
        title = f"{'Rms' if rms else 'Layer'}NormReorderQuantize, {what}"
        yield Result(f"{title}, sum", _far(added, wanted_sum), 0.0)
        yield Result(f"{title}, normalized", _far(normalized, wanted), TOLERANCES[x.dtype])
        yield Result(f"{title}, codes", _others(codes, operands.quantized(wanted[:, order.long()], quantizer), quantizer.bits), OTHER_CODES)


def _name(dtype: torch.dtype) -> str:
    return {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}[dtype]
