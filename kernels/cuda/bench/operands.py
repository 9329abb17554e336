"""Random operands of the kernels, packed as docs/operators.md says, and what they stand for."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

STEP = 32
TILE = 16


def steps_of(channels: int) -> int:
    return -(-channels // STEP)


def bytes_of(channels: int, bits: int) -> int:
    return steps_of(channels) * 4 * bits


def lift(bits: int) -> int:
    return 1 << (bits - 1)


def cluster_ends(channels: int, clusters: int) -> tuple[int, ...]:
    """Clusters of whole steps, as even as can be; fewer where there are not as many steps."""
    steps = steps_of(channels)
    count = min(clusters, steps)
    return tuple(min(channels, steps * (g + 1) // count * STEP) for g in range(count))


def group_ends(channels: int, size: int) -> tuple[int, ...]:
    return tuple(min(channels, end) for end in range(size, channels + size, size))


def sizes_of(ends: tuple[int, ...]) -> list[int]:
    return [end - start for start, end in zip((0, *ends), ends, strict=False)]


def by_channel(values: Tensor, ends: tuple[int, ...]) -> Tensor:
    """Rows of clusters as rows of channels."""
    return values.repeat_interleave(torch.tensor(sizes_of(ends), device=values.device), dim=0)


def pack_steps(codes: Tensor, bits: int) -> Tensor:
    """Codes [R, C] as words [R, steps, bits, 4 bytes]."""
    rows, channels = codes.shape
    stored = torch.zeros(rows, steps_of(channels) * STEP, dtype=torch.uint8, device=codes.device)
    stored[:, :channels] = (codes + lift(bits)).to(torch.uint8)
    quads = stored.view(rows, -1, 8, 4)
    if bits == 8:
        return quads
    if bits == 4:
        return quads[:, :, 0::2] | quads[:, :, 1::2] << 4
    pairs = torch.zeros_like(quads[:, :, :2])
    thirds = torch.zeros_like(quads[:, :, :1])
    for q in range(8):
        pairs[:, :, q // 4] |= (quads[:, :, q] & 3) << (2 * (q % 4))
        thirds[:, :, 0] |= (quads[:, :, q] >> 2) << q
    return torch.cat((pairs, thirds), dim=2)


def pack_rows(codes: Tensor, bits: int) -> Tensor:
    return pack_steps(codes, bits).reshape(codes.shape[0], -1)


def unpack_rows(packed: Tensor, channels: int, bits: int) -> Tensor:
    """The codes [R, C] of packed rows."""
    words = packed.view(packed.shape[0], -1, bits, 4)
    if bits == 8:
        quads = words
    elif bits == 4:
        quads = torch.stack((words & 15, words >> 4), dim=3).flatten(2, 3)
    else:
        of_quad = [(words[:, :, q // 4] >> (2 * (q % 4)) & 3) | (words[:, :, 2] >> q & 1) << 2 for q in range(8)]
        quads = torch.stack(of_quad, dim=2)
    return quads.reshape(packed.shape[0], -1)[:, :channels].to(torch.int16) - lift(bits)


def pack_weight(codes: Tensor, bits: int) -> Tensor:
    """Codes [K, N] as tiles [tiles, steps, bits, 64]."""
    columns = codes.shape[1]
    words = pack_steps(codes.t(), bits)
    tiles = -(-columns // TILE)
    whole = torch.zeros(tiles * TILE, *words.shape[1:], dtype=torch.uint8, device=codes.device)
    whole[:columns] = words
    return whole.view(tiles, TILE, -1, bits, 4).permute(0, 2, 3, 1, 4).reshape(tiles, -1, bits, 4 * TILE).contiguous()


@dataclass(frozen=True)
class Weight:
    """A packed weight, as the kernels take it."""

    packed: Tensor
    scale: Tensor
    zero: Tensor
    ends: tuple[int, ...]
    columns: int
    bits: int

    @property
    def bytes(self) -> int:
        return self.packed.nbytes + self.scale.nbytes + self.zero.nbytes

    def copy(self) -> "Weight":
        return replace(self, packed=self.packed.clone(), scale=self.scale.clone(), zero=self.zero.clone())


@dataclass(frozen=True)
class Quantizer:
    ends: tuple[int, ...]
    scale: Tensor
    zero: Tensor
    bits: int


class Random:
    """Operands of any size; `device` is torch's name of where they are made."""

    def __init__(self, device: str, seed: int):
        self.device = device
        self._generator = torch.Generator(device)
        self._generator.manual_seed(seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(shape, generator=self._generator, device=self.device) * (high - low) + low

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, generator=self._generator, device=self.device).to(dtype)

    def integers(self, *shape: int, low: int, high: int, dtype: torch.dtype = torch.int16) -> Tensor:
        """Of low ... high."""
        return torch.randint(low, high + 1, shape, generator=self._generator, device=self.device, dtype=dtype)

    def codes(self, *shape: int, bits: int) -> Tensor:
        return self.integers(*shape, low=-lift(bits), high=lift(bits) - 1)

    def order(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self._generator, device=self.device).to(torch.int32)

    def weight(self, channels: int, columns: int, bits: int, ends: tuple[int, ...], unit: float) -> tuple[Weight, Tensor]:
        """A weight with zero points, `unit` being about the size of its scales, and its codes."""
        codes = self.codes(channels, columns, bits=bits)
        scale = self.uniform(len(ends), columns, low=0.5 * unit, high=1.5 * unit)
        zero = self.integers(len(ends), columns, low=-1, high=1).to(torch.int8)
        return Weight(pack_weight(codes, bits), scale, zero, ends, columns, bits), codes

    def quantizer(self, ends: tuple[int, ...], bits: int, span: float) -> Quantizer:
        """Of values between about -span and span."""
        scale = self.uniform(len(ends), low=0.5, high=1.5) * (span / lift(bits))
        return Quantizer(ends, scale, self.integers(len(ends), low=-2, high=1).float(), bits)


def dequantized(weight: Weight, codes: Tensor) -> Tensor:
    """What a weight stands for, [K, N] in double."""
    return (codes.double() - by_channel(weight.zero.double(), weight.ends)) * by_channel(weight.scale.double(), weight.ends)


def quantized(x: Tensor, quantizer: Quantizer) -> Tensor:
    """Codes of x [R, C], in the precision of x."""
    scale, zero = (by_channel(t.to(x.dtype), quantizer.ends) for t in (quantizer.scale, quantizer.zero))
    lifted = lift(quantizer.bits)
    return (torch.round(x / scale) + zero).clamp(-lifted, lifted - 1).to(torch.int16)
