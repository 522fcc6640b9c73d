"""From outcomes and matches to the report's parts."""

import dataclasses
import platform
import statistics
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from scipy.stats import binomtest
from torch import Tensor

from .. import __version__
from ..attacks.base import Reconstruction
from . import match as matching
from .checkpoint import Checkpoint
from .consensus import CHANCE, CONFIDENT, MARGIN, Consensus, consensus
from .data.base import TrainingSet
from .drive import Outcome, Run
from .evidence import save_picture
from .gate import Gate, judge
from .infer import Candidate, at_edge
from .leaderboard import ORDER, leaderboard, per_image, ranking, recovered_by_any
from .planner import SIMULATING
from .report import (
    Agreement,
    Architecture,
    AttackResult,
    AuditReport,
    Dummy,
    Environment,
    Fact,
    Images,
    Inputs,
    Match,
    Metrics,
    PlanStep,
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

FEATURES = (
    "it found what a frozen part of the network makes of the training images; the pictures were made up to match that, "
    "so the loss does not speak for them"
)


def attack_results(scene: "Scene", runs: Sequence[Run], folder: Path) -> list[AttackResult]:
    """Match reconstructions with the training set, save the pictures, and describe what came out.

    Args:
        scene: What is known of the victim; its images are what reconstructions are compared with.
        runs: Of every attack one for each seed.
        folder: The run folder.

    Returns:
        One result for each run, attack by attack, and after several seeds of an attack that which they agree on. An
        attack that refuses the victim gives one result, whatever the number of seeds.
    """
    by: dict[str, list[Run]] = {}
    for run in runs:
        by.setdefault(run.attack.name, []).append(run)
    return [result for same in by.values() for result in _results(scene, same, folder)]


def _results(scene: "Scene", runs: Sequence[Run], folder: Path) -> list[AttackResult]:
    """Describe the runs of one attack."""
    results = [_run_result(scene, run, run.outcome, folder) for run in runs if run.outcome]
    seeds, images = agreeing(runs)
    if len(images) > 1:
        results.append(_consensus_result(scene, results, seeds, consensus(images), folder))
    return results or [_refused(runs[0])]


def agreeing(runs: Sequence[Run]) -> tuple[list[int], list[Reconstruction]]:
    """Return seeds and reconstructions for a consensus: what converged where several did, else all but diverged."""
    tried = [(run.outcome.status, run.seed, run.outcome.reconstruction) for run in runs if run.outcome]
    usable = [(status, seed, found) for status, seed, found in tried if found and status != "diverged"]
    converged = [(status, seed, found) for status, seed, found in usable if status == "converged"]
    chosen = converged if len(converged) > 1 else usable
    return [seed for _, seed, _ in chosen], [found for *_, found in chosen]


def _refused(run: Run) -> AttackResult:
    return AttackResult(
        name=run.attack.name, seed=run.seed, status="unsupported", reason=run.reason,
        options=dataclasses.asdict(run.attack), loss=None, iterations=0, seconds=0.0, peak_memory_bytes=0,
    )  # fmt: skip


def _run_result(scene: "Scene", run: Run, outcome: Outcome, folder: Path) -> AttackResult:
    found, status = outcome.reconstruction, _status(scene, outcome)
    result = AttackResult(
        name=run.attack.name,
        seed=run.seed,
        status=status,
        reason=REASONS[status] if found is None or found.explained else FEATURES,
        options=dataclasses.asdict(run.attack),
        loss=None,
        iterations=outcome.steps,
        seconds=outcome.seconds,
        peak_memory_bytes=outcome.peak_bytes,
        curve=_thin(outcome.curve),
    )
    if found is None:
        return result
    return result.model_copy(update=_evidence(scene, found, folder, f"{run.attack.name}/seed-{run.seed}"))


def _status(scene: "Scene", outcome: Outcome) -> Status:
    spent = outcome.status == "stalled" and scene.request.max_iterations is not None
    return "budget_spent" if spent else outcome.status


def _consensus_result(
    scene: "Scene", results: Sequence[AttackResult], seeds: Sequence[int], found: Consensus, folder: Path
) -> AttackResult:
    """Describe a consensus: it took the time of all seeds, and ended no better than the worst of those in it."""
    name, members = results[0].name, [result for result in results if result.seed in seeds]
    evidence = _evidence(scene, found.reconstruction, folder, f"{name}/consensus", found.confidence)
    return AttackResult(
        name=name,
        kind="consensus",
        status=max((member.status for member in members), key=ORDER.__getitem__),
        options={},
        iterations=sum(result.iterations for result in results),
        seconds=sum(result.seconds for result in results),
        peak_memory_bytes=max(result.peak_memory_bytes for result in results),
        agreement=_agreement(found, seeds, evidence["reconstructions"]),
        **evidence,
    )


def _agreement(found: Consensus, seeds: Sequence[int], dummies: Sequence[Dummy]) -> Agreement:
    kept = torch.tensor([not dummy.insignificant for dummy in dummies])
    criterion = f"a mean SSIM between the seeds of at least {CONFIDENT}"
    if found.chance is not None:
        criterion += f", {MARGIN} above {CHANCE:.0%} of what images of two seeds give that do not belong together"
    return Agreement(
        seeds=list(seeds),
        reference=seeds[found.reference],
        criterion=criterion,
        confidence_mean=float(found.confidence[kept].mean()),
        confidence_max=float(found.confidence[kept].max()),
        confident=int(found.confident[kept].sum()),
        chance=found.chance,
    )


def _evidence(
    scene: "Scene", found: Reconstruction, folder: Path, name: str, confidence: Tensor | None = None
) -> dict[str, Any]:
    """Return those fields of a result that come from its images."""
    pictures = [save_picture(image, folder, f"{name}/dummy-{i:04d}") for i, image in enumerate(found.images)]
    idle = _idle(scene, found)
    matches, metrics = _matches(scene, found, idle, pictures, folder)
    dummies = _dummies(found, idle, pictures, confidence)
    return {"loss": found.loss, "metrics": metrics, "matches": matches, "reconstructions": dummies}


def _idle(scene: "Scene", found: Reconstruction) -> Tensor:
    """Return which dummies stand for no image, where the attack explains the change at all.

    None where the size is known; as many as the change shows samples are never set apart.
    """
    none = torch.zeros(len(found.influence), dtype=torch.bool)
    size, data = scene.request.size, scene.data
    told = size is None or (data is not None and size == len(data.images))
    if found.loss > PLATEAU or (told and scene.known.facts["size"].source == "given"):
        return none
    idle, rank = insignificant(found.influence, found.twins), scene.delta.facts.get("size")
    influence = found.influence.cpu()
    if found.twins is not None:
        influence = influence.masked_fill(found.twins.cpu(), -1.0)
    if rank is not None:
        idle[influence.argsort(descending=True)[: int(rank.value)]] = False  # type: ignore[arg-type]
    return idle


def _dummies(
    found: Reconstruction, idle: Tensor, pictures: Sequence[str], confidence: Tensor | None = None
) -> list[Dummy]:
    sure = [None] * len(pictures) if confidence is None else confidence.tolist()
    rows = zip(found.labels.tolist(), found.influence.tolist(), pictures, idle.tolist(), sure, strict=True)
    return [
        Dummy(dummy=i, label=int(y), influence=c, picture=p, insignificant=small, confidence=trust)
        for i, (y, c, p, small, trust) in enumerate(rows)
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
    paper = [match.scores.ssim_paper for match in matches]
    recovered = sum(match.recovered for match in matches)
    criterion = f"SSIM of at least {matching.RECOVERED_SSIM}"
    control: dict[str, Any] = {}
    if null is not None:
        criterion += f" and above {matching.NULL_QUANTILE:.0%} of {len(null)} matches with held-out images"
        control = {
            "control_pairs": len(null),
            "control_recovered": int((null >= matching.RECOVERED_SSIM).sum()),
            "control_ssim_mean": float(null.mean()),
            "control_ssim_max": float(null.max()),
        }
    return Metrics(
        images=count,
        pairs=len(matches),
        matching=method,
        criterion=criterion,
        ssim_mean=statistics.fmean(ssim),
        ssim_max=max(ssim),
        ssim_paper_mean=statistics.fmean(paper),
        ssim_paper_max=max(paper),
        psnr_mean=statistics.fmean(match.scores.psnr for match in matches),
        recovered=recovered,
        recovered_fraction=recovered / count,
        recovered_interval=interval(recovered, count),
        **control,
    )


def interval(found: int, count: int) -> tuple[float, float]:
    """Return the Clopper-Pearson 95 % interval of a share."""
    ends = binomtest(found, count).proportion_ci(0.95, "exact")
    return float(ends.low), float(ends.high)


def _thin(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float | None]]:
    stride = -(-len(curve) // CURVE_POINTS) or 1
    kept = list(curve[::stride])
    return [*kept, curve[-1]] if curve and kept[-1] != curve[-1] else kept  # type: ignore[return-value]


def report(
    scene: "Scene",
    learned: "Learned",
    attacks: Sequence[AttackResult],
    gates: Sequence[Gate],
    plan: Sequence[PlanStep] = (),
) -> AuditReport:
    """Put the parts together and judge them."""
    recipe = Recipe(**_settled(learned.facts, attacks))
    return AuditReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=scene.request.command(),
        seed=scene.request.seed,
        verdict=judge(attacks, gates, plan),
        inputs=_inputs(scene),
        architecture=_architecture(scene),
        recipe=recipe,
        delta=scene.delta,
        search=search_points(learned),
        plan=list(plan),
        attacks=list(attacks),
        ranking=ranking(attacks),
        leaderboard=leaderboard(attacks),
        per_image=per_image(attacks),
        recovered_by_any=recovered_by_any(attacks),
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
    said += _compared(scene, attacks)
    if learned.chosen is not None and at_edge(learned.chosen, learned.trace):
        said.append("The learning rate lies outside the grid of those that were tried: the true one may lie beyond.")
    if recipe.lr.source == "assumed":
        said.append("No learning rate was found in the time that was given; the attacks ran with an assumed one.")
    if count := len(scene.victim.masked):
        said.append(
            f"The change of {count} tensor{'s' * (count > 1)} is mostly rounding; the attacks left that out of what "
            "they compare."
        )
    tried = [
        attack for attack in attacks if attack.name in SIMULATING and attack.kind == "run" and attack.loss is not None
    ]
    closest = min(tried, key=lambda attack: attack.loss or 0.0, default=None)
    if closest is not None and (warning := too_small(closest, scene)):
        said.append(warning)
    said += [
        f"Assumed, as the file does not tell: {ASSUMED[fact]} (--model replaces it)."
        for fact in scene.architecture.assumed
        if fact in ASSUMED
    ]
    return said + _endings(attacks)


def _compared(scene: "Scene", attacks: Sequence[AttackResult]) -> list[str]:
    """Say what the comparison with training and held-out images cannot tell."""
    data, control, said = scene.data, scene.control, []
    if data is None:
        said.append("No training data were given (--data), so no reconstruction was compared with a training image.")
    elif control is None:
        said.append(
            "No held-out images were given (--control), so similarity by chance was not measured and 'recovered' means "
            f"SSIM of at least {matching.RECOVERED_SSIM} alone."
        )
    elif len(control.images) < len(data.images):
        said.append("There are fewer held-out images than training images, so similarity by chance is underestimated.")
    measured = [attack.metrics for attack in attacks if attack.metrics]
    if len(measured) > 1 and control is not None:
        said.append(
            f"Each of {len(measured)} results was held against chance by itself: an image that only one of them "
            "recovers is weaker evidence than one that several do."
        )
    if alarms := max((found.control_recovered or 0 for found in measured), default=0):
        said.append(
            f"Negative control: up to {alarms} held-out images reach SSIM {matching.RECOVERED_SSIM} too, so that "
            "similarity alone is no proof here; see the p-values."
        )
    if any(found is not None and found.resized for found in (data, control)):
        said.append("Some images were resized to the network's input size before they were compared.")
    return said


def _endings(attacks: Sequence[AttackResult]) -> list[str]:
    """Say which attacks did not converge and why, those with several seeds once for each way to end."""
    runs = Counter(attack.name for attack in attacks if attack.kind == "run")
    ends = Counter((attack.name, attack.status, attack.reason) for attack in attacks if attack.reason)
    said = []
    for (name, status, reason), count in ends.items():
        seeds = f" with {count} of {runs[name]} seeds" if runs[name] > 1 else ""
        said.append(f"Attack {name} ended as {status}{seeds}: {reason}.".replace("..", "."))
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
