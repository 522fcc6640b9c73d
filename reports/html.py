"""The report as one HTML file that needs no network: styles, charts and pictures are inside, and no script."""

import base64
import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ..audit.outputs import Look
from ..audit.report import (
    Agreement,
    AttackResult,
    AuditReport,
    BestMatch,
    Dummy,
    Fact,
    Key,
    Match,
    Metrics,
    SearchPoint,
    TensorReading,
    titles,
)
from .charts import Axis, Series, legend, line_chart, spans_decades
from .files import write_text

_PNG_HEAD, _PNG_TAIL = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_PICTURE_LIMIT = 8 * 2**20
_PAGE_LIMIT = 12 * 2**20
"""Pictures of so many bytes together are put into the page; the rest stays in the run folder."""

_PAIRS, _FEW, _ROWS = 100, 8, 20
"""Pairs of the best result, pairs of every other attack, and open rows of a table, at most."""

_NOTHING = "–"
_LISTED, _LISTED_WORDS = 20, 5
"""Of a list so many numbers or words are written out."""

_STATUS = {
    "converged": "its loss fell under its tolerance",
    "stalled": "its schedule ended before its loss fell under its tolerance",
    "budget_spent": "its budget ended it before its schedule did",
    "diverged": "its loss exploded or became undefined",
    "unsupported": "it cannot treat this model or recipe",
}

_NAMES = {
    "size": "Training images",
    "lr": "Learning rate",
    "batch_size": "Batch size",
    "nesterov": "Nesterov momentum",
    "optimizer": "Optimiser",
    "schedule": "Learning-rate schedule",
    "warmup": "Warm-up",
    "clip": "Gradient clipping",
    "batch_norm": "Batch norm",
    "labels": "Images of each class",
    "image_size": "Image size",
    "normalise": "Normalisation",
    "signal": "Change over rounding",
    "frozen": "Frozen tensors",
    "travel": "Sum of the learning rates",
    "weight_decay_factor": "Shrinkage by weight decay",
    "steps": "Training steps",
    "feasibility": "Parameters per unknown pixel",
    "linearity": "Linearity of the training",
}
"""Names of facts where the field's own name, spaced, would not do."""


class Row(NamedTuple):
    """One fact as it is printed."""

    name: str
    value: str
    interval: str
    fact: Fact


class Tile(NamedTuple):
    """One key number of the verdict."""

    label: str
    value: str
    note: str


