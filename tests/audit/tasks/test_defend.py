import dataclasses
import json
import math
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from memaudit.audit.cli.show import print_defences
from memaudit.audit.recipe.file import load as load_recipe
from memaudit.audit.report.file import load
from memaudit.audit.request import ScanRequest
from memaudit.audit.run.drive import Interrupted
from memaudit.audit.tasks.alter import Defence
from memaudit.audit.tasks.defend import defend
from memaudit.audit.verdict.advice import NO_BACKING

from ... import forked

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}

NOISE, LOUD, BITS = Defence("noise", 0.01), Defence("noise", 30.0), Defence("bits", 8)


def memaudit(*words):
    return forked.memaudit(*words, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def request_of(leak):
    def request(out, **more):
        settings = ("simudy.iterations=60", "simudy.alpha=0.03")
        known = {"normalise": "0.5;0.25", "epochs": 10, "attacks": ("simudy",), "options": settings}
        return ScanRequest(leak.before, leak.after, data=leak.data, control=leak.control, out=out, **known, **more)

    return request


@pytest.fixture(scope="module")
def defended(leak, request_of, tmp_path_factory):
    torch.set_num_threads(1)
    out, events = tmp_path_factory.mktemp("defend") / "run", []
    return defend(request_of(out), [NOISE, LOUD, BITS], str(leak.data), events.append), out, events


def test_the_curve_starts_with_the_pair_as_it_is(defended):
    report, *_ = defended
    assert [(point.kind, point.value) for point in report.defences] == [
        ("none", None), ("noise", 0.01), ("noise", 30.0), ("bits", 8.0)
    ]  # fmt: skip
    plain, soft, loud, bits = report.defences
    assert plain.distortion == 0
    assert plain.verdict == report.verdict.status == "fail"
    assert plain.recovered == plain.records == 4
    assert soft.distortion == pytest.approx(0.01, rel=0.05)
    assert loud.distortion == pytest.approx(30, rel=0.05)
    assert 0 < bits.distortion < 0.1
    assert plain.exposed_at_least >= 3
    assert plain.exposed_auc == 1.0
    assert loud.exposed_auc < 1.0
    assert loud.exposed_at_least < plain.exposed_at_least
    assert soft.similarity_mean == pytest.approx(plain.similarity_mean, abs=0.05)
    assert loud.similarity_mean < plain.similarity_mean / 2


def test_loud_noise_is_never_shown_as_safe(defended):
    report, *_ = defended
    assert [point.verdict for point in report.defences] == ["fail", "fail", "inconclusive", "fail"]
    assert report.defences[2].recovered == 0


def test_defended_pairs_are_attacked_by_a_recipe_that_was_searched_for(request_of, tmp_path, monkeypatch):
    """A recipe that no attack on the plain pair needs would else be a guess, and the defence look better than it is."""
    asked = []

    def spy(request, listener, **more):
        asked.append(more)
        raise Interrupted("enough")

    monkeypatch.setattr("memaudit.audit.tasks.defend.scan", spy)
    with pytest.raises(Interrupted):
        defend(request_of(tmp_path / "run"), [NOISE])
    assert asked == [{"search": True}]


def test_accuracy_is_that_of_the_network(defended, leak):
    report, *_ = defended
    weights, content = load_file(leak.after), np.load(leak.data)
    x = (torch.from_numpy(content["images"]).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    hidden = nn.functional.linear(x.flatten(1), weights["1.weight"], weights["1.bias"]).relu()
    guess = nn.functional.linear(hidden, weights["3.weight"], weights["3.bias"]).argmax(1)
    assert report.defences[0].accuracy == float((guess == torch.from_numpy(content["labels"])).float().mean())
    assert all(0 <= point.accuracy <= 1 for point in report.defences)


def test_the_run_folder_holds_every_pair_scan_and_the_report(defended):
    report, out, _ = defended
    assert load(out) == report == report.sealed()
    assert (out / "report.html").exists()
    for name in ("noise-0.01", "noise-30", "bits-8"):
        found = load(out / "defences" / name)
        assert found.inputs.after.path == str(out / "defences" / name / "after.safetensors")
        assert found.search == []
        assert found.recipe["lr"].value == pytest.approx(report.recipe["lr"].value, rel=1e-5)
        assert found.recipe["lr"].source == "given"
    assert load_recipe(out / "defences" / "recipe.toml")["epochs"] == 10
    assert report.search


def test_the_command_asks_the_same_again(defended):
    report, *_ = defended
    assert report.command.startswith("memaudit defend ")
    assert " --noise 0.01,30 --bits 8 --test " in report.command


def test_the_same_again_takes_no_step(defended, leak, request_of):
    report, out, _ = defended
    before, events = (out / "defences/noise-0.01/after.safetensors").read_bytes(), []
    again = defend(request_of(out), [NOISE, LOUD, BITS], str(leak.data), events.append)
    assert again.defences == report.defences
    assert not [event for event in events if event.step and event.stage != "match"]
    assert (out / "defences/noise-0.01/after.safetensors").read_bytes() == before


def test_an_interrupted_defence_goes_on(request_of, tmp_path):
    steps = []

    def stop(event):
        if event.stage == "defend" and event.message.startswith("noise"):
            steps.append(0)
        if event.stage == "attack" and event.step and steps:
            steps.append(event.step)
            if event.step == 30:
                raise KeyboardInterrupt

    asked, resumed = request_of(tmp_path / "run", lr=0.02), []
    with pytest.raises(Interrupted):
        defend(asked, [NOISE], None, stop)
    report = defend(asked, [NOISE], None, lambda event: resumed.append(event.step) if event.stage == "attack" else None)
    assert next(step for step in resumed if step) == 31
    assert len(report.defences) == 2
    assert report.defences[1].accuracy is None


def test_the_table_says_what_a_lower_leak_does_not_mean(defended, capsys, monkeypatch):
    from memaudit.audit.cli.console import make_console

    monkeypatch.setenv("COLUMNS", "120")
    print_defences(make_console(), defended[0])
    said = capsys.readouterr().err
    assert "as it is" in said
    assert "noise of 0.01 times the change" in said
    assert "the change in 8 bits" in said
    assert "accuracy" in said
    assert NO_BACKING in " ".join(said.split())
    assert "safe" in NO_BACKING


def test_bad_requests_are_refused_before_any_work(leak, request_of, tmp_path):
    bare, wrong = tmp_path / "bare.npz", tmp_path / "wrong.npz"
    images = np.load(leak.data)["images"]
    np.savez(bare, images=images)
    np.savez(wrong, images=images, labels=np.array([0, 1, 2, 4]))
    asked, events = request_of(tmp_path / "run"), []
    for request, defences, test, said in [
        (dataclasses.replace(asked, data=None), [NOISE], None, "--data"),
        (asked, [], None, "no defence"),
        (asked, [NOISE], str(bare), "without a label"),
        (asked, [NOISE], str(wrong), "label 4"),
        (asked, [NOISE], str(tmp_path / "absent"), "absent"),
    ]:
        with pytest.raises(Exception, match=said):
            defend(request, defences, test, events.append)
    assert events == []
    assert not (tmp_path / "run").exists()


def test_console_script_measures_and_exits_with_zero(defended, leak, tmp_path):
    _, out, _ = defended
    words = [
        "defend", leak.before, leak.after, "--data", leak.data, "--control", leak.control, "--normalise", "0.5;0.25",
        "--epochs", 10, "--attack", "simudy", "--set", "simudy.iterations=60", "--set", "simudy.alpha=0.03",
        "--out", out, "--noise", "0.01", "--json", "-o", f"json={tmp_path / 'x.json'}",
    ]  # fmt: skip
    done = memaudit(*words)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert [point["kind"] for point in printed["defences"]] == ["none", "noise"]
    assert "What each defence leaves" in done.stderr
    assert load(tmp_path / "x.json").defences == load(out).defences
    assert math.isclose(printed["defences"][1]["distortion"], 0.01, rel_tol=0.05)


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--noise", "-1"), "--noise -1"), (("--bits", "8", "--normalise", "1;0"), "positive deviations")],
)
def test_console_script_refuses_bad_values(leak, tmp_path, words, said):
    done = memaudit("defend", leak.before, leak.after, "--data", leak.data, "--out", tmp_path / "run", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("error:") == 1
    assert not (tmp_path / "run").exists()
