"""Binary classifiers with one logit: from files to a report, trained by plain torch with the logistic loss."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn

from memaudit.attacks.contract.params import cosine_distance
from memaudit.attacks.images.medium import Images
from memaudit.attacks.simulation.adjoints import FullGraph
from memaudit.attacks.simulation.dynamics import batch_plan, simulate
from memaudit.audit.change.facts import read_delta
from memaudit.audit.checkpoints.pair import read_pair
from memaudit.audit.cli.show import print_inspection
from memaudit.audit.data.base import DataError, TrainingSet
from memaudit.audit.families.base import Architecture, UnknownArchitecture
from memaudit.audit.families.detect import detect
from memaudit.audit.families.victim import victim
from memaudit.audit.recipe.fields import RecipeError
from memaudit.audit.recipe.known import known
from memaudit.audit.request import ScanRequest
from memaudit.audit.scan.pipeline import scan
from memaudit.audit.scan.scene import load
from memaudit.audit.tasks.infer import infer
from memaudit.audit.tasks.inspect import inspect
from memaudit.audit.tasks.linearity import LinearityRequest, measure

from .conftest import PRIVATE, PUBLIC, SIDE, Leak, crops, photographs

LABELS = (1, 1, 1, 0)
LR, EPOCHS = 0.02, 10


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, 1))


def train(folder: Path, net: nn.Module, x: torch.Tensor, labels, optimizer=None) -> tuple[Path, Path]:
    """Train with torch's own logistic loss, full batch; return the two files."""
    before, after = folder / "before.pt", folder / "after.safetensors"
    torch.save(net.state_dict(), before)
    optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=LR)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(net(x).flatten(), torch.tensor(labels).float())
        loss.backward()
        optimizer.step()
    save_file(net.state_dict(), after)
    return before, after


@pytest.fixture(scope="module")
def binary(tmp_path_factory) -> Leak:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder, private = tmp_path_factory.mktemp("binary"), photographs(PRIVATE)
    x = torch.from_numpy(private).permute(0, 3, 1, 2) / 255 * 4 - 2
    found = Leak(*train(folder, network(), x, LABELS), folder / "private.npz", folder / "public.npz")
    np.savez(found.data, images=private, labels=np.array(LABELS))
    np.savez(found.control, images=crops(PUBLIC))
    return found


def request(binary, out, **more):
    known = {"normalise": "0.5;0.25", "epochs": EPOCHS, "attacks": ("simudy",), "options": ("simudy.iterations=60",)}
    return ScanRequest(binary.before, binary.after, data=binary.data, out=out, **{**known, **more})


def read(pair):
    architecture, module = detect(pair.after.tensors)
    return read_delta(pair, architecture, partial(victim, pair, architecture, module, Images()))


def test_a_scan_with_given_labels_recovers_the_images(binary, tmp_path):
    attacks = ("simudy", "onestep", "haim")
    options = ("simudy.iterations=60", "simudy.alpha=0.05", "onestep.iterations=300")  # dense nets want a weak prior
    report = scan(request(binary, tmp_path, labels="data", control=binary.control, attacks=attacks, options=options))
    found = {attack.name: attack for attack in report.attacks}
    assert report.architecture.classes == 1
    assert report.verdict.status == "fail"
    assert (report.recipe["labels"].value, report.recipe["labels"].source) == ([1, 3], "given")
    assert 0.5 * LR < report.recipe["lr"].value < 2 * LR
    for name in ("simudy", "onestep"):
        assert found[name].metrics.similarity_mean > 0.5, name
        assert found[name].metrics.recovered >= {"simudy": 3, "onestep": 2}[name], name
    assert sorted(dummy.label for dummy in found["simudy"].reconstructions) == sorted(LABELS)
    # Ten steps from a default start are no stationary point: haim runs, explains nothing, and says so.
    assert found["haim"].status == "stalled"
    assert found["haim"].loss > 0.5


def test_infer_finds_learning_rate_labels_and_optimiser(binary, tmp_path):
    found = infer(request(binary, tmp_path)).recipe
    assert 0.5 * LR < found["lr"].value < 2 * LR
    assert found["optimizer"].value == "sgd"
    assert (found["labels"].value, found["labels"].source) == ([1, 3], "inferred")


def test_the_size_is_read_off_the_rank_and_the_class_off_the_bias(binary):
    pair = read_pair(binary.before, binary.after)
    facts = read(pair).facts
    assert facts["size"].value == 4
    assert facts["classes_present"].value == [1]
    assert "rose" in facts["classes_present"].evidence
    assert -1 <= facts["linearity"].value <= 1
    assert facts["linearity"].evidence


@pytest.mark.parametrize(("labels", "bias"), [((0, 0, 0), True), ((1, 1, 1), True), ((0, 0, 0), False)])
def test_a_logit_moves_towards_the_classes_that_are_there(labels, bias, tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 1, bias=bias))
    pair = read_pair(*train(tmp_path, net, torch.randn(3, 3, 4, 4), labels))
    fact = read(pair).facts["classes_present"]
    assert fact.value == [labels[0]]
    assert ("rose" if labels[0] else "fell") in fact.evidence
    assert ("bias" if bias else "summed weights") in fact.evidence


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_optimiser_of_a_binary_victim_is_told(name, tmp_path):
    net = network()
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[name](net.parameters(), lr=0.003)
    pair = read_pair(*train(tmp_path, net, torch.randn(6, 3, SIDE, SIDE), (0, 1) * 3, optimizer))
    facts = read(pair).facts
    assert facts["optimizer"].value == name
    assert facts["optimizer"].confidence > 0.8
    if name == "adam":
        assert facts["travel"].value == pytest.approx(EPOCHS * 0.003, rel=0.3)


