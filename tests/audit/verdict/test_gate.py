from dataclasses import replace
from functools import partial

import pytest

from memaudit.audit.report.exhibit import Picture
from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.proof import MockVictim
from memaudit.audit.report.results import Agreement, AttackResult, Dummy, Metrics, PlanStep
from memaudit.audit.report.verdict import Finding
from memaudit.audit.verdict import gate
from memaudit.audit.verdict.expression import DATALESS, METRICS, GateError, metrics, parse, wanted

POWER = MockVictim(
    status="leaks", records=10, recovered=9, attacks=["simudy", "loo"], reason="These attacks rebuild 9 of 10."
)
judge = partial(gate.judge, power=POWER)


def attack(name="simudy", status="converged", ssim_max=0.9, recovered=3, metrics=True, seed=None):
    found = Metrics(
        records=10, matching="hungarian", criterion="SSIM of at least 0.4",
        similarity_mean=0.5, similarity_max=ssim_max, details_mean={"ssim_paper": 0.4, "psnr": 20.0},
        recovered=recovered, recovered_fraction=recovered / 10,
    )  # fmt: skip
    return AttackResult(
        name=name, seed=seed, status=status, loss=0.01, iterations=1, seconds=1.0, peak_memory_bytes=1,
        metrics=found if metrics else None,
    )  # fmt: skip


def agreement(confident=2, name="simudy", status="converged", **more):
    found = Agreement(
        seeds=[0, 1, 2], reference=0, criterion="", confidence_mean=0.5, confidence_max=0.8, confident=confident
    )
    dummies = [Dummy(dummy=i, label=0, influence=1.0, exhibit=Picture(path="")) for i in range(4)]
    more = {"kind": "consensus", "agreement": found, "reconstructions": dummies, **more}
    return attack(name, status, metrics=False).model_copy(update=more)


def decide(attacks, *texts, plan=(), power=POWER):
    return judge(attacks, [parse(text) for text in texts], IMAGE, plan, power=power)


def test_every_metric_is_one_of_the_reports():
    assert set(METRICS) <= {*Metrics.model_fields, *Agreement.model_fields, *Finding.model_fields}
    assert set(Agreement.model_fields) & set(METRICS) == DATALESS
    assert [*metrics(IMAGE)][:4] == ["ssim_mean", "ssim_max", "ssim_paper_mean", "psnr_mean"]
    assert all(found.field in Metrics.model_fields for found in IMAGE.metrics().values())


def test_a_kind_names_its_metrics():
    other = replace(IMAGE, name="text", statistic="overlap", stem="overlap", details=())
    assert judge([attack(ssim_max=0.3)], [parse("overlap_max>0.2", kinds=[other])], other).status == "fail"
    verdict = judge([attack(ssim_max=0.3)], [parse("overlap_max>0.9", kinds=[other])], other)
    assert (verdict.status, verdict.summary) == ("pass", "simudy reached a best overlap of 0.3.")
    with pytest.raises(GateError, match="unknown metric 'psnr_mean'"):
        parse("psnr_mean>20", kinds=[other])
    assert judge([attack()], [parse("psnr_mean>20", kinds=[IMAGE, other])], other).status == "inconclusive"


def test_a_detail_that_was_not_measured_clears_nothing():
    bare = attack()
    bare = bare.model_copy(update={"metrics": bare.metrics.model_copy(update={"details_mean": {}})})
    assert decide([bare], "psnr_mean>100").status == "inconclusive"


def test_no_kind_can_stand_in_for_a_metric_of_all():
    sly = replace(IMAGE, stem="confidence")
    assert metrics(sly)["confidence_mean"] == "mean confidence"
    assert judge([agreement()], [parse("confidence_mean>0.4", kinds=[sly])], sly).status == "fail"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("simudy.ssim_max>=0.4", "fail"), ("simudy.ssim_max >= 0.95", "pass"), ("recovered_fraction>0.2", "fail"),
        ("recovered==3", "fail"), ("recovered<3", "pass"), ("ssim_mean<=0.5", "fail"), ("psnr_mean>1e2", "pass"),
    ],
)  # fmt: skip
def test_expressions(text, expected):
    assert decide([attack()], text).status == expected


def test_without_a_gate_one_recovered_image_is_a_leak():
    assert judge([attack(recovered=1)], [], IMAGE).status == "fail"
    assert judge([attack(recovered=0)], [], IMAGE).status == "pass"


def test_any_attack_may_trip_a_gate_that_names_none():
    verdict = decide([attack(ssim_max=0.1), attack("loo", ssim_max=0.8)], "ssim_max>=0.4")
    assert verdict.status == "fail"
    assert "loo" in verdict.summary


def test_the_worst_gate_decides():
    assert decide([attack()], "recovered>100", "loo.recovered>0").status == "inconclusive"
    assert decide([attack()], "recovered>0", "loo.recovered>0").status == "fail"


