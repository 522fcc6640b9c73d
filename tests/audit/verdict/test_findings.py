from dataclasses import replace

import pytest

from memaudit.audit.report.exhibit import Picture
from memaudit.audit.report.facts import Delta, Fact, TensorReading
from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.results import Agreement, AttackResult, Match, Metrics, Scores
from memaudit.audit.scoring.levels import LEVEL
from memaudit.audit.verdict import rules as table
from memaudit.audit.verdict.findings import Evidence, findings, fingerprint
from memaudit.audit.verdict.rules import RULES, rules


def metrics(**more):
    fields = {
        "records": 10, "pairs": 10, "matching": "hungarian", "criterion": "", "similarity_mean": 0.1,
        "similarity_max": 0.2, "recovered": 0, "recovered_fraction": 0.0, "p_value": 0.5, "detectable": 0.5,
        "identifiable": 1, "nearest": 10, "pool": 100, "null_kind": "control",
    }  # fmt: skip
    return Metrics(**(fields | more))


def match(sample, ssim=0.9, recovered=True):
    scores = Scores(similarity=ssim, details={"psnr": 20.0})
    return Match(
        sample=sample, name=f"{sample}.png", dummy=sample, scores=scores, recovered=recovered, truth=Picture(path=""),
        reconstruction=Picture(path=""),
    )  # fmt: skip


def result(name="simudy", status="converged", matches=(), **more):
    fields = {
        "name": name, "seed": 0, "status": status, "loss": 0.01, "iterations": 1, "seconds": 1.0,
        "peak_memory_bytes": 1, "metrics": metrics(), "matches": list(matches),
    }  # fmt: skip
    return AttackResult(**(fields | more))


def found(report, *results, **more):
    update = more | ({"attacks": list(results)} if results else {})
    return {(f.rule, f.attack): f for f in findings(seen(report.model_copy(update=update)))}


def seen(report):
    return Evidence(**{name: getattr(report, name) for name in Evidence._fields})


def test_a_clean_audit_finds_nothing(report):
    assert found(report) == {}


@pytest.mark.parametrize(("count", "severity"), [(1, "high"), (4, "high"), (5, "critical"), (10, "critical")])
def test_reconstructed_images_by_their_share(report, count, severity):
    pairs = [match(i, recovered=i < count) for i in range(10)]
    one = found(report, result(matches=pairs))["MA001", "simudy"]
    assert (one.severity, one.records, one.blocks) == (severity, list(range(count)), False)
    assert f"{count} of 10" in one.message


def test_seeds_of_an_attack_are_one_finding_with_all_their_records(report):
    seeds = [result(seed=i, matches=[match(i)]) for i in (3, 1)]
    assert found(report, *seeds)["MA001", "simudy"].records == [1, 3]
    two = found(report, result(matches=[match(0)]), result("loo", matches=[match(1)]))
    assert {key for key in two if key[0] == "MA001"} == {("MA001", "simudy"), ("MA001", "loo")}


@pytest.mark.parametrize(("p", "seeds", "expected"), [(1e-4, 1, True), (0.01, 1, False), (4e-4, 3, False)])
def test_a_set_that_is_resembled_counts_only_where_no_image_is_recovered(report, p, seeds, expected):
    runs = [result(seed=i, metrics=metrics(p_value=p)) for i in range(seeds)]
    assert (("MA002", "simudy") in found(report, *runs)) is expected
    assert ("MA002", "simudy") not in found(report, result(matches=[match(0)], metrics=metrics(p_value=p)))


@pytest.mark.parametrize(
    ("p", "attacks", "expected"), [(0.01, 1, False), (5e-4, 1, True), (5e-4, 3, False), (None, 1, False)]
)
def test_identifiable_beyond_chance(report, p, attacks, expected):
    results = [result(f"a{i}", metrics=metrics(identifiable=8, identifiable_p_value=p)) for i in range(attacks)]
    one = found(report, *results)
    assert (("MA003", "a0") in one) is expected
    if expected:
        assert "8 of the 10 images" in one["MA003", "a0"].message
        assert "chance gives 1.0" in one["MA003", "a0"].message


def test_agreeing_seeds(report):
    agreement = Agreement(seeds=[0, 1], reference=0, criterion="", confidence_mean=0.9, confidence_max=0.9, confident=2)
    assert found(report, result(kind="consensus", agreement=agreement))["MA004", "simudy"].severity == "medium"