def one_logit():
    return Architecture("mlp", "MLP", {}, 1, (3, 4, 4), (), 1.0)


def labelled(*labels):
    names = tuple(map(str, labels))
    return TrainingSet(torch.zeros(len(labels), 3, 4, 4), torch.tensor(labels), names, (), "", False)


def test_labels_are_counted_for_two_classes():
    data = labelled(1, 0, 1)
    assert known(ScanRequest("a", "b", labels="data"), one_logit(), data).recipe.labels == (1, 2)
    assert known(ScanRequest("a", "b", labels="1:3", size=3), one_logit(), None).recipe.labels == (0, 3)
    assert known(ScanRequest("a", "b"), one_logit(), None).recipe.size == 4


def test_labels_beyond_two_classes_are_refused():
    with pytest.raises(RecipeError, match="3 classes"):
        known(ScanRequest("a", "b", labels="data"), one_logit(), labelled(0, 1, 2))
    with pytest.raises(RecipeError, match="not counts of 2 classes"):
        known(ScanRequest("a", "b", labels="2:3", size=3), one_logit(), None)


def test_linearity_of_a_binary_training(binary, tmp_path):
    options = {"normalise": "0.5;0.25", "epochs": 5, "batch_norm": "eval"}
    found = measure(LinearityRequest(binary.before, binary.data, **options))
    assert 0.5 < found.value <= 1
    np.savez(tmp_path / "wrong.npz", images=photographs(PRIVATE), labels=np.array([0, 1, 2, 0]))
    with pytest.raises(DataError, match=r"label 2, and .* has classes 0 to 1"):
        measure(LinearityRequest(binary.before, tmp_path / "wrong.npz", **options))


def test_inspection_says_one_logit(binary):
    console = Console(record=True, width=200)
    print_inspection(console, inspect(binary.before, binary.after))
    assert "one logit" in console.export_text()


@pytest.mark.parametrize("spec", ["auto", "torchvision:resnet18"])
def test_a_residual_network_may_have_one_output(spec):
    architecture, _ = detect(torchvision.models.resnet18(num_classes=1).state_dict(), spec, 32)
    assert (architecture.classes, architecture.categories) == (1, 2)


OWN = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, 2), nn.Linear(196, 1)
    def forward(self, x):
        return self.end(self.fc(torch.relu(self.conv(x)).flatten(1)))
class Flat(Net):
    def end(self, z): return z.flatten()
class Squeezed(Net):
    def end(self, z): return z.squeeze()
class Probable(Net):
    def end(self, z): return torch.sigmoid(z).squeeze(1)
class Likely(Net):
    def end(self, z): return torch.softmax(torch.cat([-z, z], 1), 1)
class Logs(Net):
    def end(self, z): return torch.log_softmax(torch.cat([-z, z], 1), 1)
"""


@pytest.fixture
def own(tmp_path):
    """Write networks that do not return (b, 1); return what builds one, and the file."""
    path = tmp_path / "own.py"
    path.write_text(OWN)
    space: dict = {}
    exec(OWN, space)
    return space, path


@pytest.mark.parametrize("name", ["Flat", "Squeezed"])
def test_a_network_that_squeezes_its_logit_away_is_simulated_as_torch_trains_it(name, own, tmp_path):
    space, path = own
    x, labels = torch.rand(3, 3, 16, 16), (0, 1, 1)
    files = train(tmp_path, space[name](), x, labels)
    scene = load(ScanRequest(*files, model=f"{path}:{name}", image_size=16, normalise="none", size=3, lr=LR,
                             epochs=EPOCHS, labels="0:1,1:2"))  # fmt: skip
    victim, recipe = scene.victim, scene.known.recipe
    assert (victim.classes, recipe.labels) == (1, (1, 2))
    assert victim.logits(victim.theta0, x).shape == (3, 1)
    final = simulate(victim, recipe, x, torch.tensor(labels), batch_plan(recipe, 3, torch.Generator()),
                     adjoint=FullGraph())  # fmt: skip
    assert cosine_distance(victim.change(final), victim.delta).item() < 1e-6


@pytest.mark.parametrize(("name", "word"), [("Probable", "sigmoid"), ("Likely", "softmax")])
def test_a_network_that_returns_probabilities_is_refused(name, word, own):
    space, path = own
    with pytest.raises(UnknownArchitecture, match=word) as caught:
        detect(space[name]().state_dict(), f"{path}:{name}", 16)
    assert "logits" in str(caught.value.hint)


def test_log_probabilities_are_logits_too(own):
    space, path = own
    assert detect(space["Logs"]().state_dict(), f"{path}:Logs", 16)[0].classes == 2


def test_two_logits_stay_two_classes(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 2))
    save_file(net.state_dict(), tmp_path / "two.safetensors")
    architecture, _ = detect(load_file(tmp_path / "two.safetensors"))
    assert (architecture.classes, architecture.categories) == (2, 2)
