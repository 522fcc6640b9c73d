"""From outcomes of attacks to the results of a report."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from ...attacks.contract.attack import Reconstruction
from ..events import Listener, silence
from ..report.kind import RecordKind
from ..report.results import Agreement, AttackResult, Dummy, Status
from ..run.drive import Outcome, Run
from ..scoring import effort
from ..scoring.consensus import CHANCE, CONFIDENT, MARGIN, Consensus, consensus
from ..scoring.levels import LEVEL
from ..verdict.leaderboard import ORDER
from .evidence import Desk
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


def attack_results(scene: Scene, runs: Sequence[Run], folder: Path, listener: Listener = silence) -> list[AttackResult]:
    """Match reconstructions with the training set, keep what shows them, and describe what came out.

    Args:
        scene: What is known of the victim; its records are what reconstructions are compared with.
        runs: Of every attack one for each seed.
        folder: The run folder.
        listener: Hears how many pairs of records are scored.

    Returns:
        One result for each run, attack by attack, and after several seeds of an attack that which they agree on. An
        attack that refuses the victim gives one result, whatever the number of seeds. The rate of false discoveries is
        shared equally by all results that are compared with training records (Bonferroni).
    """
    by: dict[str, list[Run]] = {}
    for run in runs:
        by.setdefault(run.attack.name, []).append(run)
    counts = [count for same in by.values() for count in _compared(same)]
    foreseen = 0 if scene.data is None else effort.pairs(scene.kind, scene.data, scene.control, counts)
    told = effort.Progress(listener, foreseen, scene.kind.about.words.many)
    desk = Desk(scene, folder, LEVEL / max(len(counts), 1), told)
    results = [result for same in by.values() for result in _results(desk, same)]
    told.close()
    return results


def _compared(runs: Sequence[Run]) -> list[int]:
    """Return how many records each result has that the runs of one attack give, where it has any."""
    found = [run.outcome.reconstruction for run in runs if run.outcome and run.outcome.reconstruction]
    agreed = agreeing(runs)[1]
    return [len(one.records) for one in (*found, *(agreed[:1] if len(agreed) > 1 else ()))]


def _results(desk: Desk, runs: Sequence[Run]) -> list[AttackResult]:
    """Describe the runs of one attack."""
    results = [_run_result(desk, run, run.outcome) for run in runs if run.outcome]
    seeds, found = agreeing(runs)
    if len(found) > 1:
        results.append(_consensus_result(desk, results, seeds, consensus(desk.scene.kind, found)))
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


def _run_result(desk: Desk, run: Run, outcome: Outcome) -> AttackResult:
    found, status = outcome.reconstruction, _status(desk.scene, outcome)
    result = AttackResult(
        name=run.attack.name,
        seed=run.seed,
        status=status,
        reason=(found.doubt if found and status == "stalled" else "") or REASONS[status],
        options=dataclasses.asdict(run.attack),
        loss=None,
        iterations=outcome.steps,
        seconds=outcome.seconds,
        peak_memory_bytes=outcome.peak_bytes,
        curve=_thin(outcome.curve),
    )
    if found is None:
        return result
    return result.model_copy(update=desk.evidence(found, f"{run.attack.name}/seed-{run.seed}")._asdict())


def _status(scene: Scene, outcome: Outcome) -> Status:
    spent = outcome.status == "stalled" and scene.request.max_iterations is not None
    return "budget_spent" if spent else outcome.status


def _consensus_result(
    desk: Desk, results: Sequence[AttackResult], seeds: Sequence[int], found: Consensus
) -> AttackResult:
    """Describe a consensus: it took the time of all seeds, and ended no better than the worst of those in it."""
    name, members = results[0].name, [result for result in results if result.seed in seeds]
    evidence = desk.evidence(found.reconstruction, f"{name}/consensus", found.confidence)
    return AttackResult(
        name=name,
        kind="consensus",
        status=max((member.status for member in members), key=ORDER.__getitem__),
        options={},
        iterations=sum(result.iterations for result in results),
        seconds=sum(result.seconds for result in results),
        peak_memory_bytes=max(result.peak_memory_bytes for result in results),
        agreement=_agreement(desk.scene.kind.about, found, seeds, evidence.reconstructions),
        **evidence._asdict(),
    )


def _agreement(kind: RecordKind, found: Consensus, seeds: Sequence[int], dummies: Sequence[Dummy]) -> Agreement:
    kept, many = torch.tensor([not dummy.insignificant for dummy in dummies]), kind.words.many
    criterion = f"a mean {kind.statistic} between the seeds of at least {CONFIDENT}"
    if found.chance is not None:
        criterion += f", {MARGIN} above {CHANCE:.0%} of the values for unrelated {many} of two seeds"
    return Agreement(
        seeds=list(seeds),
        reference=seeds[found.reference],
        criterion=criterion,
        confidence_mean=float(found.confidence[kept].mean()),
        confidence_max=float(found.confidence[kept].max()),
        confident=int(found.confident[kept].sum()),
        chance=found.chance,
    )


def _thin(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float | None]]:
    stride = -(-len(curve) // CURVE_POINTS) or 1
    last = (len(curve) - 1) // stride * stride
    return [*curve[::stride], *curve[last + 1 :][-1:]]
