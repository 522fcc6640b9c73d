"""From outcomes and matches to the report's parts."""

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...attacks.contract.attack import Reconstruction, generator
from ..data.base import TrainingSet
from ..events import Listener, silence
from ..report.pictures import save_picture
from ..report.results import Agreement, AttackResult, Decoy, Dummy, Match, Metrics, Scores, Status
from ..run.drive import Outcome, Run
from ..scoring import chance as calibrate
from ..scoring import effort as scoring
from ..scoring import match as matching
from ..scoring.consensus import CHANCE, CONFIDENT, MARGIN, Consensus, consensus
from ..scoring.decoys import decoys
from ..scoring.idle import insignificant
from ..scoring.similarity import Told
from ..verdict.leaderboard import ORDER
from .limitations import PLATEAU

if TYPE_CHECKING:
    from .scene import Scene

CURVE_POINTS = 400
"""Most points of a loss curve that a report keeps."""

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


@dataclass(frozen=True)
class _Desk:
    """Where results are described.

    Attributes:
        scene: What is known of the victim.
        folder: The run folder.
        level: Rate of false discoveries.
        told: Hears of pairs of images while they are scored.
        floors: Decoys by their number: the same for every result.
    """

    scene: "Scene"
    folder: Path
    level: float
    told: Told
    floors: dict[int, list[Decoy]] = field(default_factory=dict)

    def floor(self, truth: Tensor, count: int) -> list[Decoy]:
        """Return what as many decoys score as there are reconstructions."""
        if count not in self.floors:
            self.floors[count] = decoys(truth, count, generator(self.scene.request.seed))
        return self.floors[count]

    def save(self, image: Tensor, name: str) -> str:
        """Save a picture, unless none may be kept; return its path in the run folder."""
        return save_picture(image, self.folder, name, self.scene.request.evidence != "none")


def attack_results(
    scene: "Scene", runs: Sequence[Run], folder: Path, listener: Listener = silence
) -> list[AttackResult]:
    """Match reconstructions with the training set, save the pictures, and describe what came out.

    Args:
        scene: What is known of the victim; its images are what reconstructions are compared with.
        runs: Of every attack one for each seed.
        folder: The run folder.
        listener: Hears how many pairs of images are scored.

    Returns:
        One result for each run, attack by attack, and after several seeds of an attack that which they agree on. An
        attack that refuses the victim gives one result, whatever the number of seeds. The rate of false discoveries is
        shared equally by all results that are compared with training images (Bonferroni).
    """
    by: dict[str, list[Run]] = {}
    for run in runs:
        by.setdefault(run.attack.name, []).append(run)
    counts = [count for same in by.values() for count in _compared(same)]
    foreseen = 0 if scene.data is None else scoring.pairs(scene.data, scene.control, counts)
    told = scoring.Progress(listener, foreseen)
    desk = _Desk(scene, folder, calibrate.LEVEL / max(len(counts), 1), told)
    results = [result for same in by.values() for result in _results(desk, same)]
    told.close()
    return results


def _compared(runs: Sequence[Run]) -> list[int]:
    """Return how many images each result has that the runs of one attack give, where it has any."""
    found = [run.outcome.reconstruction for run in runs if run.outcome and run.outcome.reconstruction]
    agreed = agreeing(runs)[1]
    return [len(one.records) for one in (*found, *(agreed[:1] if len(agreed) > 1 else ()))]


def _results(desk: _Desk, runs: Sequence[Run]) -> list[AttackResult]:
    """Describe the runs of one attack."""
    results = [_run_result(desk, run, run.outcome) for run in runs if run.outcome]
    seeds, images = agreeing(runs)
    if len(images) > 1:
        results.append(_consensus_result(desk, results, seeds, consensus(images)))
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


def _run_result(desk: _Desk, run: Run, outcome: Outcome) -> AttackResult:
    found, status = outcome.reconstruction, _status(desk.scene, outcome)
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
    return result.model_copy(update=_evidence(desk, found, f"{run.attack.name}/seed-{run.seed}"))


def _status(scene: "Scene", outcome: Outcome) -> Status:
    spent = outcome.status == "stalled" and scene.request.max_iterations is not None
    return "budget_spent" if spent else outcome.status


def _consensus_result(
    desk: _Desk, results: Sequence[AttackResult], seeds: Sequence[int], found: Consensus
) -> AttackResult:
    """Describe a consensus: it took the time of all seeds, and ended no better than the worst of those in it."""
    name, members = results[0].name, [result for result in results if result.seed in seeds]
    evidence = _evidence(desk, found.reconstruction, f"{name}/consensus", found.confidence)
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


def _evidence(desk: _Desk, found: Reconstruction, name: str, confidence: Tensor | None = None) -> dict[str, Any]:
    """Return those fields of a result that come from its images."""
    pictures = [desk.save(image, f"{name}/dummy-{i:04d}") for i, image in enumerate(found.records)]
    idle = _idle(desk.scene, found)
    matches, metrics = _matches(desk, found, idle, pictures)
    dummies = _dummies(found, idle, pictures, confidence)
    return {"loss": found.loss, "metrics": metrics, "matches": matches, "reconstructions": dummies}


