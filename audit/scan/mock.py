"""The mock victim: what the attacks of a scan rebuild from a training like the audited one, on held-out records.

It is trained by plain :mod:`torch.optim` from the same start, by the same recipe, on as many records, and rounded
alike; then the same attacks run on it with the same settings. Attacks that rebuild nothing there clear nothing here.
"""

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch

from ...attacks.contract.attack import generator
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ..change.facts import read_delta
from ..check.training import trained
from ..checkpoints.pair import CheckpointPair
from ..data.base import TrainingSet
from ..events import Event
from ..families.base import unfitted
from ..machine.alarm import TimeUp, alarm
from ..machine.clock import NEVER
from ..machine.means import Means
from ..report.exposure import Exposure
from ..report.kind import RecordKind
from ..report.proof import DataCheck, MockVictim
from ..report.results import AttackResult, PlanStep
from ..run.planner import Choice
from ..run.store import Store
from ..verdict.expression import Gate
from ..verdict.leaderboard import recovered_by_any
from .attack import attack
from .compose import judged
from .learn import Learned
from .place import job_place
from .proof import Proof, with_recipe
from .results import attack_results
from .scene import Scene

ENOUGH = 0.5
"""Share of the mock's records that the attacks have to recover to have power."""

SHARE = 1 / 3
"""Share of the time that attacks leave to those on the mock."""


class Found(NamedTuple):
    """What a scan has found so far: all that its verdict depends on, but for the power of its attacks."""

    scene: Scene
    learned: Learned
    results: Sequence[AttackResult]
    gates: Sequence[Gate]
    plan: Sequence[PlanStep]
    check: DataCheck | None
    exposure: Exposure | None = None


def before_proof(scene: Scene, means: Means) -> Means:
    """Return the means of the attacks: where a mock victim may be needed, they leave it a share of the time."""
    own, limits = scene.data, means.limits
    if own is None or limits.deadline == NEVER or _impossible(scene, own, means):
        return means
    return means.until(limits.deadline.earlier(SHARE * limits.deadline.left))


def prove(found: Found, candidates: Sequence[Choice], store: Store, means: Means) -> Proof:
    """Return what the verdict rests on; the mock victim is only made where all else would let the audit pass."""
    names = [result.name for result in found.results]
    assumed = MockVictim(status="leaks", attacks=names, reason="")
    parts = found.scene, found.learned, found.results, found.gates, found.plan
    verdict = judged(*parts, Proof(found.check, assumed), found.exposure)[1]
    scene, recipe, own = found.scene, found.learned.recipe, found.scene.data
    if verdict.status != "pass" or found.check is None or own is None:
        return Proof(found.check)
    if why := _impossible(scene, own, means):
        return Proof(found.check, MockVictim(status="left out", reason=why))
    try:
        with alarm(means.limits.deadline):
            check = with_recipe(found.check, scene, recipe, means.listener)
            means.listener(Event("power", "a training like this one, on held-out records"))
            mock = mock_scene(scene, recipe, own, scene.control or own)
    except TimeUp:
        return Proof(found.check, MockVictim(status="left out", reason=_LATE))
    return Proof(check, power(mock, own, recipe, candidates, check, store, means))


def power(
    mock: Scene,
    own: TrainingSet,
    recipe: Recipe,
    candidates: Sequence[Choice],
    check: DataCheck,
    store: Store,
    means: Means,
) -> MockVictim:
    """Attack the mock victim, and say what was recovered.

    Args:
        mock: Its scene.
        own: The training records of the audit.
        recipe: By which the attacks of the audit ran.
        candidates: The attacks it chose from.
        check: Whether that recipe gives the audited change.
        store: The run folder: attacks on the mock resume as others do.
        means: What is left of the audit's time and memory.
    """
    began = time.monotonic()
    told = _told(recipe, mock.victim, mock.data or own)
    runs, _ = attack(mock, told, candidates, job_place(mock, store), means)
    results = attack_results(mock, runs, store.folder, means.listener)
    finders = dict.fromkeys(result.name for result in results if result.metrics and result.metrics.recovered)
    kind, recovered = mock.kind.about, recovered_by_any(results) or 0
    wrong = not check.recipe
    return MockVictim(
        status="leaks" if recovered >= ENOUGH * len(own.records) and not wrong else "silent",
        records=len(own.records),
        recovered=recovered,
        similarity_mean=max((r.metrics.similarity_mean for r in results if r.metrics), default=None),
        attacks=list(finders),
        seconds=time.monotonic() - began,
        reason=_WRONG.format(kind.words.many) if wrong else _reason(kind, recovered, len(own.records)),
    )