@pytest.mark.parametrize("status", ["stalled", "budget_spent", "diverged"])
def test_what_did_not_converge_clears_nothing_but_a_leak_is_a_leak(status):
    ended = POWER if status == "diverged" else None
    assert decide([attack(status=status, recovered=0, ssim_max=0.1)], "ssim_max>=0.4", power=ended).status == (
        "inconclusive"
    )
    assert decide([attack(status=status, ssim_max=0.9)], "ssim_max>=0.4").status == "fail"


@pytest.mark.parametrize("text", ["ssim_max>0.4", "ssim_max<=0.4"])
def test_a_number_that_is_none_was_not_measured(text):
    assert decide([attack(ssim_max=float("nan"))], text).status == "inconclusive"


def test_a_missing_metric_is_inconclusive_and_says_why():
    assert "pass --data" in decide([attack(metrics=False)], "recovered>0").summary
    assert "not run" in decide([attack()], "loo.recovered>0").summary
    assert "diverged" in decide([attack(metrics=False, status="diverged")], "recovered>0").summary


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("simudy.ssim_maks>=0.4", "Did you mean ssim_max"), ("ssim_max=0.4", "cannot be parsed"),
        ("severity>=hihg", "Did you mean high"),
        ("ssim_max>=high", "not a number"), ("", "cannot be parsed"), ("ssim_max", "cannot be parsed"),
        ("ssim_max>=nan", "nan"), ("recovered>inf", "decides nothing"),
        ("confidence_men>0", "Did you mean confidence_mean"),
        ("colour>1", "What exists: ssim_mean"), ("simudi.ssim_max>0.4", "Did you mean simudy"),
    ],
)  # fmt: skip
def test_typos_are_errors(text, said):
    with pytest.raises(GateError) as error:
        parse(text, ["simudy", "loo"])
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("confident>0", "fail", "simudy (consensus) shows 2 of 4 images alike with 3 seeds."),
        ("confident>2", "pass", "simudy (consensus) shows 2 of 4 images alike with 3 seeds."),
        ("confidence_max>=0.8", "fail", "simudy (consensus) reached a best confidence of 0.8."),
        ("simudy.confidence_mean>0.5", "pass", "reached a mean confidence of 0.5"),
    ],
)
def test_confidence_needs_no_training_data(text, status, said):
    seeds = [attack(metrics=False, seed=seed) for seed in range(3)]
    verdict = decide([*seeds, agreement()], text)
    assert (verdict.status, said in verdict.summary) == (status, True)


def test_confidence_needs_several_seeds_that_converged():
    single = decide([attack(metrics=False)], "confident>0")
    assert (single.status, "--restarts" in single.summary) == ("inconclusive", True)
    stalled = decide([attack(seed=0), agreement(0, status="stalled")], "confident>0", power=None)
    assert stalled.status == "inconclusive"
    assert decide([agreement(1, status="stalled")], "confident>0").status == "fail"


def test_any_seed_of_any_attack_may_trip_and_is_named():
    seeds = [attack(recovered=count, seed=seed) for seed, count in enumerate((0, 2, 1))]
    verdict = judge([*seeds, attack("loo", "stalled", recovered=0)], [], IMAGE)
    assert verdict.status == "fail"
    assert verdict.summary == "simudy (seed 1) recovered 2 of 10 training images."
    alike = judge([attack(recovered=4, seed=seed) for seed in range(3)], [], IMAGE)
    assert alike.summary == "simudy recovered 4 of 10 training images."


def test_what_several_attacks_reached_alike_is_said_once():
    found = [attack("simudy", recovered=0), attack("span", recovered=0), attack("loo", "stalled", recovered=0)]
    verdict = judge(found, [], IMAGE)
    assert verdict.summary == "simudy, span, loo recovered none of 10 training images."


def test_the_result_nearest_to_the_gate_is_told():
    found = [attack(ssim_max=value, seed=seed) for seed, value in enumerate((0.3, 0.6, 0.5))]
    assert "simudy (seed 1) reached a best SSIM of 0.6" in decide(found, "ssim_max>0.9").summary
    assert "simudy (seed 0) reached a best SSIM of 0.3" in decide(found, "ssim_max<0.2").summary


def test_a_gate_on_one_attack_needs_the_power_of_that_one():
    seeds = [attack(recovered=0, seed=0), attack(recovered=0, status="stalled", seed=1)]
    others = [attack("haim", "unsupported", metrics=False), attack("dlg", "stalled", recovered=0)]
    plan = [PlanStep(attack="gion", runs=False, reason="takes a day."), PlanStep(attack="simudy", runs=True, reason="")]
    verdict = judge([*seeds, *others], [], IMAGE, plan)
    assert verdict.status == "pass"
    assert verdict.summary.endswith("Nothing follows from haim (unsupported), gion (left out).")
    assert decide([*seeds, *others], "dlg.recovered>0").status == "inconclusive"
    left_out = decide(seeds, "gion.recovered>0", plan=plan)
    assert (left_out.status, "it was left out: takes a day)." in left_out.summary) == ("inconclusive", True)


