"""Perceptrons under any names come back with the same logits."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from memaudit.audit.checkpoints.pair import read
from memaudit.audit.families.base import UnknownArchitecture
from memaudit.audit.families.detect import detect
from memaudit.audit.families.mlp import MLP


class Named(nn.Module):
    """Layers under attribute names whose alphabetical order is not theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Linear(27, 8), nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU())
        self.answer = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.body(torch.relu(self.stem(x.flatten(1))))
        return self.answer(hidden)  # type: ignore[no-any-return]


def deep() -> nn.Module:
    """Twelve layers: with the names sorted as text, 11 comes before 3."""
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(12, 6), nn.ReLU()]
    for _ in range(10):
        layers += [nn.Linear(6, 6), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(6, 2))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, int, int]]] = {
    "sequential": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 7), nn.ReLU(), nn.Linear(7, 5, bias=False)),
        *("MLP 48-7-5", (3, 4, 4)),
    ),
    "grey": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 4)), "Linear classifier 784-4", (1, 28, 28)),
    "bare": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(27, 2))[1], "Linear classifier 27-2", (3, 3, 3)),
    "named": (Named, "MLP 27-8-8-3", (3, 3, 3)),
    "deep": (deep, "MLP " + "-".join(["12", *["6"] * 11, "2"]), (3, 2, 2)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("form", ["torch", "safetensors"])
def test_same_logits(tmp_path: Path, name: str, form: str) -> None:
    torch.manual_seed(0)
    factory, title, shape = NETWORKS[name]
    original = factory().eval()
    (torch.save if form == "torch" else save_file)(original.state_dict(), tmp_path / f"a.{form}")
    tensors = read(tmp_path / f"a.{form}").tensors
    architecture, module = detect(tensors)
    assert (architecture.family, architecture.name, architecture.shape) == ("mlp", title, shape)
    assert architecture.score == 1
    assert "image_size" not in architecture.assumed
    assert module.state_dict().keys() == tensors.keys()
    assert all(value.is_meta for value in module.parameters())
    x = torch.randn(4, *shape)
    expected = original(x if name != "bare" else x.flatten(1))
    torch.testing.assert_close(functional_call(module, dict(tensors), (x,)), expected)


def test_an_input_that_is_no_square() -> None:
    architecture, _ = detect(nn.Sequential(nn.Flatten(), nn.Linear(50, 2)).state_dict())
    assert architecture.shape == (1, 1, 50)
    assert architecture.assumed == ("image_size",)


def test_the_weights_fix_the_image_size() -> None:
    state = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)).state_dict()
    assert detect(state, image_size=32)[0].shape == (3, 32, 32)
    with pytest.raises(UnknownArchitecture, match="32x32, not of 28x28"):
        detect(state, image_size=28)


def test_the_activation_is_a_guess_only_where_there_is_one() -> None:
    assert detect(nn.Sequential(nn.Linear(12, 3), nn.Linear(3, 2)).state_dict())[0].assumed == ("activation",)
    assert detect(nn.Sequential(nn.Linear(12, 3)).state_dict())[0].assumed == ()


@pytest.mark.parametrize(
    "tensors",
    [
        {"a.weight": torch.ones(3, 4), "b.weight": torch.ones(5, 6)},
        {"a.weight": torch.ones(3, 4), "c.weight": torch.ones(3, 4, 3, 3)},
        {"a.weight": torch.ones(3, 0)},
        {"a.bias": torch.ones(3)},
        {},
    ],
)
def test_what_is_no_chain_is_another_family(tensors: dict[str, Tensor]) -> None:
    assert MLP().recognise(tensors) is None


def test_batch_norm_between_the_layers_is_named() -> None:
    state = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).state_dict()
    with pytest.raises(UnknownArchitecture, match=r"mlp \(MLP 12-4-2\) 50%: '2.weight' is not part of the network"):
        detect(state)


def test_widths_decide_where_names_do_not() -> None:
    sizes = {"zeta": (12, 5), "beta": (5, 9), "gamma": (9, 5), "alpha": (5, 2)}
    tensors = {f"{name}.weight": torch.ones(b, a) for name, (a, b) in sorted(sizes.items())}
    assert detect(tensors)[0].layout["layers"] == tuple(sizes)
