"""The report as one HTML file that needs no network: styles, charts and pictures are inside, and no script."""

import base64
import hashlib
import math
import os
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ..audit.report import AttackResult, AuditReport, Match, Metrics, SearchPoint
from .charts import Axis, line_chart, spans_decades
from .files import write_text

_PNG_HEAD, _PNG_TAIL = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_PICTURE_LIMIT = 8 * 2**20
_NOTHING = "–"

_STATUS = {
    "converged": "its loss fell under its tolerance",
    "stalled": "its schedule ended before its loss fell under its tolerance",
    "budget_spent": "its budget ended it before its schedule did",
    "diverged": "its loss exploded or became undefined",
    "unsupported": "it cannot treat this model or recipe",
}

_RECIPE = {
    "size": "Training images",
    "lr": "Learning rate",
    "batch_size": "Batch size",
    "nesterov": "Nesterov momentum",
    "optimizer": "Optimiser",
    "batch_norm": "Batch norm",
    "image_size": "Image size",
    "normalise": "Normalisation",
}
"""Names of the recipe's fields where the field's own name, spaced, would not do."""


class Tile(NamedTuple):
    """One key number of the verdict."""

    label: str
    value: str
    note: str


def write(report: AuditReport, folder: Path, destination: Path) -> Path:
    """Write one offline page with the pictures inside.

    A picture that is missing, outside ``folder`` or no PNG becomes a placeholder.

    Raises:
        FormatError: The destination cannot be written.
    """
    return write_text(destination, render(report, folder))


def render(report: AuditReport, folder: Path) -> str:
    """Return the page."""
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "fixed": fixed,
        "duration": duration,
        "memory": memory,
        "moment": moment,
        "plain": plain,
        "digest": digest,
    }
    return environment.get_template("report.html.j2").render(
        report=report,
        headline=headline(report),
        tiles=tiles(report),
        shows=shows(report),
        ranked=ranked,
        unmatched=unmatched,
        picture=lambda path: picture(folder, path),
        loss_chart=loss_chart,
        search_charts=search_charts(report.search),
        facts=[(_RECIPE.get(name, name.replace("_", " ").capitalize()), fact) for name, fact in report.recipe],
        statuses=_STATUS,
    )


