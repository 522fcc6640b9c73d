"""What is read off a parameter change, on victims trained by torch.optim; and that no checkpoint breaks it."""

import json
import math
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor, nn

from memaudit.attacks.images.medium import Images
from memaudit.audit.change.facts import frozen, masked, read_delta
from memaudit.audit.change.movement import scaled_rows, signals
from memaudit.audit.checkpoints.pair import Checkpoint, CheckpointPair
from memaudit.audit.cli.show import print_inspection
from memaudit.audit.families.base import Architecture
from memaudit.audit.families.detect import detect
from memaudit.audit.families.victim import victim
from memaudit.audit.report.facts import Delta
from memaudit.audit.tasks.inspect import inspect

OPTIMISERS = {
    "sgd": lambda p, lr, wd: torch.optim.SGD(p, lr, weight_decay=wd),
    "momentum": lambda p, lr, wd: torch.optim.SGD(p, lr / 5, momentum=0.9, weight_decay=wd),
    "nesterov": lambda p, lr, wd: torch.optim.SGD(p, lr / 5, momentum=0.9, nesterov=True, weight_decay=wd),
    "adam": lambda p, lr, wd: torch.optim.Adam(p, lr / 50, weight_decay=wd),
    "adamw": lambda p, lr, wd: torch.optim.AdamW(p, lr / 50, weight_decay=wd),
}
COLOUR, GREY = (3, 8, 8), (1, 12, 12)


def mlp(shape=COLOUR, widths=(96, 32), classes: int = 10) -> nn.Module:
    sizes = [math.prod(shape), *widths, classes]
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def conv(shape=COLOUR, norm: bool = False, classes: int = 10) -> nn.Module:
    norms = [nn.BatchNorm2d(12), nn.BatchNorm2d(16)] if norm else [nn.Identity(), nn.Identity()]
    return nn.Sequential(
        *(nn.Conv2d(shape[0], 12, 3, padding=1), norms[0], nn.ReLU()),
        *(nn.Conv2d(12, 16, 3, stride=2), norms[1], nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, classes)),
    )


def images(count: int, shape=COLOUR) -> Tensor:
    """Smooth images, as unlike each other as photographs are."""
    coarse = torch.randn(count, shape[0], 4, 4)
    return nn.functional.interpolate(coarse, shape[1:], mode="bicubic") + 0.3 * torch.randn(count, *shape)


@dataclass
class Trained:
    """A victim and how it was made."""

    before: dict[str, Tensor]
    after: dict[str, Tensor]
    shape: tuple[int, int, int]
    classes: int
    network: nn.Module
    lr: float
    steps: int
    labels: Tensor
    rates: list[float] = field(default_factory=list)

    def pair(self, before: torch.dtype = torch.float32, after: torch.dtype | None = None) -> CheckpointPair:
        return paired(self.before, self.after, before, after or before)

    def read(self, *dtypes: torch.dtype, architecture: Architecture | None = None) -> Delta:
        found = architecture or Architecture("custom", "test", {}, self.classes, self.shape)
        pair = self.pair(*dtypes)
        return read_delta(pair, found, partial(victim, pair, found, self.network, Images()))


def paired(before, after, first=torch.float32, last=torch.float32) -> CheckpointPair:
    def side(state, dtype) -> Checkpoint:
        stored = {n: v.to(dtype) if v.is_floating_point() else v for n, v in state.items()}
        double = torch.float64 in (first, last)
        held = {n: (v.double() if double else v.float()) if v.is_floating_point() else v for n, v in stored.items()}
        return Checkpoint("file", "torch", "0", ("float32",), held, {n: v.dtype for n, v in stored.items()})

    return CheckpointPair(side(before, first), side(after, last))


def train(
    network: nn.Module,
    optimiser: str = "sgd",
    count: int = 8,
    steps: int = 10,
    lr: float = 0.05,
    decay: float = 0.0,
    batch: int | None = None,
    shape=COLOUR,
    classes: int = 10,
    x: Tensor | None = None,
) -> Trained:
    x = images(count, shape) if x is None else x
    labels = torch.randint(classes, (len(x),))
    start = {name: value.clone() for name, value in network.state_dict().items()}
    made = OPTIMISERS[optimiser](network.parameters(), lr, decay)
    batch, rates, order = batch or len(x), [], []
    for _ in range(steps):
        order = order if len(order) >= batch else torch.randperm(len(x)).tolist()
        rows, order = order[:batch], order[batch:]
        rates.append(made.param_groups[0]["lr"])
        made.zero_grad()
        nn.functional.cross_entropy(network(x[rows]), labels[rows]).backward()
        made.step()
    end = {name: value.clone() for name, value in network.state_dict().items()}
    return Trained(start, end, shape, classes, network.eval(), rates[0], steps, labels, rates)


