"""Two reports compared: what is better, worse, the same, and what cannot be told."""

import json

import pytest

import memaudit
from memaudit.audit.report.facts import Fact
from memaudit.audit.report.kind import TEXT
from memaudit.audit.report.model import ReportError
from memaudit.audit.trend.compare import decide, diff
from memaudit.audit.trend.model import Diff
from memaudit.audit.trend.tables import tables, title

from ...reports.exposures import exposed_report, exposure, exposure_report, hidden_report
from ...reports.parts import defences, finding, judged
from ...reports.samples import poisoned
from ..report.old import demo, schema_1_0
from .reports import attack, audit

MANY, FEW, NONE = range(12), range(3), ()


def line(found: Diff, name: str):
    (one,) = [line for table in tables(found) for line in table.lines if line.name == name]
    return one


def notes(found: Diff) -> str:
    return "\n".join(note for table in tables(found) for note in table.notes)


def control(report, **update):
    inputs = report.inputs
    changed = inputs.control.model_copy(update=update)
    return report.model_copy(update={"inputs": inputs.model_copy(update={"control": changed})})


def data(report, **update):
    changed = report.inputs.data.model_copy(update=update)
    return report.model_copy(update={"inputs": report.inputs.model_copy(update={"data": changed})})


def retrained(report, digest="ab" * 32):
    after = report.inputs.after.model_copy(update={"sha256": digest})
    return report.model_copy(update={"inputs": report.inputs.model_copy(update={"after": after})})


@pytest.mark.parametrize("report", [audit(attack(FEW)), audit(attack(NONE)), exposed_report(), hidden_report(),
                                    audit(attack(NONE), status="inconclusive")])  # fmt: skip
def test_the_same_report_twice_has_no_change(report):
    found = diff(report, report)
    assert (found.change, found.worse, found.better, found.contrasts) == ("same", [], [], [])
    assert {line.change for table in tables(found) for line in table.lines} <= {"same", None}
    assert decide(found) == "pass"
    assert "no clear change" in title(found)


def test_a_leak_that_is_gone_on_equal_terms_is_better():
    found = diff(audit(attack(MANY)), retrained(audit(attack(NONE))))
    assert title(found) == "FAIL (high) to PASS: better"
    assert found.sentence.startswith("The verdict went from fail to pass; MA001 (high) is no longer found")
    recovered = found.attacks[0].recovered
    assert (recovered.earlier, recovered.later, recovered.of, recovered.change) == (12, 0, (20, 20), "better")
    assert recovered.difference == pytest.approx(-0.6)
    assert recovered.interval[1] < 0
    assert [contrast.name for contrast in found.contrasts] == ["Checkpoint after training"]
    assert len(found.records.vanished) == 12
    assert decide(found) == "pass"


def test_a_pass_that_becomes_a_fail_is_worse():
    found = diff(audit(attack(NONE)), audit(attack(MANY)))
    assert title(found) == "PASS to FAIL (high): worse"
    assert found.worse[:2] == [
        "the verdict went from pass to fail",
        "MA001 is new (high): training images were reconstructed",
    ]
    assert decide(found) == decide(found, "critical") == "fail"
    assert line(found, "simudy: recovered").difference.startswith("+60 points (+")
    assert "Newly recovered, 12 images: train/000.png, " in notes(found)


def test_a_fail_that_becomes_inconclusive_is_no_improvement():
    found = diff(audit(attack(MANY)), audit(attack(NONE), status="inconclusive"))
    assert title(found) == "FAIL (high) to INCONCLUSIVE: cannot be told"
    assert "That is no improvement." in found.sentence
    assert found.better == []
    assert {change.change for change in (*found.findings, found.attacks[0].recovered, found.together)} == {"unknown"}
    assert decide(found) == "inconclusive"


def test_two_inconclusive_audits_tell_nothing_of_another_model():
    blind = audit(attack(NONE), status="inconclusive")
    assert diff(blind, retrained(blind)).change == "unknown"
    assert decide(diff(blind, retrained(blind))) == "inconclusive"
    assert decide(diff(blind, audit(attack(NONE)))) == "pass", "the later audit passes by itself"
    found = diff(blind, audit(attack(FEW)))
    assert (found.change, decide(found)) == ("worse", "fail")


def test_fewer_recovered_of_a_leak_that_stays_is_better_only_beyond_chance():
    found = diff(audit(attack(MANY)), audit(attack(range(2))))
    assert (found.change, found.earlier.status, found.later.status) == ("better", "fail", "fail")
    assert "(before: 12)" in found.sentence
    found = diff(audit(attack(range(5))), audit(attack(FEW)))
    assert (found.change, found.attacks[0].recovered.change) == ("same", "same")
    assert found.sentence == "What leaked before leaks still."


def other_options(report):
    return audit(attack(NONE, options={"iterations": 10}))


