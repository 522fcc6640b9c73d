"""What was found against what chance gives: the drawn distributions, and what they say in plain words."""

from dataclasses import dataclass

from markupsafe import Markup

from ...audit.report.kind import RecordKind
from ...audit.report.model import AuditReport
from ...audit.report.results import AttackResult, Metrics, titles
from ...audit.words import count, fixed, percent, probability
from ..common.extracts import standing
from .histogram import Group, Mark, histogram, quantile, swatches

_LEVELS = (0.5, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class Chance:
    """One result compared with chance."""

    title: str
    comparison: str
    chart: Markup
    statements: list[str]
    quantiles: list[tuple[str, int, list[float]]]
    metrics: Metrics


def held_against_chance(report: AuditReport) -> list[Chance]:
    """Return the best result of each attack that was compared with chance, in the order of the leaderboard."""
    best: dict[str, AttackResult] = {}
    for result in standing(report):
        if result.metrics and result.metrics.null and result.metrics.observed:
            best.setdefault(result.name, result)
    names = titles(report.attacks)
    return [
        _chance(report.kind, names[result.key], result.metrics, f"chance-{place}")
        for place, result in enumerate(best.values(), 1)
        if result.metrics
    ]


def comparison(kind: RecordKind, metrics: Metrics) -> str:
    """Return what chance was measured with."""
    return f"{'held-out' if metrics.null_kind == 'control' else 'mismatched'} {kind.words.many}"


def _chance(kind: RecordKind, title: str, metrics: Metrics, key: str) -> Chance:
    other, own = comparison(kind, metrics), f"training {kind.words.many}"
    up = Group(own, metrics.observed, metrics.records)
    down = Group(other, metrics.null, metrics.null_size or len(metrics.null))
    both = [(group.name, group.size, [quantile(group.values, level) for level in _LEVELS]) for group in (up, down)]
    described = "; ".join(
        f"{name}: half are above {fixed(at[0])}, the highest has {fixed(at[-1])}" for name, _, at in both
    )
    drawn = histogram(
        up, down, f"highest {kind.statistic} with any reconstruction", _marks(kind, metrics), key=key,
        share=f"share of the {kind.words.many}", title=f"{title}: {own} and {other}", description=f"{described}.",
    )  # fmt: skip
    return Chance(title, other, drawn and drawn + swatches(up, down), _statements(kind, metrics, other), both, metrics)


def _marks(kind: RecordKind, metrics: Metrics) -> list[Mark]:
    least, stands_out = kind.threshold, metrics.detectable
    found = [(least, f"{least:g}: needed to count")]
    if stands_out is not None and least + 1e-9 < stands_out < 1:
        found.append((stands_out, f"{stands_out:.3g}: stands out alone"))
    return found


def _statements(kind: RecordKind, metrics: Metrics, other: str) -> list[str]:
    told = (
        _whole(kind, metrics, other),
        _share(kind, metrics, other),
        _single(kind, metrics),
        _own(kind, metrics),
    )
    return [said for said in told if said]


def _whole(kind: RecordKind, metrics: Metrics, other: str) -> str:
    if metrics.p_value is None:
        return ""
    return (
        f"As a whole: if training {kind.words.many} were no more similar to the reconstructions than {other} are, so "
        f"large a difference would come up with a probability of {probability(metrics.p_value)} (Mann-Whitney, "
        "one-sided)."
    )


def _share(kind: RecordKind, metrics: Metrics, other: str) -> str:
    if metrics.tpr_at_1_fpr is None:
        return f"With {count(metrics.null_size or 0, 'comparison')}, the 99 % level is not known; that takes 100."
    many = kind.words.many
    return f"{percent(metrics.tpr_at_1_fpr)} of the training {many} are above 99 % of the {other}; chance gives 1 %."


def _single(kind: RecordKind, metrics: Metrics) -> str:
    one = kind.words.one
    if metrics.detectable is None:
        return ""
    if metrics.detectable >= 1:
        return f"There are too few comparisons for a single {one} to count as recovered, however similar it is."
    return f"A single {one} counts as recovered from {kind.statistic} {fixed(metrics.detectable)} on."


def _own(kind: RecordKind, metrics: Metrics) -> str:
    if metrics.identifiable is None or not metrics.pool:
        return ""
    drawn = metrics.nearest or 0
    return (
        f"{metrics.identifiable} of the {kind.words.count(drawn)} that are nearest to a reconstruction, in a pool of "
        f"{metrics.pool}, are training {kind.words.many}; chance gives "
        f"{fixed(drawn * metrics.records / metrics.pool, 1)}."
    )
