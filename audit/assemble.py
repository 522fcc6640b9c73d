"""From outcomes and matches to the report's parts."""

import dataclasses
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import __version__
from ..attacks.base import Attack, Reconstruction
from . import match as matching
from .checkpoint import Checkpoint
from .data.base import TrainingSet
from .drive import Outcome
from .evidence import save_picture
from .gate import Gate, judge
from .infer import Candidate, at_edge
from .report import (
    Architecture,
    AttackResult,
    AuditReport,
    Dummy,
    Environment,
    Fact,
    Images,
    Inputs,
    LeaderboardRow,
    Match,
    Metrics,
    Recipe,
    Scores,
    SearchPoint,
    Status,
)
from .report import Checkpoint as CheckpointInfo
from .significance import insignificant

if TYPE_CHECKING:
    from .pipeline import Learned, Scene

PLATEAU = 0.1
"""Cosine distance above which the paper sees that no dummy set of this size fits."""

CURVE_POINTS = 400
"""Most points of a loss curve that a report keeps."""

ASSUMED = {
    "activation": "the activations are ReLU",
    "stem_pooling": "there is no pooling after the first convolution",
}
"""What :attr:`memaudit.audit.families.base.Architecture.assumed` stands for, in words."""

REASONS = {
    "converged": "",
    "stalled": "the schedule ended with a loss above the attack's tolerance, so the simulated training does not "
    "explain the real one; try more iterations or another recipe",
    "budget_spent": "the budget ended the attack before it converged; give more --max-time or --max-iterations",
    "diverged": "the loss became NaN or exploded; try a smaller step size or another recipe",
}


def attack_result(scene: "Scene", attack: Attack, outcome: Outcome | None, reason: str, folder: Path) -> AttackResult:
    """Match one attack's reconstructions with the training set, save the pictures, and describe the outcome."""
    options = dataclasses.asdict(attack)
    if outcome is None or outcome.reconstruction is None:
        return AttackResult(
            name=attack.name, status="unsupported", reason=reason, options=options, loss=None, iterations=0,
            seconds=0.0, peak_memory_bytes=0,
        )  # fmt: skip
    found = outcome.reconstruction
    pictures = [save_picture(image, folder, f"{attack.name}/dummy-{i:04d}") for i, image in enumerate(found.images)]
    idle = _idle(scene, found)
    matches, metrics = _matches(scene, found, idle, pictures, folder) if outcome.steps else ([], None)
    status: Status = outcome.status
    if status == "stalled" and scene.request.max_iterations is not None:
        status = "budget_spent"
    return AttackResult(
        name=attack.name,
        status=status,
        reason=REASONS[status],
        options=options,
        loss=found.loss,
        iterations=outcome.steps,
        seconds=outcome.seconds,
        peak_memory_bytes=outcome.peak_bytes,
        metrics=metrics,
        matches=matches,
        reconstructions=_dummies(found, idle, pictures),
        curve=_thin(outcome.curve),
    )


def _idle(scene: "Scene", found: Reconstruction) -> Tensor:
    """Return which dummies stand for no image, where the attack explains the change at all.

    None where the size is known; as many as the change shows samples are never set apart.
    """
    none = torch.zeros(len(found.influence), dtype=torch.bool)
    if found.loss > PLATEAU or (scene.request.size is None and scene.known.facts["size"].source == "given"):
        return none
    idle, rank = insignificant(found.influence, found.twins), scene.delta.facts.get("size")
    influence = found.influence.cpu()
    if found.twins is not None:
        influence = influence.masked_fill(found.twins.cpu(), -1.0)
    if rank is not None:
        idle[influence.argsort(descending=True)[: int(rank.value)]] = False  # type: ignore[arg-type]
    return idle


def _dummies(found: Reconstruction, idle: Tensor, pictures: Sequence[str]) -> list[Dummy]:
    rows = zip(found.labels.tolist(), found.influence.tolist(), pictures, idle.tolist(), strict=True)
    return [
        Dummy(dummy=i, label=int(y), influence=c, picture=p, insignificant=small)
        for i, (y, c, p, small) in enumerate(rows)
    ]


