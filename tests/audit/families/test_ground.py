"""A victim that every process makes for itself, from what travels."""

import multiprocessing
import pickle  # noqa: TID251  # the ground travels to workers; no checkpoint is involved

import pytest
import torch
from torch import nn

from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.audit.checkpoints.pair import read_pair
from memaudit.audit.families.beside import NOTHING
from memaudit.audit.families.detect import detect
from memaudit.audit.families.ground import Ground
from memaudit.audit.families.victim import placed, victim
from memaudit.audit.request import ScanRequest
from memaudit.audit.scan.scene import load

CPU, SCALE = torch.device("cpu"), Images(Normalisation((0.5,), (0.25,)))


@pytest.fixture
def pair(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))
    torch.save(network.state_dict(), tmp_path / "before.pt")
    torch.save({name: value + 0.5 for name, value in network.state_dict().items()}, tmp_path / "after.pt")
    return read_pair(tmp_path / "before.pt", tmp_path / "after.pt")


def same(one, other):
    x = torch.randn(2, *one.shape)
    assert torch.equal(one.logits(one.thetaf, x), other.logits(other.thetaf, x))
    assert all(torch.equal(value, other.delta[name]) for name, value in one.delta.items())
    assert one.delta.keys() == other.delta.keys()
    assert (one.masked, one.medium, one.shape) == (other.masked, other.medium, other.shape)
    return True


def test_another_process_makes_the_victim_of_the_scan(leak):
    scene = load(ScanRequest(leak.before, leak.after, normalise="0.5;0.25", size=4))
    assert scene.ground() is scene.victim, "in this process it is made once"
    found = pickle.loads(pickle.dumps(scene.ground))
    assert found.victim is None
    assert same(found(), scene.victim)


def digest(ground):
    return float(sum(value.double().sum() for value in ground().delta.values()))


def test_the_ground_is_all_that_another_process_needs(pair):
    ground = Ground(pair, "auto", None, NOTHING, SCALE, frozenset(), "cpu", (3, 2, 2))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(digest, (ground,)) == digest(ground)


def test_what_is_masked_is_not_compared_unless_that_is_all(pair):
    architecture, module = detect(pair.after.tensors)
    whole = victim(pair, architecture, module, SCALE)
    assert placed(whole, pair, architecture, CPU) is whole
    hidden = placed(whole, pair, architecture, CPU, frozenset({"1.bias", "absent"}))
    assert hidden.masked == {"1.bias"}
    assert hidden.delta.keys() == whole.delta.keys() - {"1.bias"}
    assert placed(whole, pair, architecture, CPU, frozenset(whole.theta0)) is whole


DEVICES = [
    "meta",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


@pytest.mark.parametrize("device", DEVICES)
def test_a_victim_moves_to_the_device_whole(pair, device):
    architecture, module = detect(pair.after.tensors)
    whole = victim(pair, architecture, module, SCALE)
    found = placed(whole, pair, architecture, torch.device(device), frozenset({"1.bias"}))
    parts = found.theta0, found.thetaf, found.buffers, found.running, found.delta
    assert {value.device.type for part in parts for value in part.values()} == {device}
    assert whole.like.device == CPU
    assert found.masked == {"1.bias"}
    assert found.theta0.keys() == whole.theta0.keys()
