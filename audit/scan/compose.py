"""The parts of a report put together, and judged."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ... import __version__
from ..checkpoints.pair import Checkpoint
from ..data.base import TrainingSet
from ..recipe.fields import FIELDS
from ..report.exposure import Exposure
from ..report.facts import Architecture, Fact, Inputs, Records, SearchPoint
from ..report.facts import Checkpoint as CheckpointInfo
from ..report.model import AuditReport, Environment
from ..report.results import AttackResult, PlanStep
from ..report.verdict import Finding, Verdict
from ..run.cards import reported
from ..verdict.advice import advise
from ..verdict.expression import Gate
from ..verdict.findings import Evidence, findings
from ..verdict.gate import judge
from ..verdict.leaderboard import leaderboard, per_record, ranking, recovered_by_any
from ..verdict.sentence import phrased
from .candidates import Candidate
from .learn import Learned
from .limitations import ASSUMED, limitations
from .proof import UNPROVEN, Proof
from .reading import reading
from .scene import Scene


def report(
    scene: Scene,
    learned: Learned,
    attacks: Sequence[AttackResult],
    gates: Sequence[Gate],
    plan: Sequence[PlanStep] = (),
    proof: Proof = UNPROVEN,
    exposure: Exposure | None = None,
) -> AuditReport:
    """Apply the rules to what was found, judge what these say, and put all parts together."""
    recipe, inputs, kind = _recipe(learned, attacks), _inputs(scene, attacks), scene.kind.about
    model = _model(scene)
    found, verdict = judged(scene, learned, attacks, gates, plan, proof, exposure)
    whole = AuditReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        evidence=scene.request.evidence,
        kind=kind,
        model=model,
        command=scene.request.command(),
        seed=scene.request.seed,
        verdict=verdict,
        inputs=inputs,
        architecture=_architecture(scene),
        recipe=recipe,
        delta=scene.delta,
        vocabulary=scene.vocabulary,
        search=search_points(learned),
        plan=list(plan),
        cards=reported(),
        attacks=list(attacks),
        ranking=ranking(attacks, kind) if attacks else "",
        leaderboard=leaderboard(attacks),
        per_record=per_record(attacks),
        recovered_by_any=recovered_by_any(attacks),
        findings=found,
        check=proof.check,
        power=proof.power,
        exposure=exposure,
        limitations=limitations(scene, recipe, learned, attacks),
        environment=_environment(scene),
    )
    return whole.model_copy(update={"advice": advise(whole), "verdict": phrased(whole)}).sealed()


def judged(
    scene: Scene,
    learned: Learned,
    attacks: Sequence[AttackResult],
    gates: Sequence[Gate],
    plan: Sequence[PlanStep],
    proof: Proof,
    exposure: Exposure | None = None,
) -> tuple[list[Finding], Verdict]:
    """Return what the rules find, and the verdict."""
    kind, recipe = scene.kind.about, _recipe(learned, attacks)
    evidence = Evidence(
        kind, _model(scene), _inputs(scene, attacks), recipe, scene.delta, attacks, reported(), proof.check,
        proof.power, scene.vocabulary, exposure,
    )  # fmt: skip
    found = findings(evidence)
    return found, judge(attacks, gates, kind, plan, found, proof.power, exposure)


def _recipe(learned: Learned, attacks: Sequence[AttackResult]) -> dict[str, Fact]:
    settled = _settled(learned.facts, attacks)
    return {name: settled[name] for name in FIELDS if name in settled}


def _model(scene: Scene) -> str:
    return scene.request.name or Path(scene.pair.after.path).name


def _settled(facts: dict[str, Fact], attacks: Sequence[AttackResult]) -> dict[str, Fact]:
    """Return the facts with a number of samples that only the attack could show: the significant dummies."""
    size, first = facts["size"], next((attack for attack in attacks if attack.reconstructions), None)
    if size.source != "assumed" or first is None:
        return facts
    idle = sum(dummy.insignificant for dummy in first.reconstructions)
    if not idle:
        return facts
    left = len(first.reconstructions) - idle
    why = f"{idle} of {len(first.reconstructions)} dummies of {first.name} have a clearly smaller influence"
    found = Fact(value=left, source="inferred", option="--size", confidence=0.7, evidence=why)
    return {name: fact for name, fact in facts.items() if name != "labels"} | {"size": found}


def search_points(learned: Learned) -> list[SearchPoint]:
    """Return every candidate of the search."""
    chosen = -1 if learned.chosen is None else learned.chosen.number
    return [_search_point(candidate, candidate.number == chosen) for candidate in learned.trace]


def _search_point(candidate: Candidate, chosen: bool) -> SearchPoint:
    recipe = candidate.recipe
    return SearchPoint(
        lr=recipe.lr,
        optimizer=recipe.optimizer,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        rung=candidate.rung,
        loss=candidate.loss,
        cosine=candidate.cosine,
        change_ratio=candidate.change_ratio,
        iterations=candidate.steps,
        status=candidate.status,
        chosen=chosen,
    )


def _inputs(scene: Scene, attacks: Sequence[AttackResult]) -> Inputs:
    def checkpoint(found: Checkpoint) -> CheckpointInfo:
        return CheckpointInfo(
            path=found.path, format=found.format, sha256=found.sha256, dtypes=list(found.dtypes), key=found.key
        )

    def records(path: Any, found: TrainingSet | None) -> Records | None:
        if found is None:
            return None
        return Records(
            path=str(path),
            sha256=found.digest,
            count=len(found.records),
            resized=found.resized,
            reading=reading(found, attacks if found is scene.data else ()),
            skipped=list(found.skipped),
        )

    return Inputs(
        before=checkpoint(scene.pair.before),
        after=checkpoint(scene.pair.after),
        data=records(scene.request.data, scene.data),
        control=records(scene.request.control, scene.control),
    )


def _architecture(scene: Scene) -> Architecture:
    found, tensors = scene.architecture, scene.pair.after.tensors
    return Architecture(
        family=found.family,
        name=found.name,
        score=found.score,
        classes=found.classes,
        shape=found.shape,
        parameters=sum(value.numel() for value in tensors.values() if value.is_floating_point()),
        tensors=len(tensors),
        moved=sorted(scene.pair.moved),
        assumed=[ASSUMED[fact] for fact in found.assumed if fact in ASSUMED],
    )


def _environment(scene: Scene) -> Environment:
    device = scene.victim.like.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return Environment(
        memaudit=__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        platform=f"{platform.system()}-{platform.release()}-{platform.machine()}",  # platform() runs a program, uname
        device=f"{device} ({name})",
        threads=torch.get_num_threads(),
    )
