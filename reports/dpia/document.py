"""The compliance document: technical input to a data protection impact assessment, as Markdown or as one page.

It says what was tried and what came out, never what follows from that in law; what the tool cannot know is taken from
the context file or left visibly open.
"""

import math
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from ...audit import words
from ...audit.files import FormatError, write_text
from ...audit.outputs import Format, Look
from ...audit.report.facts import SearchPoint
from ...audit.report.model import AuditReport
from ...audit.report.results import AttackResult, BestMatch, titles
from ...audit.report.verdict import Finding
from ...audit.verdict.rules import RULES
from ..common import extracts
from ..common.verdict import headline
from ..page import facts
from .context import answers, questions
from .page import escape, page, templates
from .threats import compliance, threats

_RECORDS = 200
"""So many affected records are described; of the others there is only the number of each."""

_RECIPES = 30
"""So many of the recipes that were tried are listed."""

_QUANTILES = (0.0, 0.5, 0.95, 0.99, 1.0)

_TAGS = ("assessment.identifiable", "assessment.not_identifiable")
"""Keys that are only asked for where a record is affected."""


class Outcome(NamedTuple):
    """What an attack, or a class of attacks, says about the model."""

    state: str
    said: str


class Open(NamedTuple):
    """A question that only a person can answer, and nobody has."""

    key: str
    who: str
    question: str


class Risk(NamedTuple):
    """What the findings say about likelihood and severity, technically."""

    likelihood: str
    why: str
    severity: str


class Spread(NamedTuple):
    """How far the seeds of one attack lie apart."""

    attack: str
    seeds: str
    ends: str
    recovered: str
    ssim: str
    loss: str


def write(report: AuditReport, folder: Path, destination: Path, look: Look = Look()) -> Path:  # noqa: B008 - frozen
    """Write the document: Markdown where the name ends in ``.md``, else one offline page. It shows no picture.

    Raises:
        FormatError: The destination cannot be written, or the context has an unknown key or a wrong value.
    """
    text = markdown(report, look)
    if destination.suffix.lower() != ".md":
        text = page(text, f"Technical input to an impact assessment: {report.model or 'unnamed model'}")
    return write_text(destination, text)


def markdown(report: AuditReport, look: Look = Look()) -> str:  # noqa: B008 - frozen
    """Return the document as Markdown. Raises :class:`FormatError` for a context that is not understood."""
    told, affected, names = answers(look.context), exposed(report), titles(report.attacks)
    recipes = candidates(report)
    tried = list(dict.fromkeys(attack.name for attack in extracts.standing(report)))
    filters: dict[str, Callable[..., Any]] = {
        "number": words.number, "fixed": words.fixed, "probability": words.probability, "duration": words.duration,
        "memory": words.memory, "moment": words.moment, "plain": words.plain, "confidence": words.confidence,
        "share": words.share, "count": _counted, "spaced": _spaced, "places": _places,
    }  # fmt: skip
    return (
        templates(filters)
        .get_template("dpia.md.j2")
        .render(
            report=report,
            headline=headline(report),
            shows=shows(report),
            leaks=[finding for finding in report.findings if _leaks(finding)],
            missing=[finding for finding in report.findings if not _leaks(finding)],
            open_points=open_points(told, affected),
            fact=lambda key: _fact(told, key),
            tried=tried,
            threats=threats(report),
            classes=classes(report),
            outcomes=outcomes(report),
            law=compliance(),
            results=extracts.standing(report),
            name_of=lambda result: names[result.key],
            recipe=facts.rows(report.recipe),
            readings=facts.rows(report.delta.facts),
            options=_options,
            quantiles=_quantiles,
            slices=extracts.slices(extracts.records(report)),
            spreads=spreads(report),
            recipes=recipes[:_RECIPES],
            more_recipes=len(recipes[_RECIPES:]),
            not_varied=not_varied(report),
            risk=risk(report),
            affected=affected[:_RECORDS],
            more_affected=[best.match.sample for best in affected[_RECORDS:]],
            tag=lambda best: _tag(told, best),
        )
    )


