"""The change of a pair altered: noise added to it, or its numbers rounded to few bits."""

import hashlib
import math
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ... import MemauditError
from ...attacks.contract.attack import generator
from ...attacks.contract.params import Params
from ..change.readings import STATISTICS
from ..checkpoints.pair import CheckpointPair
from ..files import refuse_links
from ..run.store import StoreError, key

MOST_BITS = 16
"""Rounding a change to more bits than this alters it hardly more than storing it as float32 does."""

MOST_NOISE = 1e6
"""A larger standard deviation, as a multiple of the change, is taken for a mistake."""


class DefenceError(MemauditError):
    """A defence that cannot be measured."""


@dataclass(frozen=True)
class Defence:
    """One way to alter the change of the parameters.

    Attributes:
        kind: ``noise`` adds Gaussian noise; ``bits`` rounds each tensor's change.
        value: Standard deviation over the root mean square of the change; or number of bits.
    """

    kind: Literal["noise", "bits"]
    value: float

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.kind}-{self.value:.10g}"

    def __str__(self) -> str:
        """Return it in words."""
        if self.kind == "noise":
            return f"noise of {self.value:.10g} times the change"
        return f"the change in {self.value:.0f} bit{'s' * (self.value != 1)}"


def parse_defences(noise: str | None, bits: str | None) -> tuple[Defence, ...]:
    """Return the defences that ``--noise`` and ``--bits`` list, in ascending order of what they alter.

    Raises:
        DefenceError: An empty list, an entry that is not a number, or a number out of range.
    """
    levels = [] if noise is None else [_level(word) for word in _listed("--noise", noise)]
    counts = [] if bits is None else [_count(word) for word in _listed("--bits", bits)]
    found = [Defence("noise", level) for level in sorted(levels)]
    found += [Defence("bits", count) for count in sorted(counts, reverse=True)]
    return tuple({defence.name: defence for defence in found}.values())


def _listed(option: str, text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise DefenceError(f"{option} '{text[:40]}' has an empty entry.", "Separate the numbers by single commas.")
    return words


def _level(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 < value <= MOST_NOISE:
        raise DefenceError(
            f"--noise {word[:40]} is not a number of more than 0 and at most {MOST_NOISE:g}.",
            "It is the noise's standard deviation as a multiple of the root mean square of the change: 0.01 for 1 %.",
        )
    return value


def _count(word: str) -> int:
    value = int(word) if word.isascii() and word.isdigit() and len(word) < 4 else 0
    if not 1 <= value <= MOST_BITS:
        raise DefenceError(f"--bits {word[:40]} is not a whole number from 1 to {MOST_BITS}.", "Give for example 8,4.")
    return value


@dataclass(frozen=True)
class Distorted:
    """A defence as it was carried out, and the norm of what it altered over that of the change."""

    kind: Literal["none", "noise", "bits"]
    value: float | None
    distortion: float


def altered(pair: CheckpointPair, defence: Defence, seed: int) -> dict[str, Tensor]:
    """Return the tensors after training with their change altered, in the precision that they are stored in.

    Tensors that did not move and whole numbers stay as they are. Batch-norm statistics are not parameters and differ
    in size: their noise is a multiple of their own change, and a variance stays positive. Tensors that equal each
    other before and after training, as tied ones do, stay equal.

    Args:
        pair: The checkpoints.
        defence: What is done to the change.
        seed: Of the noise.
    """
    rms = {False: _rms(pair, _parameters(pair)), True: _rms(pair, pair.moved - _parameters(pair))}
    result = {}
    for name, after in pair.after.tensors.items():
        stored = pair.after.stored.get(name, after.dtype)
        if name not in pair.moved:
            result[name] = after.to(stored)
            continue
        before = pair.before.tensors[name].double()
        change = after.double() - before
        if defence.kind == "bits":
            change = rounded(change, int(defence.value))
        else:
            change = change + defence.value * rms[name.endswith(STATISTICS)] * _draw(before, change, seed)
        value = before + change
        if name.endswith(STATISTICS[1]):
            value = value.clamp(min=float(torch.minimum(before, after.double()).min()))
        result[name] = value.to(stored)
    return result


def _draw(before: Tensor, change: Tensor, seed: int) -> Tensor:
    """Return standard noise that depends on a tensor's values, and so is the same for tied ones and for every level."""
    content = hashlib.sha256(before.numpy().tobytes() + change.numpy().tobytes()).hexdigest()
    return torch.randn(change.shape, generator=generator(int(key("noise", seed, content)[:15], 16)), dtype=change.dtype)


def rounded(change: Tensor, bits: int) -> Tensor:
    """Return a change on a uniform grid of ``2**bits - 1`` values around zero, as far out as its largest number.

    With one bit, its signs times the mean of their magnitudes, zeros apart.
    """
    size = change.abs()
    if not bool(size.any()):
        return change
    if bits == 1:
        return change.sign() * float(size.sum() / size.count_nonzero())
    step = float(size.max()) / (2 ** (bits - 1) - 1)
    return change.div(step).round().mul(step)


def distortion(pair: CheckpointPair, tensors: Params) -> float:
    """Return the norm of what was altered over the norm of the change, of the parameters that moved."""
    moved = _parameters(pair)
    after, before = pair.after.tensors, pair.before.tensors
    off = math.fsum(_power(tensors[name].double() - after[name].double()) for name in sorted(moved))
    whole = math.fsum(_power(after[name].double() - before[name].double()) for name in sorted(moved))
    return math.sqrt(off / whole)


def _parameters(pair: CheckpointPair) -> frozenset[str]:
    return frozenset(name for name in pair.moved if not name.endswith(STATISTICS))


def _rms(pair: CheckpointPair, names: frozenset[str]) -> float:
    before, after = pair.before.tensors, pair.after.tensors
    count = sum(before[name].numel() for name in names)
    power = math.fsum(_power(after[name].double() - before[name].double()) for name in sorted(names))
    return math.sqrt(power / max(count, 1))


def _power(values: Tensor) -> float:
    return float(values.square().sum())


def publish(pair: CheckpointPair, defence: Defence, seed: int, path: Path) -> Distorted:
    """Write the altered checkpoint, in one file that appears whole or not at all."""
    tensors = altered(pair, defence, seed)
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values() if value.is_floating_point()):
        raise DefenceError(f"With {defence} some weights overflow.", "Give less noise.")
    refuse_links(path)
    beside = path.with_name(f".memaudit-{secrets.token_hex(6)}.part")  # no link can wait there
    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, beside)
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        beside.unlink(missing_ok=True)
        raise StoreError(f"The checkpoint {path} cannot be written ({error}).", "Free some space.") from None
    return Distorted(defence.kind, defence.value, distortion(pair, tensors))
