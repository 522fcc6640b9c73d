"""The report as one HTML file that needs no network: styles, charts, pictures and a small script are inside.

The page is complete without the script, which only sorts, enlarges and reveals.
"""

import base64
import hashlib
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from ..audit import words
from ..audit.files import write_text
from ..audit.outputs import Look
from ..audit.report.exhibit import Text
from ..audit.report.model import AuditReport
from ..audit.report.results import titles
from ..audit.report.verdict import Finding
from ..audit.verdict.advice import NO_BACKING
from ..audit.verdict.tally import exposure_only
from . import page
from .common.exposure import RULE
from .common.extracts import (
    by_attack,
    class_names,
    evidence,
    insignificant,
    leading,
    ranked,
    records,
    slices,
    standing,
    trusted,
    unmatched,
)
from .common.pictures import Album, Aside
from .common.pillars import pillars
from .common.verdict import decided, headline, next_step, shows, tiles, topics, tried
from .common.vocabulary import statements
from .page import exposure
from .page.chance import held_against_chance
from .page.facts import census, rows
from .page.plots import altered, defence_charts, loss_chart
from .page.search import candidates, chosen, described, rounds, search_charts

MOST = {"strip": 4, "open": 12, "cards": 240, "rows": 500, "few": 12, "links": 12}
"""Records shown at the top, at once, at all, and in a table; those of every other result; linked records; at most."""

_STATUS = {
    "converged": "its loss fell under its tolerance",
    "stalled": "its schedule ended before its loss fell under its tolerance",
    "budget_spent": "its budget ended it before its schedule did",
    "diverged": "its loss exploded or became undefined",
    "unsupported": "it cannot treat this model or recipe",
}


def write(report: AuditReport, folder: Path, destination: Path, look: Look = Look()) -> Path:  # noqa: B008 - frozen
    """Write one offline page with the pictures inside.

    A picture that is missing, outside ``folder`` or not a PNG becomes a placeholder. Pictures without room in the page
    are linked to, see :class:`.pictures.Aside`.

    Raises:
        FormatError: The destination cannot be written.
    """
    aside = Aside(folder, destination)
    text = render(report, folder, look, aside)
    written = write_text(destination, text, private=look.evidence != "none")
    aside.write()
    return written


def render(
    report: AuditReport,
    folder: Path,
    look: Look = Look(),  # noqa: B008 - frozen
    aside: Aside | None = None,
    veiled: bool = False,
    paper: bool = False,
) -> str:
    """Return the page; without ``aside``, pictures that have no room become placeholders.

    With ``veiled`` its records are beyond recognition, and not only under a blur that can be lifted. With ``paper`` it
    lacks what is not printed, and has its pairs in boxes that a renderer of pages lays out fast.
    """
    content = _content(report, Album(folder, aside, veiled), look) | {"veiled": veiled, "paper": paper}
    return environment().get_template("report.html.j2").render(content)


