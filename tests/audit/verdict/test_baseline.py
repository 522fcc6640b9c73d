import datetime
import json
import tomllib

import pytest
from typer.testing import CliRunner

from memaudit.audit.cli.main import app
from memaudit.audit.report.verdict import Finding, Verdict
from memaudit.audit.verdict import baseline as b
from memaudit.audit.verdict.findings import fingerprint

from .test_findings import match, result

TODAY = datetime.date(2026, 11, 23)
LATER = TODAY + datetime.timedelta(days=30)


@pytest.fixture
def leaking(report):
    def make(*samples, severity="high"):
        finding = Finding(
            rule="MA001", name="", severity=severity, attack="simudy", message="", records=list(samples),
            fingerprint=fingerprint("MA001", "simudy", "a.pt"),
        )  # fmt: skip
        open_point = Finding(rule="MA101", name="", severity="none", attack="loo", message="", fingerprint="x")
        attacks = [result(matches=[match(i) for i in range(10)])]
        verdict = Verdict(status="fail", severity=severity, summary="")
        return report.model_copy(update={"findings": [finding, open_point], "attacks": attacks, "verdict": verdict})

    return make


def test_what_was_accepted_is_known(leaking):
    accepted = b.accept(leaking(0, 1), "known since spring", LATER)
    found = b.compare(leaking(0, 1), accepted, TODAY)
    assert [len(part) for part in (found.known, found.expired, found.new, found.gone)] == [1, 0, 0, 0]
    assert b.decide(leaking(0, 1), found, "low") == "pass"
    fewer = b.compare(leaking(1), accepted, TODAY)
    assert len(fewer.known) == 1


def test_a_record_more_or_a_worse_severity_is_new(leaking):
    accepted = b.accept(leaking(0, 1), "known", LATER)
    for worse in (leaking(0, 1, 2), leaking(0, 1, severity="critical")):
        found = b.compare(worse, accepted, TODAY)
        assert len(found.new) == 1
        assert b.decide(worse, found, "low") == "fail"
        assert b.decide(worse, found, "critical") == ("fail" if worse.findings[0].severity == "critical" else "pass")


def test_an_acceptance_ends(leaking):
    accepted = b.accept(leaking(0), "known", TODAY)
    assert b.compare(leaking(0), accepted, TODAY).known
    found = b.compare(leaking(0), accepted, TODAY + datetime.timedelta(days=1))
    assert (len(found.expired), b.decide(leaking(0), found, "low")) == (1, "fail")


def test_what_is_gone_is_said(leaking, report):
    clean = report.model_copy(update={"attacks": [result()]})
    found = b.compare(clean, b.accept(leaking(0), "known", LATER), TODAY)
    assert len(found.gone) == 1
    assert b.decide(clean, found, "low") == "pass"
    assert b.decide(report, found, "low") == "inconclusive"


def test_an_inconclusive_report_is_never_clean(report):
    blind = report.model_copy(update={"verdict": Verdict(status="inconclusive", summary="")})
    found = b.compare(blind, b.Baseline(model="m", salt="s"), TODAY)
    assert b.decide(blind, found, "low") == "inconclusive"


