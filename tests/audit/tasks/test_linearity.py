import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from memaudit import MemauditError
from memaudit.attacks.contract.attack import generator
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.simulation.linearity import linearity
from memaudit.audit.cli.console import make_console
from memaudit.audit.cli.show import print_linearity
from memaudit.audit.tasks.linearity import Linearity, LinearityRequest, measure

OWN = """
from torch import nn
def net():
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
"""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small network and labelled images, as the working directory."""
    monkeypatch.chdir(tmp_path)
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 3))
    save_file(net.state_dict(), "net.safetensors")
    torch.save(net.state_dict(), "net.pt")
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (7, 4, 4, 3), dtype=np.uint8), np.array([0, 1, 2, 0, 1, 2, 0])
    np.savez("data.npz", images=images, labels=labels)
    np.savez("bare.npz", images=images)
    np.savez("partly.npz", images=images, labels=np.array([0, 1, 2, 0, -1, 2, 0]))
    np.savez("many.npz", images=images, labels=labels + 1)
    (tmp_path / "broken.npz").write_bytes(b"PK not really")
    (tmp_path / "broken.pt").write_bytes(b"PK not really")
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


def test_measures_what_the_numerics_return(folder):
    found = measure(LinearityRequest("net.pt", "data.npz", normalise="half", lr=0.1, epochs=5, batch_size=3, seed=4))
    theta = load_file("net.safetensors")
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 3))
    with np.load("data.npz") as data:
        x = torch.from_numpy(data["images"]).permute(0, 3, 1, 2).float() / 255 * 2 - 1
        labels = torch.from_numpy(data["labels"])
    victim = Victim(module, theta, theta, {}, (3, 4, 4), 3, Images())
    expected = linearity(victim, Recipe(7, 0.1, 3, 5), x, labels, generator(4))
    assert found.value == pytest.approx(float(expected.mean()), rel=1e-5)
    assert found.lowest == pytest.approx(float(expected.min()), rel=1e-5)
    assert found.highest == pytest.approx(float(expected.max()), rel=1e-5)
    assert (found.samples, found.epochs) == (7, 5)
    assert found.recipe == Recipe(7, 0.1, 3, 5, batch_norm="train")
    assert found.architecture == "MLP 48-8-3"
    assert len(found.checkpoint_sha256) == len(found.data_sha256) == 64
    assert found.seconds > 0


def test_same_request_same_numbers(folder):
    request = LinearityRequest("net.safetensors", "data.npz", normalise="none", epochs=3, batch_size=2)
    first, second = (measure(request).model_dump(exclude={"seconds"}) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam"},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"momentum": 0.9, "weight_decay": 0.01},
        {"size": 2},
        {"batch_size": 1000},
    ],
)
def test_recipes(folder, options):
    plain = measure(LinearityRequest("net.pt", "data.npz", normalise="half", lr=0.05, epochs=4))
    found = measure(LinearityRequest("net.pt", "data.npz", normalise="half", lr=0.05, epochs=4, **options))
    assert (found.value == plain.value) == (options == {"batch_size": 1000})
    assert found.samples == options.get("size", 7)
    assert found.recipe.batch_size == found.samples
    assert -1 <= found.value <= 1 + 1e-9


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_network_of_ones_own_with_batch_norm(folder, mode):
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    torch.save(net.state_dict(), "own.pt")
    found = measure(LinearityRequest("own.pt", "data.npz", model="own.py:net", image_size=4, epochs=2, batch_norm=mode))
    theta = {name: value.detach() for name, value in net.named_parameters()}
    victim = Victim(net.eval(), theta, theta, dict(net.named_buffers()), (3, 4, 4), 3, Images())
    with np.load("data.npz") as data:
        x = torch.from_numpy(data["images"]).permute(0, 3, 1, 2).float() / 255
        labels = torch.from_numpy(data["labels"])
    scale = torch.tensor(IMAGENET).view(2, 3, 1, 1)
    recipe = Recipe(7, 0.01, 7, 2, batch_norm=mode)
    expected = linearity(victim, recipe, (x - scale[0]) / scale[1], labels, generator(0))
    assert found.value == pytest.approx(float(expected.mean()), rel=1e-5)


def test_progress_and_what_was_assumed_are_told(folder):
    events = []
    measure(LinearityRequest("net.pt", "data.npz", epochs=2), events.append)
    assert [(event.step, event.total) for event in events if event.step] == [(step, 7) for step in range(1, 8)]
    assert {event.stage for event in events if event.step} == {"linearity"}
    warning = next(event.message for event in events if event.stage == "warning")
    assert "--normalise" in warning
    events.clear()
    measure(LinearityRequest("net.pt", "data.npz", normalise="half", epochs=2), events.append)
    assert "--normalise" not in "".join(event.message for event in events)


def test_json_round_trip_and_print(folder, capsys):
    found = measure(LinearityRequest("net.pt", "data.npz", normalise="half", epochs=3))
    assert Linearity.model_validate_json(found.to_json()) == found
    assert json.loads(found.to_json())["recipe"]["epochs"] == 3
    print_linearity(make_console(answer=True), found)
    printed = capsys.readouterr().out
    assert f"M_lin {found.value:.4f}" in printed
    assert "MLP has 0.91 to 0.95 and a ResNet-18 0.60" in printed


@pytest.mark.parametrize(("value", "word"), [(0.95, "nearly linear"), (0.8, "between"), (0.6, "far from linear")])
def test_meaning(folder, value, word):
    found = measure(LinearityRequest("net.pt", "data.npz", normalise="half", epochs=2))
    assert word in found.model_copy(update={"value": value}).meaning


BAD = {
    "no labels": ({"data": "bare.npz"}, "7 of 7 images in 'bare.npz' have no label"),
    "one label missing": ({"data": "partly.npz"}, "1 of 7 images"),
    "labels outside": ({"data": "many.npz"}, "label 3, and MLP 48-8-3 has classes 0 to 2"),
    "broken data": ({"data": "broken.npz"}, "broken.npz"),
    "no data": ({"data": "nowhere"}, "nowhere"),
    "broken checkpoint": ({"checkpoint": "broken.pt"}, "broken.pt"),
    "no checkpoint": ({"checkpoint": "nowhere.pt"}, "nowhere.pt"),
    "another network": ({"model": "own.py:nothing"}, "nothing"),
    "too many": ({"size": 8}, "holds 7 images, and --size asks for 8"),
    "no images": ({"size": 0}, "--size 0"),
    "one epoch": ({"epochs": 1}, "--epochs 1"),
    "no rate": ({"lr": 0.0}, "--lr 0.0"),
    "rate out of range": ({"lr": 1e30}, "--lr 1e+30 is out of range"),
    "diverges": ({"lr": 1e5, "epochs": 5}, "diverges"),
    "optimizer": ({"optimizer": "lion"}, "--optimizer lion"),
    "batch norm": ({"batch_norm": "off"}, "--batch-norm off"),
    "momentum of Adam": ({"optimizer": "adam", "momentum": 0.9}, "--momentum"),
    "normalise": ({"normalise": "1,2;3"}, "--normalise"),
    "device": ({"device": "tpu"}, "--device tpu"),
    "image size": ({"image_size": 5}, "5x5"),
}


@pytest.mark.parametrize(("options", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_error(folder, options, words):
    request = LinearityRequest(**({"checkpoint": "net.pt", "data": "data.npz", "normalise": "half"} | options))
    with pytest.raises(MemauditError) as caught:
        measure(request)
    assert words in caught.value.message
    assert "\n" not in str(caught.value)
