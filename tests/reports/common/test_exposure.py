"""What is said of the exposure of records, whatever the format: never harmless without being so."""

import pytest

from memaudit.audit.exposure.sentences import said
from memaudit.audit.report.exposure import Exposure, Separation
from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.model import AuditReport
from memaudit.audit.words import NOTHING
from memaudit.reports.common import exposure, pillars, verdict

from ..exposures import exposure as made
from ..exposures import exposure_report
from ..parts import finding
from ..proofs import explained


def nothing() -> Exposure:
    """Return an exposure for which there was no time."""
    empty = {"own": Separation(name="regression on gradients"), "baselines": [], "curve": [], "scores": []}
    gone = {"measured": 0, "detected": 0, "at_least": 0, "per_record": [], "groups": [], "explained": None}
    found = made(40, 60, 0).model_copy(update={**empty, **gone, "held_out_scores": []})
    return found.model_copy(update={"reason": said(found, IMAGE.words)})


def tiles(report: AuditReport) -> dict[str, tuple[str, str]]:
    return {tile.label: (tile.value, tile.note) for tile in verdict.tiles(report)}


def test_the_tiles_are_those_of_the_exposure_where_no_attack_was_run(exposed: AuditReport, both: AuditReport) -> None:
    found, numbers = exposed.exposure, tiles(exposed)
    assert found is not None
    assert list(numbers) == ["Told from others", "Trained on, at least", "Above 99 % of held-out", "Held-out"]
    assert numbers["Told from others"][0] == f"{found.detected} of 300"
    assert numbers["Trained on, at least"][0] == str(found.at_least)
    assert numbers["Above 99 % of held-out"][0] == f"{100 * (found.own.tpr_at_1_fpr or 0):.0f} %"
    assert next(iter(tiles(both))) == "Rebuilt"
    assert list(tiles(both))[-1] == "Told from others"


def test_none_told_is_no_zero_where_none_could_be(few: AuditReport, hidden: AuditReport) -> None:
    assert tiles(hidden)["Told from others"][0] == "0 of 300"
    assert tiles(few)["Told from others"] == (NOTHING, "single images take 999 held-out ones")
    assert tiles(few)["Above 99 % of held-out"] == (NOTHING, "takes 100 held-out images")


def test_without_time_nothing_is_told() -> None:
    report = exposure_report(nothing())
    assert report.verdict.status == "inconclusive"
    assert tiles(report) == {
        "Measured": ("0 of 40", "there was no time"), "Held-out": ("60", "images that were not trained on"),
    }  # fmt: skip
    assert verdict.tried(report) == "No images were measured in this time."
    assert [pillar.title for pillar in pillars.pillars(report)] == ["Do the training images explain the change?"]
    assert exposure.unclear(report, nothing()) == "40 of 40 images were not measured."


def test_what_follows_is_to_keep_a_file_or_to_scan(exposed: AuditReport, hidden: AuditReport, few: AuditReport) -> None:
    kept, clean = verdict.decided(exposed), verdict.decided(hidden)
    assert kept is not None
    assert kept.reason.startswith("Keep one of the two files away")
    assert clean is not None
    assert clean.reason.startswith("This measurement gives no reason to withhold")
    scan = "memaudit scan runs/before.pt runs/after.pt --normalise cifar10 --data train/ --control held-out/"
    assert kept.command == clean.command == scan
    assert verdict.decided(few) is None
    assert verdict.next_step(few) is not None


def test_limits_that_allow_it_do_not_make_it_harmless(drawn: AuditReport) -> None:
    assert drawn.verdict.status == "pass"
    then = verdict.decided(drawn)
    assert then is not None
    assert "allow what was found" in then.reason
    assert "no reason" not in then.reason


def test_a_command_that_is_not_its_own_gives_no_scan(exposed: AuditReport) -> None:
    for command in ("python audit.py 'a b'", "memaudit exposure 'never closed"):
        then = verdict.decided(exposed.model_copy(update={"command": command}))
        assert then is not None
        assert then.command == ""


@pytest.mark.parametrize("name", ["exposed", "hidden", "few", "drawn"])
def test_no_verdict_says_that_records_can_or_cannot_be_rebuilt(name: str, request: pytest.FixtureRequest) -> None:
    report = request.getfixturevalue(name)
    shown, not_shown = verdict.shows(report)
    assert "rebuilt" not in shown
    assert "Nor that images can be rebuilt, or that they cannot" in not_shown
    assert "No attack was run." in verdict.tried(report)


def test_a_scan_that_measured_both_says_so(both: AuditReport, leak: AuditReport) -> None:
    assert "the attacks and the measurement of exposure" in verdict.shows(both)[0]
    assert "exposure" not in verdict.shows(leak)[0]


