"""A PASS is a claim, and rests on three things; take one away, and it is none."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from memaudit.audit.request import ScanRequest
from memaudit.audit.scan.pipeline import scan

from ..conftest import PUBLIC, crops

NOISE = 3.0
"""Standard deviation of the noise over the root mean square of the change: nothing is recovered under it."""


@pytest.fixture(scope="module")
def defended(leak, tmp_path_factory):
    """What the auditor asks of a leaking pair whose change drowns in noise; 60 iterations, so that it takes seconds."""
    folder = tmp_path_factory.mktemp("defended")
    start = torch.load(leak.before, weights_only=True)["state_dict"]
    gen, noisy = torch.Generator().manual_seed(0), {}
    for name, value in load_file(leak.after).items():
        change = value - start[name]
        noise = torch.randn(change.shape, generator=gen)
        noisy[name] = value + NOISE * change.square().mean().sqrt() * noise
    save_file(noisy, folder / "after.safetensors")
    return ScanRequest(
        leak.before, folder / "after.safetensors", data=leak.data, control=leak.control, normalise="0.5;0.25", lr=0.02,
        epochs=10, batch_size=4, attacks=("simudy",), options=("simudy.iterations=60", "simudy.alpha=0.03"),
    )  # fmt: skip


def asked(request, tmp_path, **more):
    report = scan(dataclasses.replace(request, out=tmp_path / "run", **more))
    return report, {finding.rule for finding in report.findings if finding.blocks}


def test_where_the_mock_leaks_and_this_one_does_not_the_audit_passes(defended, tmp_path):
    report, blocking = asked(defended, tmp_path)
    assert (report.verdict.status, blocking) == ("pass", set())
    assert report.recovered_by_any == 0
    assert report.check.explained
    assert report.check.recipe
    assert (report.power.status, report.power.records, report.power.attacks) == ("leaks", 4, ["simudy"])
    assert report.power.recovered >= 2
    assert not [path for path in (tmp_path / "run" / "evidence").rglob("*") if "mock" in path.name]


def test_the_same_again_costs_nothing_and_says_the_same(defended, tmp_path):
    first, _ = asked(defended, tmp_path)
    events = []
    again = scan(dataclasses.replace(defended, out=tmp_path / "run"), events.append)
    assert not [event for event in events if event.step and event.stage == "attack"]
    assert again.power.model_copy(update={"seconds": 0.0}) == first.power.model_copy(update={"seconds": 0.0})


@pytest.mark.parametrize(
    ("change", "rule", "said"),
    [
        ({"power": "off"}, "MA109", "--power off"),
        ({"lr": 0.2}, "MA109", "by the recipe in use gives another change"),
        ({"options": ("simudy.iterations=1", "simudy.alpha=0.03")}, "MA109", "clear nothing"),
        ({"control": None}, "MA107", "--control"),
        ({"data": None, "control": None}, "MA104", "No training images were given"),
    ],
    ids=["off", "wrong-recipe", "no-power", "no-control", "no-data"],
)
def test_without_one_of_its_proofs_it_does_not(defended, tmp_path, change, rule, said):
    report, blocking = asked(defended, tmp_path, **change)
    assert report.verdict.status == "inconclusive"
    assert rule in blocking
    assert any(said in finding.message for finding in report.findings)


def test_strangers_as_data_are_not_cleared(defended, leak, tmp_path):
    images = crops(PUBLIC)
    np.savez(tmp_path / "others.npz", images=images[:4])
    np.savez(tmp_path / "rest.npz", images=images[4:])
    change = {"data": tmp_path / "others.npz", "control": tmp_path / "rest.npz"}
    report, blocking = asked(defended, tmp_path, **change)
    assert (report.verdict.status, report.check.explained, report.power) == ("inconclusive", False, None)
    assert "MA107" in blocking


def test_fewer_held_out_records_than_training_records_make_no_mock(defended, tmp_path):
    np.savez(tmp_path / "few.npz", images=crops(PUBLIC)[:3])
    report, _ = asked(defended, tmp_path, control=tmp_path / "few.npz")
    assert report.verdict.status == "inconclusive"
    assert report.power is None or "give 4 or more" in report.power.reason


def test_an_exact_attack_on_other_records_is_a_finding(leak, tmp_path):
    images = crops(PUBLIC)
    np.savez(tmp_path / "others.npz", images=images[:4])
    np.savez(tmp_path / "rest.npz", images=images[4:])
    plain = ScanRequest(
        leak.before, leak.after, normalise="0.5;0.25", epochs=10, lr=0.02, attacks=("spear",), out=tmp_path / "run"
    )
    known = dataclasses.replace(plain, data=tmp_path / "others.npz", control=tmp_path / "rest.npz")
    for request, status in ((known, "inconclusive"), (plain, "inconclusive"),
                            (dataclasses.replace(plain, fail_on="high"), "fail")):  # fmt: skip
        report = scan(request)
        found = {finding.rule: finding for finding in report.findings}
        assert report.verdict.status == status
        assert (found["MA005"].severity, found["MA005"].attack) == ("high", "spear")
        assert found["MA005"].message.startswith("4 images")
