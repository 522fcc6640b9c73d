import dataclasses
import json
import math

import pytest
import torch

from memaudit import MemauditError
from memaudit.attacks.contract.recipe import Recipe
from memaudit.audit.data.base import TrainingSet
from memaudit.audit.families.base import Architecture
from memaudit.audit.machine.device import DeviceError, pick_device
from memaudit.audit.recipe.artefacts import read_artefacts
from memaudit.audit.recipe.decay import decay_of, shrink
from memaudit.audit.recipe.fields import RecipeError
from memaudit.audit.recipe.file import RecipeFileError
from memaudit.audit.recipe.known import known
from memaudit.audit.recipe.normalise import normalisation
from memaudit.audit.recipe.shapes import shapes
from memaudit.audit.report.facts import Delta, Fact
from memaudit.audit.request import ScanRequest, check, parse_size


def network(shape=(3, 32, 32), classes=10, assumed=()):
    return Architecture("mlp", "MLP", {}, classes, shape, tuple(assumed), 1.0)


def facts(data=None, architecture=None, read=None, artefacts=None, **given):
    delta = None if read is None else Delta(facts=read)
    return known(ScanRequest("a", "b", **given), architecture or network(), data, delta, artefacts or {})


def inferred(value, **more):
    return Fact(value=value, source="inferred", confidence=0.9, evidence="the change shows it", **more)


def artefact(value):
    return Fact(value=value, source="given", evidence="optimizer.pt: param_groups")


def labelled(*labels):
    images = torch.zeros(len(labels), 3, 32, 32)
    return TrainingSet(images, torch.tensor(labels), tuple(map(str, range(len(labels)))), (), "", False)


@pytest.fixture
def filed(tmp_path):
    """Write a recipe file and return its path."""

    def write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(f"[recipe]\n{text}\n")
        return path

    return write


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
    data = labelled(*[0] * 7)
    assert facts(data=data).recipe.size == 7
    assert facts(data=data, size=9).recipe.size == 9


def test_size_from_the_count_of_the_data_the_rank_or_the_classes(filed):
    data, read = labelled(0, 1, 2), {"size": inferred(5, interval=(5, 5))}
    assert facts(data=data, read=read).facts["size"].evidence == "the number of records in --data"
    by_rank = facts(data=data, read=read, size="auto").facts["size"]
    assert (by_rank.value, by_rank.source, by_rank.option, by_rank.interval) == (5, "inferred", "--size", (5, 5))
    too_many = facts(data=data, size="auto").facts["size"]
    assert (too_many.value, too_many.source) == (20, "assumed")
    assert facts(data=data, read=read, recipe=filed("size = 6")).recipe.size == 6
    assert facts(read=read, recipe=filed("size = 6"), size=8).recipe.size == 8
    assert facts(read=read, recipe=filed("size = 6"), size="auto").recipe.size == 5


def test_size_on_the_command_line():
    assert (parse_size("auto"), parse_size("12")) == ("auto", 12)
    for text in ("many", "1.5", "", "Auto", "1e2"):
        with pytest.raises(MemauditError, match="--size"):
            parse_size(text)


def test_an_option_wins_over_the_file_over_artefacts_over_the_change_over_what_is_usual(filed):
    """One layer after the other is taken away; each value says where it comes from."""
    read = {"optimizer": inferred("adam"), "batch_norm": inferred("train")}
    beside, path = {"optimizer": artefact("adamw"), "batch_norm": artefact("eval")}, filed('optimizer = "sgd"')
    layers = [("optimizer", "adam"), ("recipe", path)]
    found = facts(read=read, artefacts=beside, **dict(layers)).facts["optimizer"]
    assert (found.value, found.source, found.evidence) == ("adam", "given", "")
    found = facts(read=read, artefacts=beside, recipe=path).facts["optimizer"]
    assert (found.value, found.source, found.evidence) == ("sgd", "given", f"{path}: optimizer")
    found = facts(read=read, artefacts=beside).facts["optimizer"]
    assert (found.value, found.source, found.evidence) == ("adamw", "given", "optimizer.pt: param_groups")
    found = facts(read=read).facts["optimizer"]
    assert (found.value, found.source, found.confidence) == ("adam", "inferred", 0.9)
    found = facts().facts["optimizer"]
    assert (found.value, found.source, found.option) == ("sgd", "assumed", "--optimizer")
    assert found.evidence


