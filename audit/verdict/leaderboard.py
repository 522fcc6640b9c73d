"""Which result is best, and for which record. No torch here."""

import math
from collections.abc import Sequence
from typing import Any, get_args

from ..report.kind import RecordKind
from ..report.results import AttackResult, BestMatch, LeaderboardRow, Metrics, Status

ORDER = {status: place for place, status in enumerate(get_args(Status))}

_TAIL = (
    "how the attack ended (converged, stalled, budget spent, diverged, unsupported), then by mean confidence, highest "
    "first (a single seed has none and follows), then by loss, lowest first, which hardly compares different attacks."
)


def ranking(attacks: Sequence[AttackResult], kind: RecordKind) -> str:
    """Return the rule of :func:`leaderboard` in words."""
    words = kind.words
    if not any(attack.metrics for attack in attacks):
        return f"Nothing was compared with training {words.many}, so by {_TAIL}"
    return (
        f"By mean {kind.statistic} over all training {words.many}, highest first; those that no reconstruction was "
        f"paired with count as 0. Results that were not compared with training {words.many} follow, by {_TAIL}"
    )


def leaderboard(attacks: Sequence[AttackResult]) -> list[LeaderboardRow]:
    """Rank results as :func:`ranking` says."""
    return [_row(place, attack) for place, attack in enumerate(sorted(attacks, key=_rank), 1)]


def per_record(attacks: Sequence[AttackResult]) -> list[BestMatch]:
    """Return the most similar reconstruction of each training record that was paired with any, in their order."""
    found: dict[int, BestMatch] = {}
    recovered: dict[int, dict[str, None]] = {}
    for attack in attacks:
        for match in attack.matches:
            if match.recovered:
                recovered.setdefault(match.sample, {})[attack.name] = None
            best = found.get(match.sample)
            if best is None or match.scores.similarity > best.match.scores.similarity:
                found[match.sample] = BestMatch(attack=attack.name, kind=attack.kind, seed=attack.seed, match=match)
    return [
        found[sample].model_copy(update={"recovered_by": list(recovered.get(sample, {}))}) for sample in sorted(found)
    ]


def recovered_by_any(attacks: Sequence[AttackResult]) -> int | None:
    """Return how many training records at least one result recovered; ``None`` where none was compared with them."""
    if not any(attack.metrics for attack in attacks):
        return None
    return len({match.sample for attack in attacks for match in attack.matches if match.recovered})


def _rank(attack: AttackResult) -> tuple[float, int, float, float]:
    confidence = attack.agreement.confidence_mean if attack.agreement else -math.inf
    similar = _mean_over_all(attack.metrics) if attack.metrics else -math.inf
    return -similar, ORDER[attack.status], -confidence, math.inf if attack.loss is None else attack.loss


def _mean_over_all(metrics: Metrics) -> float:
    pairs = metrics.records if metrics.pairs is None else metrics.pairs
    return metrics.similarity_mean * pairs / metrics.records


def _row(rank: int, attack: AttackResult) -> LeaderboardRow:
    told = attack.metrics.model_dump() if attack.metrics else {}
    scores: dict[str, Any] = {name: value for name, value in told.items() if name in LeaderboardRow.model_fields}
    return LeaderboardRow(
        rank=rank,
        attack=attack.name,
        kind=attack.kind,
        seed=attack.seed,
        status=attack.status,
        confidence_mean=attack.agreement.confidence_mean if attack.agreement else None,
        loss=attack.loss,
        seconds=attack.seconds,
        peak_memory_bytes=attack.peak_memory_bytes or None,
        **scores,
    )