# Optimiser


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 3, 40])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize(
    "build", [mlp, conv, lambda: conv(norm=True), lambda: mlp(widths=())], ids=["mlp", "conv", "bn", "linear"]
)
def test_optimiser_is_recognised(build, optimiser, steps):
    for count in (1, 7, 30):
        network = build()
        network.train(count > 1)
        fact = train(network, optimiser, count, steps, batch=max(count // 2, min(count, 2))).read().facts["optimizer"]
        assert fact.value == ("adam" if optimiser.startswith("adam") else "sgd"), fact
        assert fact.confidence > 0.8
        assert fact.source == "inferred"


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_optimiser_without_a_trained_head(optimiser):
    network = mlp()
    for parameter in network[-1].parameters():
        parameter.requires_grad = False
    delta = train(network, optimiser, steps=20).read()
    assert delta.facts["optimizer"].value == ("adam" if optimiser == "adamw" else "sgd")
    assert set(delta.facts["frozen"].value) == frozen(delta) == {"5.weight", "5.bias"}


def test_optimiser_without_an_architecture():
    for optimiser in OPTIMISERS:
        fact = read_delta(train(conv(), optimiser, steps=12).pair()).facts["optimizer"]
        assert fact.value == ("adam" if optimiser.startswith("adam") else "sgd")


def test_few_numbers_give_little_confidence():
    torch.manual_seed(3)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    fact = train(network, "sgd", 6, 3, shape=(3, 2, 2), classes=2).read().facts.get("optimizer")
    assert fact is None or fact.confidence < 0.9


def test_travel_of_adam_is_near_the_sum_of_its_rates():
    for steps, batch in ((1, None), (10, None), (30, 5)):
        found = train(mlp(), "adamw", 15, steps, batch=batch)
        fact = found.read().facts["travel"]
        assert fact.interval[0] <= sum(found.rates) <= fact.interval[1]
    assert "travel" not in train(mlp()).read().facts


# Size


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "nesterov"])
@pytest.mark.parametrize("count", [1, 2, 9, 30, 60, 90])
def test_size_is_the_rank_of_the_first_layer(count, optimiser):
    for batch, decay in ((None, 0.0), (max(count // 4, 1), 0.0), (None, 0.01)):
        found = train(mlp(widths=(200,)), optimiser, count, 12, batch=batch, decay=decay, lr=0.1)
        fact = found.read().facts["size"]
        assert fact.value == count
        assert fact.interval == (count, count)
        assert fact.confidence >= 0.8


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
@pytest.mark.parametrize("count", [1, 2, 9, 30])
def test_size_is_not_claimed_under_adam(count, optimiser):
    for steps in (1, 12):
        assert "size" not in train(mlp(widths=(64,)), optimiser, count, steps).read().facts


def test_size_is_not_claimed_where_the_rank_is_bounded_otherwise():
    assert "size" not in train(mlp(widths=(40,)), count=50, steps=20).read().facts  # as many units as that
    assert "size" not in train(mlp(widths=()), count=30).read().facts  # the rows of a head sum to zero
    assert train(mlp(widths=()), count=5).read().facts["size"].value == 5
    assert "size" not in train(mlp(widths=(200,)), lr=1e-6, count=20, steps=1).read().facts
    assert "size" not in train(conv(), count=4).read().facts


def test_size_is_not_claimed_in_low_precision():
    found = train(mlp(widths=(200,)), count=10, steps=20, lr=0.3)
    assert "size" not in found.read(torch.bfloat16).facts
    assert "size" not in found.read(torch.float32, torch.float16).facts


def test_size_counts_different_images():
    x = images(6)
    fact = train(mlp(widths=(200,)), x=torch.cat([x, x[:2]])).read().facts["size"]
    assert fact.value == 6
    assert "different" in fact.evidence


def test_size_of_a_recognised_perceptron_without_its_module():
    found = train(mlp(shape=GREY), count=12, shape=GREY)
    architecture, _ = detect(found.after)
    facts = read_delta(found.pair(), architecture).facts
    assert facts["size"].value == 12
    assert "linearity" not in facts


class Scaled(nn.Module):
    """Scales its images itself."""

    def __init__(self, low: float = -math.inf) -> None:
        super().__init__()
        self.net, self.low = mlp(), low

    def forward(self, x: Tensor) -> Tensor:
        if x.min() < self.low:
            raise TypeError("negative pixels")
        return self.net((x - 0.5) / 0.25)


class Backbone(nn.Module):
    """A convolution that is not trained, and a head that is."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 6, 3, 2, 1).requires_grad_(False), mlp((6, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(x)))


def test_size_of_a_network_of_ones_own():
    found = train(Scaled(), count=12)
    assert found.read().facts["size"].value == 12
    assert "size" not in train(Backbone(), count=12).read().facts  # its rank is that of features


def test_a_forward_that_refuses_noise_tells_no_size():
    facts = train(Scaled(low=-1e-9), x=images(12).abs()).read().facts
    assert "size" not in facts
    assert facts["optimizer"].value == "sgd"


def test_size_and_decay_where_little_of_the_start_is_left():
    found = train(mlp(widths=(200,)), count=60, steps=200, lr=0.1, decay=0.05)
    facts = found.read().facts
    assert facts["size"].value == 60
    assert facts["weight_decay_factor"].value == pytest.approx(0.995**200, abs=1e-6)


# Weight decay


@pytest.mark.parametrize("build", [mlp, conv], ids=["mlp", "conv"])
@pytest.mark.parametrize("decay", [0.0, 5e-4, 0.05])
def test_weight_decay_of_sgd(build, decay):
    found = train(build(), "sgd", 20, 30, decay=decay)
    fact = found.read().facts["weight_decay_factor"]
    true = (1 - found.lr * decay) ** found.steps
    assert fact.interval[0] - 1e-9 <= true <= fact.interval[1] + 1e-9
    assert fact.interval[1] - fact.interval[0] < 1e-4 + 0.1 * (1 - true)
    assert fact.confidence >= 0.9


def test_weight_decay_of_adamw_from_rows_without_gradient():
    network = mlp()
    network[1].bias.data[:5] = -100  # dead units
    found = train(network, "adamw", 20, 30, decay=0.1)
    fact = found.read().facts["weight_decay_factor"]
    assert fact.value == pytest.approx((1 - found.lr * 0.1) ** found.steps, abs=5e-6)
    assert "without any gradient" in fact.evidence


def test_weight_decay_is_not_read_where_nothing_shows_it():
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 40), nn.Tanh(), nn.Linear(40, 10))
    assert "weight_decay_factor" not in train(network, "adamw", 20, 30, decay=0.1).read().facts
    assert "weight_decay_factor" not in train(network, "adam", 20, 30, decay=0.1).read().facts


def test_a_tensor_without_gradient_decays():
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.idle = mlp(), nn.Linear(9, 7)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x) + 0 * self.idle.weight.sum()

    delta = train(Idle(), "sgd", 10, 10, decay=0.1).read()
    status = {row.name: row.status for row in delta.tensors}
    assert status["idle.weight"] == "decayed"
    assert status["idle.bias"] == "frozen"
    assert delta.facts["frozen"].value == ["idle.bias"]
    assert delta.facts["weight_decay_factor"].value == pytest.approx(0.995**10, abs=1e-6)


def test_only_rows_that_vary_and_scale_together_count():
    before, change = torch.randn(4, 30).double(), torch.zeros(4, 30).double()
    change[1] = -0.01 * before[1]
    change[2] = -0.01 * before[2] * torch.randn(30)
    before[3], change[3] = 2.0, -0.02
    factors, still = scaled_rows(before, change, 1e-9)
    assert still.tolist() == [True, True, False, False]
    assert factors[:2].tolist() == pytest.approx([1, 0.99])


# Batch norm


def test_steps_and_batch_norm():
    trained = train(conv(norm=True).train(), steps=6).read().facts
    assert trained["steps"].value == 6
    assert trained["steps"].interval == (6, 6)
    assert trained["steps"].confidence == 1
    assert trained["batch_norm"].value == "train"
    fixed = train(conv(norm=True).eval(), steps=6).read().facts
    assert fixed["batch_norm"].value == "eval"
    assert "steps" not in fixed
    assert not {"steps", "batch_norm"} & train(conv()).read().facts.keys()


def test_counters_that_disagree():
    found = train(conv(norm=True).train(), steps=6)
    found.after["4.num_batches_tracked"] += 1
    fact = found.read().facts["steps"]
    assert fact.value in (6, 7)
    assert fact.interval == (6, 7)
    assert fact.confidence < 1


# Labels, signal, feasibility, linearity


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_classes_present_are_present(optimiser):
    for steps in (1, 20):
        found = train(mlp(), optimiser, 12, steps, decay=0.01)
        present = set(found.read().facts["classes_present"].value)
        assert present
        assert present <= set(found.labels.tolist())


def test_signal_and_masks_in_bfloat16():
    found = train(mlp(), "sgd", 8, 3, lr=0.001)
    fine, coarse = found.read(), found.read(torch.bfloat16)
    assert not masked(fine)
    assert fine.facts["signal"].value > 1e3
    assert masked(coarse)
    assert coarse.facts["signal"].value < fine.facts["signal"].value / 100
    assert "did not change" in coarse.facts["signal"].evidence
    assert all(row.dtype == "bfloat16" for row in coarse.tensors)
    mixed = {row.name: row.snr for row in found.read(torch.float32, torch.bfloat16).tensors}
    assert all(row.snr < mixed[row.name] * 2 for row in coarse.tensors)


def test_feasibility_counts_what_moved():
    found = train(mlp(widths=(64,)), count=4)
    facts = found.read().facts
    parameters = sum(value.numel() for value in found.before.values())
    assert facts["feasibility"].value == pytest.approx(parameters / (192 * 4), rel=1e-2)
    assert train(mlp(widths=(64,)), "adamw").read().facts["feasibility"].value == pytest.approx(
        parameters / 192, rel=0.1
    )


def test_linearity_falls_with_the_distance():
    near, far = (train(mlp(), count=8, lr=lr, steps=20).read().facts["linearity"] for lr in (1e-3, 0.5))
    assert near.value > 0.99
    assert far.value < near.value
    assert near.interval[0] <= near.value <= near.interval[1]


# Hostile and odd checkpoints


ODD = {
    "scalars": ((), ()),
    "empty": ((0, 3), (3, 0), (0,), (4,)),
    "single": ((1, 1), (1,)),
    "perceptron": ((8, 12), (8,), (3, 8), (3,)),
    "stack": ((4, 1, 3, 3), (4,), (2, 3, 4, 5, 6)),
}
VALUES = {
    "zeros": torch.zeros_like,
    "ones": torch.ones_like,
    "huge": lambda x: x * 1e300,
    "tiny": lambda x: x * 1e-300,
    "subnormal": lambda x: x * 1e-42,
}


@pytest.mark.parametrize("shapes", ODD.values(), ids=ODD)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_nothing_breaks_it(shapes, dtype):
    names = [f"{index // 2 * 2}.{('weight', 'bias')[index % 2]}" for index in range(len(shapes))]
    for first in VALUES.values():
        for second in (*VALUES.values(), lambda x: x):
            base = {name: torch.randn(shape, dtype=torch.float64) for name, shape in zip(names, shapes, strict=True)}
            sides = [{n: make(v).to(dtype).nan_to_num() for n, v in base.items()} for make in (first, second)]
            pair = paired(*sides, dtype, dtype)
            if not pair.moved:
                continue
            delta = read_delta(pair, Architecture("custom", "", {}, 3, (3, 2, 2)))
            assert Delta.model_validate_json(delta.model_dump_json()) == delta
            for fact in delta.facts.values():
                assert fact.evidence
                assert 0 <= fact.confidence <= 1
                assert fact.interval is None or fact.interval[0] <= fact.interval[1]


def test_nothing_breaks_it_without_stored_types_and_with_odd_counters():
    state = {"0.weight": torch.randn(5, 4), "1.num_batches_tracked": torch.tensor([1, 2]), "flag": torch.tensor(True)}
    moved = {**state, "0.weight": torch.randn(5, 4)}
    sides = [Checkpoint("file", "torch", "0", ("float32",), side) for side in (state, moved)]
    delta = read_delta(CheckpointPair(*sides))
    assert [row.name for row in delta.tensors] == ["0.weight"]
    assert "steps" not in delta.facts
    assert [signal.stored for signal in signals(CheckpointPair(*sides))] == [torch.float32]


# The inspect command


@pytest.fixture
def files(tmp_path):
    found = train(mlp(shape=GREY), count=5, shape=GREY)
    save_file(found.before, tmp_path / "before.safetensors")
    save_file(found.after, tmp_path / "after.safetensors")
    return str(tmp_path / "before.safetensors"), str(tmp_path / "after.safetensors")


def test_inspection_shows_tensors_and_facts(files):
    found = inspect(*files)
    json.dumps(found)
    assert {row["status"] for row in found["tensors"]} == {"moved"}
    assert all(row["snr"] > 3 and row["change"] > 0 for row in found["tensors"])
    assert {"name", "shape", "dtype", "relative_change"} <= found["tensors"][0].keys()
    assert found["delta"]["size"]["value"] == 5
    assert found["delta"]["optimizer"]["value"] == "sgd"
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_inspection(console, found)
    text = console.export_text()
    for word in ("status", "SNR", "moved", "optimizer", "sgd", "evidence", "weight_decay_factor"):
        assert word in text


def test_inspection_of_an_unrecognised_pair(tmp_path):
    found = train(conv(), count=5)
    save_file(found.before, tmp_path / "before.safetensors")
    save_file(found.after, tmp_path / "after.safetensors")
    shown = inspect(str(tmp_path / "before.safetensors"), str(tmp_path / "after.safetensors"))
    assert shown["architecture"]["name"] is None
    assert shown["delta"]["optimizer"]["value"] == "sgd"
    assert "size" not in shown["delta"]
    assert np.isfinite(shown["delta"]["signal"]["value"])
