"""Reports of memaudit 0.1.0 and before, read by this version."""

import copy
import datetime
import json

import pytest

from memaudit.audit.report.file import load, read
from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.model import SCHEMA_VERSION, AuditReport
from memaudit.audit.report.upgrade import upgraded
from memaudit.audit.verdict.baseline import accept, compare, decide, leaks
from memaudit.audit.verdict.expression import parse
from memaudit.audit.verdict.findings import Evidence, findings
from memaudit.audit.verdict.gate import judge
from memaudit.audit.verdict.leaderboard import leaderboard, per_record, ranking

from . import old

EVERY = {"demo": old.demo, "seeds": old.seeds, "1.2": old.schema_1_2, "1.1": old.schema_1_1, "1.0": old.schema_1_0}
JUDGED = {name: EVERY[name] for name in ("demo", "seeds")}


def written(content, folder):
    (folder / "report.json").write_text(json.dumps(content))
    return folder


def seen(report):
    return Evidence(**{name: getattr(report, name) for name in Evidence._fields})


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_it_is_read_and_written_as_this_version_writes(make, tmp_path):
    content = make()
    kept = copy.deepcopy(content)
    report, raw = read(written(content, tmp_path))
    assert raw == kept
    assert report.schema_version == SCHEMA_VERSION
    assert report.kind == IMAGE
    again = AuditReport.model_validate_json(report.to_json())
    assert again.attacks == report.attacks
    assert "ssim_mean" not in report.to_json().replace("ssim_mean>", "")


def test_the_content_itself_is_left_alone():
    content = old.demo()
    kept = copy.deepcopy(content)
    upgraded(content)
    assert content == kept


def test_a_report_of_this_version_is_returned_as_it_is(report):
    content = json.loads(report.to_json())
    assert upgraded(content) is content


@pytest.mark.parametrize("make", JUDGED.values(), ids=JUDGED)
def test_no_number_is_lost(make, tmp_path):
    content = make()
    report = load(written(content, tmp_path))
    for before, after in zip(content["attacks"], report.attacks, strict=True):
        assert (before["loss"], before["seed"], before["kind"]) == (after.loss, after.seed, after.kind)
        for one, two in zip(before["matches"], after.matches, strict=True):
            scores = one["scores"]
            assert two.scores.similarity == scores["ssim"]
            assert two.scores.details == {name: scores[name] for name in ("ssim_paper", "psnr", "mse")}
            assert (two.nearest, two.p_value, two.rank) == (one["nearest_ssim"], one["p_value"], one["rank"])
            assert (two.truth.path, two.reconstruction.path) == (one["original"], one["reconstruction"])
        assert [d.exhibit.path for d in after.reconstructions] == [d["picture"] for d in before["reconstructions"]]
        if after.metrics:
            metrics = before["metrics"]
            assert after.metrics.similarity_mean == metrics["ssim_mean"]
            assert after.metrics.details_mean == {
                "ssim_paper": metrics["ssim_paper_mean"],
                "psnr": metrics["psnr_mean"],
            }
            assert after.metrics.details_max == {"ssim_paper": metrics["ssim_paper_max"]}
            assert after.metrics.control_similarity_max == metrics["control_ssim_max"]
            assert (after.metrics.records, after.metrics.detectable) == (metrics["images"], metrics["detectable_ssim"])
            assert [d.similarity_max for d in after.metrics.decoys] == [d["ssim_max"] for d in metrics["decoys"]]
    assert report.per_record[0].match.sample == content["per_image"][0]["match"]["sample"]
    facts = content["delta"]["facts"]
    assert {name: fact.value for name, fact in report.delta.readings.items()} == {
        n: f["value"] for n, f in facts.items()
    }


SINCE = ("MA005", "MA006", "MA007", "MA107", "MA108", "MA109", "MA110")
"""Rules that came with schema 2.1 and later."""


