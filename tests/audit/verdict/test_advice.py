import math
import shlex
import subprocess
import sys

import pytest

from memaudit.audit.report.facts import (
    Architecture,
    Checkpoint,
    Delta,
    Fact,
    Inputs,
    Records,
    TensorReading,
)
from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.model import AuditReport, Environment
from memaudit.audit.report.results import AttackResult, Metrics
from memaudit.audit.report.verdict import Finding, Verdict
from memaudit.audit.run.cards import reported
from memaudit.audit.tasks.alter import parse_defences
from memaudit.audit.verdict.advice import BITS, NOISE, advise
from memaudit.audit.verdict.rules import RULES

COMMAND = (
    "memaudit scan 'my before.pt' after.pt --data train --control held --fail-if 'recovered>3' -o html=x.html --lr 0.01"
)


def given(value):
    return Fact(value=value, source="given")


def reading(name, shape, status="moved", snr=1e5, dtype="float32"):
    return TensorReading(
        name=name, shape=list(shape), dtype=dtype, status=status, change=1.0, relative_change=0.1, snr=snr
    )


def finding(rule, attack=""):
    return Finding(rule=rule, name="", severity=RULES[rule].severities[0], attack=attack, message="")


def result(name, recovered):
    metrics = Metrics(
        records=10, matching="hungarian", criterion="", similarity_mean=0.9, similarity_max=0.9, recovered=recovered,
        recovered_fraction=recovered / 10,
    )  # fmt: skip
    return AttackResult(
        name=name, status="converged", loss=0.0, iterations=1, seconds=1.0, peak_memory_bytes=1, metrics=metrics
    )


def report(findings=("MA001",), attack="simudy", tensors=None, command=COMMAND, data=True, epochs=20, size=10):
    facts = dict.fromkeys(
        ("optimizer", "lr", "momentum", "nesterov", "weight_decay", "batch_norm", "image_size", "normalise"), given(0)
    )
    tensors = [reading("0.weight", (300, 3072)), reading("1.weight", (10, 300))] if tensors is None else tensors
    checkpoint = Checkpoint(path="x", format="torch", sha256="0")
    images = Records(path="train", sha256="0", count=size) if data else None
    leaks = any(rule < "MA100" for rule in findings)
    return AuditReport(
        created="", kind=IMAGE, command=command, seed=0,
        verdict=Verdict(status="fail" if leaks else "pass", summary=""),
        inputs=Inputs(before=checkpoint, after=checkpoint, data=images),
        architecture=Architecture(
            family="mlp", name="MLP", score=1, classes=10, shape=(3, 32, 32), parameters=1, tensors=2, moved=[]
        ),
        recipe={**facts, "size": given(size), "batch_size": given(size), "epochs": given(epochs)},
        delta=Delta(tensors=tensors), cards=reported(), attacks=[result(attack, 3 * leaks)],
        findings=[finding(rule, attack) for rule in findings],
        environment=Environment(memaudit="0", python="3", torch="2", platform="", device="cpu", threads=1),
    )  # fmt: skip


def ids(found):
    return [advice.id for advice in found]


def test_a_leak_gets_each_means_once_with_what_to_expect_and_what_it_costs():
    found = advise(report())
    assert ids(found) == [
        "withhold-base", "freeze-layers", "dp-sgd", "more-images", "round-change", "noise-change", "fewer-epochs"
    ]  # fmt: skip
    assert all(advice.title and advice.effect.endswith(".") for advice in found)


def test_commands_are_this_audits_own_without_its_gates_and_files():
    found = {advice.id: advice for advice in advise(report())}
    noise = shlex.split(found["noise-change"].command)
    assert noise[:4] == ["memaudit", "defend", "my before.pt", "after.pt"]
    assert noise[-2:] == ["--noise", NOISE]
    assert shlex.split(found["round-change"].command)[-2:] == ["--bits", BITS]
    assert "--fail-if" not in noise
    assert "-o" not in noise
    assert noise[noise.index("--lr") + 1] == "0.01"
    assert found["withhold-base"].command.endswith("--attack haim --attack buzaglo")
    assert {found[name].command for name in ("dp-sgd", "freeze-layers", "more-images", "fewer-epochs")} == {""}


