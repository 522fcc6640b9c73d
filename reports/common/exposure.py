"""What is said of the exposure of records: the same key numbers, meaning and facts in every format."""

import shlex
from collections.abc import Iterator
from typing import NamedTuple

from ...audit.exposure.sentences import MEANING
from ...audit.report.exposure import Exposure, Group, Separation
from ...audit.report.kind import Words
from ...audit.report.model import AuditReport
from ...audit.report.verdict import NextStep
from ...audit.verdict.command import SCAN_ONLY, without
from ...audit.words import NOTHING, fixed, number, percent

RULE = "MA008"
"""The rule of records that the change betrays."""

_NOT_OF_SCANS = {**SCAN_ONLY, "--out": 1, "--group": 1, "--assigned-at-random": 0}
"""Options that a scan of the same pair does not have, or should not share, and how many words follow each."""


class Way(NamedTuple):
    """How well one score tells records from held-out ones, as it is printed."""

    name: str
    area: str
    share: str
    strict: str
    numbers: Separation


def meaning(words: Words) -> str:
    """Return what it means that a record is detectable, and what not."""
    return MEANING.format(one=words.one)


def key_numbers(found: Exposure, words: Words) -> list[tuple[str, str, str]]:
    """Return key numbers as name, value and note; what would read as harmless without being so is a dash."""
    held_out = ("Held-out", str(found.held_out), f"{words.many} that were not trained on")
    if not found.measured:
        return [("Measured", f"0 of {found.records}", "there was no time"), held_out]
    share, all_ = found.own.tpr_at_1_fpr, words.count(found.measured)
    single = found.detected or found.resolved
    return [
        (
            "Told from others",
            f"{found.detected} of {found.measured}" if single else NOTHING,
            f"{words.many}, one by one" if single else f"single {words.many} take {found.needed} held-out ones",
        ),
        ("Trained on, at least", str(found.at_least), f"of {all_}, with 95 % confidence; which ones is not said"),
        (
            "Above 99 % of held-out",
            percent(share),
            f"of {all_}; chance gives 1 %" if share is not None else f"takes 100 held-out {words.many}",
        ),
        held_out,
    ]


def measured_by(found: Exposure, words: Words) -> str:
    """Return how it was measured, and how sure it is."""
    if not found.measured:
        return f"No {words.many} were measured in this time."
    wrong = f" Of those told, about {100 * found.level:g} % may be wrong." if found.detected else ""
    least = f" At least {found.at_least} were trained on, with 95 % confidence." if found.at_least else ""
    return (
        f"Measured by one regression of the change on the gradients of {words.count(found.measured)} and of "
        f"{words.count(found.held_out, 'held-out')}.{wrong}{least} No attack was run."
    )


def shows(report: AuditReport) -> tuple[str, str]:
    """Return what the verdict shows, and what it does not, where no attack was run."""
    words = report.kind.words
    rebuilt = f"Nor that {words.many} can be rebuilt, or that they cannot: this was not tried."
    match report.verdict.status:
        case "fail":
            return (
                f"Whoever holds both files and a candidate {words.one} can test whether it was trained on, as was done "
                "here; that goes further than the gates allow.",
                f"That the {words.many} which were not told are safe: a stronger test may tell more. {rebuilt}",
            )
        case "pass":
            return (
                f"This measurement, with these held-out {words.many}, stayed within what the gates allow.",
                f"That nobody can tell which {words.many} were trained on: a stronger test may. {rebuilt}",
            )
        case _:
            return (
                f"How far the {words.many} stand out from held-out ones, and what is missing for a decision.",
                f"That these two files tell which {words.many} were trained on, or that they do not. {rebuilt}",
            )


def then(report: AuditReport) -> NextStep | None:
    """Return what follows from a decision where no attack was run; ``None`` where there is none."""
    many = report.kind.words.many
    scan = f"Whether {many} can be rebuilt as well, a scan says."
    match report.verdict.status:
        case "fail":
            keep = f"Keep one of the two files away from everybody who may not learn which {many} were trained on."
        case "pass" if any(finding.leaks for finding in report.findings):
            keep = (
                "The limits that were set allow what was found here. Whoever holds both files can find it as well: "
                "decide who may."
            )
        case "pass" if report.exposure and (missing := unclear(report, report.exposure)):
            keep = f"The limits that were set are kept, and no more than that follows. {missing}"
        case "pass":
            keep = "This measurement gives no reason to withhold the two files."
        case _:
            return None
    return NextStep(reason=f"{keep} {scan}", command=_scan(report))


