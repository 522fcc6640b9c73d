"""A comparison as tables of words, which the terminal and every format draw. No torch here."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..report.terms import Severity
from ..report.verdict import DefencePoint
from ..words import NOTHING, duration, fixed, memory, moment, number, percent
from .model import AttackChange, Change, Diff, Effect, FindingChange, Measure, Turnover
from .sentence import TITLES, reasons

MOST = 20
"""Records that are named, at most."""

INTERVAL = "Difference (95 %)"

_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_EFFECTS: dict[Effect, str] = {
    "none": "",
    "verdict": "the verdicts are not compared",
    "doubt": "less that is found is not safer",
    "bar": "nothing can be compared",
}
METHOD = (
    "Intervals have 95 % confidence, over the training records: shares after Newcombe (1998), means after Student, AUC "
    "after DeLong et al. (1988). They do not say how far two trainings of the same kind differ."
)


class Line(NamedTuple):
    """One thing in both audits.

    Attributes:
        name: What it is.
        earlier: What it was.
        later: What it is now.
        difference: How far it moved, or what follows.
        change: What that means; ``None`` where it has no good or bad side.
    """

    name: str
    earlier: str
    later: str
    difference: str = ""
    change: Change | None = None

    @property
    def word(self) -> str:
        """The change for people; empty where there is none."""
        return TITLES[self.change].lower() if self.change else ""


@dataclass(frozen=True)
class Table:
    """Lines under a title; notes are sentences that belong to them."""

    title: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    difference: str = INTERVAL

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings of the columns in which some line says something."""
        last = (self.difference,) if any(line.difference for line in self.lines) else ()
        return ("", "Earlier", "Later", *last, *(("Change",) if any(line.change for line in self.lines) else ()))

    def cells(self, line: Line) -> tuple[str, ...]:
        """Return what a line says in each column but the last where that is its change."""
        return (line.name, line.earlier, line.later, *((line.difference,) if self.difference in self.columns else ()))


def tables(found: Diff) -> list[Table]:
    """Return all tables that have something to say, in order."""
    said = [
        Table("The two audits", tuple(_audits(found)), difference="What follows"),
        Table("Findings", tuple(map(_finding, found.findings)), difference="State"),
        Table("Attacks", tuple(_attacks(found)), tuple(_attack_notes(found))),
        Table("Exposure", tuple(_exposure(found)), tuple(_exposure_notes(found))),
        Table("Defences", tuple(_defences(found))),
    ]
    return [table for table in said if table.lines or table.notes]


def title(found: Diff) -> str:
    """Return the verdicts and what they come to: ``FAIL (high) to PASS: better``."""
    return f"{verdicts(found)}: {TITLES[found.change].lower()}"


def verdicts(found: Diff) -> str:
    """Return both verdicts."""
    sides = ((side.status.upper(), side.severity) for side in (found.earlier, found.later))
    return " to ".join(f"{status} ({severity})" if severity != "none" else status for status, severity in sides)


def _audits(found: Diff) -> Iterator[Line]:
    one, two = found.earlier, found.later
    yield Line("Model", one.model or NOTHING, two.model or NOTHING)
    yield Line("Made", moment(one.created), moment(two.created))
    yield Line("Found", one.headline, two.headline)
    for contrast in found.contrasts:
        earlier, later = (_DIGEST.sub(r"\1", text) for text in (contrast.earlier, contrast.later))
        yield Line(contrast.name, earlier, later, _EFFECTS[contrast.effect])


def _finding(one: FindingChange) -> Line:
    words = {"new": "new", "gone": "gone", "still": "still there"}
    sides = ((one.earlier, one.earlier_attacks), (one.later, one.later_attacks))
    earlier, later = (_severity(severity, attacks, one.leaks) for severity, attacks in sides)
    return Line(f"{one.rule} {one.title}", earlier, later, words[one.state], one.change if one.leaks else None)


def _severity(severity: Severity | None, attacks: Iterable[str], leaks: bool) -> str:
    if severity is None:
        return NOTHING
    who = ", ".join(attacks)
    return f"{severity if leaks else 'yes'}{f' ({who})' if who else ''}"


def _attacks(found: Diff) -> Iterator[Line]:
    if found.together and len(found.attacks) + len(found.only_earlier) + len(found.only_later) > 1:
        yield _counted("all together: recovered", found.together)
    for attack in found.attacks:
        yield from _attack(attack, found.kind.statistic)


