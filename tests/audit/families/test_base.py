"""From tensors to a family, and from a checkpoint pair to the victim that attacks see."""

import pickle  # noqa: TID251  # victims travel to workers; no checkpoint is involved
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.audit.checkpoints.pair import CheckpointError, CheckpointPair, read_pair
from memaudit.audit.families.base import (
    UnknownArchitecture,
    fitted,
    image_shape,
    misfits,
    tensor_names,
    unfitted,
)
from memaudit.audit.families.detect import detect
from memaudit.audit.families.victim import victim
from memaudit.audit.plugins import PluginError

IMAGES = Images(Normalisation((0.5,), (0.5,)))

STRANGER = """
from torch import nn
from memaudit.audit.families.base import Architecture
{body}
"""


class Tied(nn.Module):
    """A user's own network: one weight under two names, a frozen layer, a constant outside the state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.first, self.second = nn.Linear(12, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.head, self.norm = nn.Linear(6, 3), nn.BatchNorm1d(6)
        self.register_buffer("scale", torch.tensor(3.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.second(torch.tanh(self.first(self.norm(self.frozen(x.flatten(1)))))))
        logits: Tensor = self.head(x * self.scale)
        return logits


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))


def pair(tmp_path: Path, network: nn.Module, change: Callable[[dict[str, Tensor]], None]) -> CheckpointPair:
    """Save ``network`` as it is and after ``change``."""
    torch.save(network.state_dict(), tmp_path / "before.pt")
    state = {name: value.clone() for name, value in network.state_dict().items()}
    change(state)
    torch.save(state, tmp_path / "after.pt")
    return read_pair(tmp_path / "before.pt", tmp_path / "after.pt")


def nudge(*names: str) -> Callable[[dict[str, Tensor]], None]:
    def change(state: dict[str, Tensor]) -> None:
        for name in names:
            state[name] += 0.5

    return change


def make(checkpoints: CheckpointPair, **options: Any) -> Victim:
    architecture, module = detect(checkpoints.after.tensors, **options)
    return victim(checkpoints, architecture, module, IMAGES)


def test_what_moved_is_trained_and_the_rest_is_fixed(tmp_path: Path) -> None:
    network = mlp()
    subject = make(pair(tmp_path, network, nudge("3.weight", "1.bias")))
    assert list(subject.theta0) == list(subject.thetaf) == ["1.bias", "3.weight"]
    assert subject.buffers.keys() == {"1.weight", "3.bias"}
    torch.testing.assert_close(subject.delta["1.bias"], torch.full((5,), 0.5))
    assert (subject.shape, subject.classes, subject.medium) == ((3, 2, 2), 3, IMAGES)
    assert not subject.module.training
    x = torch.randn(4, 3, 2, 2)
    torch.testing.assert_close(subject.logits(subject.theta0, x), network(x))


def test_gradients_flow_to_images_and_parameters(tmp_path: Path) -> None:
    subject = make(pair(tmp_path, mlp(), nudge("1.weight")))
    x = torch.randn(2, 3, 2, 2, requires_grad=True)
    theta = {name: value.clone().requires_grad_() for name, value in subject.theta0.items()}
    loss = subject.logits(theta, x).square().sum()
    first = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
    (second,) = torch.autograd.grad(first[0].square().sum(), x)
    assert second.abs().sum() > 0


def test_a_victim_can_be_pickled(tmp_path: Path) -> None:
    subject = make(pair(tmp_path, mlp(), nudge("1.weight")))
    again = pickle.loads(pickle.dumps(subject))
    x = torch.ones(1, 3, 2, 2)
    assert torch.equal(again.logits(again.theta0, x), subject.logits(subject.theta0, x))


def test_counters_are_filled_in(tmp_path: Path) -> None:
    network = Tied().eval()
    torch.save({name: value for name, value in network.state_dict().items() if "tracked" not in name}, tmp_path / "a")
    torch.save(network.state_dict() | {"head.bias": torch.ones(3)}, tmp_path / "b")
    checkpoints = read_pair(tmp_path / "a", tmp_path / "b")
    assert "norm.num_batches_tracked" not in checkpoints.after.tensors
    assert victim_of(checkpoints, network).buffers["norm.num_batches_tracked"].dtype == torch.int64


def victim_of(checkpoints: CheckpointPair, network: nn.Module) -> Victim:
    architecture = replace(detect(mlp().state_dict())[0], name="Tied")
    return victim(checkpoints, architecture, network, IMAGES)


@pytest.mark.parametrize("double", [False, True])
def test_tied_frozen_and_constant_tensors(tmp_path: Path, double: bool) -> None:
    network = Tied().eval()
    network = network.double() if double else network
    checkpoints = pair(tmp_path, network, nudge("first.weight"))
    subject = victim_of(checkpoints, Tied())
    assert list(subject.theta0) == ["first.weight"]
    assert "second.weight" not in subject.buffers
    assert "frozen.weight" in subject.buffers
    x = torch.randn(2, 3, 2, 2).to(subject.like)
    torch.testing.assert_close(subject.logits(subject.theta0, x), network(x))


def test_only_buffers_moved(tmp_path: Path) -> None:
    checkpoints = pair(tmp_path, Tied(), nudge("norm.running_mean"))
    with pytest.raises(CheckpointError, match=r"'norm.running_mean'") as caught:
        victim_of(checkpoints, Tied())
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("shape", "classes"), [((3, 4, 4), 3), ((3, 2, 2), 7), ((3, -1, -1), 3)])
def test_the_network_must_take_the_image(tmp_path: Path, shape: tuple[int, int, int], classes: int) -> None:
    checkpoints = pair(tmp_path, mlp(), nudge("1.weight"))
    architecture, module = detect(checkpoints.after.tensors)
    wrong = replace(architecture, shape=shape, classes=classes)
    with pytest.raises(UnknownArchitecture, match="x".join(map(str, shape))) as caught:
        victim(checkpoints, wrong, module, IMAGES)
    assert "--image-size" in caught.value.hint
    assert len(str(caught.value).splitlines()) == 1


def test_a_family_by_name() -> None:
    state = mlp().state_dict()
    assert detect(state, "mlp")[0].family == "mlp"
    with pytest.raises(UnknownArchitecture, match="no known model family"):
        detect(state, "vgg")
    with pytest.raises(PluginError, match="'mpl'"):
        detect(state, "mpl")


def test_nothing_alike_names_the_tensors() -> None:
    state = {f"a{index}.weight": torch.ones(2, 2, 2) for index in range(5)}
    with pytest.raises(UnknownArchitecture, match=r"'a0.weight', 'a1.weight', 'a2.weight' and 2 more") as caught:
        detect(state)
    assert "--model FILE.py:FUNCTION" in caught.value.hint


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> None:
    """Install a distribution that brings one family."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[memaudit.families]\n{name} = {name}_family:Family\n")
    (folder / f"{name}_family.py").write_text(STRANGER.format(body=body))
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])