def test_training_files_beside_the_checkpoint_are_taken(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=3e-4, weight_decay=0.1)
    for _ in range(6):
        weight.grad = torch.ones(3)
        optimizer.step()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    torch.save(optimizer.state_dict(), tmp_path / "b" / "optimizer.pt")
    state = {"train_batch_size": 4, "global_step": 6, "epoch": 3.0}
    (tmp_path / "b" / "trainer_state.json").write_text(json.dumps(state))
    beside = read_artefacts(tmp_path / "a" / "m.safetensors", tmp_path / "b" / "m.safetensors")
    found = facts(artefacts=beside, size=8, read={"steps": inferred(99)})
    assert (found.recipe.optimizer, found.recipe.weight_decay, found.recipe.batch_size) == ("adamw", 0.1, 4)
    assert found.recipe.steps == 6
    assert found.facts["batch_size"].evidence.startswith(str(tmp_path / "b" / "trainer_state.json"))
    assert found.facts["optimizer"].evidence.startswith(str(tmp_path / "b" / "optimizer.pt"))
    assert facts(artefacts=beside, size=8, batch_size=2).recipe.batch_size == 2


def test_every_field_of_the_file_reaches_the_recipe(filed):
    text = """optimizer = "sgd"
lr = 0.05
batch_size = 2
epochs = 4
momentum = 0.8
nesterov = true
weight_decay = 0.01
schedule = "cosine"
warmup = 2
clip = 1.5
batch_norm = "train"
size = 3
labels = [1, 2, 0, 0, 0, 0, 0, 0, 0, 0]"""
    path = filed(text)
    found = facts(recipe=path)
    wanted = Recipe(
        size=3, lr=0.05, batch_size=2, epochs=4, momentum=0.8, nesterov=True, weight_decay=0.01, schedule="cosine",
        warmup=2, clip=1.5, batch_norm="train", labels=(1, 2, *[0] * 8),
    )  # fmt: skip
    assert found.recipe == wanted
    fields = [line.split()[0] for line in text.splitlines()]
    assert all(found.facts[name].source == "given" for name in fields)
    assert all(found.facts[name].evidence == f"{path}: {name}" for name in fields)
    adam = facts(recipe=filed('optimizer = "adam"\nbeta1 = 0.8\nbeta2 = 0.95\neps = 1e-6')).recipe
    assert (adam.beta1, adam.beta2, adam.eps) == (0.8, 0.95, 1e-6)
    assert facts(recipe=filed("momentum = 0.5\ndampening = 0.25")).recipe.dampening == 0.25
    with pytest.raises(RecipeFileError, match="lamb"):
        facts(recipe=filed('optimizer = "lamb"'))
    with pytest.raises(RecipeError, match="momentum"):
        facts(recipe=filed("nesterov = true"))


def test_an_option_beside_the_file_wins_over_that_field_alone(filed):
    found = facts(recipe=filed("lr = 0.05\nmomentum = 0.9"), lr=0.2)
    assert (found.recipe.lr, found.recipe.momentum) == (0.2, 0.9)
    assert found.facts["lr"].evidence == ""


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_has_no_momentum(name, filed):
    found = facts(optimizer=name, weight_decay=0.1)
    assert (found.recipe.optimizer, found.recipe.momentum, found.recipe.weight_decay) == (name, 0.0, 0.1)
    assert found.facts["momentum"].evidence == "Adam has none"
    assert found.facts["optimizer"].source == "given"
    with pytest.raises(RecipeError, match="--momentum"):
        check(ScanRequest("a", "b", optimizer=name, momentum=0.9))
    assert facts(optimizer=name, recipe=filed("momentum = 0.9\nnesterov = true")).recipe.momentum == 0.0


def test_steps_tie_epochs_and_batch_size_together():
    read = {"steps": inferred(60)}
    found = facts(size=20, read=read)
    assert (found.recipe.batch_size, found.recipe.epochs) == (20, 60)
    assert found.facts["epochs"].source == "inferred"
    assert found.facts["epochs"].confidence == 0.5
    assert found.facts["epochs"].evidence.startswith("60 steps in all: the change shows it")
    assert facts(size=20, read=read, batch_size=5).recipe.epochs == 15
    found = facts(size=20, read=read, epochs=15)
    assert (found.recipe.batch_size, found.recipe.steps) == (5, 60)
    assert found.facts["batch_size"].source == "inferred"
    found = facts(size=20, read=read, epochs=3, batch_size=4)
    assert (found.recipe.batch_size, found.recipe.epochs) == (4, 3)
    assert facts(size=20, read=read, artefacts={"steps": artefact(40)}).recipe.epochs == 40
    assert facts(size=20, read={"steps": inferred(1)}, epochs=5).recipe.batch_size == 20


