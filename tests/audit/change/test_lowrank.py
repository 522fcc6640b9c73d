"""Changes of low rank: an adapter that PEFT merged into the weights, and few records."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from memaudit.audit.change.facts import read_delta
from memaudit.audit.change.readings import Readings
from memaudit.audit.checkpoints.pair import Checkpoint, CheckpointPair
from memaudit.audit.families.detect import detect

State = dict[str, Tensor]


def perceptron(width: int = 64, bias: bool = True, hidden: int = 2) -> nn.Module:
    torch.manual_seed(0)
    sizes = [192, *[width] * hidden]
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b, bias), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, 10, bias))


def state(network: nn.Module) -> State:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def train(network: nn.Module, records: int, steps: int, kind: str) -> None:
    rows = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.SGD(rows, lr=0.05) if kind == "sgd" else torch.optim.AdamW(rows, lr=1e-3)
    x, y = torch.randn(records, 3, 8, 8), torch.arange(records) % 10
    for _ in range(steps):
        batch = torch.randperm(records)[:32]
        optimizer.zero_grad()
        cross_entropy(network(x[batch]), y[batch]).backward()
        optimizer.step()


def merged(network: nn.Module, rank: int, kind: str, bias: str) -> tuple[State, State]:
    """A network before, and with an adapter that was trained on 400 images merged into it."""
    peft = pytest.importorskip("peft")
    before = state(network)
    targets = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    adapted = peft.get_peft_model(network, peft.LoraConfig(r=rank, target_modules=targets, bias=bias))
    train(adapted, 400, 60, kind)
    return before, state(adapted.merge_and_unload())


def pair_of(before: State, after: State) -> CheckpointPair:
    sides = (Checkpoint(side, "torch", side, ("float32",), part, {name: value.dtype for name, value in part.items()})
             for side, part in (("before", before), ("after", after)))  # fmt: skip
    return CheckpointPair(*sides)


def facts(before: State, after: State) -> dict[str, object]:
    return read_delta(pair_of(before, after), detect(after)[0]).facts


def suspected(before: State, after: State) -> bool:
    return Readings(pair_of(before, after), detect(after)[0], None).merged


@pytest.mark.parametrize(("hidden", "bias"), [(1, "none"), (2, "none"), (2, "all")])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("rank", [4, 8])
def test_the_rank_of_a_merged_adapter_is_never_a_sure_number_of_images(rank, kind, bias, hidden):
    pair = merged(perceptron(hidden=hidden), rank, kind, bias)
    found = facts(*pair)
    assert suspected(*pair)
    assert "size" not in found or found["size"].confidence <= 0.5
    assert found["optimizer"].value == kind.removesuffix("w") or found["optimizer"].confidence < 0.6
    assert "LoRA" in found["optimizer"].evidence
    assert "classes_present" not in found or bias == "all"
    assert "travel" not in found


@pytest.mark.parametrize("steps", [1, 20])
def test_few_images_with_biases_are_still_counted(steps):
    network = perceptron()
    before = state(network)
    train(network, 6, steps, "sgd")
    pair = before, state(network)
    assert not suspected(*pair)
    found = facts(*pair)["size"]
    assert (found.value, found.confidence) == (6, 0.95)


def test_without_biases_more_steps_tell_images_from_an_adapter_and_one_does_not():
    for steps, expected in ((20, False), (1, True)):
        network = perceptron(bias=False)
        before = state(network)
        train(network, 6, steps, "sgd")
        assert suspected(before, state(network)) == expected
        found = facts(before, state(network))["size"]
        assert (found.value, found.confidence) == (6, 0.5 if expected else 0.95)


def test_many_images_are_no_adapter():
    for kind in ("sgd", "adamw"):
        network = perceptron()
        before = state(network)
        train(network, 400, 60, kind)
        assert not suspected(before, state(network))
