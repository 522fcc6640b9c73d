"""Line charts as inline SVG: numbers in, markup out. Colours and fonts belong to the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

Point = tuple[float, float | None]

WIDTH, HEIGHT = 360, 224
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 346, 30, 182
_MARKED = 16
"""Up to so many points are drawn as dots, each with its value in a tooltip."""

_HUGE = 1e100
"""A value beyond it is as good as infinite, and is not drawn."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Axis:
    """What an axis measures, and whether its scale is logarithmic."""

    label: str
    log: bool = False


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
    series: Sequence[Point],
    x: Axis,
    y: Axis,
    *,
    key: str,
    title: str,
    description: str,
    chosen: float | None = None,
    guide: tuple[float, str] | None = None,
) -> Markup:
    """Draw one series.

    Args:
        series: Points from left to right; one without a finite value interrupts the line and is not drawn.
        x: The horizontal axis; it spans every point, drawn or not.
        y: The vertical axis.
        key: Unique within the page: the stem of the element ids.
        title: Short name, for people who cannot see the chart.
        description: What the chart shows, for the same people.
        chosen: The x value that a mark points out.
        guide: A y value and its name, drawn as a horizontal line.

    Returns:
        An ``<svg>`` element; empty where no point can be drawn.
    """
    drawn = [(a, b if b is not None and _fits(b, y) else None) for a, b in series if _fits(a, x)]
    values = [b for _, b in drawn if b is not None]
    if not values:
        return Markup("")
    across = _scale([a for a, _ in drawn], x.log, _LEFT + 8, _RIGHT - 8, margin=0.0)
    up = _scale(values + ([guide[0]] if guide else []), y.log, _BOTTOM, _TOP, margin=0.06)
    parts = [_frame(across, up, x, y)]
    parts += [_guide(up(guide[0]), guide[1])] if guide else []
    parts += [_chosen(across(chosen), chosen)] if chosen is not None and _fits(chosen, x) else []
    parts += [_line(drawn, across, up), _dots(drawn, across, up, chosen)]
    head = Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="{key}-title {key}-desc">'
        '<title id="{key}-title">{}</title><desc id="{key}-desc">{}</desc>'
    ).format(WIDTH, HEIGHT, title, description, key=key)
    return head + Markup("").join(parts) + Markup("</svg>")


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
    rows = [
        Markup(
            '<path class="grid" d="M{} {}H{}" fill="none" stroke="currentColor"/>'
            '<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>'
        ).format(_LEFT, up(v), _RIGHT, _LEFT - 7, up(v) + 3.5, tick_label(v))
        for v in up.ticks()
    ]
    columns = [
        Markup(
            '<path class="axis" d="M{} {}v4" fill="none" stroke="currentColor"/>'
            '<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>'
        ).format(across(v), _BOTTOM, across(v), _BOTTOM + 16, tick_label(v))
        for v in across.ticks()
    ]
    axes = Markup(
        '<path class="axis" d="M{} {}H{}" fill="none" stroke="currentColor"/>'
        '<text class="name" x="4" y="14">{}</text><text class="name" x="{}" y="{}" text-anchor="end">{}</text>'
    ).format(_LEFT, _BOTTOM, _RIGHT, _named(y), _RIGHT, HEIGHT - 6, _named(x))
    return Markup("").join([*rows, axes, *columns])


def _named(axis: Axis) -> str:
    return f"{axis.label} (log scale)" if axis.log else axis.label


def _guide(height: float, name: str) -> Markup:
    return Markup(
        '<path class="guide" d="M{} {}H{}" fill="none" stroke="currentColor"/>'
        '<text class="note" x="{}" y="{}" text-anchor="end">{}</text>'
    ).format(_LEFT, height, _RIGHT, _RIGHT, round(height - 5, 1), name)


def _chosen(position: float, value: float) -> Markup:
    anchor, shift = ("end", -6) if position > (_LEFT + _RIGHT) / 2 else ("start", 6)
    return Markup(
        '<path class="mark" d="M{} {}V{}" fill="none" stroke="currentColor"/>'
        '<text class="note" x="{}" y="{}" text-anchor="{}">chosen: {}</text>'
    ).format(position, _TOP, _BOTTOM, round(position + shift, 1), _TOP + 9, anchor, tick_label(value))


def _line(points: Sequence[Point], across: Scale, up: Scale) -> Markup:
    steps, pen = [], "M"
    for a, b in points:
        if b is None:
            pen = "M"
            continue
        steps.append(f"{pen}{across(a)} {up(b)}" + ("h0" if pen == "M" else ""))
        pen = "L"
    return Markup('<path class="line" d="{}" fill="none" stroke="currentColor"/>').format("".join(steps))


def _dots(points: Sequence[Point], across: Scale, up: Scale, chosen: float | None) -> Markup:
    shown = [(a, b) for a, b in points if b is not None]
    shown = shown if len(shown) <= _MARKED else shown[-1:]
    return Markup("").join(
        Markup('<circle class="{}" cx="{}" cy="{}" r="{}" fill="currentColor"><title>{}: {}</title></circle>').format(
            "dot chosen" if a == chosen else "dot",
            across(a),
            up(b),
            5 if a == chosen else 3,
            tick_label(a),
            f"{b:.4g}",
        )
        for a, b in shown
    )
