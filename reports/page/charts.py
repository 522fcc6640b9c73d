"""Line charts as inline SVG: numbers in, markup out. Colours and fonts belong to the page's style sheet."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

Point = tuple[float, float | None]

WIDTH, HEIGHT = 360, 224
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 346, 30, 182
_MARKED = 16
"""Up to this many points are drawn as dots, each with its value in a tooltip."""

_HEAVIEST = 2
"""The heaviest weight that is still drawn heavier."""

_HUGE = 1e100
"""A value beyond it is as good as infinite, and is not drawn."""

_COLOURS = 6
"""The style sheet has this many pairs of a colour and a dash pattern, ``series-0`` to ``series-5``."""

_MARKERS = (
    "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0Z",  # circle
    "M-2.8-2.8h5.6v5.6h-5.6Z",  # square
    "M0-3.9 3.6 2.7h-7.2Z",  # triangle
    "M0-4.1 4.1 0 0 4.1-4.1 0Z",  # diamond
    "M0 3.9 3.6-2.7h-7.2Z",  # triangle upside down
    "M-1.2-3.8h2.4v2.6h2.6v2.4h-2.6v2.6h-2.4v-2.6h-2.6v-2.4h2.6Z",  # plus
    "M-3.6-2-2-3.6 0-1.6 2-3.6 3.6-2 1.6 0 3.6 2 2 3.6 0 1.6-2 3.6-3.6 2-1.6 0Z",  # cross
)
"""Shapes around the origin. As many as share no divisor with the colours: 42 series differ in one or the other."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Axis:
    """What an axis measures, and whether its scale is logarithmic."""

    label: str
    log: bool = False


@dataclass(frozen=True)
class Series:
    """One line with its markers."""

    points: Sequence[Point]
    """From left to right; one without a finite value interrupts the line and is not drawn."""

    name: str = ""
    """What the legend and the tooltips call it; lines of one name are one entry."""

    look: int = 0
    """Which colour, dash pattern and marker."""

    weight: int = 0
    """How heavily it is drawn."""


@dataclass(frozen=True)
class Scale:
    """A map from values in ``[low, high]`` to pixels in ``[start, end]``."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        """Return the pixel of ``value``."""
        low, high, here = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return round(self.start + (here - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Return between two and about six round values within the scale."""
        found = _decades(self.low, self.high) if self.log else []
        return found if len(found) >= 2 else _round_steps(self.low, self.high)


def line_chart(
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    key: str,
    title: str,
    description: str,
    chosen: Point | None = None,
    guide: tuple[float, str] | None = None,
) -> Markup:
    """Draw one or several series over the same axes.

    Args:
        series: The lines; a later one lies on top.
        x: The horizontal axis; it spans every point, drawn or not.
        y: The vertical axis.
        key: Unique within the page: the stem of the element ids.
        title: Short name, for people who cannot see the chart.
        description: What the chart shows, for the same people.
        chosen: The point that a mark points out.
        guide: A y value and its name, drawn as a horizontal line.

    Returns:
        An ``<svg>`` element; empty where fewer than two points can be drawn.
    """
    lines = [replace(line, points=_drawable(line.points, x, y)) for line in series]
    values = [b for line in lines for _, b in line.points if b is not None]
    if len(values) < 2:
        return Markup("")
    across = _scale([a for line in lines for a, _ in line.points], x.log, _LEFT + 8, _RIGHT - 8, margin=0.0)
    up = _scale(values + ([guide[0]] if guide else []), y.log, _BOTTOM, _TOP, margin=0.12 if guide else 0.06)
    guides = [_guide(up(guide[0]), guide[1])] if guide else []
    under = guide is not None and up(guide[0]) < _TOP + 24
    marks = [_chosen(point, across, up, under) for point in _drawable([chosen] if chosen else [], x, y)]
    rules, notes = zip((_frame(across, up, x, y), Markup("")), *guides, *marks, strict=True)
    drawn = [_series(line, across, up) for line in lines if any(b is not None for _, b in line.points)]
    head = Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="{key}-title {key}-desc">'
        '<title id="{key}-title">{}</title><desc id="{key}-desc">{}</desc>'
    ).format(WIDTH, HEIGHT, title, description, key=key)
    return head + Markup("").join([*rules, *drawn, *notes]) + Markup("</svg>")


