"""The exposure of records on the page: drawn where it counts, told with what it rests on, within its size."""

import re
from pathlib import Path

import pytest

from memaudit.audit.outputs import Look
from memaudit.audit.report.exhibit import Text
from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.model import AuditReport
from memaudit.reports import html
from memaudit.reports.page import exposure

from ..exposures import exposure as made
from ..exposures import exposure_report
from ..parts import finding


def section(report: AuditReport, folder: Path, evidence: str = "full") -> str:
    found = re.search(r'<section id="exposure".*?</section>', html.render(report, folder, Look(evidence)), re.DOTALL)
    return found[0] if found else ""


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_the_curve_begins_at_one_held_out_record_and_names_what_counts(exposed: AuditReport) -> None:
    found = exposure.shown(exposed)
    assert found is not None
    assert exposed.exposure is not None
    said = texts(found.roc)
    assert said[said.index("held-out images above, % (log scale)") + 1 :][:4] == ["0.1", "1", "10", "100"]
    assert f"{100 * (exposed.exposure.own.tpr_at_1_fpr or 0):.0f} % at 1 %" in said
    assert "<bdi>chance</bdi>" in found.roc
    assert 'class="series-1"><path class="line"' in found.roc
    assert re.search(r"<desc[^>]*>0.1 % of held-out, \d+ % of those given; 1.0 % of held-out", found.roc)


def test_with_few_held_out_records_no_share_at_one_percent_is_drawn(few: AuditReport) -> None:
    found = exposure.shown(few)
    assert found is not None
    assert found.roc.startswith("<svg")
    assert "at 1 %" not in found.roc
    assert "1 % of held-out above" not in found.scores


def test_scores_are_drawn_back_to_back_and_marked_where_single_ones_are_told(exposed: AuditReport) -> None:
    found = exposure.shown(exposed)
    assert found is not None
    assert {"1 % of held-out above", "told one by one"} <= set(texts(found.scores))
    assert "upwards: images given (300)" in found.scores
    assert "downwards: held-out images (1000)" in found.scores


def test_no_line_is_drawn_where_no_score_parts_those_told_from_the_rest(exposed: AuditReport) -> None:
    assert exposed.exposure is not None
    first, *rest = exposed.exposure.per_record
    mixed = exposed.exposure.model_copy(update={"per_record": [first.model_copy(update={"detected": False}), *rest]})
    found = exposure.shown(exposed.model_copy(update={"exposure": mixed}))
    assert found is not None
    assert "told one by one" not in texts(found.scores)


def test_a_report_without_exposure_has_no_trace_of_it(leak: AuditReport, folder: Path) -> None:
    assert exposure.shown(leak) is None
    assert section(leak, folder) == ""
    assert 'href="#exposure"' not in html.render(leak, folder)


def test_a_page_of_exposure_alone_speaks_of_no_attack(exposed: AuditReport, folder: Path) -> None:
    page = html.render(exposed.model_copy(update={"limitations": []}), folder)
    sections = re.findall(r'<section id="([a-z]+)"', page)
    assert sections[:3] == ["basis", "exposure", "findings"]
    assert not {"images", "leaderboard", "attacks", "chance", "plan"} & set(sections)
    assert "Training-data exposure audit" in page
    assert "Rebuilt" not in page
    assert "No attack was run." in page
    assert "reconstruct" not in re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)


def test_a_scan_with_exposure_shows_both(both: AuditReport, folder: Path) -> None:
    page = html.render(both, folder)
    sections = re.findall(r'<section id="([a-z]+)"', page)
    assert sections.index("images") < sections.index("exposure") < sections.index("findings")
    assert "Training-data reconstruction audit" in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_every_score_stands_with_its_interval_and_every_fact_is_told(exposed: AuditReport, folder: Path) -> None:
    said = section(exposed, folder)
    assert "It does not mean that the image can be rebuilt from the files." in said
    assert "regression on gradients" in said
    assert "loss after training" in said
    assert "Labels: as the records were given." in said
    assert said.count('class="lone"') == 1
    assert said.count("<img") == 10
    assert "Class by class" in said