def _scan(report: AuditReport) -> str:
    """Return the command that scans the same pair; empty where the report names none of its own."""
    try:
        words = shlex.split(report.command)
    except ValueError:  # a report may come from a stranger
        return ""
    if words[:2] != ["memaudit", "exposure"]:
        return ""
    return shlex.join(["memaudit", "scan", *without(words[2:], _NOT_OF_SCANS)])


def unclear(report: AuditReport, found: Exposure) -> str:
    """Return why nothing follows from records that were not detected; empty where something does."""
    words = report.kind.words
    blocks = [finding.message for finding in report.findings if finding.blocks and not finding.attack]
    if found.measured < found.records:
        return f"{found.records - found.measured} of {words.count(found.records)} were not measured."
    if not found.resolved:
        few = words.count(found.held_out, "held-out")
        return f"{few} are too few to tell single {words.many}: that takes {found.needed}."
    return " ".join(blocks)


def unsaid(report: AuditReport, found: Exposure) -> str:
    """Return why nothing follows, as far as the measurement's own sentences do not say it."""
    said = found.detected or found.at_least or found.measured < found.records or not found.resolved
    return "" if said else unclear(report, found)


def tells(report: AuditReport, found: Exposure) -> bool:
    """Return whether something follows from the measurement, either way."""
    return bool(found.detected or found.at_least) or not unclear(report, found)


def ways(found: Exposure) -> list[Way]:
    """Return the regression and the simpler scores beside it."""
    return [_way(row) for row in (found.own, *found.baselines)]


def _way(row: Separation) -> Way:
    def reach(interval: tuple[float | None, float | None] | None, scale: int, digits: int) -> str:
        if interval is None or None in interval:
            return ""
        low, high = (fixed(None if end is None else scale * end, digits) for end in interval)
        return f" ({low} to {high})"

    return Way(
        row.name,
        fixed(row.auc) + reach(row.auc_interval, 1, 3),
        percent(row.tpr_at_1_fpr, 1) + reach(row.tpr_at_1_fpr_interval, 100, 1),
        percent(row.tpr_at_01_fpr, 1),
        row,
    )


def facts(report: AuditReport, found: Exposure) -> list[str]:
    """Return what else was measured, and what it rests on, in sentences."""
    return list(_facts(report, found))


def _facts(report: AuditReport, found: Exposure) -> Iterator[str]:
    words, given = report.kind.words, report.inputs.control
    if found.explained is not None:
        way = f"Of the way of training, gradients were taken {found.average}; " if found.average else "Gradients: "
        yield f"{way}those of all {words.many} together explain {percent(found.explained)} of the change."
    if found.labels:
        yield f"Labels: {found.labels}."
    if found.measured < found.records:
        yield f"{found.records - found.measured} of {words.count(found.records)} were not measured in this time."
    if given and given.count > found.held_out:
        yield f"Of {words.count(given.count, 'held-out')} given, {found.held_out} were drawn."
    if not found.resolved:
        yield (
            f"To tell single {words.many} takes {found.needed} held-out ones or more, where a tenth of those given "
            "stands out."
        )
    if found.copies:
        near, them = ("equals", "it") if found.copies == 1 else ("equal", "them")
        yield (
            f"{words.count(found.copies, 'held-out')} nearly {near} some {words.one} of --data, which makes that one "
            f"look less exposed than it is: leave {them} out."
        )
    if found.epsilon:
        right = f"{found.epsilon.right} of {found.epsilon.guesses} guesses are right"
        yield (
            f"A coin decided which {words.many} were trained on. So training is differentially private for no epsilon "
            f"below {number(found.epsilon.value, 3)} (delta 0), with 95 % confidence: {right}."
        )


def groups_are(found: Exposure) -> str:
    """Return what the groups are: classes, unless others were given."""
    labels = {row.label for row in found.per_record}
    return "Class" if {group.name for group in found.groups} <= labels else "Group"


def groups(found: Exposure) -> list[Group]:
    """Return the groups, the most exposed first; none where all are of one."""
    return found.groups if len(found.groups) > 1 else []