def legend(series: Sequence[Series]) -> Markup:
    """Return the names of the series, each beside its line and marker, as a list; empty for fewer than two names."""
    looks = {line.name: line.look for line in sorted(series, key=lambda line: line.look)}
    if len(looks) < 2:
        return Markup("")
    entries = Markup("").join(
        Markup(
            '<li><svg class="key series-{}" viewBox="0 0 36 12" aria-hidden="true"><path class="line" d="M1 6H35" '
            'fill="none" stroke="currentColor" stroke-width="1.5"/>{}</svg><bdi>{}</bdi></li>'
        ).format(look % _COLOURS, _marker(look, 18, 6), name)
        for name, look in looks.items()
    )
    return Markup('<ul class="legend">{}</ul>').format(entries)


def spans_decades(values: Sequence[float | None]) -> bool:
    """Return whether a logarithmic axis serves the finite ``values``: all positive, largest over smallest above 30."""
    finite = [v for v in values if v is not None and math.isfinite(v)]
    return bool(finite) and min(finite) > 0 and max(finite) > 30 * min(finite)


def tick_label(value: float) -> str:
    """Return a short label: ``0.02``, ``1500``, ``10⁻⁵``, ``2·10⁶``."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}".replace("-", "−")
    mantissa, exponent = f"{value:.3e}".split("e")
    factor = f"{float(mantissa):g}".replace("-", "−")
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
    return power if factor == "1" else f"{factor}·{power}"


def _fits(value: float, axis: Axis) -> bool:
    return abs(value) < _HUGE and (value > 1 / _HUGE or not axis.log)


def _drawable(points: Sequence[Point], x: Axis, y: Axis) -> list[Point]:
    return [(a, b if b is not None and _fits(b, y) else None) for a, b in points if _fits(a, x)]


def _scale(values: Sequence[float], log: bool, start: float, end: float, margin: float) -> Scale:
    low, high = min(values), max(values)
    flat = high - low <= 1e-9 * max(abs(low), abs(high))
    if log:
        factor = 2.0 if flat else (high / low) ** margin
        return Scale(low / factor, high * factor, start, end, log)
    extra = (abs(low) or 1.0) / 2 if flat else (high - low) * margin
    return Scale(low - extra, high + extra, start, end, log)


def _decades(low: float, high: float) -> list[float]:
    span = math.log10(high / low)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1,) if span > 2 else (1, 3) if span > 1.4 else (1, 2, 5)
    stride = max(1, math.ceil(span / 6))
    candidates = [float(f"{f}e{p}") for p in powers if p % stride == 0 for f in factors]
    return [v for v in candidates if low * 0.999 <= v <= high * 1.001]


def _round_steps(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(f * size for f in (1, 2, 2.5, 5, 10) if f * size >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _frame(across: Scale, up: Scale, x: Axis, y: Axis) -> Markup:
    return frame_of(across, up, x, y, (_LEFT, _RIGHT, _TOP, _BOTTOM), tick_label)


def frame_of(
    across: Scale, up: Scale, x: Axis, y: Axis, box: tuple[int, int, int, int], label: Callable[[float], str]
) -> Markup:
    """Return the rules, ticks and names of two axes.

    Args:
        across: The horizontal scale.
        up: The vertical scale.
        x: What it measures.
        y: What the vertical one measures.
        box: Left, right, top and bottom of what they enclose.
        label: Writes a vertical value.
    """
    left, right, top, bottom = box
    rows = [
        Markup(
            '<path class="grid" d="M{} {}H{}" fill="none" stroke="currentColor"/>'
            '<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>'
        ).format(left, up(v), right, left - 7, up(v) + 3.5, label(v))
        for v in up.ticks()
    ]
    columns = [
        Markup(
            '<path class="axis" d="M{} {}v4" fill="none" stroke="currentColor"/>'
            '<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>'
        ).format(across(v), bottom, across(v), bottom + 16, tick_label(v))
        for v in across.ticks()
    ]
    axes = Markup(
        '<path class="axis" d="M{} {}H{}" fill="none" stroke="currentColor"/>'
        '<text class="name" x="4" y="{}">{}</text><text class="name" x="{}" y="{}" text-anchor="end">{}</text>'
    ).format(left, bottom, right, top - 16, _named(y), right, bottom + 36, _named(x))
    return Markup("").join([*rows, axes, *columns])


def _named(axis: Axis) -> str:
    return f"{axis.label} (log scale)" if axis.log else axis.label


def _guide(height: float, name: str) -> tuple[Markup, Markup]:
    """Return what lies under the series, and what lies over them."""
    return (
        Markup('<path class="guide" d="M{} {}H{}" fill="none" stroke="currentColor"/>').format(_LEFT, height, _RIGHT),
        Markup('<text class="note" x="{}" y="{}">{}</text>').format(_LEFT + 4, round(height - 5, 1), name),
    )


def _chosen(point: Point, across: Scale, up: Scale, under: bool) -> tuple[Markup, Markup]:
    """Return the same for the chosen point; its note stands at the foot where the guide's takes the top."""
    value, height = point
    position = across(value)
    anchor, shift = ("end", -6) if position > (_LEFT + _RIGHT) / 2 else ("start", 6)
    ring = Markup('<circle class="mark ring" cx="{}" cy="{}" r="8" fill="none" stroke="currentColor"/>')
    note = Markup('<text class="note" x="{}" y="{}" text-anchor="{}">chosen: {}</text>')
    return (
        Markup('<path class="mark" d="M{} {}V{}" fill="none" stroke="currentColor"/>').format(position, _TOP, _BOTTOM),
        (Markup("") if height is None else ring.format(position, up(height)))
        + note.format(
            round(position + shift, 1), _BOTTOM - 6 if under else _TOP + 9, anchor, tick_label(float(f"{value:.4g}"))
        ),
    )