def no_end(report):
    return audit(attack(MANY[:2], status="budget_spent"))


def other_attack(report):
    return audit(attack(NONE, name="span"))


def other_version(report):
    return report.model_copy(update={"environment": report.environment.model_copy(update={"memaudit": "9.9"})})


def other_control(report):
    return control(report, sha256="ef" * 32)


def assumed_recipe(report):
    recipe = {**report.recipe, "epochs": Fact(value=3, source="assumed")}
    return report.model_copy(update={"recipe": recipe})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (other_options, "simudy ran with other options."),
        (no_end, "simudy ended as budget spent: what it misses shows nothing."),
        (other_attack, "simudy did not run again."),
        (other_version, "Version of memaudit"),
        (other_control, "Held-out set (--control)"),
        (assumed_recipe, "Recipe: epochs"),
    ],
)
def test_less_is_no_improvement_where_the_later_audit_may_have_seen_less(change, why):
    found = diff(audit(attack(MANY)), change(audit(attack(NONE))))
    assert found.change == "unknown"
    assert found.better == []
    assert "That is no improvement." in found.sentence
    assert why in found.sentence


def test_fewer_seeds_see_less():
    two = audit(attack(MANY, seed=0), attack(MANY, seed=1))
    found = diff(two, audit(attack(NONE, seed=0)))
    assert "fewer seeds" in found.sentence


def test_more_is_worse_whatever_else_differs():
    found = diff(audit(attack(NONE)), other_version(audit(attack(MANY))))
    assert found.change == "worse"
    assert found.sentence.endswith("The audits differ as well, which may be why: Version of memaudit.")
    assert decide(found) == "fail"


def another_kind(report):
    return report.model_copy(update={"kind": TEXT})


def other_data(report):
    return data(report, sha256="ff" * 32)


def larger_data(report):
    return data(report, count=40)


def no_data(report):
    return report.model_copy(update={"inputs": report.inputs.model_copy(update={"data": None})})


def other_shape(report):
    return report.model_copy(update={"architecture": report.architecture.model_copy(update={"shape": (3, 64, 64)})})


@pytest.mark.parametrize("change", [another_kind, other_data, larger_data, no_data, other_shape])
@pytest.mark.parametrize(("one", "two"), [(MANY, NONE), (NONE, MANY)])
def test_what_cannot_be_compared_is_neither_better_nor_worse(change, one, two):
    found = diff(audit(attack(one)), change(audit(attack(two))))
    assert found.change == "unknown"
    assert found.sentence.startswith("The two audits cannot be compared, as these differ: ")
    assert (found.worse, found.better) == ([], [])
    assert not {"better", "worse"} & {line.change for table in tables(found) for line in table.lines}
    assert decide(found) == "inconclusive"


def test_verdicts_of_other_gates_are_not_compared():
    later = audit(attack(NONE))
    later = later.model_copy(update={"verdict": judged("fail", "so it is", "recovered>=0")})
    found = diff(audit(attack(NONE)), later)
    assert (found.verdict, found.change, decide(found)) == ("same", "same", "pass")
    assert line(found, "Gates").difference == "the verdicts are not compared"


@pytest.mark.parametrize(
    ("severity", "fail_on", "said"),
    [("medium", "low", "fail"), ("medium", "medium", "fail"), ("medium", "high", "pass")],
)
def test_a_new_finding_counts_from_a_severity_on(severity, fail_on, said):
    before = audit(attack(NONE))
    after = before.model_copy(update={"findings": [finding("MA002", severity, "alike", "simudy")]})
    found = diff(before, after)
    assert (found.change, found.worse) == (
        "worse",
        [f"MA002 is new ({severity}): reconstructions resemble the training set more than held-out images"],
    )
    assert decide(found, fail_on) == said


def test_a_finding_that_moves_to_another_attack_is_no_other_finding():
    found = diff(audit(attack(MANY)), audit(attack(NONE), attack(MANY, name="span")))
    (rule,) = found.findings
    assert (rule.state, rule.change) == ("still", "same")
    assert (rule.earlier_attacks, rule.later_attacks) == (["simudy"], ["span"])
    assert found.only_later == ["span"]


def test_a_milder_finding_in_the_place_of_a_leak_is_no_other_leak():
    mild = audit(attack(NONE)).model_copy(update={"findings": [finding("MA002", "medium", "alike", "simudy")]})
    found = diff(audit(attack(MANY)), mild)
    assert {rule.rule: rule.change for rule in found.findings} == {"MA001": "better", "MA002": "same"}
    found = diff(mild, audit(attack(MANY)))
    assert {rule.rule: rule.change for rule in found.findings} == {"MA001": "worse", "MA002": "same"}
    assert found.better == []


