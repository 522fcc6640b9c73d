"""``memaudit defend``: how much less a pair leaks once the published change is altered, and what that costs.

The pair is scanned as it is; then, for each defence, again with an altered checkpoint after training. The attacker of
an altered model is taken to know the same recipe, but nothing of the defence.

::

    RUN/                            the scan of the pair as it is, and the report with the curve
    RUN/defences/recipe.toml        what that scan learned, and every other one is given
    RUN/defences/noise-0.1/         after.safetensors and the scan of it
"""

import dataclasses
import hashlib
import math
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ... import MemauditError
from ...attacks.contract.attack import generator
from ...attacks.contract.params import Params
from ..change.readings import STATISTICS
from ..checkpoints.pair import CheckpointPair, read
from ..data.base import TrainingSet, open_source
from ..events import Event, Listener, silence
from ..families.base import fitted
from ..files import write_text
from ..machine.numerics import exact_numerics
from ..outputs import Look, check_outputs, read_context, write_outputs
from ..recipe import file as recipe_file
from ..recipe.fields import SAID
from ..report.facts import Fact
from ..report.model import AuditReport
from ..report.verdict import DefencePoint
from ..request import ScanRequest, check
from ..run.store import Store, StoreError, key
from ..scan import pipeline
from ..scan.place import run_folder
from ..scan.scene import Scene, load

MOST_BITS = 16
"""Rounding to more bits alters a change that is stored as float32 hardly more than storing it does."""

MOST_NOISE = 1e6
"""Standard deviations above this many times the change are a slip of the pen."""

AFTER = "after.safetensors"
"""What an altered checkpoint is called in the folder of its scan."""

BATCH = 256
"""Test images that are classified at once."""

TOO_FEW = "MA102"
"""The rule that says so."""


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
        DefenceError: An empty list, what is no number, or a number out of range.
    """
    levels = [] if noise is None else [_level(word) for word in _listed("--noise", noise)]
    counts = [] if bits is None else [_count(word) for word in _listed("--bits", bits)]
    found = [Defence("noise", level) for level in sorted(levels)]
    found += [Defence("bits", count) for count in sorted(counts, reverse=True)]
    return tuple({defence.name: defence for defence in found}.values())


def _listed(option: str, text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise DefenceError(f"{option} '{text[:40]}' lists nothing in one place.", "Separate numbers by single commas.")
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


def defend(
    request: ScanRequest, defences: Sequence[Defence], test: str | None = None, listener: Listener = silence
) -> AuditReport:
    """Measure what a pair leaks as it is and after each defence, and write one report into the run folder.

    Running the same again resumes: every scan keeps its own state.

    Args:
        request: The scan of the pair as it is; it needs ``data``. ``max_time`` is that of each scan.
        defences: What to measure; at least one.
        test: Labelled images that the model's accuracy is measured on.
        listener: Hears one event for everything that happens.

    Returns:
        The report of the pair as it is, with its ``defences``: first ``none``, then one for each.

    Raises:
        MemauditError: Unusable input or options, in one sentence and a hint.
        Interrupted: The user stopped it; the state is saved.
    """
    check(request)
    if request.data is None:
        raise DefenceError("Without --data no leak can be measured.", "Give the data that the model was trained on.")
    if not defences:
        raise DefenceError("There is no defence to measure.", "Give --noise or --bits.")
    outputs, look = check_outputs(request.outputs), Look(request.evidence, read_context(request.context))
    with exact_numerics():
        scene = load(request)
        bench = None if test is None else _open_test(test, scene)
    with Store(run_folder(scene) / "defences").held():
        told, folder = _measure(request, defences, test, scene, bench, listener)
        for path in write_outputs(told, folder, outputs, look):
            listener(Event("report", str(path)))
    return told


def _measure(
    request: ScanRequest,
    defences: Sequence[Defence],
    test: str | None,
    scene: Scene,
    bench: TrainingSet | None,
    listener: Listener,
) -> tuple[AuditReport, Path]:
    """Scan the pair as it is and after each defence; return the report with the curve, and the run folder."""
    folder = run_folder(scene)
    place = folder / "defences"
    runs = [Store(place / defence.name).folder for defence in defences]
    made = [
        _publish(scene.pair, defence, request.seed, run / AFTER) for defence, run in zip(defences, runs, strict=True)
    ]
    plain = dataclasses.replace(request, out=folder, outputs=())
    listener(Event("defend", f"the pair as it is, then {_many(len(defences), 'defence')}, each a scan of its own"))
    scans = [pipeline.scan(plain, listener)]
    points = [_point(scans[0], Distorted("none", None, 0.0), _accuracy(scene, scene.pair.after.tensors, bench))]
    given = _informed(plain, scans[0], place / "recipe.toml")
    for number, (defence, run, distorted) in enumerate(zip(defences, runs, made, strict=True), 1):
        listener(Event("defend", f"{defence} ({number} of {len(defences)})"))
        scans.append(pipeline.scan(dataclasses.replace(given, after=run / AFTER, out=run), listener))
        points.append(_point(scans[-1], distorted, _accuracy(scene, read(run / AFTER).tensors, bench)))
    _warn(scans, listener)
    told = scans[0].model_copy(update={"defences": points, "command": _command(request, defences, test)})
    return told.sealed(), folder


@dataclass(frozen=True)
class Distorted:
    """A defence as it was carried out, and the norm of what it altered over that of the change."""

    kind: Literal["none", "noise", "bits"]
    value: float | None
    distortion: float


def _open_test(spec: str, scene: Scene) -> TrainingSet:
    found = open_source(spec, scene.architecture.shape)
    most = scene.architecture.categories
    if bool((found.labels < 0).any()):
        raise DefenceError(f"--test {spec} has images without a label.", "Accuracy needs one for each image.")
    if int(found.labels.max()) >= most:
        raise DefenceError(
            f"--test {spec} has the label {int(found.labels.max())}; the network knows {most} classes.",
            "Number the classes from 0, as in training.",
        )
    return found


def _warn(scans: Sequence[AuditReport], listener: Listener) -> None:
    if not scans[0].recovered_by_any:
        listener(Event("warning", "Nothing was recovered from the pair as it is: no defence can show less."))
    if any(finding.rule == TOO_FEW for scan in scans for finding in scan.findings):
        kind, words = scans[0].kind, scans[0].kind.words
        told = f"With so few {words.many} to compare with, a defended {words.one} hardly counts as recovered"
        listener(Event("warning", f"{told}: go by the {kind.statistic}, or give more with --control."))


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def altered(pair: CheckpointPair, defence: Defence, seed: int) -> dict[str, Tensor]:
    """Return the tensors after training with their change altered, in the precision that they are stored in.

    Tensors that did not move and whole numbers stay as they are. Batch-norm statistics are no parameters and of
    another size: their noise is a multiple of their own change, and a variance stays positive. Tensors that are equal
    before and after training, as tied ones are, stay equal.

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