@pytest.mark.parametrize("make", JUDGED.values(), ids=JUDGED)
def test_what_this_version_concludes_is_what_that_one_did(make, tmp_path):
    content = make()
    report = load(written(content, tmp_path))
    assert [(row.rank, *row.key) for row in leaderboard(report.attacks)] == [
        (row["rank"], row["attack"], row["kind"], row["seed"]) for row in content["leaderboard"]
    ]
    assert leaderboard(report.attacks) == report.leaderboard
    assert ranking(report.attacks, report.kind).split(";")[0] == content["ranking"].split(";")[0]
    gates = [parse(gate["expression"], kinds=[report.kind]) for gate in content["verdict"]["gates"]]
    verdict = judge(report.attacks, gates, report.kind, report.plan, report.findings)
    assert verdict.model_dump(exclude={"headline", "next_step"}) == content["verdict"]
    found = [f for f in findings(seen(report)) if f.rule not in SINCE]
    assert [(f.rule, f.attack, f.severity, f.fingerprint) for f in found if f.rule != "MA001"] == [
        (f["rule"], f["attack"], f["severity"], f["fingerprint"]) for f in content["findings"] if f["rule"] != "MA001"
    ]


def test_the_best_of_each_record_is_found_again(tmp_path):
    report = load(written(old.demo(), tmp_path))
    assert per_record(report.attacks) == report.per_record


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("ssim_mean>=0.9", "fail"), ("spear.ssim_max>=0.4", "fail"), ("psnr_mean>120", "pass"), ("recovered>0", "fail"),
        ("ssim_paper_mean>0.5", "fail"), ("severity>=critical", "fail"), ("simudy.recovered>0", "inconclusive"),
    ],
)  # fmt: skip
def test_gates_judge_it_by_the_names_that_they_had(text, status, tmp_path):
    report = load(written(old.demo(), tmp_path))
    gates = [parse(text, kinds=[report.kind])]
    assert judge(report.attacks, gates, report.kind, report.plan, report.findings).status == status


BEFORE_FINDINGS = {name: EVERY[name] for name in ("1.2", "1.1", "1.0")}


def held(content, text, folder):
    report = load(written(content, folder))
    return report, judge(
        report.attacks, [parse(text, kinds=[report.kind])], report.kind, report.plan, report.findings
    ).status


@pytest.mark.parametrize("make", BEFORE_FINDINGS.values(), ids=BEFORE_FINDINGS)
@pytest.mark.parametrize("text", ["recovered>100", "ssim_mean>=1.5", "recovered_fraction>2"])
def test_a_report_without_findings_passes_no_gate(make, text, tmp_path):
    report, status = held(make(), text, tmp_path)
    assert status == "inconclusive"
    assert report.findings[-1].blocks
    assert "scan again" in report.findings[-1].message
    baseline = accept(report, "nothing is known", datetime.date(2030, 1, 1))
    assert decide(report, compare(report, baseline, datetime.date(2029, 1, 1)), "low") != "pass"


@pytest.mark.parametrize("make", BEFORE_FINDINGS.values(), ids=BEFORE_FINDINGS)
@pytest.mark.parametrize("text", ["recovered>0", "severity>=high", "severity>=low"])
def test_but_a_leak_stays_a_leak(make, text, tmp_path):
    """A leak that a version without rules wrote must not look clean to a gate that asks for them."""
    report, status = held(make(), text, tmp_path)
    assert status == "fail"
    assert report.verdict.severity == "high"
    assert {finding.attack for finding in leaks(report)} == {
        attack.name for attack in report.attacks if attack.metrics and attack.metrics.recovered
    }


@pytest.mark.parametrize("make", BEFORE_FINDINGS.values(), ids=BEFORE_FINDINGS)
def test_and_no_leak_is_not_made_up(make, tmp_path):
    content = make()
    for attack in content["attacks"]:
        attack["metrics"] = attack["metrics"] and attack["metrics"] | {"recovered": 0}
    report, status = held(content, "severity>=low", tmp_path)
    assert status == "inconclusive"
    assert report.verdict.severity == "none"


def test_a_reading_without_a_value_is_absent(tmp_path):
    content = old.demo()
    content["delta"]["facts"]["signal"]["value"] = None
    report = load(written(content, tmp_path))
    assert "signal" not in report.delta.facts
    assert "size" in report.delta.facts
