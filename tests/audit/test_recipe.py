import math

import pytest
import torch

from memaudit.audit.data.base import TrainingSet
from memaudit.audit.families.base import Architecture
from memaudit.audit.recipe import RecipeError, known, normalisation, pick_device
from memaudit.audit.request import ScanRequest


def network(shape=(3, 32, 32), classes=10, assumed=()):
    return Architecture("mlp", "MLP", {}, classes, shape, tuple(assumed), 1.0)


def facts(moved=frozenset(), data=None, architecture=None, **given):
    return known(ScanRequest("a", "b", **given), architecture or network(), data, moved)


def test_nothing_known_is_all_assumed_but_complete():
    found = facts()
    assert (found.recipe.size, found.recipe.batch_size, found.recipe.epochs) == (20, 20, 20)
    assert math.isnan(found.recipe.lr)
    assert "lr" not in found.facts
    for name in ("size", "batch_size", "epochs", "momentum", "weight_decay"):
        assert found.facts[name].source == "assumed"
        assert found.facts[name].option == "--" + name.replace("_", "-")
    assert facts(architecture=network(classes=100)).recipe.size == 32


def test_given_values_are_taken_and_marked():
    found = facts(size=5, lr=0.1, batch_size=2, epochs=3, momentum=0.9, nesterov=True, weight_decay=1e-4)
    assert (found.recipe.steps, found.recipe.lr, found.recipe.momentum) == (9, 0.1, 0.9)
    assert all(found.facts[name].source == "given" for name in ("size", "lr", "nesterov", "weight_decay"))


def test_the_size_comes_from_the_data():
    images = torch.zeros(7, 3, 32, 32)
    data = TrainingSet(images, torch.zeros(7, dtype=torch.long), tuple("abcdefg"), (), "", False)
    assert facts(data=data).recipe.size == 7
    assert facts(data=data, size=9).recipe.size == 9


def test_batch_norm_is_read_off_the_moved_buffers():
    assert facts().facts["batch_norm"].value == "eval"
    assert facts(moved=frozenset({"bn1.running_mean"})).facts["batch_norm"].value == "train"


def test_image_size_says_where_it_comes_from():
    assert facts().facts["image_size"].source == "inferred"
    assert facts(architecture=network(assumed=["image_size"])).facts["image_size"].source == "assumed"


def test_normalisations():
    scale, fact = normalisation(None, network())
    assert (fact.value, fact.source) == ("cifar10", "assumed")
    assert normalisation(None, network((3, 64, 64)))[1].value == "imagenet"
    assert normalisation(None, network((1, 28, 28)))[1].value == "half"
    pixels = torch.rand(2, 3, 4, 4)
    assert torch.allclose(scale.to_pixels(scale.from_pixels(pixels)), pixels, atol=1e-6)
    numbers, fact = normalisation("0.1,0.2,0.3;0.5", network())
    assert (numbers.mean, numbers.std, fact.source) == ((0.1, 0.2, 0.3), (0.5,), "given")


@pytest.mark.parametrize("text", ["cifar", "0.1", "0.1;0", "0.1,0.2;1,1", "a;b", "0.1;nan"])
def test_wrong_normalisations(text):
    with pytest.raises(RecipeError, match="--normalise"):
        normalisation(text, network())


def test_devices():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda")
    for text in ("gpu", "cuda:x", "cpu:1", "cuda:99"):
        with pytest.raises(RecipeError, match=text):
            pick_device(text)
