"""What this audit varied, how far that changed its results, and what it kept as it was."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...audit import words
from ...audit.report.facts import SearchPoint
from ...audit.report.model import AuditReport
from ...audit.verdict.tally import exposure_only
from ..common import extracts
from ..page import facts


class Spread(NamedTuple):
    """How far the seeds of one attack lie apart."""

    attack: str
    seeds: str
    ends: str
    recovered: str
    similarity: str
    loss: str


def spreads(report: AuditReport) -> list[Spread]:
    """Return how much each attack depends on its seed; of those with one there is nothing to say."""
    found = []
    for name, results in extracts.by_attack(report).items():
        runs = [result for result in results if result.kind == "run"]
        if len(runs) < 2:
            continue
        measured = [run.metrics for run in runs if run.metrics]
        found.append(
            Spread(
                name,
                ", ".join(str(run.seed) for run in sorted(runs, key=lambda run: run.seed or 0)),
                ", ".join(dict.fromkeys(run.status.replace("_", " ") for run in runs)),
                _range([float(metrics.recovered) for metrics in measured]),
                _range([metrics.similarity_mean for metrics in measured]),
                _range([run.loss for run in runs if run.loss is not None]),
            )
        )
    return found


def candidates(report: AuditReport) -> list[SearchPoint]:
    """Return the recipes that were searched, each in its last round, the chosen one first, then by loss."""
    last: dict[tuple[Any, ...], SearchPoint] = {}
    for point in sorted(report.search, key=lambda point: point.rung):
        last[point.lr, point.optimizer, point.batch_size, point.epochs] = point
    return sorted(last.values(), key=lambda p: (not p.chosen, -p.rung, math.inf if p.loss is None else p.loss))


def not_varied(report: AuditReport) -> list[str]:
    """Return what this audit kept as it was, so that nothing is known of its influence."""
    if exposure_only(report):
        many = report.kind.words.many
        return [f"Which {many} were held out, and how {many} were prepared and labelled."]
    runs = extracts.by_attack(report).items()
    once = [name for name, results in runs if sum(result.kind == "run" for result in results) == 1]
    said = [f"The seed of {', '.join(once)}: one run each (--restarts varies it)."] if once else []
    if not report.search:
        said.append("The recipe: no other one was tried.")
    assumed = [row.name.lower() for row in facts.rows(report.assumptions(), report.kind.words)]
    said += [f"What was assumed of the recipe: {', '.join(assumed)}."] if assumed else []
    least = f"the threshold from which one {report.kind.words.one} counts as recovered"
    return [*said, f"The options of the attacks (section 6), and {least}."]


def _range(values: Sequence[float]) -> str:
    if not values:
        return words.NOTHING
    low, high = words.number(min(values), 3), words.number(max(values), 3)
    return low if low == high else f"{low} to {high}"