def _fact(told: dict[str, Any], key: str) -> Markup:
    """Return what the context tells, or the mark of an open point."""
    value = told.get(key)
    if value is None:
        question = questions()[key]
        return Markup(f"**\\[open: {question.who} / {escape(key)}\\]**")  # noqa: S704 - Markdown, from our own file
    if isinstance(value, date):
        return Markup(value.isoformat())  # noqa: S704 - digits
    return Markup(escape(", ".join(map(str, value)) if isinstance(value, list) else words.plain(value)))  # noqa: S704


def open_points(told: dict[str, Any], affected: Sequence[BestMatch]) -> list[Open]:
    """Return what the context leaves open; which records show a person is one question, open while one is untagged.

    Raises:
        FormatError: A tag is of a record that is not affected, or both tags are of the same.
    """
    yes, no = (set(told.get(key, ())) for key in _TAGS)
    samples = {best.match.sample for best in affected}
    if wrong := sorted((yes | no) - samples):
        raise FormatError(
            f"--context: record {wrong[0]} is tagged, but not affected.", "Section 9 lists those that are."
        )
    if both := sorted(yes & no):
        raise FormatError(f"--context: record {both[0]} is in {_TAGS[0]} and in {_TAGS[1]}.", "Name it once.")
    left = {key for key in questions() if key not in told} - set(_TAGS)
    left |= {_TAGS[0]} if samples - yes - no else set()
    return [Open(about.key, about.who, about.question) for about in questions().values() if about.key in left]


def _tag(told: dict[str, Any], best: BestMatch) -> Markup:
    for key, word in zip(_TAGS, ("yes", "no"), strict=True):
        if best.match.sample in told.get(key, ()):
            return Markup(word)  # noqa: S704 - a word of ours
    return _fact({}, _TAGS[0])


def shows(report: AuditReport) -> tuple[str, str]:
    """Return what the verdict shows, and what it does not."""
    match report.verdict.status:
        case "fail":
            return (
                "Whoever holds the same two files can repeat what the attacks of this report did; it exceeds the "
                "limits that were set (the gates below).",
                "That the records found are the only ones at risk: other attacks or larger budgets may recover more. "
                "Similarity of pixels does not say by itself whether a person can be identified.",
            )
        case "pass":
            return (
                "The attacks of this report, with these settings and this recipe, stayed within the limits that were "
                "set (the gates below). This is evidence of resistance to these attacks, and to no others.",
                "That no training image can be reconstructed: stronger attacks, larger budgets or a better guess of "
                "the recipe may succeed. It says nothing on attacks that were not run (section 5).",
            )
        case _:
            return (
                "What was tried, how far it got, and what is missing for a decision.",
                "That training images leak, or that they do not. An attack that did not run, did not converge or had "
                "nothing to compare with is no evidence of safety. This audit clears nothing.",
            )


def outcomes(report: AuditReport) -> dict[str, Outcome]:
    """Return what came of each attack that :func:`threats` knows, in the same order."""
    return {name: _outcome(report, name) for name in threats(report)}


def _outcome(report: AuditReport, name: str) -> Outcome:
    results = [result for result in report.attacks if result.name == name]
    if not results:
        reasons = [step.reason for step in report.plan if step.attack == name and step.reason]
        return Outcome("not run", "; ".join(reasons))
    measured = [result.metrics for result in results if result.metrics]
    most = max(measured, key=lambda metrics: metrics.recovered, default=None)
    if most and most.recovered:
        return Outcome("recovered", f"Recovered {most.recovered} of {most.images} training images.")
    if all(result.status == "unsupported" for result in results):
        return Outcome("not applicable", results[0].reason or "The attack cannot treat this model or recipe.")
    if reason := _unclear(report, name, results):
        return Outcome("inconclusive", reason)
    return Outcome("ran", f"Explained the change and recovered none of {_counted(measured[0].images, 'image')}.")


def _unclear(report: AuditReport, name: str, results: Sequence[AttackResult]) -> str:
    """Return why nothing follows from an attack that recovered nothing; empty where something does."""
    if not any(result.status == "converged" for result in results):
        ends = " and ".join(dict.fromkeys(_spaced(result.status) for result in results))
        return f"Ended as {ends}: nothing follows from it."
    if not any(result.metrics for result in results if result.status == "converged"):
        return "It explained the change, but what it found was not compared with any training image."
    blocks = [f.message for f in report.findings if f.blocks and f.attack in ("", name)]
    if blocks:
        return f"It explained the change, but {blocks[0][:1].lower()}{blocks[0][1:]}"
    if report.verdict.status == "inconclusive":
        return "It explained the change, but the audit as a whole is inconclusive (section 1)."
    return ""


