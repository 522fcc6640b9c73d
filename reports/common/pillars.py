"""What the verdict rests on: the data explain the change, what was rebuilt or told, and what could be at all."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ...audit.report.exposure import Exposure
from ...audit.report.model import AuditReport
from ...audit.report.proof import DataCheck, MockVictim
from ...audit.report.verdict import Decision
from ...audit.verdict.tally import exposure_only, rebuilt, unlisted
from ...audit.words import fixed, percent
from .exposure import tells, unclear

Answer = Literal["yes", "no", "not known"]


class Bar(NamedTuple):
    """One number between 0 and 1 beside others of its kind."""

    name: str
    value: float
    said: str
    own: bool = False


@dataclass(frozen=True)
class Pillar:
    """One of the things that a verdict rests on, and whether it holds."""

    title: str
    answer: Answer
    tone: Decision
    """Whether that speaks for a pass."""
    said: str
    measure: str = ""
    """What the bars are of."""
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def pillars(report: AuditReport) -> list[Pillar]:
    """Return what the verdict rests on; nothing for an older report that failed, as a leak needs no further proof."""
    found = report.exposure
    if found and exposure_only(report):
        exposed = [_told(report, found), _enough(report, found)] if found.measured else []
        return [_explained(report, report.check), *exposed]
    exposed = [_told(report, found)] if found and tells(report, found) else []
    if report.check is None and report.power is None and report.verdict.status == "fail":
        return exposed
    power = [] if report.power is None and report.verdict.status == "fail" else [_power(report, report.power)]
    return [_explained(report, report.check), _rebuilt(report), *power, *exposed]


def _explained(report: AuditReport, check: DataCheck | None) -> Pillar:
    many = report.kind.words.many
    title = f"Do the training {many} explain the change?"
    if report.inputs.data is None:
        return Pillar(title, "not known", "inconclusive", f"No training {many} were given.")
    if check is None:
        return Pillar(title, "not known", "inconclusive", "This was not checked.")
    given = [] if check.unexplained is None else [Bar(f"the {many} given", 1 - check.unexplained, "", own=True)]
    others = [Bar(_named(other.name, other.sets), 1 - other.unexplained, "") for other in check.comparisons]
    bars = [bar._replace(said=percent(bar.value, 1)) for bar in [*given, *others]]
    notes = [f"Prepared otherwise than asked, they explain more: {check.reading}."] if check.reading else []
    if report.exposure and report.exposure.at_least and not check.explained:
        notes.append(f"One by one, though, at least {report.exposure.at_least} of them show as trained on.")
    if check.likeness is not None:
        notes.append(f"Training on them gives a change alike to {fixed(check.likeness, 2)} (cosine; 1 is the same).")
    answer: Answer = "not known" if check.explained is None else "yes" if check.explained else "no"
    tone: Decision = "pass" if check.explained else "inconclusive"
    return Pillar(
        title, answer, tone, check.reason, "How much of the change they explain (more is better)", bars, notes
    )


def _named(name: str, sets: int) -> str:
    how = "mean" if name.startswith("held-out") else "best"
    return f"{name}, {how} of {sets}" if sets > 1 else name


def _rebuilt(report: AuditReport) -> Pillar:
    (recovered, total), other, words = rebuilt(report), unlisted(report), report.kind.words
    title = f"Was any training {words.one} rebuilt?"
    if not any(attack.metrics for attack in report.attacks):
        return Pillar(title, "not known", "inconclusive", f"Nothing was compared with training {words.many}.")
    pairs = [match for attack in report.attacks for match in attack.matches]
    turned = list(dict.fromkeys(match.transform for match in pairs if match.recovered and match.transform))
    notes = [f"Some match only after this was done to the training {words.one}: {'; '.join(turned)}."] if turned else []
    if other:
        notes.append(f"{words.count(other)} beyond those given {'was' if other == 1 else 'were'} rebuilt exactly.")
    if recovered:
        said = f"{recovered} of {words.count(total, 'training')}, by at least one attack."
        return Pillar(title, "yes", "fail", said, notes=notes)
    said = f"None of {words.count(total, 'training')}, by any attack."
    looked = report.check is None or bool(report.check.explained)
    return Pillar(title, "no", "pass" if looked and not other else "inconclusive", said, notes=notes)


def _power(report: AuditReport, power: MockVictim | None) -> Pillar:
    many, title = report.kind.words.many, "Can these attacks rebuild anything from such a training?"
    if power is None or power.status == "left out":
        return Pillar(title, "not known", "inconclusive", power.reason if power else "This was not measured.")
    recovered, total = rebuilt(report)
    found = [("a training like this one", power.recovered, power.records), ("yours", recovered, total)]
    bars = [Bar(name, part / size, f"{part} of {size}", name == "yours") for name, part, size in found if size]
    trained = report.kind.words.count(power.records, "held-out")
    how = f"The same attacks ran on a model that was trained in the same way on {trained}."
    if power.status == "leaks":
        return Pillar(title, "yes", "pass", power.reason, f"Rebuilt {many}", bars, [how])
    return Pillar(title, "no", "inconclusive", power.reason, f"Rebuilt {many}", bars, [how])


def _told(report: AuditReport, found: Exposure) -> Pillar:
    words = report.kind.words
    title = f"Do these two files tell which {words.many} were trained on?"
    shares = [found.own.tpr_at_1_fpr, *(row.tpr_at_1_fpr for row in found.baselines)]
    known = [share for share in shares if share is not None]
    ways = [("this measurement", known[0], True), ("chance", 0.01, False)] if known else []
    if len(known) > 1:
        ways.insert(1, ("the best of simpler scores", max(known[1:]), False))
    bars = [Bar(name, share, percent(share, 1), own) for name, share, own in ways]
    measure = f"Share of the {words.many} given that is above 99 % of held-out ones"
    if found.detected or found.at_least:
        return Pillar(title, "yes", "fail", found.reason, measure, bars)
    if unclear(report, found):
        return Pillar(title, "not known", "inconclusive", found.reason, measure, bars)
    return Pillar(title, "no", "pass", found.reason, measure, bars)


def _enough(report: AuditReport, found: Exposure) -> Pillar:
    words = report.kind.words
    title = f"Are there enough held-out {words.many}?"
    near = f"{words.count(found.copies, 'held-out')} nearly the same as some of those given, which hides these."
    notes = [near] if found.copies else []
    said = (
        f"There are {found.held_out}; with {found.needed}, single {words.many} are told where only a tenth of those "
        "given stands out."
    )
    if found.resolved or found.detected:
        return Pillar(title, "yes", "inconclusive" if found.copies else "pass", said, notes=notes)
    return Pillar(title, "no", "inconclusive", said, notes=notes)
