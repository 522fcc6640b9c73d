"""The sentence that leads a report, and what to do where there is no decision."""

import shlex

import pytest
from typer.main import get_command

from memaudit.audit.cli.main import app
from memaudit.audit.report.exhibit import Picture
from memaudit.audit.report.proof import DataCheck, MockVictim
from memaudit.audit.report.results import Dummy, PlanStep
from memaudit.audit.report.verdict import Finding
from memaudit.audit.verdict.command import READING
from memaudit.audit.verdict.sentence import headline, next_step, phrased

from .test_advice import report, result


def audit(status="inconclusive", recovered=0, rules=(), attacks=None, **more):
    """Return a report of ten images with this verdict."""
    base = report(findings=(), **{name: more.pop(name) for name in ("data", "size") if name in more})
    found = [
        Finding(rule=rule, name="", severity="none" if rule >= "MA1" else "high", attack="span", message="It is so.",
                blocks=rule >= "MA1")
        for rule in rules
    ]  # fmt: skip
    update = {
        "verdict": base.verdict.model_copy(update={"status": status}), "findings": found,
        "attacks": [result("span", recovered)] if attacks is None else attacks, "recovered_by_any": recovered,
    }  # fmt: skip
    return base.model_copy(update=update | more)


def exact(number):
    """Return the result of an attack that rebuilt records which nothing was matched with."""
    dummies = [Dummy(dummy=i, label=0, influence=1, exhibit=Picture(path=f"{i}.png")) for i in range(number)]
    return result("span", 0).model_copy(update={"reconstructions": dummies})


def ended(status, seconds=60.0, reason=""):
    found = {"status": status, "seconds": seconds, "reason": reason}
    return [result("span", 0).model_copy(update=found)]


def check(explained):
    return DataCheck(explained=explained, reason="the head has a bias that no loss gives")


def power(status, recovered=0):
    return MockVictim(status=status, records=20, recovered=recovered, reason="no time was left for it")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (audit("fail", 8), "8 of 10 training images can be rebuilt from these two files"),
        (audit("fail", 1, size=1), "The training image can be rebuilt from these two files"),
        (audit("fail", 3, ["MA005"], [exact(5), result("sme", 3)]),
         "3 of 10 training images can be rebuilt from these two files, and 5 images beyond those given"),
        (audit("fail", 0, ["MA005"], [exact(5)]),
         "5 images that are not among those given can be rebuilt exactly from these two files"),
        (audit("inconclusive", 0, ["MA005"], [exact(1)], data=False),
         "1 image can be rebuilt exactly from these two files"),
        (audit("fail", 0, ["MA002"]), "No single image was rebuilt, but the training images as a whole show through"),
        (audit("fail", 0, ["MA003"]), "No image was rebuilt, but these two files tell which images were trained on"),
        (audit("fail"), "A limit that was set is exceeded, though no training image was rebuilt"),
        (audit("pass"), "None of 10 training images was rebuilt by the 1 attack that came to an end"),
        (audit("pass", size=1), "The training image was not rebuilt by the 1 attack that came to an end"),
        (audit("pass", attacks=[]), "None of 10 training images was rebuilt by any attack that was run"),
        (audit("pass", 2), "2 of 10 training images can be rebuilt from these two files; the limits that were set "
         "allow that"),
        (audit("pass", power=power("leaks", 18)),
         "None of 10 training images was rebuilt, and the same attacks rebuild 18 of 20 images from a training like "
         "this one"),
        (audit(recovered=2), "2 of 10 training images can be rebuilt from these two files; whether that exceeds the "
         "limits is not known"),
        (audit(rules=["MA004"], data=False),
         "Independent runs rebuild the same images, which suggests that they are training images"),
        (audit(data=False), "No training images were given, so that nothing was compared"),
        (audit(check=check(False)), "Nothing shows that the training images that were given changed this model"),
        (audit(check=check(None)),
         "None of 10 training images was rebuilt, but whether the images given explain the change cannot be told"),
        (audit(rules=["MA102"]),
         "None of 10 training images was rebuilt, but there are too few images to compare with"),
        (audit(rules=["MA103"]), "The two files differ by no more than rounding, so that there was nothing to attack"),
        (audit(attacks=ended("budget_spent")),
         "None of 10 training images was rebuilt, but the time was over before any attack came to an end"),
        (audit(attacks=ended("stalled")),
         "None of 10 training images was rebuilt, but no attack could explain how the model changed"),
        (audit(attacks=ended("unsupported")),
         "No attack could be run on this model, so that nothing is known of its training images"),
        (audit(power=power("silent")),
         "No attack that was run can rebuild images from a training like this one"),
        (audit(power=power("left out")),
         "None of 10 training images was rebuilt, but whether these attacks could have done so was not measured"),
        (audit(rules=["MA107"]),
         "None of 10 training images was rebuilt, but whether the images given explain the change cannot be told"),
        (audit(rules=["MA108"], check=check(True)),
         "None of 10 training images was rebuilt, but other images explain the change as well, so that this says "
         "nothing"),
        (audit(rules=["MA112"]),
         "None of 10 training images was rebuilt, but where a part of the network started is unknown"),
        (audit(rules=["MA112"], power=power("silent")),
         "None of 10 training images was rebuilt, but where a part of the network started is unknown"),
        (audit(rules=["MA110"]),
         "The model was trained on more than the images given, so that some were not looked at"),
        (audit(attacks=ended("stalled"), power=power("silent")),
         "No attack that was run can rebuild images from a training like this one"),
        (audit(rules=["MA199"]), "None of 10 training images was rebuilt, but the evidence is not enough to clear the "
         "model"),
    ],
)  # fmt: skip
def test_the_sentence_leads_with_records(found, said):
    assert headline(found) == said
    assert not {"span", "recovered>0", "SSIM"} & set(said.split())