_STATES = ("recovered", "ran", "inconclusive", "not applicable", "not run")


def classes(report: AuditReport) -> list[tuple[dict[str, str], Outcome]]:
    """Return what was run of each class of attacks: the most telling outcome of those that count as it."""
    found, models, described = outcomes(report), threats(report), []
    for kind in compliance()["edpb"]:
        same = {name: end for name, end in found.items() if models[name].kind == kind["key"]}
        states = {state: [name for name, end in same.items() if end.state == state] for state in _STATES}
        said = [f"{state}: {', '.join(names)}" for state, names in states.items() if names and state != "not run"]
        left_out = len(states["not run"])
        said += [f"not run: {left_out} of {len(same)}"] if left_out else []
        state = next((state for state in _STATES if states[state]), "not run")
        described.append((kind, Outcome("ran" if state == "recovered" else state, "; ".join(said))))
    return described


def _leaks(finding: Finding) -> bool:
    return finding.rule not in RULES or RULES[finding.rule].leak


def risk(report: AuditReport) -> Risk:
    """Return likelihood and severity as far as the findings tell; whoever is affected is for a person to judge."""
    recovered, leaks = len(exposed(report)), [finding for finding in report.findings if _leaks(finding)]
    severity = str(report.verdict.severity)
    if severity == "none" and report.verdict.status != "pass":
        severity = "not determined"
    if recovered:
        return Risk("demonstrated", f"{_counted(recovered, 'training image was', 'training images were')} "
                    "recovered in this audit; the attack needs no more than section 4 says.", severity)  # fmt: skip
    if report.verdict.status == "inconclusive":
        hint = " What was found below points to a leak all the same." if leaks else ""
        return Risk("not determined", f"The audit is inconclusive.{hint}", severity)
    if leaks or report.verdict.status == "fail":
        return Risk("indicated", "No image is recovered, but there is a trace of the training images.", severity)
    return Risk("not observed", "None of the attacks that ran recovered an image; others were not run.", severity)


def exposed(report: AuditReport) -> list[BestMatch]:
    """Return the affected records, the most similar first."""
    return [best for best in extracts.records(report) if best.recovered_by or best.match.recovered]


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
                ", ".join(dict.fromkeys(_spaced(run.status) for run in runs)),
                _range([float(metrics.recovered) for metrics in measured]),
                _range([metrics.ssim_mean for metrics in measured]),
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
    runs = extracts.by_attack(report).items()
    once = [name for name, results in runs if sum(result.kind == "run" for result in results) == 1]
    said = [f"The seed of {', '.join(once)}: one run each (--restarts varies it)."] if once else []
    if not report.search:
        said.append("The recipe: no other one was tried.")
    assumed = [row.name.lower() for row in facts.rows(report.assumptions())]
    said += [f"What was assumed of the recipe: {', '.join(assumed)}."] if assumed else []
    return [*said, "The options of the attacks (section 6), and the threshold from which an image counts as recovered."]


def _range(values: Sequence[float]) -> str:
    if not values:
        return words.NOTHING
    low, high = words.number(min(values), 3), words.number(max(values), 3)
    return low if low == high else f"{low} to {high}"


def _quantiles(values: Sequence[float]) -> list[str]:
    last = len(values) - 1
    return [words.fixed(values[round(share * last)]) for share in _QUANTILES] if values else []


def _options(result: AttackResult) -> str:
    def written(value: Any) -> str:
        return f"[{words.plain(value)}]" if isinstance(value, list | tuple) else words.plain(value)

    return ", ".join(f"{name} = {written(value)}" for name, value in result.options.items())


def _counted(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _places(numbers: Sequence[int]) -> str:
    return f"section{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def _spaced(text: str) -> str:
    return text.replace("_", " ")


def check(look: Look) -> None:
    """Raise :class:`FormatError` where the context has what this document does not know."""
    answers(look.context)


FORMAT = Format(write, check)
"""The format by its entry point."""