UNPROVEN = [None, MockVictim(status="silent", records=10, recovered=1, reason="They rebuild 1 of 10.")]


@pytest.mark.parametrize("power", UNPROVEN)
@pytest.mark.parametrize("status", ["converged", "stalled"])
def test_nothing_passes_whose_attacks_have_shown_no_power(power, status):
    verdict = judge([attack(status=status, recovered=0)], [], IMAGE, power=power)
    assert verdict.status == "inconclusive"
    assert power is None or verdict.summary == power.reason


def test_an_attack_that_rebuilds_most_records_here_needs_no_other_proof():
    gates = [parse("recovered_fraction>0.6")]
    assert judge([attack(recovered=5)], gates, IMAGE, power=None).status == "pass"
    assert judge([attack(recovered=4)], gates, IMAGE, power=None).status == "inconclusive"


def test_attacks_that_only_stalled_diverged_or_refused_clear_nothing():
    found = [
        attack(status="stalled", recovered=0, seed=0), attack(status="diverged", recovered=0, seed=1),
        attack("haim", "unsupported", metrics=False), attack("dlg", "budget_spent", recovered=0),
    ]  # fmt: skip
    verdict = judge(found, [], IMAGE, power=None)
    assert verdict.status == "inconclusive"
    assert "(simudy stalled and diverged, dlg budget_spent)" in verdict.summary


def test_an_attack_that_took_no_step_is_named_with_how_it_ended():
    spent = attack(status="budget_spent", metrics=False).model_copy(update={"iterations": 0})
    assert "(simudy budget_spent)" in judge([spent], [], IMAGE).summary


def finding(severity="high", attack="simudy", blocks=False, message="too few images"):
    return Finding(rule="MA001", name="", severity=severity, attack=attack, message=message, blocks=blocks)


@pytest.mark.parametrize(
    ("severity", "level", "expected"),
    [("high", "high", "fail"), ("critical", "high", "fail"), ("medium", "high", "pass"), ("none", "low", "pass")],
)
def test_a_gate_on_severity(severity, level, expected):
    gates = [parse(text) for text in wanted([], level)]
    verdict = judge([attack(recovered=0)], gates, IMAGE, findings=[finding(severity)])
    assert (verdict.status, verdict.severity) == (expected, severity)


def test_a_severity_counts_for_its_attack_alone():
    gates = [parse("loo.severity>=high")]
    assert judge([attack(), attack("loo")], gates, IMAGE, findings=[finding()]).status == "pass"
    assert judge([attack(), attack("loo")], gates, IMAGE, findings=[finding(attack="loo")]).status == "fail"


def test_nothing_measured_has_no_severity():
    assert judge([attack(metrics=False)], [parse("severity>=low")], IMAGE).status == "inconclusive"


def test_the_gates_that_are_wanted():
    assert wanted([]) == ["recovered>0"]
    assert wanted(["ssim_max>=0.4"], "high") == ["ssim_max>=0.4", "severity>=high"]
    assert wanted([], "low") == ["severity>=low"]


@pytest.mark.parametrize(
    ("text", "status"),
    [("recovered>0", "inconclusive"), ("recovered_fraction>0.5", "inconclusive"), ("severity>=high", "inconclusive"),
     ("ssim_max>=0.95", "pass")],
)  # fmt: skip
def test_too_few_comparisons_clear_nothing_that_counts_recovered_images(text, status):
    verdict = judge([attack(recovered=0)], [parse(text)], IMAGE, findings=[finding("none", blocks=True)])
    assert verdict.status == status
    assert ("too few images" in verdict.summary) is (status == "inconclusive")


def test_another_attack_may_clear_and_a_leak_stays_a_leak():
    blocked = [finding("none", blocks=True)]
    verdict = judge([attack(recovered=0), attack("loo", recovered=0)], [parse("recovered>0")], IMAGE, findings=blocked)
    assert verdict.status == "pass"
    assert "Nothing follows from simudy" in verdict.summary
    assert judge([attack(recovered=1)], [parse("recovered>0")], IMAGE, findings=blocked).status == "fail"


def test_what_is_missing_in_the_audit_as_a_whole_blocks_every_gate():
    rounding = [finding("none", attack="", blocks=True, message="all rounding")]
    verdict = judge([attack(recovered=0)], [parse("ssim_max>=0.95")], IMAGE, findings=rounding)
    assert (verdict.status, verdict.summary) == ("inconclusive", "all rounding")


def test_images_that_were_not_read_off_in_time_are_not_missing_data():
    late = attack(metrics=False, status="budget_spent")
    assert "--max-time" in judge([late], [parse("recovered>0")], IMAGE).summary
