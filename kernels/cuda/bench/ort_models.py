"""Whole models within ONNX Runtime: speed, memory, and the loss against that on the CPU."""

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

# By how much a loss may differ from that on the CPU: in nats, and in parts of it. That of random weights is large, and its perplexity,
# which is exp of it, says little of how far two models are apart.
NATS = 1e-3
SHARE = 1e-3
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
        head = ("model", *(f"{n} tokens, tokens/s" for n in self._sizes.lengths), "memory, MB", "perplexity", "on the CPU", "apart, nats")
        compiled = [self._compiled(path) for path in sorted(folder.iterdir())] if folder else []
        return table(head, [*compiled, *(self._made(name) for name in COMPARED)])

    def _compiled(self, folder: Path) -> list[str]:
        """A model that qc has compiled, with what it gave on the CPU."""
        expected = math.log(json.loads((folder / "expected.json").read_text())["perplexity"])
        windows, before = np.load(folder / "tokens.npy"), used_bytes()
        session = Session(folder / "model.onnx", self._setting.library, self._setting.provider)
        losses = [loss(logits_of(session, ids), ids) for ids in windows]
        vocabulary = logits_of(session, windows[0, :1]).shape[-1]
        return self._line(Model(folder.name, session, vocabulary, windows.shape[1], before), float(np.mean(losses)), expected)

    def _made(self, name: str) -> list[str]:
        """A decoder whose linears have this format. Those of ours are run on the CPU as well."""
        setting, shape, ours = self._setting, self._sizes.transformer, linear.is_ours(name)
        with tempfile.TemporaryDirectory() as folder:
            path = transformer.Transformer(shape, name, setting.random, Path(folder)).write()
            before = used_bytes()
            session = Session(path, setting.library, setting.provider, ours=ours)
            model = Model(f"{shape.width} x {shape.layers}, random weights, {name}", session, shape.vocabulary, shape.positions, before)
            ids = self._tokens(self._sizes.scored, shape.vocabulary)
            found = loss(model.logits(ids), ids)
            expected = loss(logits_of(Session(path, setting.library, CPU), ids), ids) if ours else None
            return self._line(model, found, expected)

    def _line(self, model: Model, found: float, expected: float | None) -> list[str]:
        """Of losses, in nats."""
        speeds = [self._speed(model, length) for length in self._sizes.lengths]
        memory = f"{(used_bytes() - model.before) / 1e6:.0f}"
        if expected is None:
            return [model.title, *speeds, memory, perplexity(found), "-", "-"]
        if not agree(found, expected):
            self._setting.wrong.append(f"{model.title}: a loss of {found:.4f} nats, on the CPU {expected:.4f}")
        return [model.title, *speeds, memory, perplexity(found), perplexity(expected), f"{abs(found - expected):.1e}"]

    def _speed(self, model: Model, length: int) -> str:
        """Tokens per second of one run of so many."""
        if length > model.longest:
            return "-"
        feeds = feeds_of(model.session, self._tokens(length, model.vocabulary))
        seconds = model.session.bind(feeds, (1, length, model.vocabulary), np.float32).seconds()
        return f"{length / seconds:.0f}"

    def _tokens(self, count: int, vocabulary: int) -> np.ndarray:
        return self._setting.random.integers(count, low=0, high=vocabulary - 1, dtype=torch.int64).numpy(force=True)


def agree(found: float, expected: float) -> bool:
    """Whether the losses of one model on two providers are equal but for rounding; a loss that is not finite agrees with none."""
    return math.isfinite(expected) and abs(found - expected) <= NATS + SHARE * abs(expected)


def perplexity(of_loss: float) -> str:
    x = np.exp(of_loss)
    return f"{x:.4f}" if x < 1e6 else f"{x:.2e}"


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