@pytest.mark.parametrize("status", ["pass", "fail"])
def test_a_decision_has_no_next_step(status):
    assert next_step(audit(status)) is None
    assert phrased(audit(status)).headline == headline(audit(status))


@pytest.mark.parametrize(
    ("found", "reason", "more"),
    [
        (audit(data=False), "can only be told beside these", ["--data", "TRAINING-IMAGES"]),
        (audit(rules=["MA102"]), "Give more images that were not trained on", ["--control", "HELD-OUT-IMAGES"]),
        (audit(attacks=ended("budget_spent")), "With more time it continues", ["--max-time", "5m"]),
        (audit(attacks=ended("budget_spent", 3000)), "With more time it continues", ["--max-time", "4h"]),
        (audit(attacks=ended("budget_spent"), plan=[PlanStep(attack="span", runs=True, reason="", seconds=3000)]),
         "With more time", ["--max-time", "2h"]),
        (audit(attacks=ended("unsupported", reason="it needs two classes")), "It needs two classes.",
         ["--attack", "all"]),
        (audit(power=power("silent")), "No time was left for it.", ["--restarts", "3"]),
        (audit(power=power("left out")), "No time was left for it.", ["--lr", "0.01"]),
        (audit(rules=["MA108"]), "It is so.", ["--restarts", "3"]),
        (audit(rules=["MA110"]), "It is so. Give the whole training set.", ["--data", "TRAINING-IMAGES"]),
    ],
)  # fmt: skip
def test_the_next_step_is_the_same_scan_with_what_it_lacks(found, reason, more):
    step = phrased(found).next_step
    words = shlex.split(step.command)
    assert reason in step.reason
    assert words[:4] == ["memaudit", "scan", "my before.pt", "after.pt"]
    assert words[-2:] == more


@pytest.mark.parametrize(
    ("found", "command"),
    [
        (audit(check=check(False)), "memaudit check x x --data train"),
        (audit(check=check(None)), "memaudit check x x --data train"),
        (audit(rules=["MA005"], attacks=[exact(3)]), "memaudit check x x --data train"),
        (audit(attacks=ended("stalled")), "memaudit infer x x --data train"),
        (audit(rules=["MA103"]), ""),
        (audit(rules=["MA199"]), ""),
    ],
)
def test_another_command_where_a_scan_would_not_help(found, command):
    assert next_step(found).command == command


@pytest.mark.parametrize("found", [audit(check=check(False)), audit(attacks=ended("stalled"))], ids=["check", "infer"])
def test_another_command_reads_the_files_as_the_scan_did(found):
    said = ["--model", "my nets.py:conv", "--image-size", "48", "--normalise", "half", "--skip-unreadable"]
    scan = shlex.join(["memaudit", "scan", "a", "b", "--attack", "all", *said, "--max-time", "5m", "-o", "html=x.html"])
    words = shlex.split(next_step(found.model_copy(update={"command": scan})).command)
    assert words[2:] == ["x", "x", "--data", "train", *said]


@pytest.mark.parametrize("name", ["check", "infer"])
def test_another_command_takes_what_it_is_given(name):
    taken = {option: parameter for parameter in get_command(app).commands[name].params for option in parameter.opts}
    assert set(READING) <= set(taken)
    assert all(taken[option].is_flag is (words == 0) for option, words in READING.items())


def test_what_was_rebuilt_without_data_is_to_be_looked_at():
    step = next_step(audit(rules=["MA005"], attacks=[exact(3)], data=False))
    assert step.reason.startswith("Look at the rebuilt images")
    assert step.command.endswith("--data TRAINING-IMAGES")
    assert step.estimate == "under a minute, as this scan"