def _matches(
    scene: "Scene", found: Reconstruction, idle: Tensor, pictures: Sequence[str], folder: Path
) -> tuple[list[Match], Metrics | None]:
    """Pair the significant dummies with training images."""
    data, method = scene.data, scene.request.matching
    if data is None:
        return [], None
    kept = (~idle).nonzero().flatten().to(found.images.device)
    found = dataclasses.replace(found, images=found.images[kept], normalised=found.normalised[kept])
    pictures = [pictures[int(place)] for place in kept]
    paired = matching.match(found, data, scene.victim.normalisation, scene.control, method)
    matches = [_match(pair, int(kept[pair.dummy]), data, pictures[pair.dummy], folder) for pair in paired.matches]
    return matches, _metrics(matches, len(data.images), paired.null, method)


def _match(pair: matching.Match, dummy: int, data: TrainingSet, picture: str, folder: Path) -> Match:
    return Match(
        sample=pair.sample,
        name=data.names[pair.sample],
        label=_class_name(data, int(data.labels[pair.sample])),
        dummy=dummy,
        scores=Scores(ssim=pair.ssim, ssim_paper=pair.ssim_paper, psnr=pair.psnr, mse=pair.mse),
        p_value=pair.p_value,
        recovered=pair.recovered,
        original=save_picture(data.images[pair.sample], folder, f"data/sample-{pair.sample:05d}"),
        reconstruction=picture,
    )


def _class_name(data: TrainingSet, label: int) -> str:
    if label < 0:
        return ""
    return data.class_names[label] if label < len(data.class_names) else str(label)


def _metrics(matches: Sequence[Match], count: int, null: Any, method: str) -> Metrics:
    ssim = [match.scores.ssim for match in matches]
    recovered = sum(match.recovered for match in matches)
    criterion = f"SSIM of at least {matching.RECOVERED_SSIM}"
    if null is not None:
        criterion += f" and above {matching.NULL_QUANTILE:.0%} of {len(null)} matches with held-out images"
    return Metrics(
        images=count,
        matching=method,
        criterion=criterion,
        ssim_mean=statistics.fmean(ssim),
        ssim_max=max(ssim),
        ssim_paper_mean=statistics.fmean(match.scores.ssim_paper for match in matches),
        psnr_mean=statistics.fmean(match.scores.psnr for match in matches),
        recovered=recovered,
        recovered_fraction=recovered / count,
        control_ssim_mean=None if null is None else float(null.mean()),
        control_ssim_max=None if null is None else float(null.max()),
    )


def _thin(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float | None]]:
    stride = -(-len(curve) // CURVE_POINTS) or 1
    kept = list(curve[::stride])
    return [*kept, curve[-1]] if curve and kept[-1] != curve[-1] else kept  # type: ignore[return-value]


def leaderboard(attacks: Sequence[AttackResult]) -> list[LeaderboardRow]:
    """Rank attacks by mean SSIM (best first); those without one by loss, behind."""

    def rank(attack: AttackResult) -> tuple[float, float]:
        ssim = attack.metrics.ssim_mean if attack.metrics else float("-inf")
        return -ssim, float("inf") if attack.loss is None else attack.loss

    return [
        LeaderboardRow(
            rank=place,
            attack=attack.name,
            status=attack.status,
            ssim_mean=attack.metrics.ssim_mean if attack.metrics else None,
            ssim_max=attack.metrics.ssim_max if attack.metrics else None,
            recovered=attack.metrics.recovered if attack.metrics else None,
            loss=attack.loss,
            seconds=attack.seconds,
        )
        for place, attack in enumerate(sorted(attacks, key=rank), 1)
    ]


def report(scene: "Scene", learned: "Learned", attacks: Sequence[AttackResult], gates: Sequence[Gate]) -> AuditReport:
    """Put the parts together and judge them."""
    recipe = Recipe(**_settled(learned.facts, attacks))
    return AuditReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=scene.request.command(),
        seed=scene.request.seed,
        verdict=judge(attacks, gates),
        inputs=_inputs(scene),
        architecture=_architecture(scene),
        recipe=recipe,
        delta=scene.delta,
        search=search_points(learned),
        attacks=list(attacks),
        leaderboard=leaderboard(attacks),
        limitations=limitations(scene, recipe, learned, attacks),
        environment=_environment(scene),
    )