def test_the_finding_links_to_the_most_exposed_records(exposed: AuditReport, folder: Path) -> None:
    page = html.render(exposed, folder)
    assert exposed.exposure is not None
    linked = re.findall(r'<a class="mono" href="#exposed-(\d+)">', page)
    assert [int(record) for record in linked] == [row.record for row in exposed.exposure.per_record[:12]]
    assert f"and {exposed.exposure.detected - 12} more" in page


def test_evidence_may_be_left_out_or_blurred(exposed: AuditReport, folder: Path) -> None:
    assert "<img" not in section(exposed.nameless(), folder, "none")
    assert "train/" not in section(exposed.nameless(), folder, "none")
    bare = html.render(exposed.nameless(), folder, Look("none"))
    assert "All pictures were left out of this file." in bare
    assert "how far each is exposed" in bare
    blurred = html.render(exposed, folder, Look("blurred"))
    assert 'data-evidence="blurred"' in blurred
    assert len(re.findall(r"<li data-zoom=[^>]*><figure><span class=\"picture\">", blurred)) == 10
    assert "The pictures are blurred on the screen" in blurred
    veiled = html.render(exposed, folder, Look("blurred"), veiled=True)
    assert not set(re.findall(r'src="(data:[^"]+)"', veiled)) & set(re.findall(r'src="(data:[^"]+)"', blurred))


def test_records_that_are_texts_are_shown_as_such(exposed: AuditReport, folder: Path) -> None:
    assert exposed.exposure is not None
    first, *rest = exposed.exposure.per_record
    row = first.model_copy(update={"exhibit": Text(text="a <b>sentence</b> that was trained on")})
    plain = [row, *(other.model_copy(update={"exhibit": None}) for other in rest)]
    report = exposed.model_copy(update={"exposure": exposed.exposure.model_copy(update={"per_record": plain})})
    page = html.render(report, folder, Look("blurred"))
    assert "a &lt;b&gt;sentence&lt;/b&gt; that was trained on" in page
    assert "Reveal all texts" in page


def test_a_measurement_that_clears_nothing_says_why(few: AuditReport, hidden: AuditReport, folder: Path) -> None:
    assert "(100 more were not measured)" in section(few, folder)
    assert "were not measured" not in section(hidden, folder)
    barred = hidden.model_copy(
        update={"findings": [finding("MA107", "none", "The data do not explain it.", blocks=True)]}
    )
    assert "The data do not explain it." in section(barred, folder)


@pytest.mark.parametrize("evidence", ["full", "none"])
def test_ten_thousand_records_fit_in_a_page(evidence: str, folder: Path, tmp_path: Path) -> None:
    report = exposure_report(made(10_000, 2000, 1.0, shown=24))
    page = html.write(report, folder, tmp_path / "report.html", Look(evidence))
    assert page.stat().st_size < 5_000_000
    said = page.read_text()
    assert said.count('<tr id="exposed-') == exposure.MOST
    assert "9800 more are in report.json" in said
    assert "-o csv=FILE" in said


def test_many_groups_are_cut(exposed: AuditReport, folder: Path) -> None:
    assert exposed.exposure is not None
    one = exposed.exposure.groups[0]
    groups = [one.model_copy(update={"name": f"site {place}"}) for place in range(250)]
    report = exposed.model_copy(update={"exposure": exposed.exposure.model_copy(update={"groups": groups})})
    said = section(report, folder)
    assert "Group by group: <bdi>site 0</bdi>" in said
    assert "site 199" in said
    assert "site 200" not in said
    assert "50 more are in report.json." in said


def test_hostile_text_stays_text(exposed: AuditReport, hostile_exposed: AuditReport, folder: Path) -> None:
    tame, wild = section(exposed, folder), section(hostile_exposed, folder)
    for tag in ("script", "svg", "tr", "a"):
        assert wild.count(f"<{tag}") == tame.count(f"<{tag}")
    assert "onerror=alert(1)&gt;" in wild
    assert IMAGE.words.one in wild
