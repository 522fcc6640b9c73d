"""The compliance document: technical input to a data protection impact assessment, as Markdown or as one page.

It says what was tried and what came out, never what follows from that in law; what the tool cannot know is taken from
the context file or left visibly open.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...audit import words
from ...audit.files import write_text
from ...audit.outputs import Format, Look
from ...audit.report.model import AuditReport
from ...audit.report.results import AttackResult, titles
from ...audit.verdict.tally import exposure_only
from ..common import exposure, extracts
from ..common.pillars import pillars
from ..common.verdict import headline, next_step, tried
from ..page import facts
from .answers import fact, open_points, tag
from .context import answers
from .outcomes import classes, exposed, outcomes, risk
from .page import page, templates
from .sensitivity import candidates, not_varied, spreads
from .threats import compliance, threats

_RECORDS = 200
"""At most this many affected records are described; of the others there is only the number of each."""

_RECIPES = 30
"""At most this many of the recipes that were tried are listed."""

_QUANTILES = (0.0, 0.5, 0.95, 0.99, 1.0)


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
    told = answers(look.context)
    content = _verdict(report) | _attacks(report) | _training(report) | _people(report, told)
    filters: dict[str, Callable[..., Any]] = {
        "number": words.number, "fixed": words.fixed, "probability": words.probability, "duration": words.duration,
        "memory": words.memory, "moment": words.moment, "plain": words.plain, "confidence": words.confidence,
        "share": words.share, "detailed": words.detailed, "count": _counted, "spaced": _spaced, "places": _places,
    }  # fmt: skip
    return templates(filters).get_template("dpia.md.j2").render(content)


def _verdict(report: AuditReport) -> dict[str, Any]:
    """Return what the templates say of the report as a whole."""
    return {
        "report": report,
        "kind": report.kind,
        "words": report.kind.words,
        "headline": headline(report),
        "found_by": tried(report),
        "step": next_step(report),
        "pillars": pillars(report),
        "shows": shows(report),
        "leaks": [finding for finding in report.findings if finding.leaks],
        "missing": [finding for finding in report.findings if not finding.leaks],
        "risk": risk(report),
        "law": compliance(),
        **_exposure(report),
    }


def _exposure(report: AuditReport) -> dict[str, Any]:
    """Return what they say of the exposure of records."""
    found = report.exposure
    told = [row.record for row in found.per_record if row.detected] if found else []
    return {
        "alone": exposure_only(report),
        "found": found,
        "meaning": exposure.meaning(report.kind.words),
        "ways": exposure.ways(found) if found else [],
        "told": told[:_RECORDS],
        "more_told": len(told[_RECORDS:]),
        "rests": exposure.facts(report, found) if found else [],
    }


def _attacks(report: AuditReport) -> dict[str, Any]:
    """Return what they say of the attacks and of their results."""
    results, names = extracts.standing(report), titles(report.attacks)
    return {
        "tried": list(dict.fromkeys(attack.name for attack in results)),
        "threats": threats(report),
        "classes": classes(report),
        "outcomes": outcomes(report),
        "results": results,
        "name_of": lambda result: names[result.key],
        "options": _options,
        "quantiles": _quantiles,
        "slices": extracts.slices(extracts.records(report)),
        "spreads": spreads(report),
        "not_varied": not_varied(report),
    }


def _training(report: AuditReport) -> dict[str, Any]:
    """Return what they say of the training."""
    recipes = candidates(report)
    return {
        "recipe": facts.rows(report.recipe, report.kind.words),
        "readings": facts.rows(report.delta.readings, report.kind.words),
        "recipes": recipes[:_RECIPES],
        "more_recipes": len(recipes[_RECIPES:]),
    }


def _people(report: AuditReport, told: dict[str, Any]) -> dict[str, Any]:
    """Return what people answered, and what concerns them. Raises :class:`FormatError` for a wrong tag."""
    affected = exposed(report)
    return {
        "open_points": open_points(told, affected),
        "answered": len(told),
        "fact": lambda key: fact(told, key),
        "affected": affected[:_RECORDS],
        "more_affected": [best.match.sample for best in affected[_RECORDS:]],
        "tag": lambda best: tag(told, best),
    }


def shows(report: AuditReport) -> tuple[str, str]:
    """Return what the verdict shows, and what it does not."""
    if exposure_only(report):
        return exposure.shows(report)
    words = report.kind.words
    match report.verdict.status:
        case "fail":
            return (
                "Whoever holds the same two files can repeat what the attacks of this report did; it exceeds the "
                "limits that were set (the gates below).",
                "That the records found are the only ones at risk: other attacks or larger budgets may recover more. "
                f"Similarity of {words.compared} does not say by itself whether a person can be identified.",
            )
        case "pass":
            return (
                "The attacks of this report, with these settings and this recipe, stayed within the limits that were "
                "set (the gates below). This is evidence of resistance to these attacks, and to no others.",
                f"That no training {words.one} can be reconstructed: stronger attacks, larger budgets or a better "
                "guess of the recipe may succeed. It says nothing on attacks that were not run (section 5).",
            )
        case _:
            return (
                "What was tried, how far it got, and what is missing for a decision.",
                f"That training {words.many} leak, or that they do not. An attack that did not run, did not converge "
                "or had nothing to compare with is no evidence of safety. This audit clears nothing.",
            )


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