def test_the_file_holds_no_name_no_score_and_reads_back(leaking, tmp_path):
    accepted = b.accept(leaking(0, 7), 'said "so"\nby the board', LATER)
    text = b.dump(accepted)
    assert ".png" not in text
    assert tomllib.loads(text)["accepted"][0]["expires"] == LATER
    (tmp_path / "b.toml").write_text(text)
    assert b.load(tmp_path / "b.toml") == accepted
    again = b.accept(leaking(0, 7), "known", LATER)
    assert again.accepted[0].records != accepted.accepted[0].records
    assert b.accept(leaking(0, 7), "known", LATER, accepted.salt).accepted[0].records == accepted.accepted[0].records


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no = [", "is not TOML"), ("version = 1", "model"), ('version = 9\nmodel = "a"\nsalt = "b"', "version"),
        ('version = 1\nmodel = "a"\nsalt = "b"\nsurprise = 1', "surprise"),
        ('version = 1\nmodel = "a"\nsalt = "b"\n[[accepted]]\nfingerprint = "f"\nrule = "MA001"\nseverity = "high"\n'
         'reason = ""\nexpires = 2027-01-01', "reason"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_sentence(tmp_path, text, said):
    (tmp_path / "b.toml").write_text(text)
    with pytest.raises(b.BaselineError, match=said) as caught:
        b.load(tmp_path / "b.toml")
    assert "\n" not in str(caught.value)


def test_bad_words(tmp_path, leaking):
    with pytest.raises(b.BaselineError, match="cannot be read"):
        b.load(tmp_path / "none.toml")
    with pytest.raises(b.BaselineError, match="is not a date"):
        b.expiry("tomorrow", TODAY)
    with pytest.raises(b.BaselineError, match="in the past"):
        b.expiry("2026-01-01", TODAY)
    with pytest.raises(b.BaselineError, match="needs a reason"):
        b.accept(leaking(0), " ", LATER)
    assert b.expiry(None, TODAY) == TODAY + datetime.timedelta(days=b.DAYS)


def test_the_commands(leaking, tmp_path):
    file, place = tmp_path / "report.json", str(tmp_path / "b.toml")
    file.write_text(leaking(0, 1).to_json())
    run = CliRunner().invoke
    assert run(app, ["baseline", "write", str(file), "--reason", "known", "--baseline", place]).exit_code == 0
    checked = run(app, ["baseline", "check", str(file), "--baseline", place, "--json"])
    assert checked.exit_code == 0
    assert json.loads(checked.stdout)["status"] == "pass"
    file.write_text(leaking(0, 1, 2).to_json())
    words = ["baseline", "check", str(file), "--baseline", place]
    assert run(app, words).exit_code == 1
    assert run(app, [*words, "--exit-zero"]).exit_code == 0
    assert run(app, [*words, "--fail-on", "critical"]).exit_code == 0


def test_what_no_attack_cleared_is_not_clean(report):
    stalled = report.model_copy(
        update={
            "attacks": [result(status="stalled")],
            "power": None,
            "verdict": Verdict(status="fail", summary="ssim_mean>=0.1"),
        }
    )
    found = b.compare(stalled, b.Baseline(model="m", salt="s"), TODAY)
    assert b.decide(stalled, found, "low") == "inconclusive"


def test_a_rule_of_a_newer_version_is_a_leak(report):
    novel = Finding(rule="MA999", name="", severity="critical", attack="simudy", message="", fingerprint="f")
    newer = report.model_copy(update={"findings": [novel]})
    found = b.compare(newer, b.Baseline(model="m", salt="s"), TODAY)
    assert (len(found.new), b.decide(newer, found, "low")) == (1, "fail")


def test_another_data_set_is_another_audit(leaking):
    accepted = b.accept(leaking(0), "known", LATER)
    data = leaking(0).inputs.data.model_copy(update={"sha256": "1"})
    other = leaking(0).model_copy(update={"inputs": leaking(0).inputs.model_copy(update={"data": data})})
    assert len(b.compare(other, accepted, TODAY).new) == 1


def test_what_cannot_be_encoded_is_replaced_so_that_it_reads_back(leaking, tmp_path):
    named = leaking(0).model_copy(update={"model": "a\ud800"})
    (tmp_path / "b.toml").write_text(b.dump(b.accept(named, "known", LATER)))
    assert b.load(tmp_path / "b.toml").model == "a?"


def test_deep_or_large_files_are_one_sentence(tmp_path):
    for text in ("x = " + "[" * 100_000, "#" * 2**21):
        (tmp_path / "b.toml").write_text(text)
        with pytest.raises(b.BaselineError):
            b.load(tmp_path / "b.toml")
