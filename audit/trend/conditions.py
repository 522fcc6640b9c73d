"""In what two audits differ beside what they found, and what follows from that. No torch here."""

import math
from collections.abc import Iterator

from ..report.facts import Checkpoint, Fact, Records
from ..report.model import AuditReport
from ..words import NOTHING, plain
from .model import Contrast, Effect


def contrasts(earlier: AuditReport, later: AuditReport) -> list[Contrast]:
    """Return what is not the same in two audits, and would matter to somebody who compares them."""
    return [*_subject(earlier, later), *_way(earlier, later), *_recipe(earlier, later)]


def _subject(earlier: AuditReport, later: AuditReport) -> Iterator[Contrast]:
    """Compare what was audited: records, and the pair."""
    one, two = earlier.inputs, later.inputs
    yield from _contrast("Measure of similarity", _measure(earlier), _measure(later), "bar")
    yield from _contrast("Training set (--data)", _set(one.data, earlier), _set(two.data, later), "bar")
    yield from _contrast(
        "Shape of an input", _shape(earlier), _shape(later), "bar" if one.data or two.data else "doubt"
    )
    yield from _contrast("Checkpoint before training", _file(one.before), _file(two.before))
    yield from _contrast("Checkpoint after training", _file(one.after), _file(two.after))
    yield from _contrast("Network", earlier.architecture.name, later.architecture.name)


def _way(earlier: AuditReport, later: AuditReport) -> Iterator[Contrast]:
    """Compare how it was audited."""
    held_out, others = _set(earlier.inputs.control, earlier), _set(later.inputs.control, later)
    yield from _contrast("Held-out set (--control)", held_out, others, "doubt")
    yield from _contrast("Version of memaudit", earlier.environment.memaudit, later.environment.memaudit, "doubt")
    yield from _contrast("Gates", _gates(earlier), _gates(later), "verdict")
    yield from _contrast("Seed", str(earlier.seed), str(later.seed))


def _recipe(earlier: AuditReport, later: AuditReport) -> Iterator[Contrast]:
    """Compare what is known of the training; what the later audit had to assume may be wrong, and weakens it."""
    for name in dict.fromkeys((*earlier.recipe, *later.recipe)):
        one, two = earlier.recipe.get(name), later.recipe.get(name)
        guessed = two is not None and two.source == "assumed" and (one is None or one.source != "assumed")
        if guessed or not _alike(one, two):
            yield from _contrast(f"Recipe: {name}", _said(one), _said(two), "doubt" if guessed else "none")


def _contrast(name: str, earlier: str, later: str, effect: Effect = "none") -> Iterator[Contrast]:
    if earlier != later:
        yield Contrast(name=name, earlier=earlier or NOTHING, later=later or NOTHING, effect=effect)


def _measure(report: AuditReport) -> str:
    kind = report.kind
    return f"{kind.statistic} of {kind.words.many}, {kind.threshold:g} or more"


def _set(found: Records | None, report: AuditReport) -> str:
    return f"{report.kind.words.count(found.count)}, {found.sha256}" if found else ""


def _file(found: Checkpoint) -> str:
    return found.sha256


def _shape(report: AuditReport) -> str:
    return " x ".join(map(str, report.architecture.shape))


def _gates(report: AuditReport) -> str:
    return ", ".join(gate.expression for gate in report.verdict.gates)


def _said(fact: Fact | None) -> str:
    return f"{plain(fact.value)} ({fact.source})" if fact else ""


def _alike(one: Fact | None, two: Fact | None) -> bool:
    """Return whether two facts say the same, but for rounding."""
    if one is None or two is None:
        return one is two
    if isinstance(one.value, float) and isinstance(two.value, int | float):
        return math.isclose(one.value, two.value, rel_tol=1e-6)
    return one.value == two.value