def digest(text: str) -> str:
    """Return the hash source by which a content security policy admits an inline element."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


@cache
def environment() -> Environment:
    """Return the environment of the page's templates: every text is escaped."""
    found = Environment(
        loader=FunctionLoader(lambda name: files(page).joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = (
        words.number, words.fixed, words.percent, words.probability, words.duration, words.memory, words.moment,
        words.plain, words.confidence, words.share, words.count, words.detailed, words.text, digest, altered,
    )  # fmt: skip
    found.filters |= {function.__name__: function for function in written}
    return found


def _content(report: AuditReport, album: Album, look: Look) -> dict[str, Any]:
    """Return everything that the templates name."""
    return {
        "report": report,
        "kind": report.kind,
        "words": report.kind.words,
        "look": look.evidence,
        "most": MOST,
        "picture": album,
        "names": titles(report.attacks),
        "statuses": _STATUS,
        **_verdict(report),
        **_results(report, look),
        **_shown(report, look),
        **_training(report),
    }


def _verdict(report: AuditReport) -> dict[str, Any]:
    return {
        "headline": headline(report),
        "tried": tried(report),
        "step": next_step(report),
        "then": decided(report),
        "tiles": tiles(report),
        "pillars": pillars(report),
        "shows": shows(report),
        "topics": topics(report),
    }


def _results(report: AuditReport, look: Look) -> dict[str, Any]:
    results, found = standing(report), records(report)
    return {
        **_strip(report, look),
        "class_of": class_names(report),
        "records": found,
        "cards": [] if look.evidence == "none" else found[: MOST["cards"]],
        "sizes": {result.key: result.metrics.pool for result in results if result.metrics},
        "samples": {best.match.sample: best.match.name for best in found[: MOST["rows"]]},
        "slices": slices(found),
        "consensus": [result for result in results if result.agreement],
        "chances": held_against_chance(report),
        "decoys": next((r.metrics.decoys for r in results if r.metrics and r.metrics.decoys), []),
        "attacks": by_attack(report),
        "measured": any(row.similarity_mean is not None for row in report.leaderboard),
        "controlled": any(row.control_similarity_mean is not None for row in report.leaderboard),
        "criterion": next((result.metrics.criterion for result in results if result.metrics), ""),
        "matching": next((result.metrics.matching for result in results if result.metrics), ""),
        "ranked": ranked,
        "unmatched": unmatched,
        "insignificant": insignificant,
        "trusted": trusted,
        "loss_chart": loss_chart,
        "defence_charts": defence_charts(report.defences, report.kind.statistic),
        "no_backing": NO_BACKING,
    }


def _shown(report: AuditReport, look: Look) -> dict[str, Any]:
    """Return what they say of the records themselves."""
    results, exposed = evidence(report), report.exposure.per_record if report.exposure else []
    exhibits = [dummy.exhibit for result in results for dummy in result.reconstructions]
    exhibits += [row.exhibit for row in exposed if row.exhibit]
    texts = report.vocabulary or any(isinstance(exhibit, Text) for exhibit in exhibits)
    said = bool(report.vocabulary and report.vocabulary.words)
    return {
        "evidence": results,
        "pictured": bool(results or exhibits or said) and look.evidence != "none",
        "form": "texts" if texts else "pictures",
        "alone": exposure_only(report),
        "exposure": exposure.shown(report),
        "linked": partial(_linked, report),
    }


def _linked(report: AuditReport, finding: Finding) -> list[tuple[str, str]]:
    """Return the names of some of a finding's records, the most exposed first, each with its place on the page."""
    about = set(finding.records)
    if finding.rule == RULE and report.exposure:
        rows = [row for row in report.exposure.per_record[: exposure.MOST] if row.record in about]
        return [(row.name, f"exposed-{row.record}") for row in rows[: MOST["links"]]]
    names = {best.match.sample: best.match.name for best in records(report)[: MOST["rows"]]}
    return [
        (names[sample], f"record-{sample}") if sample in names else (f"no. {sample}", "")
        for sample in finding.records[: MOST["links"]]
    ]


def _strip(report: AuditReport, look: Look) -> dict[str, Any]:
    """Return the first pairs, or first reconstructions where these have no training record beside them."""
    pairs, bare = leading(report)
    shown = look.evidence != "none"
    return {"strip": pairs[: MOST["strip"]] if shown else [], "loose": bare[: MOST["strip"]] if shown else []}


def _training(report: AuditReport) -> dict[str, Any]:
    return {
        "search_charts": search_charts(report.search),
        "rounds": rounds(report.search),
        "chosen": chosen(report.search),
        "described": described,
        "candidates": candidates(report.search),
        "facts": rows(report.recipe, report.kind.words),
        "seen_said": statements(report.vocabulary, report.kind.words) if report.vocabulary else [],
        "rarest": Text(text=", ".join(report.vocabulary.words)) if report.vocabulary else None,
        "readings": rows(report.delta.readings, report.kind.words),
        "census": census(report.delta.tensors),
    }