def _attack(attack: AttackChange, statistic: str) -> Iterator[Line]:
    one, two, name = attack.earlier, attack.later, attack.attack
    yield Line(f"{name}: ended", one.status.replace("_", " "), two.status.replace("_", " "))
    if attack.recovered:
        yield _counted(f"{name}: recovered", attack.recovered)
    if attack.similarity:
        yield _scored(f"{name}: mean {statistic}, {attack.similarity.records} shared pairs", attack.similarity)
    if attack.best:
        yield Line(f"{name}: best {statistic}", fixed(attack.best.earlier), fixed(attack.best.later))
    yield Line(f"{name}: time", duration(one.seconds), duration(two.seconds))
    if one.peak_memory_bytes or two.peak_memory_bytes:
        yield Line(f"{name}: memory", memory(one.peak_memory_bytes), memory(two.peak_memory_bytes))


def _attack_notes(found: Diff) -> Iterator[str]:
    one, many = found.kind.words.one, found.kind.words.many
    yield from reasons(found)
    if found.only_earlier:
        yield f"In the earlier audit alone: {', '.join(found.only_earlier)}."
    if found.only_later:
        yield f"In the later audit alone: {', '.join(found.only_later)}."
    yield from _turned(found.records, "Newly recovered", "No longer recovered", one, many)


def _turned(found: Turnover | None, new: str, gone: str, one: str, many: str) -> Iterator[str]:
    for said, records in ((new, found.appeared), (gone, found.vanished)) if found else ():
        if records:
            names = ", ".join(record.name for record in records[:MOST])
            more = f" and {len(records) - MOST} more" if len(records) > MOST else ""
            yield f"{said}, {len(records)} {one if len(records) == 1 else many}: {names}{more}."


def _exposure(found: Diff) -> Iterator[Line]:
    seen = found.exposure
    if seen is None:
        return
    yield _counted("told one by one", seen.detected)
    if seen.tpr_at_1_fpr:
        share = seen.tpr_at_1_fpr
        yield Line("above 99 % of held-out", percent(share.earlier, 1), percent(share.later, 1),
                   _moved(share, 100, 1, " points"), share.change)  # fmt: skip
    if seen.auc:
        yield _scored("AUC", seen.auc)
    of = seen.at_least.of or (0, 0)
    yield Line("trained on, at least", f"{number(seen.at_least.earlier)} of {of[0]}",
               f"{number(seen.at_least.later)} of {of[1]}")  # fmt: skip


def _exposure_notes(found: Diff) -> Iterator[str]:
    if found.exposure:
        yield from found.exposure.doubts
        one, many = found.kind.words.one, found.kind.words.many
        yield from _turned(found.exposure.records, "Newly told", "No longer told", one, many)


def _defences(found: Diff) -> Iterator[Line]:
    names = {"none": "as published", "noise": "noise, {} of the change", "bits": "rounded to {} bits"}
    for one in found.defences:
        name = names[one.later.kind].format(number(one.later.value))
        yield Line(name, _defence(one.earlier, found.kind.statistic), _defence(one.later, found.kind.statistic))


def _defence(point: DefencePoint, statistic: str) -> str:
    said: list[str] = [point.verdict]
    if point.recovered is not None:
        said.append(f"{point.recovered} of {point.records} recovered")
    if point.similarity_mean is not None:
        said.append(f"mean {statistic} {fixed(point.similarity_mean)}")
    if point.exposed_at_least is not None:
        said.append(f"at least {point.exposed_at_least} exposed")
    if point.accuracy is not None:
        said.append(f"accuracy {percent(point.accuracy, 1)}")
    return ", ".join(said)


def _counted(name: str, found: Measure) -> Line:
    was, now = found.of or (0, 0)
    earlier, later = f"{number(found.earlier)} of {was}", f"{number(found.later)} of {now}"
    return Line(name, earlier, later, _moved(found, 100, 0, " points"), found.change)


def _scored(name: str, found: Measure) -> Line:
    return Line(name, fixed(found.earlier), fixed(found.later), _moved(found, 1, 3, ""), found.change)


def _moved(found: Measure, scale: int, digits: int, unit: str) -> str:
    """Return a difference with its sign and interval; empty where it is not known."""
    if found.difference is None or found.interval is None:
        return ""
    value, low, high = (_signed(scale * one, digits) for one in (found.difference, *found.interval))
    return f"{value}{unit} ({low} to {high})"


def _signed(value: float, digits: int) -> str:
    rounded = round(value, digits)
    return fixed(0.0, digits) if rounded == 0 else f"{'+' if rounded > 0 else ''}{fixed(value, digits)}"
