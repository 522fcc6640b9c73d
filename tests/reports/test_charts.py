import math
from xml.etree import ElementTree

import pytest

from memaudit.reports.charts import Axis, Point, line_chart, spans_decades, tick_label


def chart(points: list[Point], log: bool = False, **options: object) -> ElementTree.Element:
    markup = line_chart(points, Axis("x", log=log), Axis("y", log=log), key="k", title="t", description="d", **options)
    return ElementTree.fromstring(markup)


def texts(found: ElementTree.Element, kind: str) -> list[str]:
    return [element.text or "" for element in found.iter("text") if element.get("class") == kind]


def line(found: ElementTree.Element) -> str:
    return next(element.get("d", "") for element in found.iter("path") if element.get("class") == "line")


def test_a_chart_names_itself_and_its_axes() -> None:
    found = chart([(0, 1.0), (10, 2.0)])
    assert found.get("aria-labelledby") == "k-title k-desc"
    assert (found.findtext("title"), found.findtext("desc")) == ("t", "d")
    assert texts(found, "name") == ["y", "x"]
    assert texts(chart([(1, 1.0), (10, 2.0)], log=True), "name") == ["y (log scale)", "x (log scale)"]


def test_higher_values_are_drawn_higher_and_later_ones_to_the_right() -> None:
    dots = [
        (float(d.get("cx", "")), float(d.get("cy", ""))) for d in chart([(0, 1.0), (5, 3.0), (9, 2.0)]).iter("circle")
    ]
    assert dots == sorted(dots)
    assert dots[1][1] < dots[2][1] < dots[0][1]


def test_a_missing_value_interrupts_the_line_but_keeps_its_place() -> None:
    found = chart([(0, 1.0), (1, 2.0), (2, None), (3, math.nan), (4, math.inf), (5, 2.0), (10, None)])
    assert line(found).count("M") == 2
    assert len(list(found.iter("circle"))) == 3
    assert "10" in texts(found, "tick")
    assert "nan" not in line(found)
    assert "inf" not in line(found)


def test_a_log_axis_skips_what_it_cannot_show() -> None:
    found = chart([(0, 1.0), (1, 0.0), (10, -1.0), (100, 5.0), (1000, 50.0)], log=True)
    assert len(list(found.iter("circle"))) == 2


@pytest.mark.parametrize("points", [[], [(0, None)], [(math.nan, 1.0)], [(0, 1e300)]])
def test_nothing_to_draw_is_nothing(points: list[Point]) -> None:
    assert line_chart(points, Axis("x"), Axis("y"), key="k", title="t", description="d") == ""


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "points",
    [
        [(1, 5.0)],
        [(1, 5.0), (2, 5.0)],
        [(1, 1.0), (2, 1.0 + 1e-15)],
        [(1e-90, 1e-90), (1e90, 1e90)],
        [(1, 0.2), (2, 0.25)],
    ],
)
def test_every_range_has_between_two_and_eight_ticks(points: list[Point], log: bool) -> None:
    found = chart(points, log=log)
    ticks = texts(found, "tick")
    assert 4 <= len(ticks) <= 16
    assert len(list(found.iter("circle"))) == len(points)


def test_the_chosen_point_and_the_guide_are_marked() -> None:
    found = chart([(0.01, 0.5), (0.1, 2.0)], log=True, chosen=0.1, guide=(1.0, "same size"))
    assert texts(found, "note") == ["same size", "chosen: 0.1"]
    assert [d.get("class") for d in found.iter("circle")] == ["dot", "dot chosen"]
    assert [d.findtext("title") for d in found.iter("circle")] == ["0.01: 0.5", "0.1: 2"]


def test_a_long_curve_has_one_dot() -> None:
    assert len(list(chart([(i, 1 / (1 + i)) for i in range(150)]).iter("circle"))) == 1


def test_every_text_is_escaped() -> None:
    evil = '"><script>alert(1)</script>'
    markup = line_chart(
        [(0, 1.0), (1, 2.0)], Axis(evil), Axis(evil), key=evil, title=evil, description=evil, guide=(1.5, evil)
    )
    assert "<script" not in markup
    assert ElementTree.fromstring(markup).findtext("title") == evil


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (0.02, "0.02"), (1500, "1500"), (1e-5, "10⁻⁵"), (2e6, "2·10⁶"), (-3e-7, "−3·10⁻⁷"), (-5, "−5")],
)
def test_tick_labels(value: float, said: str) -> None:
    assert tick_label(value) == said


def test_a_log_axis_is_for_positive_values_over_decades() -> None:
    assert spans_decades([1.0, None, 0.01])
    assert not spans_decades([1.0, 0.5])
    assert not spans_decades([1.0, 0.0])
    assert not spans_decades([None])