def test_shapes_to_search(filed):
    found = facts(size=64, epochs=10)
    assert shapes(found.facts, found.recipe, None) == ((32, 10), (64, 10), (16, 10), (8, 10))
    found = facts(size=20)
    assert shapes(found.facts, found.recipe, None) == ((20, 20), (16, 20), (8, 20))
    found = facts(size=4)
    assert shapes(found.facts, found.recipe, None) == ((4, 20),)
    for given in ({"batch_size": 16}, {"recipe": filed("batch_size = 16")}):
        found = facts(size=64, **given)
        assert shapes(found.facts, found.recipe, None) == ((16, 20),)
    found = facts(size=32, read={"steps": inferred(60)})
    assert shapes(found.facts, found.recipe, 60) == ((32, 60), (16, 30), (8, 15))
    found = facts(size=32, read={"steps": inferred(61)})
    assert shapes(found.facts, found.recipe, 61) == ((32, 61),)
    found = facts(size=32, read={"steps": inferred(60)}, epochs=30)
    assert shapes(found.facts, found.recipe, 60) == ((16, 30),)


def test_no_weight_decay_is_inferred_and_how_much_there_was_is_left_to_the_search():
    none = {"weight_decay_factor": inferred(1.0, interval=(0.9999, 1.0))}
    some = {"weight_decay_factor": inferred(0.98, interval=(0.97, 0.99))}
    assert facts(read=none).facts["weight_decay"].source == "inferred"
    found = facts(read=some)
    assert (found.facts["weight_decay"].source, found.recipe.weight_decay) == ("assumed", 0.0)
    assert shrink(Delta(facts=some), found.facts) == 0.98
    assert shrink(Delta(facts=none), facts(read=none).facts) == 1.0
    assert shrink(Delta(), facts().facts) == 1.0
    assert shrink(Delta(facts=some), facts(weight_decay=0.1).facts) == 1.0
    assert shrink(Delta(facts=some), facts(weight_decay=0.0).facts) == 1.0
    fact = decay_of(0.98, 0.5)
    assert fact.value == pytest.approx(0.0404, rel=1e-2)
    assert (fact.source, fact.confidence) == ("inferred", 0.5)


def test_decay_of_weights_without_a_gradient_tells_adamw_from_adam():
    some = {"weight_decay_factor": inferred(0.98, interval=(0.97, 0.99)), "optimizer": inferred("adam")}
    assert facts(read=some).recipe.optimizer == "adamw"
    assert facts(read={"optimizer": inferred("adam")}).recipe.optimizer == "adam"
    assert facts(read=some, optimizer="adam").recipe.optimizer == "adam"
    assert facts(read={**some, "optimizer": inferred("sgd")}).recipe.optimizer == "sgd"


def test_a_momentum_that_was_given_means_sgd():
    found = facts(read={"optimizer": inferred("adam")}, momentum=0.9)
    assert (found.recipe.optimizer, found.recipe.momentum) == ("sgd", 0.9)
    assert found.facts["optimizer"].evidence == "a momentum was given"


def test_a_training_too_long_to_simulate_is_refused():
    with pytest.raises(RecipeError, match="100,001 steps"):
        facts(size=1, epochs=100_001)
    with pytest.raises(RecipeError, match="inferred"):
        facts(size=4, read={"steps": inferred(10**8)})


def test_labels_of_the_data_and_counts():
    data = labelled(1, 3, 3, 9)
    counts = (0, 1, 0, 2, 0, 0, 0, 0, 0, 1)
    found = facts(data=data, labels="data")
    assert found.recipe.labels == counts
    assert (found.facts["labels"].source, found.facts["labels"].evidence) == ("given", "the labels of --data")
    assert facts(size=4, labels="1:1,3:2,9:1").recipe.labels == counts
    assert facts(size=4, labels="3:1,9:1,3:1,1:1").recipe.labels == counts
    assert facts(size=4).recipe.labels is None
    assert facts(data=data).recipe.labels is None