def test_the_ladder_is_one_that_defend_takes():
    assert len(parse_defences(NOISE, BITS)) == 6


def test_without_training_data_there_is_no_command_for_defend():
    found = {advice.id: advice for advice in advise(report(("MA004",), data=False))}
    assert found["noise-change"].command == ""


def test_noise_is_judged_by_what_moved_for_each_unknown_number():
    expected = 10 * (300 * 3072 + 3000) / (100 * 3072)
    effect = {a.id: a.effect for a in advise(report(size=10))}["noise-change"]
    assert f"{expected:.2g}" in effect
    assert f"{math.sqrt(expected):.1g} times" in effect
    few = {a.id: a.effect for a in advise(report(size=5000))}
    assert "even little noise may count" in few["noise-change"]
    assert "more-images" not in few


def test_lower_precision_is_judged_by_this_change():
    def said(snr, dtype="float32"):
        tensors = [reading("0.weight", (300, 3072), snr=snr, dtype=dtype)]
        return {a.id: a.effect for a in advise(report(tensors=tensors))}["round-change"]

    assert "would not be enough: the change would still be about 15 times" in said(1e6)
    assert "about 0.15 times its rounding" in said(1e4)
    assert "coarsely already" in said(5.0, "bfloat16")


def test_freezing_is_advised_only_where_the_first_layer_moved():
    frozen = [reading("0.weight", (300, 3072), "frozen"), reading("1.weight", (9, 300)), reading("2.weight", (9, 9))]
    assert "freeze-layers" not in ids(advise(report(tensors=frozen)))
    assert "freeze-layers" not in ids(advise(report(tensors=[reading("0.weight", (300, 3072))])))
    read = {a.id: a.effect for a in advise(report(attack="span"))}["freeze-layers"]
    assert read.startswith("span read the images off the change of 0.weight")


def test_withholding_the_base_is_not_advised_where_the_trained_weights_leak_alone():
    assert "withhold-base" not in ids(advise(report(attack="haim")))


def test_nothing_is_said_of_what_an_attack_without_a_card_needed():
    found = advise(report(attack="strange"))
    assert "withhold-base" not in ids(found)
    freezing = next(advice for advice in found if advice.id == "freeze-layers")
    assert "strange" not in freezing.effect


def test_a_strangers_card_counts_as_our_own():
    ours = reported()["simudy"]
    cards = {"strange": ours.model_copy(update={"reads": "first layer"}), "alone": reported()["haim"]}
    found = {a.id: a for a in advise(report(attack="strange").model_copy(update={"cards": cards}))}
    assert found["withhold-base"].effect.startswith("strange needed both.")
    assert found["withhold-base"].command.endswith("--attack alone")
    assert found["freeze-layers"].effect.startswith("strange read the images off the change of 0.weight")


def test_one_epoch_cannot_become_fewer():
    assert "fewer-epochs" not in ids(advise(report(epochs=1)))


@pytest.mark.parametrize("rules", [("MA101", "MA105"), ("MA104",), ("MA103",)])
def test_missing_evidence_is_all_that_is_advised_where_nothing_leaked(rules):
    (found,) = advise(report(rules))
    assert found.id == "strengthen-evidence"
    assert found.command == ""


def test_a_clean_audit_is_told_to_try_harder_once():
    (found,) = advise(report(()))
    assert found.id == "strengthen-evidence"
    assert found.command.endswith("--attack all --restarts 3")
    assert advise(report((), command=found.command)) == []


def test_no_advice_promises_safety():
    for audited in (report(), report(()), report(("MA101",)), report(attack="span", size=5000)):
        for advice in advise(audited):
            words = f"{advice.title} {advice.effect}".lower()
            assert not any(word in words for word in ("anonym", "compliant", "is safe", "guarantee", "prevents"))


def test_advice_needs_no_torch():
    code = "import sys, memaudit.audit.verdict.advice; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_command_with_an_open_quote_is_no_command():
    from types import SimpleNamespace

    from memaudit.audit.verdict.command import scan_words

    assert scan_words(SimpleNamespace(command='memaudit scan "a b')) == []
    assert scan_words(SimpleNamespace(command="memaudit scan a b")) == ["memaudit", "scan", "a", "b"]