def _impossible(scene: Scene, own: TrainingSet, means: Means) -> str:
    """Return why there can be no mock victim."""
    if scene.request.power == "off":
        return "Whether these attacks have power was not measured (--power off)."
    if scene.pair.fresh:
        return _UNKNOWN
    many = scene.kind.about.words.many
    size = len(own.records)
    if scene.control is None or len(scene.control.records) < size:
        return (
            f"Whether these attacks have power needs as many held-out {many} as training {many}: give {size} or more "
            "with --control."
        )
    return _LATE if means.limits.deadline.over else ""


def mock_scene(scene: Scene, recipe: Recipe, own: TrainingSet, control: TrainingSet) -> Scene:
    """Return the scene of a victim that was trained on some of ``control``, drawn once; all others are held out."""
    order, size = torch.randperm(len(control.records), generator=generator(scene.request.seed)), len(own.records)
    data, rest = _part(control, order[:size]), _joined(own, _part(control, order[size:]))
    pair = mock_pair(scene, recipe, data)
    ground = dataclasses.replace(scene.ground, pair=pair, victim=None)
    ground = dataclasses.replace(ground, victim=ground())
    request = dataclasses.replace(scene.request, evidence="none")
    delta = read_delta(pair, scene.architecture, ground)
    return dataclasses.replace(scene, request=request, pair=pair, ground=ground, delta=delta, data=data, control=rest)


def mock_pair(scene: Scene, recipe: Recipe, data: TrainingSet) -> CheckpointPair:
    """Return the files that a training on ``data`` would have left, rounded as the audited one is."""
    victim = scene.victim
    x = victim.medium.encode(data.records.to(victim.like))
    plain = dataclasses.replace(recipe, size=len(x), batch_size=min(recipe.batch_size, len(x)), labels=None)
    end = trained(victim, plain, x, _labels(victim, data), generator(scene.request.seed))
    values = {name: value.cpu() for name, value in end.items()}
    before, after = scene.pair.before, scene.pair.after
    tensors = unfitted(values, victim.module, before.tensors)
    stored = {name: value.to(after.stored.get(name, value.dtype)).to(value.dtype) for name, value in tensors.items()}
    digest = hashlib.sha256()
    for name in sorted(stored):
        digest.update(stored[name].contiguous().numpy().tobytes())
    mocked = dataclasses.replace(after, path="mock", sha256=digest.hexdigest(), tensors=stored)
    return dataclasses.replace(scene.pair, after=mocked)


def _labels(victim: Victim, data: TrainingSet) -> torch.Tensor:
    """Return the labels of held-out records: their own where they are usable, else each class as often as others."""
    usable = bool(((data.labels >= 0) & (data.labels < victim.categories)).all())
    return data.labels if usable else torch.arange(len(data.records)) % victim.categories


def _told(recipe: Recipe, victim: Victim, data: TrainingSet) -> Recipe:
    """Return what an attacker would know of the mock: what they know of the audited one."""
    if recipe.labels is None:
        return recipe
    counts = torch.bincount(_labels(victim, data), minlength=victim.categories)
    return dataclasses.replace(recipe, labels=tuple(counts.tolist()))


_LATE = "There was no time left to measure whether these attacks have power."

_UNKNOWN = (
    "Whether these attacks have power cannot be measured, as the start of a part of the network is unknown: give the "
    "network as it was when training began, its new head or adapter included, as BEFORE."
)

_WRONG = (
    "Training on the {} by the recipe in use gives another change, so that what these attacks can show of it is not "
    "known."
)


def _reason(kind: RecordKind, recovered: int, size: int) -> str:
    rebuilt = f"{recovered or 'none'} of {kind.words.count(size)}"
    if recovered >= ENOUGH * size:
        return f"These attacks rebuild {rebuilt} from a training like this one."
    return f"These attacks rebuild {rebuilt} from a training like this one, so that they clear nothing."


def _part(data: TrainingSet, rows: torch.Tensor) -> TrainingSet:
    names = tuple(data.names[row] for row in rows.tolist())
    return dataclasses.replace(data, records=data.records[rows], labels=data.labels[rows], names=names, readings=())


def _joined(one: TrainingSet, two: TrainingSet) -> TrainingSet:
    return dataclasses.replace(
        one, records=torch.cat([one.records, two.records]), labels=torch.cat([one.labels, two.labels]),
        names=(*one.names, *two.names), readings=(),
    )  # fmt: skip
