"""The exposure of records as the page draws it: the ROC curve where it counts, and scores beside held-out ones."""

import math
from dataclasses import dataclass

from markupsafe import Markup

from ...audit.report.exposure import Exposed, Exposure, Group
from ...audit.report.kind import Words
from ...audit.report.model import AuditReport
from ...audit.words import percent
from ..common.exposure import Way, facts, groups, groups_are, meaning, unsaid, ways
from .charts import Axis, Series, legend, line_chart
from .histogram import Group as Values
from .histogram import Mark, histogram, quantile, swatches

MOST = 200
"""Rows of a table, at most."""

_STEPS = 60
"""Points of the line of chance, which is a curve over a logarithmic axis."""


@dataclass(frozen=True)
class Shown:
    """What the templates name."""

    meaning: str
    missing: str
    facts: list[str]
    ways: list[Way]
    roc: Markup
    scores: Markup
    pictured: list[Exposed]
    rows: list[Exposed]
    more: int
    labels: bool
    leverage: bool
    group: str
    groups: list[Group]
    more_groups: int


def shown(report: AuditReport) -> Shown | None:
    """Return what the page shows of the exposure of records; ``None`` where it was not measured."""
    found, words = report.exposure, report.kind.words
    if found is None:
        return None
    apart = groups(found)
    return Shown(
        meaning=meaning(words),
        missing=unsaid(report, found),
        facts=facts(report, found),
        ways=ways(found),
        roc=_roc(found, words),
        scores=_scores(found, words),
        pictured=[row for row in found.per_record if row.exhibit],
        rows=found.per_record[:MOST],
        more=len(found.per_record[MOST:]),
        labels=any(row.label for row in found.per_record),
        leverage=any(row.leverage is not None for row in found.per_record),
        group=groups_are(found),
        groups=apart[:MOST],
        more_groups=len(apart[MOST:]),
    )


def _roc(found: Exposure, words: Words) -> Markup:
    """Draw the share of records above a score over that of held-out ones, from a single one of these on."""
    if not found.curve or not found.held_out:
        return Markup("")
    least = 1 / found.held_out
    chance = [least ** (1 - step / _STEPS) for step in range(_STEPS + 1)]
    own = [(100 * wrong, 100 * right) for wrong, right in found.curve if wrong >= 0.999 * least]
    series = [
        Series([(100 * share, 100 * share) for share in chance], "chance", 1),
        Series(own, f"{words.many} given", 0),
    ]
    share, told = found.own.tpr_at_1_fpr, _told(found.curve)
    drawn = line_chart(
        series,
        Axis(f"held-out {words.many} above, %", log=True),
        Axis(f"{words.many} given above, %"),
        key="exposure-roc",
        title=f"Share of the {words.many} given above a score, over that of held-out ones",
        description=f"{'; '.join(f'{percent(a, 1)} of held-out, {percent(b)} of those given' for a, b in told)}.",
        guide=None if share is None else (100 * share, f"{percent(share)} at 1 %"),
    )
    return drawn and drawn + legend(series)


def _told(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the last point of the curve up to each of a few shares of held-out records."""
    reached = [[point for point in curve if point[0] <= wrong] for wrong in (0.001, 0.01, 0.1, 0.5)]
    return [max(points) for points in reached if points]


def _scores(found: Exposure, words: Words) -> Markup:
    """Draw the scores of records and of held-out ones, back to back."""
    if not found.scores or not found.held_out_scores:
        return Markup("")
    up = Values(f"{words.many} given", found.scores, found.measured)
    down = Values(f"held-out {words.many}", found.held_out_scores, found.held_out)
    described = "; ".join(
        f"{group.name}: half are above {quantile(group.values, 0.5):.2g}, the highest has {group.values[-1]:.2g}"
        for group in (up, down)
    )
    drawn = histogram(
        up, down, "score: how much the change betrays one", _marks(found), key="exposure-scores",
        share=f"share of the {words.many}", title=f"Scores of the {words.many} given and of held-out ones",
        description=f"{described}.",
    )  # fmt: skip
    return drawn and drawn + swatches(up, down)


def _marks(found: Exposure) -> list[Mark]:
    marks = [(quantile(found.held_out_scores, 0.99), "1 % of held-out above")] if found.held_out >= 100 else []
    told = min((row.score for row in found.per_record if row.detected), default=math.inf)
    rest = max((row.score for row in found.per_record if not row.detected), default=-math.inf)
    return [*marks, (told, "told one by one")] if rest < told < math.inf else marks
