"""Two distributions over one axis, back to back, as inline SVG: told apart by side and shape, not by colour alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from .charts import Axis, Scale, frame_of, tick_label

Mark = tuple[float, str]

WIDTH, HEIGHT = 460, 304
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 446, 62, 262
_BINS = 24
"""About this many bars span the values."""

_MOST = 1.0
"""What is drawn here is at most this, so that no bar reaches beyond it without cause."""


@dataclass(frozen=True)
class Group:
    """One distribution: what it is of, and its values or evenly spaced quantiles."""

    name: str
    values: Sequence[float]
    size: int


def histogram(
    up: Group, down: Group, axis: str, marks: Sequence[Mark] = (), *, share: str, key: str, title: str, description: str
) -> Markup:
    """Draw the share of values in each bin, one distribution upwards as bars, the other downwards as an area.

    Args:
        up: What was observed.
        down: What it is compared with.
        axis: What the values are.
        marks: Values with their names, drawn as vertical lines.
        share: What the bars are shares of.
        key: Unique within the page: the stem of the element ids.
        title: Short name, for people who cannot see the chart.
        description: What the chart shows, for the same people.

    Returns:
        An ``<svg>`` element; empty where one of the two has no finite value.
    """
    one, two = ([v for v in group.values if math.isfinite(v)] for group in (up, down))
    if not one or not two:
        return Markup("")
    edges = _edges([*one, *two, *(value for value, _ in marks)])
    above, below = _shares(one, edges), _shares(two, edges)
    across = Scale(edges[0], edges[-1], _LEFT, _RIGHT, log=False)
    height = Scale(-max(below), max(above), _BOTTOM, _TOP, log=False)
    head = Markup(
        '<svg class="chart wide-chart" viewBox="0 0 {} {}" role="img" aria-labelledby="{key}-title {key}-desc">'
        '<title id="{key}-title">{}</title><desc id="{key}-desc">{}</desc>'
    ).format(WIDTH, HEIGHT, title, description, key=key)
    axes = _axes(across, height, axis, share)
    drawn = [_area(below, edges, across, height), _bars(above, up, edges, across, height)]
    return head + Markup("").join([axes, *drawn, *_marks(marks, across)]) + Markup("</svg>")


def swatches(up: Group, down: Group) -> Markup:
    """Return the legend of :func:`histogram`, as a list."""
    return Markup(
        '<ul class="legend">'
        '<li><svg class="key" viewBox="0 0 36 12" aria-hidden="true"><path class="bar" d="M4 12V5h7v7zM14 12V1h7v11z'
        'M24 12V4h7v8z"/></svg><bdi>upwards: {} ({})</bdi></li>'
        '<li><svg class="key" viewBox="0 0 36 12" aria-hidden="true"><path class="area" d="M1 0V6H12V11H24V5H35V0"/>'
        "</svg><bdi>downwards: {} ({})</bdi></li></ul>"
    ).format(up.name, up.size, down.name, down.size)


def quantile(values: Sequence[float], level: float) -> float:
    """Return a quantile of ascending values, between neighbours in proportion."""
    place = level * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


def _edges(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    rough = max(high - low, 1e-6) / _BINS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(f * size for f in (1, 2, 2.5, 5, 10) if f * size >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.floor(high / step + 1e-9) + 1
    last = max(first + 1, min(last, math.ceil(max(high, _MOST) / step - 1e-9)))
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _shares(values: Sequence[float], edges: list[float]) -> list[float]:
    found = [0.0] * (len(edges) - 1)
    step = edges[1] - edges[0]
    for value in values:
        place = math.floor((value - edges[0]) / step + 1e-9)
        found[max(0, min(len(found) - 1, place))] += 1 / len(values)
    return found


def _axes(across: Scale, height: Scale, axis: str, share: str) -> Markup:
    return frame_of(across, height, Axis(axis), Axis(share), (_LEFT, _RIGHT, _TOP, _BOTTOM), _percent) + Markup(
        '<path class="axis" d="M{} {}H{}" fill="none" stroke="currentColor"/>'
    ).format(_LEFT, height(0.0), _RIGHT)


def _percent(share: float) -> str:
    return f"{tick_label(float(f'{abs(share) * 100:.6g}'))} %"


def _bars(shares: list[float], group: Group, edges: list[float], across: Scale, height: Scale) -> Markup:
    bar = Markup('<path class="bar" d="M{} {}V{}H{}V{}z"><title>{}</title></path>')
    gap = min(1.5, (across(edges[1]) - across(edges[0])) * 0.12)
    return Markup("").join(
        bar.format(
            round(across(low) + gap, 1),
            height(0.0),
            height(share),
            round(across(high) - gap, 1),
            height(0.0),
            f"{tick_label(low)} to {tick_label(high)}: {share * 100:.3g} % of {group.size}",
        )
        for low, high, share in zip(edges, edges[1:], shares, strict=False)
        if share
    )


def _area(shares: list[float], edges: list[float], across: Scale, height: Scale) -> Markup:
    first, last = (next(i for i in order if shares[i]) for order in (range(len(shares)), range(len(shares))[::-1]))
    steps = "".join(f"V{height(-shares[i])}H{across(edges[i + 1])}" for i in range(first, last + 1))
    return Markup('<path class="area" d="M{} {}{}V{}"/>').format(across(edges[first]), height(0.0), steps, height(0.0))


def _marks(marks: Sequence[Mark], across: Scale) -> list[Markup]:
    """Return lines with their names in rows above; all names lie on one side, and no line crosses another's name."""
    placed = sorted(marks)
    left = bool(placed) and across(placed[-1][0]) > _LEFT + 0.55 * (_RIGHT - _LEFT)
    rows = range(len(placed))[::-1] if left else range(len(placed))
    return [
        Markup(
            '<path class="mark-{}" d="M{} {}V{}" fill="none" stroke="currentColor"/>'
            '<text class="note" x="{}" y="{}" text-anchor="{}">{}</text>'
        ).format(
            place % 2,
            across(value),
            18 + 15 * row,
            _BOTTOM,
            round(across(value) + (-5 if left else 5), 1),
            14 + 15 * row,
            "end" if left else "start",
            name,
        )
        for place, (row, (value, name)) in enumerate(zip(rows, placed, strict=True))
    ]