def test_a_strangers_family_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
class Family:
    name = "volumes"
    def recognise(self, tensors):
        return Architecture("volumes", "V", {}, 2, (1, 1, 1), score=1.0) if "v" in tensors else None
    def build(self, architecture):
        return nn.Identity()
"""
    install(tmp_path, monkeypatch, "volumes", body)
    assert detect({"v": torch.ones(2, 2, 2)})[0].family == "volumes"
    assert detect(mlp().state_dict())[0].family == "mlp"


@pytest.mark.parametrize("body", ["import no_such_thing", "class Family:\n    def recognise(self, tensors): 1 / 0\n"])
def test_a_broken_family_is_named_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    name = "rotten" if "import" in body else "dividing"
    install(tmp_path, monkeypatch, name, body)
    assert detect(mlp().state_dict())[0].family == "mlp"
    with pytest.raises(UnknownArchitecture) as caught:
        detect({"v": torch.ones(2, 2, 2)})
    assert repr(name) in caught.value.hint


@pytest.mark.parametrize(
    ("features", "shape"), [(3072, (3, 32, 32)), (784, (1, 28, 28)), (50, (1, 1, 50)), (1, (1, 1, 1)), (3, (3, 1, 1))]
)
def test_image_shape(features: int, shape: tuple[int, int, int]) -> None:
    assert image_shape(features) == shape


class Lightning(nn.Module):
    """A network inside another module, with a loss that has a weight of its own."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.model = inner
        self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits


def wrapped_within() -> nn.Module:
    network = mlp()
    network[1] = nn.DataParallel(network[1])
    return network


WRAPPED: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "a Lightning module and the network in it": (lambda: Lightning(mlp()), mlp),
    "a network and the Lightning module around it": (mlp, lambda: Lightning(mlp())),
    "the same Lightning module": (lambda: Lightning(mlp()), lambda: Lightning(mlp())),
    "a wrapper on the way": (wrapped_within, mlp),
    "a wrapper on the way of the user's network": (mlp, wrapped_within),
    "an attribute of any name": (lambda: nn.ModuleDict({"net": mlp()}), mlp),
}


@pytest.mark.parametrize("what", WRAPPED)
def test_a_network_fits_whatever_is_around_it(what: str, tmp_path: Path) -> None:
    saved, given = (make_one() for make_one in WRAPPED[what])
    start = read_pair(*saved_twice(tmp_path, saved)).before.tensors
    assert misfits(start, given) == ()
    state = fitted(start, given)
    assert state.keys() == given.state_dict().keys()
    matrices = [[value for value in side.values() if value.ndim == 2] for side in (state, saved.state_dict())]
    assert all(map(torch.equal, *matrices))
    changed = {name: value + 1 for name, value in state.items() if value.ndim == 2}
    back = unfitted(changed, given, start)
    assert all(torch.equal(back[name], value + (value.ndim == 2)) for name, value in start.items())


def test_names_fit_by_suffix() -> None:
    state = mlp().state_dict()
    behind = {f"vit.{name}": value for name, value in state.items()} | {"head.weight": torch.ones(2, 3)}
    assert misfits(behind, mlp()) == ("'head.weight' is not part of the network",)
    assert torch.equal(fitted(behind, mlp())["1.weight"], state["1.weight"])
    assert set(tensor_names(mlp(), behind).values()) == behind.keys() - {"head.weight"}


def saved_twice(folder: Path, network: nn.Module) -> tuple[Path, Path]:
    files = folder / "before.pt", folder / "after.pt"
    for number, file in enumerate(files):
        state = network.state_dict()
        torch.save({name: value + number * (value.ndim > 0) for name, value in state.items()}, file)
    return files