def _settled(facts: dict[str, Fact], attacks: Sequence[AttackResult]) -> dict[str, Fact]:
    """Return the facts with a number of samples that only the attack could tell: the significant dummies."""
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


def search_points(learned: "Learned") -> list[SearchPoint]:
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


def _inputs(scene: "Scene") -> Inputs:
    def checkpoint(found: Checkpoint) -> CheckpointInfo:
        return CheckpointInfo(path=found.path, format=found.format, sha256=found.sha256, dtypes=list(found.dtypes))

    def images(path: Any, found: TrainingSet | None) -> Images | None:
        if found is None:
            return None
        return Images(path=str(path), sha256=found.digest, count=len(found.images), resized=found.resized)

    return Inputs(
        before=checkpoint(scene.pair.before),
        after=checkpoint(scene.pair.after),
        data=images(scene.request.data, scene.data),
        control=images(scene.request.control, scene.control),
    )


def _architecture(scene: "Scene") -> Architecture:
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


def limitations(scene: "Scene", recipe: Recipe, learned: "Learned", attacks: Sequence[AttackResult]) -> list[str]:
    """Return in words what this audit cannot claim."""
    said = ["Only the attacks listed here were run: an image that they do not recover may still be recoverable."]
    if scene.data is None:
        said.append("No training data were given (--data), so no reconstruction was compared with a training image.")
    elif scene.control is not None and len(scene.control.images) < len(scene.data.images):
        said.append("There are fewer held-out images than training images, so similarity by chance is underestimated.")
    elif scene.control is None:
        said.append(
            "No held-out images were given (--control), so similarity by chance was not measured and 'recovered' means "
            f"SSIM of at least {matching.RECOVERED_SSIM} alone."
        )
    if any(found is not None and found.resized for found in (scene.data, scene.control)):
        said.append("Some images were resized to the network's input size before they were compared.")
    if learned.chosen is not None and at_edge(learned.chosen, learned.trace):
        said.append("The learning rate lies outside the grid of those that were tried: the true one may lie beyond.")
    if recipe.lr.source == "assumed":
        said.append("No learning rate was found in the time that was given; the attacks ran with an assumed one.")
    if count := len(scene.victim.masked):
        said.append(
            f"The change of {count} tensor{'s' * (count > 1)} is mostly rounding; the attacks left that out of what "
            "they compare."
        )
    said += [warning for attack in attacks if (warning := too_small(attack, scene))]
    said += [
        f"Assumed, as the file does not tell: {ASSUMED[fact]} (--model replaces it)."
        for fact in scene.architecture.assumed
        if fact in ASSUMED
    ]
    for attack in attacks:
        if attack.reason:
            said.append(f"Attack {attack.name} ended as {attack.status}: {attack.reason}.".replace("..", "."))
    return said


def too_small(attack: AttackResult, scene: "Scene") -> str:
    """Say that the dummy set is too small where the loss levelled off too high (SimuDy, section 4.5 and Fig. 9)."""
    rank, count = scene.delta.facts.get("size"), len(attack.reconstructions)
    if rank is not None and count and count < int(rank.value):  # type: ignore[arg-type]
        return (
            f"The dummy set of {attack.name} is too small: {count} images, where the change shows {rank.value} "
            f"training samples. Its images are fusions of several; give --size {rank.value} or more."
        )
    if attack.loss is None or attack.loss < PLATEAU or not _level(attack):
        return ""
    return (
        f"The loss of {attack.name} levelled off at {attack.loss:.2g}, above {PLATEAU}: no {count} images explain the "
        "change with this recipe. The dummy set is probably too small (try a larger --size), or the recipe is wrong."
    )


def _level(attack: AttackResult) -> bool:
    """Return whether the loss hardly fell over the last quarter of the run."""
    losses = [loss for _, loss in attack.curve if loss is not None]
    quarter = losses[-max(len(losses) // 4, 1) :]
    return bool(quarter) and min(quarter) > 0.7 * max(quarter)


def _environment(scene: "Scene") -> Environment:
    device = scene.victim.like.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return Environment(
        memaudit=__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        platform=platform.platform(),
        device=f"{device} ({name})",
        threads=torch.get_num_threads(),
    )