def _publish(pair: CheckpointPair, defence: Defence, seed: int, path: Path) -> Distorted:
    """Write the altered checkpoint, in one file that appears whole or not at all."""
    tensors = altered(pair, defence, seed)
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values() if value.is_floating_point()):
        raise DefenceError(f"With {defence} some weights overflow.", "Give less noise.")
    beside = path.with_suffix(".tmp")
    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, beside)
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        beside.unlink(missing_ok=True)
        raise StoreError(f"The checkpoint {path} cannot be written ({error}).", "Free some space.") from None
    return Distorted(defence.kind, defence.value, distortion(pair, tensors))


def _informed(request: ScanRequest, report: AuditReport, path: Path) -> ScanRequest:
    """Return a request whose recipe is what a scan knew, learned and assumed, all of it given; nothing is searched for.

    Label counts that the scan made up are not part of it, as its own attacks did not use them either.
    """
    facts = {
        name: Fact(value=fact.value, source="given", evidence=f"{fact.source} by the scan of the pair as it is")
        for name, fact in report.recipe.items()
        if name != "labels" or fact.source == "given"
    }
    unsaid: dict[str, Any] = dict.fromkeys(name for name in SAID if name in recipe_file.FILED)
    recipe = write_text(path, recipe_file.dump(facts))
    return dataclasses.replace(request, **unsaid, recipe=recipe, name=report.model)


def _accuracy(scene: Scene, tensors: Params, test: TrainingSet | None) -> float | None:
    """Return the share of the test images that the network classifies correctly with these tensors, in eval mode."""
    if test is None:
        return None
    victim = scene.victim
    whole, like = fitted(tensors, victim.module), victim.like
    params = {name: whole[name].to(like.device) for name in (*victim.theta0, *victim.buffers)}
    params = {name: value.to(like.dtype) if value.is_floating_point() else value for name, value in params.items()}
    right = 0
    with torch.no_grad(), exact_numerics():
        for start in range(0, len(test.labels), BATCH):
            part = slice(start, start + BATCH)
            logits = victim.logits(params, victim.medium.encode(test.records[part].to(like)))
            guess = logits.argmax(1) if victim.classes > 1 else (logits[:, 0] > 0).long()
            right += int((guess.cpu() == test.labels[part]).sum())
    return right / len(test.labels)


def _point(report: AuditReport, made: Distorted, accuracy: float | None) -> DefencePoint:
    """Return what an attacker gets: the best result of any attack, and all that they recover together."""
    measured = [attack.metrics for attack in report.attacks if attack.metrics]
    data = report.inputs.data
    return DefencePoint(
        kind=made.kind,
        value=made.value,
        distortion=made.distortion,
        records=data.count if data else 0,
        similarity_mean=max((metrics.similarity_mean for metrics in measured), default=None),
        similarity_max=max((metrics.similarity_max for metrics in measured), default=None),
        recovered=report.recovered_by_any if measured else None,
        verdict=report.verdict.status,
        accuracy=accuracy,
    )


def _command(request: ScanRequest, defences: Sequence[Defence], test: str | None) -> str:
    words = ["memaudit", "defend", *shlex.split(request.command())[2:]]
    for kind in ("noise", "bits"):
        if values := [f"{defence.value:.10g}" for defence in defences if defence.kind == kind]:
            words += [f"--{kind}", ",".join(values)]
    return shlex.join([*words, *(["--test", test] if test else [])])