def _series(line: Series, across: Scale, up: Scale) -> Markup:
    return Markup(
        '<g class="series-{}"><path class="line" d="{}" fill="none" stroke="currentColor" stroke-width="{:g}"/>{}</g>'
    ).format(
        line.look % _COLOURS,
        _path(line.points, across, up),
        1.5 + 0.75 * min(line.weight, _HEAVIEST),
        _dots(line, across, up),
    )


def _path(points: Sequence[Point], across: Scale, up: Scale) -> str:
    steps, pen = [], "M"
    for a, b in points:
        if b is None:
            pen = "M"
            continue
        steps.append(f"{pen}{across(a)} {up(b)}" + ("h0" if pen == "M" else ""))
        pen = "L"
    return "".join(steps)


def _dots(line: Series, across: Scale, up: Scale) -> Markup:
    shown = [(a, b) for a, b in line.points if b is not None]
    shown = shown if len(shown) <= _MARKED else shown[-1:]
    size = 1 + 0.35 * min(line.weight, _HEAVIEST)
    stem = f"{line.name}, " if line.name else ""
    return Markup("").join(
        _marker(line.look, across(a), up(b), size, f"{stem}{tick_label(a)}: {b:.4g}") for a, b in shown
    )


def _marker(look: int, x: float, y: float, size: float = 1.0, tooltip: str = "") -> Markup:
    return Markup(
        '<path class="dot" transform="translate({} {}) scale({:g})" d="{}" fill="currentColor">{}</path>'
    ).format(x, y, size, _MARKERS[look % len(_MARKERS)], Markup("<title>{}</title>").format(tooltip) if tooltip else "")
