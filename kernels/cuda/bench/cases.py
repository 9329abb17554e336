"""What is checked and timed: formats, clusters, sizes."""

import math
from dataclasses import dataclass

from bench.operands import cluster_ends, group_ends, lift

FLOATS = 16


@dataclass(frozen=True)
class Format:
    name: str
    weight_bits: int
    # FLOATS: activations are f16.
    code_bits: int

    @property
    def floats(self) -> bool:
        return self.code_bits == FLOATS

    def unit(self, channels: int) -> float:
        """The size of scales for which results of random operands are about 1."""
        of_codes = 1.0 if self.floats else lift(self.code_bits) ** 2 / 3
        return 1 / math.sqrt(channels * of_codes * lift(self.weight_bits) ** 2 / 3)


FORMATS = (
    Format("W4A16", 4, FLOATS),
    Format("W3A16", 3, FLOATS),
    Format("W4A8", 4, 8),
    Format("W4A4", 4, 4),
    Format("W8A8", 8, 8),
)

MANY_CLUSTERS = 32
GROUP = 128


def clusterings(form: Format, channels: int) -> dict[str, tuple[int, ...]]:
    """Ends of clusters by what the table calls them."""
    result = {"1": (channels,), str(MANY_CLUSTERS): cluster_ends(channels, MANY_CLUSTERS)}
    return result | {f"of {GROUP}": group_ends(channels, GROUP)} if form.floats else result


@dataclass(frozen=True)
class Sizes:
    # K and N of the products that are timed, and of those that are checked.
    timed: tuple[tuple[int, int], ...]
    checked: tuple[tuple[int, int], ...]
    rows: tuple[int, ...]
    # Of norms and quantizers.
    channels: tuple[int, ...]
    # Of the measurements that all others are compared with.
    copied_bytes: int
    square: int


OPT_1_3B = ((2048, 2048), (2048, 8192), (8192, 2048))
OPT_6_7B = ((4096, 4096), (4096, 16384), (16384, 4096))
LLAMA_7B = ((4096, 11008), (11008, 4096))  # and 4096 x 4096

REAL = Sizes((*OPT_1_3B, *OPT_6_7B, *LLAMA_7B), ((2048, 8192), (11008, 4096)), (1, 8, 128, 2048), (2048, 4096), 2**31, 8192)
# For the CPU: the last step and the last tile are not whole, and rows are such that all kernels run.
TINY = Sizes(((64, 48), (160, 32)), ((136, 40),), (1, 20, 70), (72,), 2**16, 64)