@pytest.mark.parametrize("status", ["stalled", "budget_spent", "diverged", "unsupported"])
def test_what_did_not_converge_is_said_but_leaks_nothing(report, status):
    one = found(report, result(status=status, reason="too wide"))["MA101", "simudy"]
    assert one.severity == "none"
    assert "too wide" in one.message
    assert ("MA101", "simudy") not in found(report, result(status=status), result(seed=1))


@pytest.mark.parametrize(("least", "expected"), [(0.5, False), (0.97, False), (0.98, True), (1.0, True)])
def test_a_comparison_set_that_is_too_small_blocks(report, least, expected):
    one = found(report, result(metrics=metrics(detectable=least)))
    assert (("MA102", "simudy") in one) is expected
    assert all(finding.blocks for finding in one.values())


def test_a_change_that_is_rounding_blocks(report):
    row = TensorReading(name="w", shape=[1], dtype="float16", status="rounding", change=1e-9, relative_change=1e-9)
    assert found(report, delta=Delta(tensors=[row]))["MA103", ""].blocks
    moved = row.model_copy(update={"status": "moved"})
    assert found(report, delta=Delta(tensors=[row, moved])) == {}


def test_missing_evidence_is_named(report):
    blind = report.inputs.model_copy(update={"data": None, "control": None})
    assert set(found(report, inputs=blind)) == {("MA104", "")}
    assert set(found(report, inputs=report.inputs.model_copy(update={"control": None}))) == {("MA105", "")}
    guessed = report.recipe | {"lr": Fact(value=0.1, source="assumed")}
    assert "learning rate" in found(report, recipe=guessed)["MA106", ""].message


def test_the_worst_comes_first_and_names_are_the_rules(report):
    attacks = [
        result("loo", status="stalled"),
        result(matches=[match(i) for i in range(9)], metrics=metrics(recovered=9)),
    ]
    ordered = findings(seen(report.model_copy(update={"attacks": attacks})))
    assert [finding.rule for finding in ordered] == ["MA001", "MA101"]
    assert all(finding.name == RULES[finding.rule].name for finding in ordered)
    assert all(finding.severity in RULES[finding.rule].severities for finding in ordered)


def test_fingerprints_never_depend_on_what_was_measured(report):
    one = found(report, result(matches=[match(0, 0.5)]))["MA001", "simudy"]
    two = found(report, result(matches=[match(i, 0.9) for i in range(9)]))["MA001", "simudy"]
    assert one.fingerprint == two.fingerprint == fingerprint("MA001", "simudy", "a.pt")
    other = found(report, result("loo", matches=[match(0)]))["MA001", "loo"]
    renamed = found(report, result(matches=[match(0)]), model="b.pt")["MA001", "simudy"]
    assert len({one.fingerprint, other.fingerprint, renamed.fingerprint}) == 3


def test_the_table_is_complete():
    assert all(rule.id == key for key, rule in RULES.items())
    assert all(rule.severities == ("none",) for rule in RULES.values() if not rule.leak)
    assert all(rule.severities[0] != "none" for rule in RULES.values() if rule.leak)
    assert all(text.endswith(".") for rule in rules(IMAGE).values() for text in (rule.when, rule.help))


def test_rules_speak_of_the_records_of_the_report():
    tokens = replace(IMAGE, statistic="overlap", words=replace(IMAGE.words, one="text", many="texts"))
    texts = [text for rule in rules(tokens).values() for text in (rule.title, rule.when, rule.help)]
    assert not any(word in text for text in texts for word in ("image", "SSIM", "{", "}"))
    assert "Training texts were reconstructed" in texts
    assert any("overlap of 0.4 or more" in text for text in texts)


def test_the_numbers_in_the_rules_are_those_that_decide(monkeypatch):
    said = {rule.id: rule.when for rule in rules(IMAGE).values()}
    assert f"SSIM of {IMAGE.threshold:g} or more" in said["MA001"]
    assert f"false discovery rate of {100 * LEVEL:g} %" in said["MA001"]
    assert all(f"p of {table.SURE:g} or less" in said[rule] for rule in ("MA002", "MA003"))
    assert f"reached {table.REACHABLE:g}" in said["MA102"]
    monkeypatch.setattr(table, "REACHABLE", 0.9)
    rules.cache_clear()
    assert "reached 0.9" in rules(IMAGE)["MA102"].when
    rules.cache_clear()


def test_an_unknown_start_blocks_a_pass_and_names_what_it_is_of(report):
    fact = Fact(value=["fc.weight"], source="inferred", evidence="of fc.weight the files show the end alone")
    one = found(report, delta=Delta(facts={"unknown_start": fact}))["MA112", ""]
    assert (one.severity, one.blocks) == ("none", True)
    assert one.message.startswith("Of fc.weight the files show the end alone.")