@pytest.mark.parametrize(
    "text", ["", "1", "1:", ":2", "a:1", "1:b", "-1:4", "0:-4", "10:4", "1:4;2:0", "0:5", "0:1,1:1", "1:1e9", "0:4,,"]
)
def test_labels_that_do_not_fit(text):
    with pytest.raises(RecipeError, match="--labels") as error:
        facts(size=4, labels=text)
    assert "\n" not in str(error.value)


def test_labels_that_cannot_be_had(filed):
    with pytest.raises(RecipeError, match="--labels data"):
        facts(labels="data")
    with pytest.raises(RecipeError, match="--labels data"):
        facts(data=labelled(-1, -1), labels="data")
    with pytest.raises(RecipeError, match="--labels"):
        facts(data=labelled(1, 2), labels="data", size=3)
    with pytest.raises(RecipeError, match="--labels"):
        facts(data=labelled(10, 2), labels="data")
    with pytest.raises(RecipeError, match="--labels"):
        facts(recipe=filed("size = 3\nlabels = [1, 2]"))


def test_the_loss_is_given_or_read_off_the_head():
    assert (facts().recipe.loss, facts().facts["loss"].source) == ("cross-entropy", "assumed")
    read = {"loss": inferred("bce")}
    assert facts(read=read).recipe.loss == "bce"
    assert facts(read=read).facts["loss"].option == "--loss"
    assert facts(read=read, loss="mse").recipe.loss == "mse"


def test_label_smoothing_is_of_cross_entropy():
    with pytest.raises(RecipeError, match="--label-smoothing is of cross-entropy; --loss is mse"):
        check(ScanRequest("a.pt", "b.pt", loss="mse", label_smoothing=0.1))


def test_versions_are_given_or_one_and_only_of_images(filed):
    assert (facts().recipe.views, facts().facts["views"].source) == (1, "assumed")
    assert facts(views=8).recipe.views == 8
    assert facts(recipe=filed("views = 4")).recipe.views == 4
    with pytest.raises(RecipeError, match="--views 65 is out of range"):
        check(ScanRequest("a.pt", "b.pt", views=65))
    texts = dataclasses.replace(network(), medium="text")
    assert "views" not in facts(architecture=texts).facts
    assert facts(architecture=texts).recipe.views == 1
    with pytest.raises(RecipeError, match="--views 8 is of images; these records are not"):
        facts(architecture=texts, views=8)


def test_batch_norm_is_given_or_read_off_the_statistics():
    absent = facts().facts["batch_norm"]
    assert (absent.value, absent.source, absent.confidence) == ("eval", "inferred", 1.0)
    read = {"batch_norm": inferred("train")}
    found = facts(read=read).facts["batch_norm"]
    assert (found.value, found.source, found.option) == ("train", "inferred", "--batch-norm")
    assert facts(read=read, batch_norm="eval").recipe.batch_norm == "eval"


def test_image_size_says_where_it_comes_from():
    assert facts().facts["image_size"].source == "inferred"
    assert facts(architecture=network(assumed=["image_size"])).facts["image_size"].source == "assumed"


def test_normalisations():
    scale, facts = normalisation(None, network())
    fact = facts["normalise"]
    assert (fact.value, fact.source) == ("cifar10", "assumed")
    assert normalisation(None, network((3, 64, 64)))[1]["normalise"].value == "imagenet"
    assert normalisation(None, network((1, 28, 28)))[1]["normalise"].value == "half"
    pixels = torch.rand(2, 3, 4, 4)
    assert torch.allclose(scale.to_pixels(scale.from_pixels(pixels)), pixels, atol=1e-6)
    numbers, facts = normalisation("0.1,0.2,0.3;0.5", network())
    assert (numbers.mean, numbers.std, facts["normalise"].source) == ((0.1, 0.2, 0.3), (0.5,), "given")


def test_a_network_of_sentences_has_no_normalisation():
    sentences = dataclasses.replace(network(), medium="text", shape=(16, 32))
    assert normalisation(None, sentences)[1] == {}
    with pytest.raises(RecipeError, match="is for images"):
        normalisation("half", sentences)


@pytest.mark.parametrize("text", ["cifar", "0.1", "0.1;0", "0.1,0.2;1,1", "a;b", "0.1;nan"])
def test_wrong_normalisations(text):
    with pytest.raises(RecipeError, match="--normalise"):
        normalisation(text, network())


def test_devices():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda")
    for text in ("gpu", "cuda:x", "cpu:1", "cuda:99"):
        with pytest.raises(DeviceError, match=text):
            pick_device(text)
