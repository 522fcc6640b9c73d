"""The exposure of records, from two files to a verdict: members found, strangers never, whatever goes wrong said."""

import copy
import csv
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from memaudit.audit.cli.main import app
from memaudit.audit.exposure.measure import Asked, measure, summary
from memaudit.audit.exposure.pools import Question
from memaudit.audit.machine.clock import Deadline
from memaudit.audit.machine.means import Limits, Means
from memaudit.audit.recipe.fields import RecipeError
from memaudit.audit.request import RequestError, ScanRequest
from memaudit.audit.scan.exposure import Terms, _question
from memaudit.audit.scan.scene import load
from memaudit.audit.tasks.exposure import Expose, expose
from memaudit.audit.verdict.expression import GateError

from ...adapters import adapt, factors, save, tuned

SIDE, MEMBERS, OTHERS = 12, 60, 1100


def trained_pair(folder, optimizer):
    """Train a small network on random images with labels, in batches, and write it with its images and others."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 96), nn.ReLU(), nn.Linear(96, 4))
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (MEMBERS + OTHERS, SIDE, SIDE, 3), dtype=np.uint8)
    labels = rng.integers(0, 4, len(pixels))
    x = torch.from_numpy(pixels[:MEMBERS]).permute(0, 3, 1, 2) / 255 * 4 - 2
    torch.save(net.state_dict(), folder / "before.pt")
    steps = optimizer(net.parameters())
    for epoch in range(4):
        for rows in torch.randperm(MEMBERS, generator=torch.Generator().manual_seed(epoch)).split(16):
            steps.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), torch.from_numpy(labels[:MEMBERS])[rows]).backward()
            steps.step()
    torch.save(net.state_dict(), folder / "after.pt")
    parts = {"data": slice(0, MEMBERS), "control": slice(MEMBERS, None), "few": slice(MEMBERS, MEMBERS + 150)}
    parts["strangers"] = slice(len(pixels) - 60, None)
    parts["rest"] = slice(MEMBERS, len(pixels) - 60)
    for name, rows in parts.items():
        np.savez(folder / f"{name}.npz", images=pixels[rows], labels=labels[rows], names=np.array(list("abcd")))
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return trained_pair(tmp_path_factory.mktemp("sgd"), lambda p: torch.optim.SGD(p, 0.05, momentum=0.9))


@pytest.fixture(scope="module")
def adam(tmp_path_factory):
    return trained_pair(tmp_path_factory.mktemp("adam"), lambda p: torch.optim.AdamW(p, 1e-3))


def request(pair, data="data", control="control", **more):
    files = {"data": pair / f"{data}.npz", "control": pair / f"{control}.npz", "normalise": "0.5;0.25"}
    return ScanRequest(pair / "before.pt", pair / "after.pt", **{**files, **more})


@pytest.fixture(scope="module")
def told(pair, tmp_path_factory):
    return expose(request(pair, out=tmp_path_factory.mktemp("run")))


def test_images_that_were_trained_on_are_told_from_others(told):
    found = told.exposure
    assert (found.records, found.measured, found.held_out) == (MEMBERS, MEMBERS, OTHERS)
    assert found.detected >= 0.6 * MEMBERS
    assert found.detected <= found.at_least + 5
    assert found.at_least <= MEMBERS
    assert found.own.auc > 0.95
    assert found.own.auc_interval[0] <= found.own.auc <= found.own.auc_interval[1]
    assert [row.name for row in found.baselines] == [
        "cosine with the change", "loss after training", "fall of the loss", "inputs within the change",
    ]  # fmt: skip
    assert sorted(row.record for row in found.per_record) == list(range(MEMBERS))
    assert {group.name for group in found.groups} == set("abcd")
    assert sum(group.detected for group in found.groups) == found.detected


def test_the_verdict_says_so_in_words(told):
    assert told.verdict.status == "fail"
    assert told.verdict.headline == (
        f"{told.exposure.detected} of 60 images can be told from images that were not trained on"
    )
    (finding,) = [finding for finding in told.findings if finding.rule == "MA008"]
    assert finding.severity == "high"
    assert len(finding.records) == told.exposure.detected
    assert told.command.startswith("memaudit exposure ")


@pytest.mark.parametrize("kind", ["pair", "adam"])
def test_images_that_were_not_trained_on_are_not(kind, tmp_path, request_of):
    report = expose(request_of(kind, "strangers", "rest", out=tmp_path / "run"))
    assert report.exposure.detected == 0
    assert report.verdict.status == "inconclusive", "a pair that was trained on others never passes"
    assert any(finding.rule == "MA107" and finding.blocks for finding in report.findings)
    assert not any(finding.rule == "MA008" for finding in report.findings)


@pytest.fixture
def request_of(pair, adam):
    folders = {"pair": pair, "adam": adam}
    return lambda kind, *names, **more: request(folders[kind], *names, **more)


def test_under_adam_they_are_told_as_well(adam, tmp_path):
    report = expose(request(adam, out=tmp_path / "run"))
    assert report.exposure.own.auc > 0.9
    assert report.verdict.status == "fail"


def test_the_same_question_finds_its_answer_again(pair, tmp_path):
    first = expose(request(pair, out=tmp_path / "run"))
    events = []
    again = expose(request(pair, out=tmp_path / "run"), listener=events.append)
    assert again.exposure == first.exposure
    assert not [event for event in events if event.stage == "exposure" and event.step]


def test_too_few_held_out_images_clear_nothing(pair, tmp_path):
    report = expose(request(pair, "strangers", "few", out=tmp_path / "run", fail_if=("exposed_at_least>5",)))
    assert report.verdict.status == "inconclusive"
    few = expose(request(pair, "data", "few", out=tmp_path / "other"))
    assert few.exposure.at_least > 30, "how many of them were trained on is known all the same"
    assert few.verdict.status in ("fail", "inconclusive")
    if few.verdict.status == "inconclusive":
        assert "only which ones is not known" in few.verdict.summary


def test_a_limit_that_allows_what_was_found_passes_and_says_so(pair, tmp_path):
    report = expose(request(pair, out=tmp_path / "run", fail_if=("detected_fraction>1",)))
    assert report.verdict.status == "pass"
    assert report.verdict.headline.endswith("; the limits that were set allow that")


@pytest.mark.parametrize(
    ("gate", "status"),
    [("exposure.tpr_at_1_fpr>0.05", "fail"), ("exposed_at_least>60", "pass"), ("severity>=high", "fail")],
)
def test_gates_are_on_its_numbers(pair, tmp_path, gate, status):
    report = expose(request(pair, out=tmp_path / "run", fail_if=(gate,)))
    assert report.verdict.status == status, report.verdict.summary


@pytest.mark.parametrize("gate", ["recovered>0", "simudy.ssim_max>=0.4", "simudy.detected>0", "exposure.recovered>0"])
def test_a_gate_on_attacks_is_refused(pair, gate):
    with pytest.raises(GateError):
        expose(request(pair, fail_if=(gate,)))


def test_both_sets_are_needed(pair):
    with pytest.raises(RequestError, match="both needed"):
        expose(ScanRequest(pair / "before.pt", pair / "after.pt", data=pair / "data.npz"))
    with pytest.raises(RecipeError, match="--views 0"):
        expose(request(pair, views=0))


def test_versions_of_images_are_those_of_the_recipe(pair, tmp_path):
    (tmp_path / "recipe.toml").write_text("[recipe]\nviews = 3\n")
    told = {}
    for name, more in {"plain": {}, "option": {"views": 3}, "file": {"recipe": tmp_path / "recipe.toml"}}.items():
        scene = load(request(pair, "few", "strangers", **more))
        question = _question(scene, scene.data, scene.control, Terms(held_out=100))
        told[name] = question.goal.views, question.measured(question.pools()[0][:20], lambda _: None).scores
    assert [views for views, _ in told.values()] == [1, 3, 3]
    assert torch.equal(told["option"][1], told["file"][1])
    assert not torch.allclose(told["plain"][1], told["option"][1])


def test_groups_are_those_of_a_file(pair, tmp_path):
    names = [f"data.npz[{i}]" for i in range(MEMBERS)]
    with (tmp_path / "groups.csv").open("w", newline="") as file:
        csv.writer(file).writerows((name, "first" if i < 20 else "rest") for i, name in enumerate(names))
    report = expose(request(pair, out=tmp_path / "run"), Expose(group=tmp_path / "groups.csv"))
    assert {group.name: group.records for group in report.exposure.groups} == {"first": 20, "rest": 40}
    (tmp_path / "groups.csv").write_text("data.npz[0],one\n")
    with pytest.raises(RequestError, match=r"no line for 59 of 60 records, such as 'data.npz\[1\]'"):
        expose(request(pair, out=tmp_path / "run"), Expose(group=tmp_path / "groups.csv"))
    with pytest.raises(RequestError, match="cannot be read"):
        expose(request(pair, out=tmp_path / "run"), Expose(group=tmp_path))


def test_a_bound_on_epsilon_only_where_a_coin_decided(told, pair, tmp_path):
    assert told.exposure.epsilon is None
    found = expose(request(pair, out=tmp_path / "run"), Expose(assigned_at_random=True)).exposure.epsilon
    assert found.value > 0.5
    assert found.right <= found.guesses


def test_from_the_command_line(pair, tmp_path):
    files = [str(pair / name) for name in ("before.pt", "after.pt")]
    sets = ["--data", str(pair / "data.npz"), "--control", str(pair / "control.npz"), "--normalise", "0.5;0.25"]
    found = CliRunner().invoke(app, ["exposure", *files, *sets, "--out", str(tmp_path / "run"), "--json"])
    assert found.exit_code == 1
    assert json.loads(found.stdout)["exposure"]["measured"] == MEMBERS
    shown = CliRunner().invoke(app, ["exposure", *files, *sets, "--out", str(tmp_path / "run")])
    assert "AUC" in shown.stdout
    assert "regression on" in shown.stdout  # which a narrow terminal breaks
    assert "FAIL (high)" in shown.stdout


def scene_of(pair):
    return load(request(pair))


def test_pools_travel_and_say_the_same_elsewhere(pair):
    scene = scene_of(pair)
    question = _question(scene, scene.data, scene.control, Terms())
    rows = question.pools()[0]
    here, there = (part.measured(rows, lambda _: None) for part in (question, copy.deepcopy(question)))
    torch.testing.assert_close(here.scores, there.scores, rtol=0, atol=0)


def test_many_records_are_measured_in_pools(pair, monkeypatch):
    scene = scene_of(pair)
    monkeypatch.setattr("memaudit.audit.exposure.pools.POOL", 25)
    question = _question(scene, scene.data, scene.control, Terms())
    rows = question.pools()
    assert [len(part) for part in rows] == [20, 20, 20]
    found = summary(
        question, Asked(scene.data, scene.kind.about.words), [question.measured(part, lambda _: None) for part in rows]
    )
    assert found.measured == MEMBERS
    assert found.own.auc > 0.9
    assert found.at_least <= MEMBERS


class Shelf:
    """Keeps nothing."""

    def place(self, rows):
        class Job:
            def load(self, like):
                return None

            def save(self, state, extra):
                raise AssertionError("nothing was finished")

        return Job()


def test_when_time_is_up_nothing_is_claimed(pair):
    scene = scene_of(pair)
    question = _question(scene, scene.data, scene.control, Terms())
    means = Means(limits=Limits(Deadline(0.0), Deadline(0.0)))
    found = measure(question, Asked(scene.data, scene.kind.about.words), means, Shelf())
    assert (found.measured, found.detected, found.at_least) == (0, 0, 0)
    assert "give more --max-time" in found.reason


def test_copies_of_records_among_held_out_ones_are_counted(pair):
    scene = scene_of(pair)
    near = (scene.data.records[:3] + 0.001).clamp(0, 1)
    plain = _question(scene, scene.data, scene.control, Terms())
    labels = torch.cat([scene.data.labels[:3], scene.control.labels])
    question = Question(
        plain.make, plain.shrink, plain.goal, plain.data, torch.cat([near, plain.control]), plain.data_labels, labels
    )
    pool = question.measured(question.pools()[0], lambda _: None)
    found = summary(question, Asked(scene.data, scene.kind.about.words), [pool])
    assert found.copies == 3


def test_swapped_sets_are_noticed(pair, tmp_path):
    report = expose(request(pair, "few", "data", out=tmp_path / "run", fail_if=("exposed_at_least>0",)))
    assert report.exposure.swapped
    assert "may be swapped" in report.exposure.reason
    assert report.verdict.status == "inconclusive"


def test_a_handful_of_held_out_images_clears_no_bound(pair, tmp_path):
    found = np.load(pair / "control.npz")
    part = {"images": found["images"][:5], "labels": found["labels"][:5], "names": found["names"]}
    np.savez(tmp_path / "handful.npz", **part)
    files = {"data": pair / "data.npz", "control": tmp_path / "handful.npz", "normalise": "0.5;0.25"}
    asked = ScanRequest(
        pair / "before.pt", pair / "after.pt", out=tmp_path / "run", fail_if=("exposed_at_least>60",), **files
    )
    report = expose(asked)
    assert report.verdict.status == "inconclusive"
    assert "too few for a bound" in report.verdict.summary


def test_what_is_said_beside_it_is_about_the_exposure(told):
    assert told.limitations[0].startswith("No attack was run")
    assert told.ranking == ""
    assert [advice.id for advice in told.advice] == ["withhold-base", "dp-sgd"]


def test_a_limit_that_holds_with_few_held_out_images_does_not_say_that_none_can_be_told(pair, tmp_path):
    report = expose(request(pair, "strangers", "few", out=tmp_path / "run", fail_if=("exposure.tpr_at_1_fpr>0.5",)))
    assert not report.exposure.resolved
    assert "None of" not in report.verdict.headline


def test_an_adapter_is_measured_by_its_own_factors(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 4))
    base = {name: value.clone() for name, value in network.state_dict().items()}
    adapt(network, ["1", "3"])
    pixels = np.random.default_rng(1).integers(0, 256, (340, 4, 4, 3), dtype=np.uint8)
    labels = np.random.default_rng(2).integers(0, 4, 340)
    x = torch.from_numpy(pixels[:40]).permute(0, 3, 1, 2) / 255 * 4 - 2
    tuned(network, x, torch.from_numpy(labels[:40]), 0.3, 40)
    (tmp_path / "before").mkdir()
    save_file(base, tmp_path / "before" / "model.safetensors")
    after = save(tmp_path / "adapter", factors(network))
    for name, rows in (("data", slice(0, 40)), ("control", slice(40, None))):
        np.savez(tmp_path / f"{name}.npz", images=pixels[rows], labels=labels[rows])
    files = {"data": tmp_path / "data.npz", "control": tmp_path / "control.npz", "out": tmp_path / "run"}
    report = expose(ScanRequest(tmp_path / "before", after, normalise="0.5;0.25", image_size=4, **files))
    assert report.exposure.own.auc > 0.8
    assert report.exposure.at_least > 5
