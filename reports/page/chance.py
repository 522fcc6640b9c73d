"""What was found against what chance gives: the drawn distributions, and what they say in plain words."""

import re
from dataclasses import dataclass

from markupsafe import Markup

from ...audit.report.model import AuditReport
from ...audit.report.results import AttackResult, Metrics, titles
from ...audit.words import count, fixed, percent, probability
from ..common.extracts import standing
from .histogram import Group, Mark, histogram, quantile, swatches

_LEVELS = (0.5, 0.95, 0.99, 1.0)
_THRESHOLD = re.compile(r"SSIM of at least (\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Chance:
    """One result held against chance."""

    title: str
    comparison: str
    chart: Markup
    statements: list[str]
    quantiles: list[tuple[str, int, list[float]]]
    metrics: Metrics


def held_against_chance(report: AuditReport) -> list[Chance]:
    """Return the best result of each attack that was held against chance, in the order of the leaderboard."""
    best: dict[str, AttackResult] = {}
    for result in standing(report):
        if result.metrics and result.metrics.null and result.metrics.observed:
            best.setdefault(result.name, result)
    names = titles(report.attacks)
    return [
        _chance(names[result.key], result.metrics, f"chance-{place}")
        for place, result in enumerate(best.values(), 1)
        if result.metrics
    ]


def comparison(metrics: Metrics) -> str:
    """Return what chance was measured with."""
    return "held-out images" if metrics.null_kind == "control" else "mismatched images"


def threshold(metrics: Metrics) -> float | None:
    """Return the SSIM that an image must reach to count as recovered, as the report states it."""
    found = _THRESHOLD.search(metrics.criterion)
    return float(found[1]) if found else None


def _chance(title: str, metrics: Metrics, key: str) -> Chance:
    other = comparison(metrics)
    up = Group("training images", metrics.observed, metrics.images)
    down = Group(other, metrics.null, metrics.null_size or len(metrics.null))
    both = [(group.name, group.size, [quantile(group.values, level) for level in _LEVELS]) for group in (up, down)]
    described = "; ".join(
        f"{name}: half are above {fixed(at[0])}, the highest has {fixed(at[-1])}" for name, _, at in both
    )
    drawn = histogram(
        up, down, "highest SSIM with any reconstruction", _marks(metrics),
        key=key, title=f"{title}: training images and {other}", description=f"{described}.",
    )  # fmt: skip
    return Chance(title, other, drawn and drawn + swatches(up, down), _statements(metrics, other), both, metrics)


def _marks(metrics: Metrics) -> list[Mark]:
    least, stands_out = threshold(metrics), metrics.detectable_ssim
    found = [] if least is None else [(least, f"{least:g}: needed to count")]
    if stands_out is not None and stands_out < 1 and (least is None or stands_out > least + 1e-9):
        found.append((stands_out, f"{stands_out:.3g}: stands out alone"))
    return found


def _statements(metrics: Metrics, other: str) -> list[str]:
    return [said for said in (_whole(metrics, other), _share(metrics, other), _single(metrics), _own(metrics)) if said]


def _whole(metrics: Metrics, other: str) -> str:
    if metrics.p_value is None:
        return ""
    return (
        f"As a whole: if training images were no more similar to the reconstructions than {other} are, so large a "
        f"difference would come up with a probability of {probability(metrics.p_value)} (Mann-Whitney, one-sided)."
    )


def _share(metrics: Metrics, other: str) -> str:
    if metrics.tpr_at_1_fpr is None:
        return f"With {count(metrics.null_size or 0, 'comparison')}, 99 % of chance cannot be told; that takes 100."
    return f"{percent(metrics.tpr_at_1_fpr)} of the training images are above 99 % of the {other}; chance gives 1 %."


def _single(metrics: Metrics) -> str:
    if metrics.detectable_ssim is None:
        return ""
    if metrics.detectable_ssim >= 1:
        return "There are too few comparisons for a single image to count as recovered, however similar it is."
    return f"A single image counts as recovered from an SSIM of {fixed(metrics.detectable_ssim)} on."


def _own(metrics: Metrics) -> str:
    if metrics.identifiable is None or not metrics.pool:
        return ""
    drawn = metrics.nearest or 0
    return (
        f"{metrics.identifiable} of the {count(drawn, 'image')} that are nearest to a reconstruction, in a pool of "
        f"{metrics.pool}, are training images; chance gives {fixed(drawn * metrics.images / metrics.pool, 1)}."
    )