def test_a_severity_that_rises_is_worse():
    before = audit(attack(MANY))
    worse = before.model_copy(update={"findings": [finding("MA001", "critical", "recovered", "simudy")]})
    assert diff(before, worse).worse == ["MA001 went from high to critical"]
    assert diff(worse, before).better == ["MA001 went from critical to high"]


def test_missing_evidence_is_neither_better_nor_worse():
    before = audit(attack(NONE))
    after = before.model_copy(update={"findings": [finding("MA109", "none", "no power", blocks=True)]})
    assert diff(before, after).change == diff(after, before).change == "same"
    (rule,) = diff(before, after).findings
    assert (rule.leaks, rule.state) == (False, "new")


def test_means_are_of_the_records_that_both_paired():
    one, two = attack(NONE), attack(NONE)
    fewer = two.model_copy(update={"matches": [
        pair.model_copy(update={"scores": pair.scores.model_copy(update={"similarity": 0.5})})
        for pair in two.matches[:6]
    ]})  # fmt: skip
    mean = diff(audit(one), audit(fewer)).attacks[0].similarity
    assert mean.records == 6
    assert (mean.earlier, mean.later) == pytest.approx((0.225, 0.5))
    assert (mean.difference, mean.change) == (pytest.approx(0.275), "worse")
    assert diff(audit(one), audit(fewer)).change == "same", "similarity that recovers nothing is no leak"


def test_a_count_that_contradicts_its_records_is_taken_as_it_stands():
    odd = attack(FEW)
    odd = odd.model_copy(update={"metrics": odd.metrics.model_copy(update={"recovered": 15})})
    assert diff(audit(attack(NONE)), audit(odd)).attacks[0].recovered.interval[0] > 0
    broken = odd.model_copy(update={"metrics": odd.metrics.model_copy(update={"recovered": -4, "records": 1})})
    assert diff(audit(attack(NONE)), audit(broken)).attacks[0].recovered.interval is None


def test_exposure_is_compared_record_by_record():
    found = diff(exposed_report(), hidden_report())
    seen = found.exposure
    assert found.change == "better"
    assert {m.change for m in (seen.detected, seen.tpr_at_1_fpr, seen.auc)} == {"better"}
    assert len(seen.records.vanished) == seen.detected.earlier
    assert "and 124 more." in notes(found)
    turned = diff(hidden_report(), exposed_report())
    assert (turned.change, decide(turned)) == ("worse", "fail")


def test_exposure_that_was_not_measured_again_is_not_gone():
    leaking = exposed_report()
    found = diff(leaking, leaking.model_copy(update={"exposure": None, "findings": []}))
    assert (found.exposure, found.findings[0].change) == (None, "unknown")
    assert "Exposure was not measured again." in found.sentence


def test_half_a_measurement_is_no_improvement():
    part = exposure_report(exposure(300, 1000, 0, records=400))
    found = diff(data(exposed_report(), count=400), part)
    assert found.change == "unknown"
    assert found.exposure.doubts == ["Of 400 records, the exposure of 300 was measured."]


def test_defences_stand_side_by_side():
    one, two = audit(attack(FEW), defences=defences()), audit(attack(FEW), defences=defences()[:3])
    found = diff(one, two)
    assert len(found.defences) == 3
    assert line(found, "noise, 0.1 of the change").later == "fail, 2 of 10 recovered, mean SSIM 0.410, accuracy 86.8 %"


def test_names_are_numbers_where_one_report_shows_no_evidence():
    found = diff(audit(attack(MANY)), audit(attack(NONE), evidence="none"))
    assert ".png" not in found.to_json()
    assert "image 0, image 1" in notes(found)


def test_reports_of_every_version_are_compared(tmp_path):
    (tmp_path / "old.json").write_text(json.dumps(schema_1_0()))
    (tmp_path / "report.json").write_text(json.dumps(demo()))
    for one in (tmp_path / "old.json", tmp_path):
        found = memaudit.diff(one, tmp_path / "report.json")
        assert found.change in ("same", "unknown", "worse")
        assert Diff.model_validate_json(found.to_json()) == found


def test_a_file_that_is_no_report_is_an_error(tmp_path):
    (tmp_path / "x.json").write_text('{"schema_version": "99.0"}')
    (tmp_path / "y.json").write_text("{")
    for name, why in (("x.json", "schema 99.0"), ("y.json", "not a memaudit report"), ("z.json", "does not exist")):
        with pytest.raises(ReportError, match=why):
            memaudit.diff(audit(attack(NONE)), tmp_path / name)


def test_what_people_read_is_printable():
    bad = poisoned(audit(attack(FEW)))
    bad = bad.model_copy(update={"model": "\x1b[31m\n::error::x"})
    shown = diff(bad, bad).printable()
    assert shown.later.model == r"\x1b[31m\n: :error::x" or "\x1b" not in shown.later.model
    assert diff(bad, bad).later.model == "\x1b[31m\n::error::x"
