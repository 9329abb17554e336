"""Tables of what was measured."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.cases import MANY_CLUSTERS
from bench.device import Time


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


@dataclass(frozen=True)
class Ceilings:
    """What this GPU does at best, measured: bytes per second that a copying kernel reads and writes, operations per second of square products."""

    bytes: float
    float_operations: float
    integer_operations: float


@dataclass(frozen=True)
class Work:
    """The fewest bytes that are to be moved, and the operations; `integers` says of which kind."""

    bytes: int
    operations: int = 0
    integers: bool = False

    def rate(self, time: Time, ceilings: Ceilings) -> tuple[str, float]:
        """In units of what takes longer at best, and its share of the ceiling."""
        most = ceilings.integer_operations if self.integers else ceilings.float_operations
        bytes_share = self.bytes / time.seconds / ceilings.bytes
        operations_share = self.operations / time.seconds / most
        if bytes_share >= operations_share:
            return f"{self.bytes / time.seconds / 1e9:.0f} GB/s", bytes_share
        return f"{self.operations / time.seconds / 1e12:.1f} TOPS", operations_share


@dataclass(frozen=True)
class Goal:
    text: str
    met: bool

    def __str__(self) -> str:
        return f"{self.text}: {'yes' if self.met else 'NO'}"


@dataclass(frozen=True)
class Line:
    """A product that was timed."""

    shape: tuple[int, int]
    rows: int
    format: str
    clusters: str
    time: Time
    floats: Time
    work: Work
    # Of the same product with one cluster.
    one: Time

    @property
    def gain(self) -> float:
        return self.floats.seconds / self.time.seconds

    def goals(self, ceilings: Ceilings) -> list[Goal]:
        goals = []
        if self.format == "W4A16" and self.rows == 1:
            share = self.work.bytes / self.time.seconds / ceilings.bytes
            goals += [Goal("80 % of a copy", share >= 0.8), Goal("3.5 x f16", self.gain >= 3.5)]
        if self.format == "W4A8" and self.rows == 2048:
            goals.append(Goal("1.5 x f16", self.gain >= 1.5))
        if self.clusters == str(MANY_CLUSTERS):
            cost = self.time.seconds / self.one.seconds - 1
            goals.append(Goal(f"{MANY_CLUSTERS} clusters within 8 % of one ({100 * cost:+.0f} %)", cost <= 0.08))
        return goals

    def cells(self, ceilings: Ceilings) -> list[str]:
        rate, share = self.work.rate(self.time, ceilings)
        return [
            f"{self.shape[0]} x {self.shape[1]}",
            str(self.rows),
            self.format,
            self.clusters,
            microseconds(self.time),
            percent(self.time.spread),
            microseconds(self.floats),
            f"{self.gain:.2f}",
            rate,
            percent(share),
            "; ".join(map(str, self.goals(ceilings))),
        ]


LINE_HEAD = ("K x N", "M", "format", "clusters", "us", "spread", "f16, us", "x f16", "rate", "of ceiling", "goals")


def digest(lines: Sequence[Line], ceilings: Ceilings) -> str:
    """By format and rows, from the worst to the best of all shapes."""
    all_rows = sorted({line.rows for line in lines})
    body = []
    for name in dict.fromkeys((line.format, line.clusters) for line in lines):
        cells = []
        for rows in all_rows:
            of_cell = [line for line in lines if (line.format, line.clusters, line.rows) == (*name, rows)]
            shares = [line.work.rate(line.time, ceilings)[1] for line in of_cell]
            gains = [line.gain for line in of_cell]
            cells.append(f"{min(gains):.2f} ... {max(gains):.2f} x, {percent(min(shares))} ... {percent(max(shares))}")
        body.append([", clusters ".join(name), *cells])
    return table(["x f16, of ceiling", *(f"M {rows}" for rows in all_rows)], body)


def microseconds(time: Time) -> str:
    return f"{time.seconds * 1e6:.2f}"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def summary(lines: Iterable[Line], ceilings: Ceilings) -> str:
    goals = [goal for line in lines for goal in line.goals(ceilings)]
    return f"Goals met: {sum(goal.met for goal in goals)} of {len(goals)}."
