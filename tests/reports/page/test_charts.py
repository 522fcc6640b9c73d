import math
import re
from xml.etree import ElementTree

import pytest

from memaudit.reports.page.charts import Axis, Point, Series, legend, line_chart, spans_decades, tick_label
from memaudit.reports.page.histogram import Group, histogram, quantile, swatches


def chart(points: list[Point], log: bool = False, **options: object) -> ElementTree.Element:
    return several([Series(points)], log, **options)


def several(series: list[Series], log: bool = False, **options: object) -> ElementTree.Element:
    markup = line_chart(series, Axis("x", log=log), Axis("y", log=log), key="k", title="t", description="d", **options)
    return ElementTree.fromstring(markup)


def texts(found: ElementTree.Element, kind: str) -> list[str]:
    return [element.text or "" for element in found.iter("text") if element.get("class") == kind]


def line(found: ElementTree.Element) -> str:
    return next(element.get("d", "") for element in found.iter("path") if element.get("class") == "line")


def dots(found: ElementTree.Element) -> list[ElementTree.Element]:
    return [element for element in found.iter("path") if element.get("class") == "dot"]


def place(dot: ElementTree.Element) -> tuple[float, ...]:
    return tuple(map(float, dot.get("transform", "").removeprefix("translate(").split(")")[0].split()))


def test_a_chart_names_itself_and_its_axes() -> None:
    found = chart([(0, 1.0), (10, 2.0)])
    assert found.get("aria-labelledby") == "k-title k-desc"
    assert (found.findtext("title"), found.findtext("desc")) == ("t", "d")
    assert texts(found, "name") == ["y", "x"]
    assert texts(chart([(1, 1.0), (10, 2.0)], log=True), "name") == ["y (log scale)", "x (log scale)"]


def test_higher_values_are_drawn_higher_and_later_ones_to_the_right() -> None:
    places = [place(dot) for dot in dots(chart([(0, 1.0), (5, 3.0), (9, 2.0)]))]
    assert places == sorted(places)
    assert places[1][1] < places[2][1] < places[0][1]


def test_a_missing_value_interrupts_the_line_but_keeps_its_place() -> None:
    found = chart([(0, 1.0), (1, 2.0), (2, None), (3, math.nan), (4, math.inf), (5, 2.0), (10, None)])
    assert line(found).count("M") == 2
    assert len(dots(found)) == 3
    assert "10" in texts(found, "tick")
    assert "nan" not in line(found)
    assert "inf" not in line(found)


def test_a_log_axis_skips_what_it_cannot_show() -> None:
    found = chart([(0, 1.0), (1, 0.0), (10, -1.0), (100, 5.0), (1000, 50.0)], log=True)
    assert len(dots(found)) == 2


