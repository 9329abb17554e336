"""Whole models within ONNX Runtime: speed, memory, and perplexity against that on the CPU."""

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench import linear, transformer
from bench.report import table
from bench.sessions import CPU, Session, Setting, used_bytes

# By how much a perplexity may differ from that on the CPU.
TOLERANCE = 1e-3
COMPARED = (linear.F16, linear.NBITS, "W4A16", "W4A8")


@dataclass(frozen=True)
class Sizes:
    transformer: transformer.Shape
    # Tokens of a run that is timed, and of the one that is scored.
    lengths: tuple[int, ...]
    scored: int


REAL = Sizes(transformer.OPT_1_3B, (1, 128, 1024), 128)
TINY = Sizes(transformer.TINY, (1, 16), 16)


@dataclass(frozen=True)
class Model:
    title: str
    session: Session
    vocabulary: int
    # Tokens that it takes at most, as far as is known.
    longest: int
    # Memory of the GPU in use before it came.
    before: int

    def logits(self, ids: np.ndarray) -> np.ndarray:
        return logits_of(self.session, ids)


class Models:
    def __init__(self, setting: Setting, sizes: Sizes):
        self._setting = setting
        self._sizes = sizes

    def report(self, folder: Path | None) -> str:
        """Of the models in a folder, and of decoders with random weights."""
        head = ("model", *(f"{n} tokens, tokens/s" for n in self._sizes.lengths), "memory, MB", "perplexity", "on the CPU", "apart")
        compiled = [self._compiled(path) for path in sorted(folder.iterdir())] if folder else []
        return table(head, [*compiled, *(self._made(name) for name in COMPARED)])

    def _compiled(self, folder: Path) -> list[str]:
        """A model that qc has compiled, with what it gave on the CPU."""
        expected = json.loads((folder / "expected.json").read_text())["perplexity"]
        windows, before = np.load(folder / "tokens.npy"), used_bytes()
        session = Session(folder / "model.onnx", self._setting.library, self._setting.provider)
        losses = [loss(logits_of(session, ids), ids) for ids in windows]
        vocabulary = logits_of(session, windows[0, :1]).shape[-1]
        return self._line(Model(folder.name, session, vocabulary, windows.shape[1], before), math.exp(np.mean(losses)), expected)

    def _made(self, name: str) -> list[str]:
        """A decoder whose linears have this format. Those of ours are run on the CPU as well."""
        setting, shape, ours = self._setting, self._sizes.transformer, linear.is_ours(name)
        with tempfile.TemporaryDirectory() as folder:
            path = transformer.Transformer(shape, name, setting.random, Path(folder)).write()
            before = used_bytes()
            session = Session(path, setting.library, setting.provider, ours=ours)
            model = Model(f"{shape.width} x {shape.layers}, random weights, {name}", session, shape.vocabulary, shape.positions, before)
            ids = self._tokens(self._sizes.scored, shape.vocabulary)
            found = math.exp(loss(model.logits(ids), ids))
            expected = math.exp(loss(logits_of(Session(path, setting.library, CPU), ids), ids)) if ours else None
            return self._line(model, found, expected)

    def _line(self, model: Model, found: float, expected: float | None) -> list[str]:
        speeds = [self._speed(model, length) for length in self._sizes.lengths]
        memory = f"{(used_bytes() - model.before) / 1e6:.0f}"
        if expected is None:
            return [model.title, *speeds, memory, f"{found:.4f}", "-", "-"]
        apart = abs(found / expected - 1)
        if not apart <= TOLERANCE:
            self._setting.wrong.append(f"{model.title}: perplexity {found:.4f}, on the CPU {expected:.4f}")
        return [model.title, *speeds, memory, f"{found:.4f}", f"{expected:.4f}", f"{apart:.1e}"]

    def _speed(self, model: Model, length: int) -> str:
        """Tokens per second of one run of so many."""
        if length > model.longest:
            return "-"
        feeds = feeds_of(model.session, self._tokens(length, model.vocabulary))
        seconds = model.session.bind(feeds, (1, length, model.vocabulary), np.float32).seconds()
        return f"{length / seconds:.0f}"

    def _tokens(self, count: int, vocabulary: int) -> np.ndarray:
        return self._setting.random.integers(count, low=0, high=vocabulary - 1, dtype=torch.int64).numpy(force=True)


def feeds_of(session: Session, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Of one row of tokens."""
    known = {"input_ids": ids[None], "attention_mask": np.ones_like(ids[None])}
    return {name: known[name] for name in session.inputs}


def logits_of(session: Session, ids: np.ndarray) -> np.ndarray:
    """[S, vocabulary]"""
    return session.run(feeds_of(session, ids))[0]


def loss(logits: np.ndarray, ids: np.ndarray) -> float:
    """The mean of -log p(token | tokens before it) over all tokens but the first."""
    return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits[:-1]).double(), torch.from_numpy(ids[1:])))
