import pytest

from memaudit.audit.gate import METRICS, GateError, judge, parse
from memaudit.audit.report import AttackResult, Metrics


def attack(name="simudy", status="converged", ssim_max=0.9, recovered=3, metrics=True):
    found = Metrics(
        images=10, matching="hungarian", criterion="SSIM of at least 0.4",
        ssim_mean=0.5, ssim_max=ssim_max, ssim_paper_mean=0.4, psnr_mean=20.0, recovered=recovered,
        recovered_fraction=recovered / 10,
    )  # fmt: skip
    return AttackResult(
        name=name, status=status, loss=0.01, iterations=1, seconds=1.0, peak_memory_bytes=1,
        metrics=found if metrics else None,
    )  # fmt: skip


def decide(attacks, *texts):
    return judge(attacks, [parse(text) for text in texts])


def test_every_metric_is_one_of_the_reports():
    assert set(METRICS) <= set(Metrics.model_fields)


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
    assert judge([attack(recovered=1)], []).status == "fail"
    assert judge([attack(recovered=0)], []).status == "pass"


def test_any_attack_may_trip_a_gate_that_names_none():
    verdict = decide([attack(ssim_max=0.1), attack("loo", ssim_max=0.8)], "ssim_max>=0.4")
    assert verdict.status == "fail"
    assert "loo" in verdict.summary


def test_the_worst_gate_decides():
    assert decide([attack()], "recovered>100", "loo.recovered>0").status == "inconclusive"
    assert decide([attack()], "recovered>0", "loo.recovered>0").status == "fail"


@pytest.mark.parametrize("status", ["stalled", "budget_spent", "diverged"])
def test_what_did_not_converge_clears_nothing_but_a_leak_is_a_leak(status):
    assert decide([attack(status=status, ssim_max=0.1)], "ssim_max>=0.4").status == "inconclusive"
    assert decide([attack(status=status, ssim_max=0.9)], "ssim_max>=0.4").status == "fail"


def test_a_missing_metric_is_inconclusive_and_says_why():
    assert "pass --data" in decide([attack(metrics=False)], "recovered>0").summary
    assert "not run" in decide([attack()], "loo.recovered>0").summary
    assert "diverged" in decide([attack(metrics=False, status="diverged")], "recovered>0").summary


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("simudy.ssim_maks>=0.4", "Did you mean ssim_max"), ("ssim_max=0.4", "cannot be parsed"),
        ("ssim_max>=high", "not a number"), ("", "cannot be parsed"), ("ssim_max", "cannot be parsed"),
        ("ssim_max>=nan", "NaN"),
        ("colour>1", "What exists: ssim_mean"), ("simudi.ssim_max>0.4", "Did you mean simudy"),
    ],
)  # fmt: skip
def test_typos_are_errors(text, said):
    with pytest.raises(GateError) as error:
        parse(text, ["simudy", "loo"])
    assert said in str(error.value)