def test_the_pillars_answer_what_the_verdict_rests_on(
    exposed: AuditReport, hidden: AuditReport, few: AuditReport
) -> None:
    answers = {
        name: [(pillar.answer, pillar.tone) for pillar in pillars.pillars(report)[1:]]
        for name, report in (("exposed", exposed), ("hidden", hidden), ("few", few))
    }
    assert answers == {
        "exposed": [("yes", "fail"), ("yes", "pass")],
        "hidden": [("no", "pass"), ("yes", "pass")],
        "few": [("not known", "inconclusive"), ("no", "inconclusive")],
    }
    bars = pillars.pillars(exposed)[1].bars
    assert [bar.name for bar in bars] == ["this measurement", "the best of simpler scores", "chance"]
    assert bars[0].value > bars[1].value
    assert pillars.pillars(few)[1].bars == []
    assert pillars.pillars(few)[2].notes == [
        "3 held-out images nearly the same as some of those given, which hides these."
    ]


def test_data_that_explain_little_but_are_told_are_not_called_wrong(exposed: AuditReport) -> None:
    report = exposed.model_copy(update={"check": explained(0.58)})
    note = pillars.pillars(report)[0].notes[0]
    assert exposed.exposure is not None
    assert note == f"One by one, though, at least {exposed.exposure.at_least} of them show as trained on."


def test_missing_evidence_keeps_none_told_from_clearing(hidden: AuditReport) -> None:
    assert hidden.exposure is not None
    assert exposure.unclear(hidden, hidden.exposure) == ""
    said = finding("MA107", "none", "The data do not explain the change.", blocks=True)
    barred = hidden.model_copy(update={"findings": [said]})
    assert exposure.unclear(barred, hidden.exposure) == "The data do not explain the change."
    assert pillars.pillars(barred)[1].answer == "not known"
    partly = hidden.exposure.model_copy(update={"records": 310})
    assert exposure.unclear(hidden, partly) == "10 of 310 images were not measured."


def test_facts_say_what_was_left_out_and_what_it_rests_on(few: AuditReport, drawn: AuditReport) -> None:
    assert few.exposure is not None
    assert exposure.facts(few, few.exposure) == [
        "Of the way of training, gradients were taken over its first half; those of all images together explain 37 % "
        "of the change.",
        "100 of 400 images were not measured in this time.",
        "To tell single images takes 999 held-out ones or more, where a tenth of those given stands out.",
        "3 held-out images nearly equal some image of --data, which makes that one look less exposed than it is: leave "
        "them out.",
    ]
    assert drawn.exposure is not None
    told = exposure.facts(drawn, drawn.exposure)
    assert told[0].startswith("Gradients: those of all images together explain")
    assert told[1] == "Labels: as the records were given."
    assert told[-1].endswith("no epsilon below 1.73 (delta 0), with 95 % confidence: 57 of 60 guesses are right.")


def test_numbers_that_were_not_measured_are_dashes(few: AuditReport, exposed: AuditReport) -> None:
    assert few.exposure is not None
    assert {(way.share, way.strict) for way in exposure.ways(few.exposure)} == {(NOTHING, NOTHING)}
    assert exposed.exposure is not None
    first = exposure.ways(exposed.exposure)[0]
    low, high = exposed.exposure.own.tpr_at_1_fpr_interval or (None, None)
    assert low is not None
    assert high is not None
    assert first.share.endswith(f"({100 * low:.1f} to {100 * high:.1f})")


def test_groups_are_classes_unless_others_were_given(exposed: AuditReport) -> None:
    found = exposed.exposure
    assert found is not None
    assert exposure.groups_are(found) == "Class"
    other = found.model_copy(update={"groups": [part.model_copy(update={"name": "site A"}) for part in found.groups]})
    assert exposure.groups_are(other) == "Group"
    assert exposure.groups(found.model_copy(update={"groups": found.groups[:1]})) == []


def test_a_pass_without_the_means_to_tell_gives_no_reassurance() -> None:
    report = exposure_report(made(300, 200, 0), "exposure.tpr_at_1_fpr>0.5")
    assert report.verdict.status == "pass"
    then = verdict.decided(report)
    assert then is not None
    assert "no reason to withhold" not in then.reason
    assert "200 held-out images are too few to tell single images" in then.reason
    assert pillars.pillars(report)[1].answer == "not known"


def test_a_scan_speaks_of_exposure_first_only_where_something_follows(both: AuditReport, few: AuditReport) -> None:
    mute = both.model_copy(update={"exposure": few.exposure})
    assert "Told from others" not in tiles(mute)
    assert len(pillars.pillars(mute)) == len(pillars.pillars(both)) - 1