def _template(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def headline(report: AuditReport) -> str:
    """Return the verdict in plain words; it never contradicts the number of recovered images."""
    recovered = any(attack.metrics and attack.metrics.recovered for attack in report.attacks)
    match report.verdict.status, recovered:
        case "fail", True:
            return "Training data can be reconstructed"
        case "fail", False:
            return "A leakage limit was exceeded"
        case "pass", True:
            return "Training images were recovered, within the limits that were set"
        case "pass", False:
            return "No training image was recovered by the attacks that were run"
        case _:
            return "Inconclusive: not enough evidence"


def shows(report: AuditReport) -> tuple[str, str]:
    """Return what the verdict shows, and what it does not."""
    match report.verdict.status:
        case "fail":
            return (
                "With both checkpoints and the training recipe below, the attacks in this report exceeded what its "
                "gates allow. Whoever holds the same two files can repeat them.",
                "That the images found are the only ones at risk: other attacks or larger budgets may recover more. "
                "Similarity of pixels also does not say by itself whether a person can be identified.",
            )
        case "pass":
            return (
                "The attacks in this report, with these settings and this recipe, stayed within what its gates allow.",
                "That the model is anonymous or that its training data is safe. Resistance was measured against these "
                "attacks only; stronger attacks or a better guess of the recipe may succeed.",
            )
        case _:
            return (
                "What was tried, how far it got, and what is missing for a decision.",
                "That training data leaks, or that it does not. An attack that failed to run or to converge is no "
                "evidence of safety.",
            )


def tiles(report: AuditReport) -> list[Tile]:
    """Return the key numbers: the best over all attacks, and which attack reached it."""
    recovered, by = _best(report.attacks, lambda metrics: metrics.recovered)
    mean, mean_by = _best(report.attacks, lambda metrics: metrics.ssim_mean)
    top, top_by = _best(report.attacks, lambda metrics: metrics.ssim_max)
    chance = next((a.metrics.control_ssim_mean for a in report.attacks if a.metrics and a.name == mean_by), None)
    total = report.inputs.data.count if report.inputs.data else 0
    return [
        Tile("Recovered", _NOTHING, by)
        if recovered is None
        else Tile("Recovered", f"{recovered:.0f} of {total}", f"training images, {by}"),
        Tile("Mean SSIM", fixed(mean), mean_by if chance is None else f"{fixed(chance)} with held-out images"),
        Tile("Best SSIM", fixed(top), top_by),
        _loss_tile(report),
    ]


def _best(attacks: list[AttackResult], value: Callable[[Metrics], float]) -> tuple[float | None, str]:
    found = [(value(attack.metrics), attack.name) for attack in attacks if attack.metrics]
    return max(found, key=lambda pair: pair[0]) if found else (None, "not measured")


def _loss_tile(report: AuditReport) -> Tile:
    ranking = {row.attack: row.rank for row in reversed(report.leaderboard)}
    first = min(report.attacks, key=lambda attack: ranking.get(attack.name, math.inf), default=None)
    if first is None:
        return Tile("Attack loss", _NOTHING, "no attack was run")
    return Tile("Attack loss", number(first.loss), f"{first.name}, {first.status.replace('_', ' ')}")


def ranked(attack: AttackResult) -> list[Match]:
    """Return the pairs, most similar first."""
    return sorted(attack.matches, key=lambda match: -match.scores.ssim)


def unmatched(attack: AttackResult) -> list[Any]:
    """Return the reconstructions without a training image beside them, most influential first."""
    paired = {match.dummy for match in attack.matches}
    rest = [dummy for dummy in attack.reconstructions if dummy.dummy not in paired]
    return sorted(rest, key=lambda dummy: -(dummy.influence or 0.0))


def picture(folder: Path, path: str) -> str | None:
    """Return a PNG in ``folder`` as a data URI; ``None`` where there is no such file.

    Reports come from strangers too: a path that leads out of the folder is not followed.
    """
    try:
        root, found = (Path(os.path.realpath(part)) for part in (folder, folder / path))
        if not found.is_relative_to(root) or not found.is_file() or found.stat().st_size > _PICTURE_LIMIT:
            return None
        content = found.read_bytes()
    except (OSError, ValueError):
        return None
    if not (content.startswith(_PNG_HEAD) and content.endswith(_PNG_TAIL)):
        return None
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def loss_chart(attack: AttackResult, key: str) -> Markup:
    """Draw an attack's loss over its iterations."""
    losses = [loss for _, loss in attack.curve]
    finite = [loss for loss in losses if loss is not None]
    return line_chart(
        attack.curve,
        Axis("iteration"),
        Axis("loss", log=spans_decades(losses)),
        key=key,
        title=f"Loss of {attack.name}",
        description=f"From {number(finite[0])} to {number(finite[-1])} in {attack.iterations} iterations."
        if finite
        else "No finite loss.",
    )


def search_charts(search: list[SearchPoint]) -> list[Markup]:
    """Draw the loss and the size of the simulated change, each over the candidate learning rates."""
    points = sorted(search, key=lambda point: point.lr)
    chosen = next((point.lr for point in points if point.chosen), None)
    said = f"The chosen learning rate is {number(chosen)}." if chosen else "None was chosen."
    rate = Axis("learning rate", log=True)
    losses, ratios = [p.loss for p in points], [p.change_ratio for p in points]
    loss = line_chart(
        [(point.lr, point.loss) for point in points],
        rate,
        Axis("early loss", log=spans_decades(losses)),
        key="search-loss",
        title="Early loss over the learning rate; lower is better",
        description=said,
        chosen=chosen,
    )
    ratio = line_chart(
        [(point.lr, point.change_ratio) for point in points],
        rate,
        Axis("simulated / real change", log=spans_decades(ratios)),
        key="search-ratio",
        title="Size of the simulated change of the weights over the real one; 1 is right",
        description=said,
        chosen=chosen,
        guide=(1.0, "same size"),
    )
    return [chart for chart in (loss, ratio) if chart]


def number(value: float | None) -> str:
    """Return up to four significant digits, or a dash."""
    return _NOTHING if value is None or not math.isfinite(value) else f"{value:.4g}"


def fixed(value: float | None, digits: int = 3) -> str:
    """Return a fixed number of decimals, or a dash."""
    return _NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Return ``8.3 s``, ``4 min 10 s`` or ``2 h 5 min``."""
    if not math.isfinite(seconds) or seconds < 60:
        return f"{fixed(seconds, 1)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def memory(size: int) -> str:
    """Return bytes as ``512 MiB`` or ``3.1 GiB``; a dash where none was measured."""
    if size <= 0:
        return _NOTHING
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


def moment(text: str) -> str:
    """Return an ISO 8601 time as ``22 November 2026, 13:24 UTC``; other text as it is."""
    try:
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC).strftime("%-d %B %Y, %H:%M UTC")
    except (ValueError, OverflowError):
        return text


def plain(value: Any) -> str:
    """Return an option's or a fact's value as people write it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return number(value)
        case list() | tuple():
            return ", ".join(map(plain, value))
        case _:
            return str(value)


def digest(text: str) -> str:
    """Return the hash source by which a content security policy admits an inline element."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