def _idle(scene: "Scene", found: Reconstruction) -> Tensor:
    """Return which dummies stand for no image, where the attack explains the change at all.

    None where the size is known; as many as the change shows samples are never set apart.
    """
    none = torch.zeros(len(found.influence), dtype=torch.bool)
    size, data = scene.request.size, scene.data
    told = size is None or (data is not None and size == len(data.records))
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
    desk: _Desk, found: Reconstruction, idle: Tensor, pictures: Sequence[str]
) -> tuple[list[Match], Metrics | None]:
    """Pair the significant dummies with training images."""
    scene, data, method = desk.scene, desk.scene.data, desk.scene.request.matching
    if data is None:
        return [], None
    kept = (~idle).nonzero().flatten().to(found.records.device)
    found = dataclasses.replace(found, records=found.records[kept], inputs=found.inputs[kept])
    pictures = [pictures[int(place)] for place in kept]
    paired = matching.match(found, data, scene.victim.medium, scene.control, method, desk.level, desk.told)
    matches = [_match(pair, int(kept[pair.dummy]), data, pictures[pair.dummy], desk) for pair in paired.matches]
    return matches, _metrics(matches, paired, desk, desk.floor(data.records, len(found.records)))


def _match(pair: matching.Match, dummy: int, data: TrainingSet, picture: str, desk: _Desk) -> Match:
    return Match(
        sample=pair.sample,
        name=data.names[pair.sample],
        label=_class_name(data, int(data.labels[pair.sample])),
        dummy=dummy,
        scores=Scores(ssim=pair.ssim, ssim_paper=pair.ssim_paper, psnr=pair.psnr, mse=pair.mse),
        nearest_ssim=pair.nearest_ssim,
        p_value=pair.p_value,
        q_value=pair.q_value,
        rank=pair.rank,
        recovered=pair.recovered,
        original=desk.save(data.records[pair.sample], f"data/sample-{pair.sample:05d}"),
        reconstruction=picture,
    )


def _class_name(data: TrainingSet, label: int) -> str:
    if label < 0:
        return ""
    return data.class_names[label] if label < len(data.class_names) else str(label)


def _metrics(matches: Sequence[Match], paired: matching.Matching, desk: _Desk, floor: list[Decoy]) -> Metrics:
    ssim = [match.scores.ssim for match in matches]
    paper = [match.scores.ssim_paper for match in matches]
    recovered, count = sum(match.recovered for match in matches), len(paired.observed)
    return Metrics(
        images=count,
        pairs=len(matches),
        matching=desk.scene.request.matching,
        criterion=_criterion(desk.level, paired.null),
        ssim_mean=statistics.fmean(ssim),
        ssim_max=max(ssim),
        ssim_paper_mean=statistics.fmean(paper),
        ssim_paper_max=max(paper),
        psnr_mean=statistics.fmean(match.scores.psnr for match in matches),
        recovered=recovered,
        recovered_fraction=recovered / count,
        recovered_interval=calibrate.interval(recovered, count),
        decoys=floor,
        **_held_against(paired, desk),
    )


def _criterion(level: float, null: matching.Null) -> str:
    what = {"control": "held-out images", "mismatched": "reconstructions of other images, turned and mirrored ones"}
    return (
        f"SSIM of at least {matching.RECOVERED_SSIM} and higher than {len(null.values)} comparisons with "
        f"{what[null.kind]} allow at a false discovery rate of {level:.1%}"
    )


def _held_against(paired: matching.Matching, desk: _Desk) -> dict[str, Any]:
    """Return those metrics that say what chance gives."""
    null, observed = paired.null, paired.observed
    least = max(calibrate.detectable(null.values, len(observed), desk.level), matching.RECOVERED_SSIM)
    found: dict[str, Any] = {
        "null_kind": null.kind,
        "null": calibrate.kept(null.values),
        "null_size": len(null.values),
        "observed": calibrate.kept(observed),
        "detectable_ssim": least,
        "tpr_at_1_fpr": calibrate.tpr_at_1_fpr(observed, null.values),
    }
    if null.kind == "control":
        found |= {
            "control_pairs": len(null.matched),
            "control_recovered": int((null.matched >= matching.RECOVERED_SSIM).sum()),
            "control_ssim_mean": float(null.matched.mean()),
            "control_ssim_max": float(null.matched.max()),
            "p_value": calibrate.shifted(observed, null.values),
        }
    if paired.nearest is not None:
        drawn, trained = paired.nearest
        pool = len(observed) + len(null.values)
        found |= {
            "identifiable": trained,
            "nearest": drawn,
            "pool": pool,
            "identifiable_p_value": calibrate.pointed(trained, drawn, len(observed), pool),
        }
    return found


def _thin(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float | None]]:
    stride = -(-len(curve) // CURVE_POINTS) or 1
    kept = list(curve[::stride])
    return [*kept, curve[-1]] if curve and kept[-1] != curve[-1] else kept  # type: ignore[return-value]
