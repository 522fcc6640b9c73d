"""The report as Markdown for a step summary: no pictures, one size for any report, and text from files stays text.

Records that are texts stand beside their reconstructions where evidence is to be shown.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..audit.files import write_text
from ..audit.outputs import Look
from ..audit.report.exposure import Exposed
from ..audit.report.facts import Checkpoint, Records
from ..audit.report.kind import RecordKind
from ..audit.report.model import AuditReport
from ..audit.report.results import BestMatch, LeaderboardRow, titles
from ..audit.report.verdict import DefencePoint, Finding
from ..audit.words import NOTHING, count, duration, fixed, moment, number, percent, probability, share
from .common import exposure
from .common.differences import Part, State, differences
from .common.extracts import beside
from .common.pillars import Pillar, pillars
from .common.sections import Section, fair_share, table
from .common.verdict import decided, headline, next_step, shows, tried
from .common.vocabulary import statements
from .dpia.page import block, escape
from .page.chance import Chance, held_against_chance
from .page.plots import altered

LIMIT = 100 * 1024
"""Bytes of the file, at most: a step summary of more than 1 MiB is not shown at all, and several jobs share it."""

_LONGEST = 600
"""Characters of one text from a file, at most."""

_EXPOSED = 20
"""Records that are named, the most exposed ones."""

_TAIL = 1024
"""Bytes kept for saying what was left out."""

_SIGNS: Mapping[State, str] = {"same": "", "moved": "*", "other": "**"}
_WORD, _VEIL = re.compile(r"\S+"), "▒▒▒"
"""A word that must not be read shows neither its letters nor how many there are."""

_INVISIBLE = "\u200b"
_ADDRESSES = re.compile(r"://|www(?=\\?\.)|@|#(?=\w)|GH-(?=\d)", re.IGNORECASE)
"""What a forge turns into a link, a mention or a reference after Markdown was read, so that escaping does not help."""


def write(report: AuditReport, folder: Path, destination: Path, look: Look = Look()) -> Path:  # noqa: B008 - frozen
    """Write the report as Markdown of at most :data:`LIMIT` bytes.

    Raises:
        FormatError: The destination cannot be written.
    """
    kept = bool(beside(report)) or bool(report.vocabulary and report.vocabulary.words)
    shown = look.evidence != "none" and kept
    return write_text(destination, render(report, look), private=shown)


def render(report: AuditReport, look: Look = Look()) -> str:  # noqa: B008 - frozen
    """Return the document; what has no room is named at its end."""
    parts = [part for part in sections(report, look) if part.rows]
    found, cut, room = [], [], fair_share([part.size for part in parts], LIMIT - _TAIL)
    for part in parts:
        shown, missing = part.render(room)
        found.append(shown)
        if missing:
            what = f"{missing} of {len(part.rows)} rows of" if shown else "the section"
            cut.append(f"{what} {part.title or 'Verdict'}")
    left_out = f"Left out for size: {'; '.join(cut)}. All of it is in report.json.\n" if cut else ""
    return "".join(found) + (left_out or "Everything, with the pictures, is in the run folder's report.html.\n")


def sections(report: AuditReport, look: Look = Look()) -> list[Section]:  # noqa: B008 - frozen
    """Return the parts of the document in order."""
    chance = held_against_chance(report)
    return [
        Section("", list(_verdict(report))),
        table("What the verdict rests on", ("Question", "Answer", "Why"), _basis(report)),
        table("Findings", ("Severity", "Rule", "Attack", "Finding"), _findings(report)),
        table("Gates", ("Gate", "Result", "Why"), _gates(report)),
        _leaderboard(report),
        _beside(report, look),
        *_exposure(report),
        Section("Words that training saw", list(_words(report, look))),
        table("Against chance", _levels(report.kind), _chance(chance)),
        Section("What that means", [f"- {text(said)}" for said in _said(chance, report.kind)]),
        table("Defences that were measured", _defences(report.kind), [_defence(point) for point in report.defences]),
        Section("What would lower the leak", [f"- **{text(a.title)}.** {text(a.effect)}" for a in report.advice]),
        Section("Limitations", [f"- {text(said)}" for said in report.limitations]),
        Section("Reproduce", [f"{block(report.command)}\n", text(_environment(report))]),
        table("Digests", ("File", "SHA-256"), _digests(report)),
    ]


def text(value: object) -> str:
    """Return text from a file such that no reader of Markdown makes anything of it: no markup, link or mention."""
    raw = str(value)
    return _ADDRESSES.sub(rf"\g<0>{_INVISIBLE}", escape(raw if len(raw) <= _LONGEST else f"{raw[:_LONGEST]}…"))


def code(value: object) -> str:
    """Return text from a file as code, also in a table."""
    raw = " ".join("".join(mark if mark.isprintable() else " " for mark in str(value)).split())
    raw = raw if len(raw) <= _LONGEST else f"{raw[:_LONGEST]}…"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", raw)), default=0))
    room = " " if raw.startswith("`") or raw.endswith("`") else ""
    return f"{fence}{room}{raw.replace('|', chr(92) + '|')}{room}{fence}" if raw else NOTHING


def _verdict(report: AuditReport) -> Iterator[str]:
    shown, not_shown = shows(report)
    verdict = report.verdict
    yield f"# {text(headline(report))}\n"
    named = f" · model {code(report.model)}" if report.model else ""
    yield f"**Verdict: {verdict.status}** · severity: **{verdict.severity}**{named} · {text(moment(report.created))}\n"
    if said := tried(report):
        yield f"{text(said)}\n"
    if step := next_step(report):
        yield f"**Next step.** {text(step.reason)}{f' Takes {text(step.estimate)}.' if step.estimate else ''}\n"
        if step.command:
            yield f"{block(step.command)}\n"
    if then := decided(report):
        yield f"**What to do.** {text(then.reason)}\n"
        if then.command:
            yield f"{block(then.command)}\n"
    yield f"- **What this shows.** {shown}"
    yield f"- **What it does not show.** {not_shown}"


def _basis(report: AuditReport) -> list[Sequence[str]]:
    def said(pillar: Pillar) -> str:
        numbers = ", ".join(f"{bar.name} {bar.said}" for bar in pillar.bars)
        return text(" ".join([pillar.said, *([f"{pillar.measure}: {numbers}."] if numbers else []), *pillar.notes]))

    return [(text(pillar.title), f"**{pillar.answer}**", said(pillar)) for pillar in pillars(report)]


def _findings(report: AuditReport) -> list[Sequence[str]]:
    return [
        (_weight(f), text(f"{f.rule} {f.name}"), code(f.attack) if f.attack else "all", text(f.message))
        for f in report.findings
    ]


def _weight(finding: Finding) -> str:
    if finding.leaks:
        return f"**{finding.severity}**"
    return "missing evidence" if finding.blocks else "note"


def _gates(report: AuditReport) -> list[Sequence[str]]:
    return [(code(gate.expression), f"**{gate.status}**", text(gate.reason)) for gate in report.verdict.gates]


def _leaderboard(report: AuditReport) -> Section:
    names = titles(report.attacks)
    head = ("#", "Result", "Ended", *_scores(report.kind), "Recovered", "Confidence", "Loss", "Time")
    found = table("Leaderboard", head, [_row(row, names.get(row.key, row.attack)) for row in report.leaderboard])
    return Section(found.title, found.rows, f"{text(report.ranking)}\n\n{found.head}" if report.ranking else found.head)


def _row(row: LeaderboardRow, name: str) -> Sequence[str]:
    interval = f" ({share(row.recovered_interval)})" if row.recovered_interval else ""
    of = f" of {row.records}{interval}" if row.records else ""
    recovered = NOTHING if row.recovered is None else f"{row.recovered}{of}"
    return (
        str(row.rank), code(name), row.status.replace("_", " "), fixed(row.similarity_mean), fixed(row.similarity_max),
        recovered, fixed(row.confidence_mean), number(row.loss, 3), duration(row.seconds),
    )  # fmt: skip


def _beside(report: AuditReport, look: Look) -> Section:
    kind = report.kind
    head = (f"Training {kind.words.one}", "Original", "Reconstruction", kind.statistic, "Result")
    rows = [] if look.evidence == "none" else [_pair(best, look.evidence == "blurred") for best in beside(report)]
    found = table(f"Training {kind.words.many} beside what was made of them", head, rows)
    said = "**Words** that only one side has are bold, *words* that the other side has elsewhere are italic.\n\n"
    return Section(found.title, found.rows, said + found.head)


def _pair(best: BestMatch, veiled: bool) -> Sequence[str]:
    match = best.match
    sides = differences(*(item.text[:_LONGEST] for item in (match.truth, match.reconstruction) if item.form == "text"))
    return (
        code(match.name), *(" ".join(_emphasised(side, veiled)) for side in sides), fixed(match.scores.similarity),
        "**rebuilt**" if best.recovered_by else "not rebuilt",
    )  # fmt: skip


def _exposure(report: AuditReport) -> list[Section]:
    found, words = report.exposure, report.kind.words
    if found is None:
        return []
    ways = [(text(way.name), way.share, way.strict, way.area) for way in exposure.ways(found)]
    told = table("Exposure", ("Score", "Above 99 % of held-out (95 %)", "Above 99.9 %", "AUC (95 %)"), ways)
    said = [exposure.meaning(words), found.reason, *exposure.facts(report, found)]
    lines = "".join(f"- {text(line)}\n" for line in said)
    head = (words.one.capitalize(), "Class", "Score", "By chance", "q", "Stands alone", "Result")
    first = table(f"The most exposed {words.many}", head, [_exposed(row) for row in found.per_record[:_EXPOSED]])
    return [Section(told.title, told.rows, f"{lines}\n{told.head}"), first]


def _exposed(row: Exposed) -> Sequence[str]:
    return (
        code(row.name), code(row.label), fixed(row.score, 2), probability(row.p_value), probability(row.q_value),
        fixed(row.leverage, 2), "**told**" if row.detected else "not told",
    )  # fmt: skip


def _words(report: AuditReport, look: Look) -> Iterator[str]:
    if found := report.vocabulary:
        yield from (f"- {text(said)}" for said in statements(found, report.kind.words))
        if found.words and look.evidence != "none":
            shown = [_VEIL if look.evidence == "blurred" else code(word) for word in found.words]
            yield f"- The rarest, by their numbers in the tokenizer: {', '.join(shown)}."


def _emphasised(parts: Sequence[Part], veiled: bool) -> Iterator[str]:
    for part in parts:
        if said := _WORD.sub(_VEIL, part.text).strip() if veiled else text(part.text):
            yield f"{_SIGNS[part.state]}{said}{_SIGNS[part.state]}"


def _scores(kind: RecordKind) -> tuple[str, str]:
    return f"Mean {kind.statistic}", f"Best {kind.statistic}"


def _levels(kind: RecordKind) -> Sequence[str]:
    return ("Result", f"Highest {kind.statistic} of", "Number", "Median", "95 %", "99 %", "Highest")


def _chance(found: list[Chance]) -> list[Sequence[str]]:
    return [
        (code(part.title), group, str(size), *(fixed(value) for value in values))
        for part in found
        for group, size, values in part.quantiles
    ]


def _said(found: list[Chance], kind: RecordKind) -> Iterator[str]:
    for part in found:
        yield from (f"{part.title}: {statement}" for statement in part.statements)
        floor = ", ".join(f"{decoy.name} {fixed(decoy.similarity_mean)}" for decoy in part.metrics.decoys)
        if floor:
            yield f"{part.title}: mean {kind.statistic} of {kind.words.many} that no attack made: {floor}."


def _defences(kind: RecordKind) -> Sequence[str]:
    return ("Change", "Distortion", *_scores(kind), "Recovered", "Exposed, at least", "Accuracy", "Verdict")


def _defence(point: DefencePoint) -> Sequence[str]:
    recovered = NOTHING if point.recovered is None else f"{point.recovered} of {point.records}"
    exposed = NOTHING if point.exposed_at_least is None else str(point.exposed_at_least)
    return (
        altered(point), number(point.distortion, 3), fixed(point.similarity_mean), fixed(point.similarity_max),
        recovered, exposed, percent(point.accuracy, 1), f"**{point.verdict}**",
    )  # fmt: skip


def _environment(report: AuditReport) -> str:
    found = report.environment
    threads = count(found.threads, "thread")
    return f"memaudit {found.memaudit}, Python {found.python}, torch {found.torch}, {found.device}, {threads}."


def _digests(report: AuditReport) -> list[Sequence[str]]:
    given = report.inputs
    files: list[Checkpoint | Records] = [given.before, given.after]
    files += [records for records in (given.data, given.control) if records]
    content = [("content of the report", code(report.content_sha256))] if report.content_sha256 else []
    return [*((code(file.path), code(file.sha256)) for file in files), *content]