def write(report: AuditReport, folder: Path, destination: Path, look: Look = Look()) -> Path:  # noqa: B008 - frozen
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
        "confidence": confidence,
        "share": share,
        "digest": digest,
    }
    return environment.get_template("report.html.j2").render(
        report=report,
        headline=headline(report),
        tiles=tiles(report),
        shows=shows(report),
        evidence=evidence(report),
        consensus=[result for result in standing(report) if result.agreement],
        attacks=by_attack(report),
        names=titles(report.attacks),
        best_of=best_of(report),
        measured=any(row.ssim_mean is not None for row in report.leaderboard),
        controlled=any(row.control_ssim_mean is not None for row in report.leaderboard),
        criterion=next((result.metrics.criterion for result in standing(report) if result.metrics), ""),
        most={"pairs": _PAIRS, "few": _FEW, "rows": _ROWS},
        ranked=ranked,
        unmatched=unmatched,
        insignificant=insignificant,
        trusted=trusted,
        picture=Album(folder),
        loss_chart=loss_chart,
        search_charts=search_charts(report.search),
        rounds=rounds(report.search),
        chosen=chosen(report.search),
        described=described,
        candidates=candidates(report.search),
        facts=rows({name: fact for name, fact in report.recipe if fact is not None}),
        readings=rows(report.delta.facts),
        census=census(report.delta.tensors),
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


def standing(report: AuditReport) -> list[AttackResult]:
    """Return the results in the order of the leaderboard; those that it does not have come last."""
    places = {row.key: row.rank for row in report.leaderboard}
    return sorted(report.attacks, key=lambda result: places.get(result.key, math.inf))


def by_attack(report: AuditReport) -> dict[str, list[AttackResult]]:
    """Return the results of each attack, the best attack and the best result first."""
    found: dict[str, list[AttackResult]] = {}
    for result in standing(report):
        found.setdefault(result.name, []).append(result)
    return found


def evidence(report: AuditReport) -> list[AttackResult]:
    """Return the results whose images are shown, the best one of each attack: those with pairs, else with images."""
    best = {name: [r for r in results if r.matches] or results for name, results in by_attack(report).items()}
    return [results[0] for results in best.values() if results[0].matches or results[0].reconstructions]


def best_of(report: AuditReport) -> list[BestMatch]:
    """Return the best reconstruction of each image, most similar first, where there is a choice."""
    several = sum(bool(result.matches) for result in report.attacks) > 1
    return sorted(report.per_image, key=lambda best: -best.match.scores.ssim) if several else []


def tiles(report: AuditReport) -> list[Tile]:
    """Return the key numbers: the best over all results, and which one reached it."""
    results, names = standing(report), titles(report.attacks)
    together = next((result for result in results if result.agreement), None)
    if together and together.agreement and not any(result.metrics for result in results):
        return [*_agreement_tiles(together, together.agreement), _loss_tile(results, names)]
    mean, mean_by = _best(results, lambda metrics: metrics.ssim_mean)
    top, top_by = _best(results, lambda metrics: metrics.ssim_max)
    chance = mean_by.metrics.control_ssim_mean if mean_by and mean_by.metrics else None
    held_out = None if chance is None else f"{fixed(chance)} with held-out images"
    return [
        _recovered_tile(report, results, names),
        Tile("Mean SSIM", fixed(mean), held_out or _by(mean_by, names)),
        Tile("Best SSIM", fixed(top), _by(top_by, names)),
        _loss_tile(results, names),
    ]


def _recovered_tile(report: AuditReport, results: list[AttackResult], names: dict[Key, str]) -> Tile:
    most, by = _best(results, lambda metrics: metrics.recovered)
    if most is None or by is None:
        return Tile("Recovered", _NOTHING, _by(by, names))
    total, together = report.inputs.data.count if report.inputs.data else 0, report.recovered_by_any or 0
    if together > most:
        return Tile(
            "Recovered", f"{together} of {total}", f"training images, by all together; {most:.0f} by {names[by.key]}"
        )
    return Tile("Recovered", f"{most:.0f} of {total}", f"training images, {names[by.key]}")


def _agreement_tiles(result: AttackResult, found: Agreement) -> list[Tile]:
    seeds, count = f"{result.name}, {len(found.seeds)} seeds", sum(not d.insignificant for d in result.reconstructions)
    return [
        Tile("Seeds agree on", f"{found.confident} of {count}", f"images, {seeds}"),
        Tile("Mean confidence", fixed(found.confidence_mean), "without training data"),
        Tile("Best confidence", fixed(found.confidence_max), seeds),
    ]


def _best(
    results: list[AttackResult], value: Callable[[Metrics], float]
) -> tuple[float, AttackResult] | tuple[None, None]:
    found = [(value(result.metrics), result) for result in results if result.metrics]
    return max(found, key=lambda pair: pair[0]) if found else (None, None)


def _by(result: AttackResult | None, names: dict[Key, str]) -> str:
    return names[result.key] if result else "not measured"


def _loss_tile(results: list[AttackResult], names: dict[Key, str]) -> Tile:
    if not results:
        return Tile("Attack loss", _NOTHING, "no attack was run")
    first = results[0]
    return Tile("Attack loss", number(first.loss, 3), f"{names[first.key]}, {first.status.replace('_', ' ')}")


def ranked(attack: AttackResult) -> list[Match]:
    """Return the pairs, most similar first."""
    return sorted(attack.matches, key=lambda match: -match.scores.ssim)


def unmatched(attack: AttackResult) -> list[Dummy]:
    """Return the reconstructions without a training image beside them, most influential first."""
    return [dummy for dummy in _unpaired(attack) if not dummy.insignificant]


def insignificant(attack: AttackResult) -> list[Dummy]:
    """Return those that stand for no image, most influential first."""
    return [dummy for dummy in _unpaired(attack) if dummy.insignificant]


def trusted(result: AttackResult) -> list[tuple[Dummy, Match | None]]:
    """Return the images of a consensus with the training image paired with each, most confident first."""
    pairs = {match.dummy: match for match in result.matches}
    kept = [dummy for dummy in result.reconstructions if not dummy.insignificant]
    return [(dummy, pairs.get(dummy.dummy)) for dummy in sorted(kept, key=lambda dummy: -(dummy.confidence or 0.0))]


def _unpaired(attack: AttackResult) -> list[Dummy]:
    paired = {match.dummy for match in attack.matches}
    rest = [dummy for dummy in attack.reconstructions if dummy.dummy not in paired]
    return sorted(rest, key=lambda dummy: -(dummy.influence or 0.0))


def rows(facts: dict[str, Fact]) -> list[Row]:
    """Return the facts as people write them, with as many digits as tell the ends of the interval apart."""
    found = []
    for name, fact in facts.items():
        low, high = fact.interval or (0.0, 0.0)
        both = low is not None and high is not None
        digits = next((n for n in range(4, 12) if both and f"{low:.{n}g}" != f"{high:.{n}g}"), 4)
        value = number(fact.value, digits) if isinstance(fact.value, float) else plain(fact.value)
        found.append(
            Row(
                _NAMES.get(name, name.replace("_", " ").capitalize()),
                counts(fact.value) if name == "labels" else value,
                f"{_end(low, digits)} to {_end(high, digits)}" if low != high else "",
                fact,
            )
        )
    return found


def _end(value: float | None, digits: int) -> str:
    if value is None:
        return _NOTHING
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e9 else number(value, digits)


def counts(value: Any) -> str:
    """Return the number of images of each class, of many classes in summary."""
    if not isinstance(value, list) or len(value) <= _LISTED or not all(isinstance(item, int) for item in value):
        return plain(value)
    return f"{min(value)} to {max(value)} in each of {len(value)} classes, {sum(value)} in all"


def census(tensors: list[TensorReading]) -> str:
    """Return how many tensors moved and how many did not: ``62 tensors: 58 moved, 4 frozen, 0 mostly rounding``."""
    words = {"moved": "moved", "decayed": "only decayed", "frozen": "frozen", "rounding": "mostly rounding"}
    found = Counter[str](tensor.status for tensor in tensors)
    parts = [f"{found[name]} {words[name]}" for name in words if found[name] or name != "decayed"]
    return f"{len(tensors)} tensor{'s' * (len(tensors) != 1)}: {', '.join(parts)}"


class Album:
    """The pictures of one page: data URIs of the run folder's files until there are too many bytes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left_out = 0
        self._room = _PAGE_LIMIT

    def __call__(self, path: str) -> str | None:
        """Return the picture, or ``None`` where it cannot be read or has no room."""
        found = picture(self.folder, path)
        if found is not None and len(found) > self._room:
            self.left_out += 1
            return None
        self._room -= len(found or "")
        return found


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


def loss_chart(results: list[AttackResult], key: str) -> Markup:
    """Draw the loss of an attack over its iterations, a line for each seed."""
    runs = [result for result in results if result.kind == "run"]
    series = [
        Series(run.curve, f"seed {run.seed}" if len(runs) > 1 else "", look)
        for look, run in enumerate(sorted(runs, key=lambda run: run.seed or 0))
    ]
    losses = [loss for line in series for _, loss in line.points]
    finite = [loss for _, loss in runs[0].curve if loss is not None] if runs else []
    best = f"Of seed {runs[0].seed}, the best: from" if len(runs) > 1 else "From"
    drawn = line_chart(
        series,
        Axis("iteration"),
        Axis("loss", log=spans_decades(losses)),
        key=key,
        title=f"Loss of {results[0].name}",
        description=f"{best} {number(finite[0])} to {number(finite[-1])} in {runs[0].iterations} iterations."
        if finite
        else "No finite loss.",
    )
    return drawn and drawn + legend(series)


def search_charts(search: list[SearchPoint]) -> list[Markup]:
    """Draw the loss and the size of the simulated change over the candidate learning rates, each with its legend."""
    best = chosen(search)
    said = f"Chosen: {described(best)}." if best else "None was chosen."

    def draw(value: Callable[[SearchPoint], float | None], name: str, key: str, **options: Any) -> Markup:
        series = curves(search, value)
        found = line_chart(
            series,
            Axis("learning rate", log=True),
            Axis(name, log=spans_decades([value(point) for point in search])),
            key=key,
            description=said,
            chosen=(best.lr, value(best)) if best else None,
            **options,
        )
        return found and found + legend(series)

    loss = draw(
        lambda point: point.loss,
        "early loss",
        "search-loss",
        title="Early loss over the learning rate; lower is better",
    )
    ratio = draw(
        lambda point: point.change_ratio,
        "simulated / real change",
        "search-ratio",
        title="Size of the simulated change of the weights over the real one; 1 is right",
        guide=(1.0, "same size"),
    )
    return [chart for chart in (loss, ratio) if chart]


def curves(search: list[SearchPoint], value: Callable[[SearchPoint], float | None]) -> list[Series]:
    """Return a look for each setting, as in Fig. 3 of the SimuDy paper, and for each of its rounds a line.

    Losses compare after equally many steps only: a point that was stopped earlier than others of its round is drawn,
    but interrupts their line.
    """
    found = []
    for look, (name, points) in enumerate(groups(search).items()):
        for rung, steps in sorted({(point.rung, point.iterations) for point in points}):
            peers = sorted((point for point in points if point.rung == rung), key=lambda point: point.lr)
            line = [(point.lr, value(point) if point.iterations == steps else None) for point in peers]
            found.append(Series(line, name, look, rung))
    return sorted(found, key=lambda series: series.weight)


def groups(search: list[SearchPoint]) -> dict[str, list[SearchPoint]]:
    """Return the candidates by their setting apart from the learning rate; the names tell what differs."""
    by: dict[tuple[str, int | None, int | None], list[SearchPoint]] = {}
    for point in sorted(search, key=lambda point: (point.optimizer, point.batch_size or 0, point.epochs or 0)):
        by.setdefault((point.optimizer, point.batch_size, point.epochs), []).append(point)
    differs = [len(set(values)) > 1 for values in zip(*by, strict=True)]
    return {
        ", ".join(compress((optimizer, f"batch {plain(batch)}", f"epochs {plain(epochs)}"), differs)): points
        for (optimizer, batch, epochs), points in by.items()
    }


def chosen(search: list[SearchPoint]) -> SearchPoint | None:
    """Return the chosen candidate, as its last round left it."""
    return max((point for point in search if point.chosen), key=lambda point: point.rung, default=None)


def described(point: SearchPoint) -> str:
    """Return a candidate in words: ``learning rate 0.02, sgd, batch size 20, epochs 40``."""
    batch = [f"batch size {point.batch_size}"] if point.batch_size is not None else []
    epochs = [f"epochs {point.epochs}"] if point.epochs is not None else []
    return ", ".join([f"learning rate {number(point.lr)}", point.optimizer, *batch, *epochs])


def rounds(search: list[SearchPoint]) -> str:
    """Return what tells the rounds of a search apart; empty for a single one."""
    steps = {rung: max(p.iterations for p in search if p.rung == rung) for rung in sorted({p.rung for p in search})}
    if len(steps) < 2:
        return ""
    said = ", then ".join(f"{count}" for count in steps.values())
    return f"Points of a later round (larger, heavier line) had more attack steps: {said}. Compare within a round only."


def candidates(search: list[SearchPoint]) -> list[SearchPoint]:
    """Return the last round first, and the best of each round first."""
    return sorted(search, key=lambda p: (-p.rung, math.inf if p.loss is None else p.loss, p.lr))


def number(value: float | None, digits: int = 4) -> str:
    """Return up to so many significant digits, or a dash."""
    return _NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


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
            limit = _LISTED_WORDS if isinstance(next(iter(value), None), str) else _LISTED
            rest = [f"… ({len(value)} in all)"] if len(value) > limit else []
            return ", ".join([*map(plain, value[:limit]), *rest])
        case _:
            return str(value)


def confidence(value: float | None) -> str:
    """Return ``high confidence, 90 %``; empty where none was judged. Only what is certain is 100 %."""
    if value is None:
        return ""
    if value >= 1:
        return "certain, 100 %"
    word = "high" if value >= 0.9 else "fair" if value >= 0.6 else "low"
    return f"{word} confidence, {max(0, min(99, round(100 * value)))} %"


def share(interval: tuple[float, float] | None) -> str:
    """Return ``35 to 93 %``; empty where no interval is known."""
    return f"{interval[0] * 100:.0f} to {interval[1] * 100:.0f} %" if interval else ""


def digest(text: str) -> str:
    """Return the hash source by which a content security policy admits an inline element."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
