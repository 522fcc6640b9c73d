"""A LoRA adapter as the checkpoint from after training: what is read, attacked, said and concluded."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from memaudit.audit.cli.console import make_console
from memaudit.audit.cli.show import print_inspection
from memaudit.audit.request import ScanRequest
from memaudit.audit.scan.pipeline import scan
from memaudit.audit.tasks.inspect import inspect

from ...adapters import adapt, config, factors, save, tuned
from ...forked import memaudit
from ..conftest import PRIVATE, PUBLIC, SIDE, crops, photographs

STEPS, LR = 10, 0.05


SETTINGS = config(r=8, lora_alpha=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of a perceptron that was adapted to one photograph: base, adapter before and after, and images."""
    place = tmp_path_factory.mktemp("lora")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, 4))
    base = {name: value.clone() for name, value in net.state_dict().items()}
    save_file(base, place / "base.safetensors")
    adapt(net, ["1", "3"], rank=8)
    save_file(base, save(place / "known", factors(net), SETTINGS) / "model.safetensors")
    images = photographs(PRIVATE)[:1]
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255 * 4 - 2
    tuned(net, x, torch.arange(1), LR, STEPS)
    save(place / "adapter", factors(net), SETTINGS)
    np.savez(place / "private.npz", images=images, labels=np.arange(1))
    np.savez(place / "strangers.npz", images=photographs(PRIVATE)[1:2], labels=np.arange(1))
    np.savez(place / "public.npz", images=crops(PUBLIC))
    return place


def scanned(folder, before, out, data="private.npz", **more):
    asked = ScanRequest(
        folder / before, folder / "adapter", data=folder / data, control=folder / "public.npz", out=out,
        normalise="0.5;0.25", lr=LR, epochs=STEPS, batch_size=1, labels="data", **more,
    )  # fmt: skip
    return scan(asked)


def test_inspection_tells_the_adapter(folder, capsys):
    found = inspect(str(folder / "base.safetensors"), str(folder / "adapter"))
    assert found["lora"] == {"layers": 2, "ranks": [8], "scales": [2.0], "start": "assumed"}
    assert found["fresh"] == []
    assert found["architecture"]["name"] == "MLP 432-64-4, LoRA of rank 8"
    assert inspect(str(folder / "known"), str(folder / "adapter"))["lora"]["start"] == "known"
    print_inspection(make_console(answer=True), found)
    said = " ".join(capsys.readouterr().out.split())
    assert "LoRA adapter 2 layers, rank 8, scale 2; the start of lora_A is unknown: its end stands for it" in said


def test_inspection_reads_no_classes_off_factors(folder):
    found = inspect(str(folder / "base.safetensors"), str(folder / "adapter"))
    assert "classes_present" not in found["delta"]  # what lora_B of the head is given may be negative
    assert "size" not in found["delta"]


@pytest.mark.parametrize("data", ["private.npz", "strangers.npz"])
def test_an_unknown_start_is_told_and_nothing_is_cleared(folder, data, tmp_path):
    found = scanned(folder, "base.safetensors", tmp_path, data, attacks=("simudy",), options=("simudy.iterations=30",))
    assert found.verdict.status != "pass"
    said = " ".join(found.limitations)
    assert "The start of 1.lora_A.weight, 3.lora_A.weight is unknown" in said
    assert "mostly rounding" not in said
    assert "as of a new head" not in said


def test_with_its_start_the_image_is_rebuilt(folder, tmp_path):
    found = scanned(folder, "known", tmp_path, attacks=("simudy",))
    assert found.recovered_by_any == 1
    assert found.verdict.status == "fail"
    assert "is unknown" not in " ".join(found.limitations)


def test_a_lenient_gate_does_not_make_an_unknown_start_pass(folder, tmp_path):
    more = {"attacks": ("simudy",), "options": ("simudy.iterations=30",), "fail_if": ("recovered>5",)}
    found = scanned(folder, "base.safetensors", tmp_path, **more)
    assert found.verdict.status == "inconclusive"


@pytest.mark.parametrize("attack", ["span", "spear", "cover"])
def test_attacks_on_whole_layers_refuse_factors(folder, attack, tmp_path):
    found = scanned(folder, "known", tmp_path, attacks=(attack,))
    assert [result.status for result in found.attacks] == ["unsupported"]
    assert found.attacks[0].reason
    assert found.verdict.status == "inconclusive"


def test_defences_of_an_adapter_are_refused(folder, tmp_path):
    files = folder / "base.safetensors", folder / "adapter"
    data = "--data", folder / "private.npz"
    run = memaudit("defend", *files, *data, "--out", tmp_path, "--epochs", "1", "--lr", "0.1")
    assert run.returncode == 2
    assert "is a LoRA adapter, and defend alters whole weights" in run.stderr


def test_a_damaged_adapter_is_one_sentence(folder, tmp_path):
    strange = {"9.lora_A.weight": torch.randn(8, 4), "9.lora_B.weight": torch.randn(4, 8)}
    broken = save(tmp_path / "adapter", strange, SETTINGS)
    run = memaudit("scan", folder / "base.safetensors", broken, "--out", tmp_path / "run")
    assert run.returncode == 2
    assert "adapts '9'" in run.stderr
    assert "Traceback" not in run.stderr