@pytest.mark.parametrize("points", [[], [(0, None)], [(math.nan, 1.0)], [(0, 1e300)]])
def test_nothing_to_draw_is_nothing(points: list[Point]) -> None:
    assert line_chart([], Axis("x"), Axis("y"), key="k", title="t", description="d") == ""
    assert line_chart([Series(points), Series(points)], Axis("x"), Axis("y"), key="k", title="t", description="d") == ""


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "points",
    [
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
    assert len(dots(found)) == len(points)


def test_the_chosen_point_and_the_guide_are_marked() -> None:
    found = chart([(0.01, 0.5), (0.1, 2.0)], log=True, chosen=(0.1, 2.0), guide=(1.0, "same size"))
    assert texts(found, "note") == ["same size", "chosen: 0.1"]
    assert [d.findtext("title") for d in dots(found)] == ["0.01: 0.5", "0.1: 2"]
    ring = next(found.iter("circle"))
    assert (float(ring.get("cx", "")), float(ring.get("cy", ""))) == place(dots(found)[1])


def test_a_chosen_point_without_a_value_keeps_its_place() -> None:
    found = chart([(0.01, 0.5), (0.02, 0.4), (0.1, None)], chosen=(0.1, None))
    assert texts(found, "note") == ["chosen: 0.1"]
    assert list(found.iter("circle")) == []


def test_the_chosen_point_gives_way_to_the_guide_at_the_top() -> None:
    def heights(guide: tuple[float, str]) -> list[float]:
        found = chart([(0.01, 0.5), (0.1, 2.0)], chosen=(0.1, 2.0), guide=guide)
        return [float(note.get("y", "")) for note in found.iter("text") if note.get("class") == "note"]

    for value in (0.5, 1.0, 1.9, 2.0, 2.4):
        one, other = heights((value, "same size"))
        assert abs(one - other) > 11


def test_a_long_curve_has_one_dot() -> None:
    assert len(dots(chart([(i, 1 / (1 + i)) for i in range(150)]))) == 1


def test_series_share_the_axes_and_are_drawn_in_order() -> None:
    found = several([Series([(0, 1.0), (1, 2.0)], "a"), Series([(1, 2.0), (4, None)], "b"), Series([(9, None)], "c")])
    assert [g.get("class") for g in found.iter("g")] == ["series-0", "series-0"]
    assert [d.findtext("title") for d in dots(found)] == ["a, 0: 1", "a, 1: 2", "b, 1: 2"]
    assert place(dots(found)[1]) == place(dots(found)[2])
    assert "8" in texts(found, "tick")


def test_a_heavier_series_has_a_wider_line_and_larger_markers() -> None:
    found = several([Series([(0, 1.0), (1, 2.0)], weight=weight) for weight in (0, 1, 2, 50)])
    widths = [float(p.get("stroke-width", "")) for p in found.iter("path") if p.get("class") == "line"]
    assert widths[0] < widths[1] < widths[2] == widths[3] < 4
    sizes = [float(dot.get("transform", "").split("scale(")[1].rstrip(")")) for dot in dots(found)[::2]]
    assert sizes[0] < sizes[1] < sizes[2] == sizes[3] < 2


def test_forty_two_series_look_different_and_neighbours_differ_in_more_than_colour() -> None:
    found = several([Series([(0, float(i)), (1, 2.0)], str(i), i) for i in range(42)])
    looks = [(g.get("class"), g[1].get("d")) for g in found.iter("g")]
    assert {name for name, _ in looks} == {f"series-{i}" for i in range(6)}
    assert len(set(looks)) == 42
    assert len({shape for _, shape in looks[:7]}) == 7


def test_the_legend_names_each_series_once_beside_its_marker() -> None:
    series = [Series([(0, 1.0)], "b", 1), Series([(0, 1.0)], "a", 0), Series([(1, 1.0)], "b", 1, weight=1)]
    found = ElementTree.fromstring(legend(series))
    assert [entry.findtext("bdi") for entry in found] == ["a", "b"]
    keys = [next(entry.iter("svg")) for entry in found]
    assert [key.get("class") for key in keys] == ["key series-0", "key series-1"]
    assert all(key.get("aria-hidden") == "true" for key in keys)
    drawn = {g.get("class"): g[1].get("d") for g in several(series).iter("g")}
    assert [dots(key)[0].get("d") for key in keys] == [drawn["series-0"], drawn["series-1"]]


def test_one_name_needs_no_legend() -> None:
    assert legend([]) == legend([Series([(0, 1.0)])]) == legend([Series([], "a"), Series([], "a", weight=1)]) == ""


def test_every_text_is_escaped() -> None:
    evil = '"><script>alert(1)</script>'
    series = [Series([(0, 1.0), (1, 2.0)], evil), Series([(0, 2.0)], "b", 1)]
    markup = line_chart(series, Axis(evil), Axis(evil), key=evil, title=evil, description=evil, guide=(1.5, evil))
    assert "<script" not in markup + legend(series)
    found = ElementTree.fromstring(markup)
    assert found.findtext("title") == evil
    assert dots(found)[0].findtext("title") == f"{evil}, 0: 1"
    assert ElementTree.fromstring(legend(series)).findtext("li/bdi") == evil


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


def two_groups(up: list[float], down: list[float], **options: object) -> ElementTree.Element:
    groups = Group("found", up, len(up)), Group("chance", down, len(down))
    return ElementTree.fromstring(
        histogram(*groups, "SSIM", share="share", key="k", title="t", description="d", **options)
    )


def of_class(found: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [element for element in found.iter("path") if element.get("class") == kind]


def test_no_bar_reaches_beyond_one() -> None:
    for highest in (0.93, 0.97, 1.0):
        found = histogram(
            Group("up", [0.2, 0.5, highest], 3), Group("down", [0.1, 0.3], 2), "similarity", share="share", key="k",
            title="t", description="d",
        )  # fmt: skip
        ends = [float(end) for end in re.findall(r" to ([0-9.]+):", found)]
        assert max(ends) <= 1


def test_a_histogram_has_bars_up_and_an_area_down() -> None:
    found = two_groups([0.1, 0.1, 0.9], [0.1, 0.2])
    tips = [bar.findtext("title") for bar in of_class(found, "bar")]
    assert tips == ["0.1 to 0.15: 66.7 % of 3", "0.9 to 0.95: 33.3 % of 3"]
    assert len(of_class(found, "area")) == 1
    assert (found.findtext("title"), found.findtext("desc")) == ("t", "d")
    base = of_class(found, "area")[0].get("d", "").split("V")[-1]
    assert all(f"V{base}z" in bar.get("d", "") for bar in of_class(found, "bar"))
    lowest = max(float(part.split("H")[0]) for part in of_class(found, "area")[0].get("d", "").split("V")[1:])
    assert lowest > float(base)


def test_a_histogram_marks_values_in_order() -> None:
    found = two_groups([0.1], [0.2], marks=[(0.6, "late"), (0.4, "early")])
    assert texts(found, "note") == ["early", "late"]
    places = [float(of_class(found, f"mark-{i}")[0].get("d", "")[1:].split()[0]) for i in range(2)]
    assert places == sorted(places)


@pytest.mark.parametrize("values", [[0.3], [0.3, 0.3], [-1.0, 1.0], [1e-9, 2e-9], [0.0, math.nan]])
def test_a_histogram_holds_every_value(values: list[float]) -> None:
    found = two_groups(values, values)
    shares = [float((bar.findtext("title") or "").split(": ")[1].split(" %")[0]) for bar in of_class(found, "bar")]
    assert sum(shares) == pytest.approx(100, rel=0.01)


def test_a_histogram_of_nothing_is_nothing() -> None:
    full, empty = Group("a", [0.1], 1), Group("b", [], 0)
    for groups in ((full, empty), (empty, full)):
        assert histogram(*groups, "x", share="share", key="k", title="t", description="d") == ""


def test_a_histogram_escapes_every_text() -> None:
    evil = '"><script>alert(1)</script>'
    group = Group(evil, [0.1, 0.4], 2)
    drawn = histogram(group, group, evil, [(0.2, evil)], share=evil, key=evil, title=evil, description=evil)
    assert "<script" not in drawn + swatches(group, group)
    assert ElementTree.fromstring(drawn).findtext("title") == evil


def test_quantiles_lie_between_neighbours() -> None:
    assert [quantile([1.0, 2.0, 4.0], level) for level in (0, 0.25, 0.5, 0.75, 1)] == [1, 1.5, 2, 3, 4]
    assert quantile([7.0], 0.99) == 7
