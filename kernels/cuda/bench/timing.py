"""Times of the kernels and of what PyTorch has in their place. Weights rotate: each launch of a measurement has one of its own, and
together they are three times the cache, so that none is found there."""

from collections.abc import Iterator
from functools import partial

import torch

from bench import operands
from bench.cases import FORMATS, Format, Sizes, clusterings
from bench.device import Device, Time
from bench.driver import Driver
from bench.operands import Random, Weight
from bench.report import Ceilings, Line, Work

HALF = torch.float16


class Timings:
    def __init__(self, driver: Driver, device: Device, random: Random):
        self._driver = driver
        self._device = device
        self._random = random

    def ceilings(self, sizes: Sizes) -> Ceilings:
        count = sizes.copied_bytes // 4
        source, target = self._random.uniform(count), torch.empty(count, device=self._device.name)
        n = sizes.square
        floats, integers = self._random.normal(2, n, n, dtype=HALF), self._random.codes(2, n, n, bits=8).to(torch.int8)
        product = torch.empty_like(floats[0])
        # The first products bring the clocks up.
        for _ in range(20):
            torch.mm(floats[0], floats[1], out=product)
        of_floats = self._device.time([lambda: torch.mm(floats[0], floats[1].t(), out=product)])
        of_integers = self._device.time([lambda: torch._int_mm(integers[0], integers[1].t())])
        # By a kernel: in a graph, copy_ is a memcpy node, which reached 2.7 TB/s where kernels reach 4.3 (an H200).
        copy = self._device.time([lambda: torch.neg(source, out=target)])
        return Ceilings(2 * source.nbytes / copy.seconds, 2 * n**3 / of_floats.seconds, 2 * n**3 / of_integers.seconds)

    def products(self, sizes: Sizes) -> Iterator[Line]:
        for shape in sizes.timed:
            floats = {rows: self._floats(shape, rows) for rows in sizes.rows}
            for form in FORMATS:
                ones: dict[int, Time] = {}
                for name, ends in clusterings(form, shape[0]).items():
                    weight, _ = self._random.weight(*shape, form.weight_bits, ends, form.unit(shape[0]))
                    copies = [weight.copy() for _ in range(self._copies(weight.bytes))]
                    for rows in sizes.rows:
                        time, work = self._product(form, copies, shape[0], rows)
                        one = ones.setdefault(rows, time)
                        yield Line(shape, rows, form.name, name, time, floats[rows], work, one)

    def _copies(self, size: int) -> int:
        return max(2, -(-3 * self._device.cache_bytes // size))

    def _floats(self, shape: tuple[int, int], rows: int) -> Time:
        """Of x W with W [N, K], as torch.nn.Linear has it."""
        channels, columns = shape
        weight = self._random.normal(columns, channels, dtype=HALF)
        weights = [weight.clone() for _ in range(self._copies(weight.nbytes))]
        x, y = self._random.normal(rows, channels, dtype=HALF), weight.new_empty(rows, columns)
        return self._device.time([partial(torch.mm, x, w.t(), out=y) for w in weights])

    def _product(self, form: Format, weights: list[Weight], channels: int, rows: int) -> tuple[Time, Work]:
        columns = weights[0].columns
        bias = self._random.normal(columns, dtype=HALF)
        y = bias.new_empty(rows, columns)
        if form.floats:
            x = self._random.normal(rows, channels, dtype=HALF)
            launches = [self._driver.weight_matmul(x, w, bias, y) for w in weights]
        else:
            x = operands.pack_rows(self._random.codes(rows, channels, bits=form.code_bits), form.code_bits)
            launches = [self._driver.cluster_matmul(x, form.code_bits, w, bias, y=y) for w in weights]
        moved = x.nbytes + weights[0].bytes + bias.nbytes + y.nbytes
        return self._device.time(launches), Work(moved, 2 * rows * channels * columns, not form.floats)

    def others(self, sizes: Sizes) -> Iterator[tuple[str, Time, Work]]:
        """Norms and quantizers of f16, 8 bits and 32 clusters. Their inputs and outputs rotate."""
        for channels in sizes.channels:
            for rows in (sizes.rows[0], sizes.rows[-1]):
                for name, make in self._others(channels, rows).items():
                    launch, moved = make()
                    count = min(self._copies(moved), 64)
                    launches = [launch, *(make()[0] for _ in range(count - 1))]
                    yield f"{name}, {rows} x {channels}", self._device.time(launches), Work(moved)

    def _others(self, channels: int, rows: int) -> dict:
        random, driver = self._random, self._driver
        quantizer = random.quantizer(operands.cluster_ends(channels, 32), 8, 3.0)
        gamma, beta, order = random.uniform(channels).half(), random.normal(channels, dtype=HALF), random.order(channels)
        packed = operands.bytes_of(channels, 8)

        def floats() -> torch.Tensor:
            return random.normal(rows, channels, dtype=HALF)

        def codes() -> torch.Tensor:
            return torch.empty(rows, packed, dtype=torch.uint8, device=random.device)

        def singles(width: int) -> torch.Tensor:
            return torch.empty(rows, width, device=random.device)

        def norm(rms: bool) -> tuple:
            x, residual, out, added = floats(), floats(), codes(), floats()
            launch = driver.norm_quantize(rms, x, gamma, quantizer, out, residual=residual, beta=beta, order=order, sum=added)
            return launch, 3 * x.nbytes + out.nbytes

        def clusters() -> tuple:
            x, out = floats(), codes()
            return driver.quantize_clusters(x, quantizer, out), x.nbytes + out.nbytes

        def tokens() -> tuple:
            x, out = floats(), codes()
            return driver.quantize_tokens(x, 8, out, singles(1), singles(1)), x.nbytes + out.nbytes

        def back() -> tuple:
            x, y = random.codes(rows, channels, bits=8), singles(channels)
            return driver.dequantize_clusters(operands.pack_rows(x, 8), quantizer, y), rows * packed + y.nbytes

        return {
            "LayerNormReorderQuantize": lambda: norm(False),
            "RmsNormReorderQuantize": lambda: norm(True),
            "QuantizeClusters": clusters,
            "QuantizeTokens": tokens,
            "DequantizeClusters": back,
        }
