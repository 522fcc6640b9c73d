"""The recipe file: what is written comes back, and no file breaks the reader."""

import sys
import tomllib

import pytest

from memaudit.audit.cli.main import main
from memaudit.audit.recipe import file as recipe_file
from memaudit.audit.recipe.file import RecipeFileError, dump, load
from memaudit.audit.report.facts import Fact

WHOLE = {
    "optimizer": "adamw", "lr": 1.5e-5, "batch_size": 8, "epochs": 3, "momentum": 0.9, "nesterov": True,
    "weight_decay": 0.01, "schedule": "cosine", "warmup": 4, "clip": 1.0, "batch_norm": "train", "size": 20,
    "labels": [4, 0, 16], "beta1": 0.85, "beta2": 0.98, "eps": 1e-7, "dampening": 0.0,
    "loss": "bce", "label_smoothing": 0.1, "views": 8,
}  # fmt: skip


def given(**values):
    return {name: Fact(value=value, source="given") for name, value in values.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recipe.toml"


def test_every_field_comes_back(path):
    assert WHOLE.keys() == set(recipe_file.FILED)
    path.write_text(dump(given(**WHOLE)))
    found = load(path)
    assert found == WHOLE
    assert {name: type(value) for name, value in found.items()} == {name: type(WHOLE[name]) for name in WHOLE}


@pytest.mark.parametrize("value", [1.0, 0.1, 1e-12, 123456.0, 1e6, 0.0123456, 3e-4])
def test_numbers_come_back_to_six_digits(path, value):
    path.write_text(dump(given(lr=value)))
    assert load(path)["lr"] == pytest.approx(value, rel=1e-5)


def test_the_comment_says_where_a_value_comes_from():
    fact = Fact(value=0.1, source="inferred", confidence=0.8, interval=(0.08, 0.125), evidence="seven candidates")
    line = dump({"lr": fact}).splitlines()[-1]
    assert line == "lr = 0.1  # inferred, confidence 80% between 0.08 and 0.125, seven candidates"
    assert dump(given(epochs=3)).splitlines()[-1] == "epochs = 3  # given"
    assert "between" not in dump({"lr": fact.model_copy(update={"interval": (None, 0.2)})})


def test_guessed_labels_are_commented_out_and_given_ones_are_not(path):
    fact = Fact(value=[2, 2], source="inferred", confidence=0.3)
    path.write_text(dump({"size": Fact(value=4, source="given"), "labels": fact}))
    assert load(path) == {"size": 4}
    assert "# labels = [2, 2]" in path.read_text()
    path.write_text(dump(given(labels=[2, 2])))
    assert load(path) == {"labels": [2, 2]}


@pytest.mark.parametrize(
    "evidence",
    [
        "one\ntwo = 3",
        "a\r\nlr = 9",
        "\x00\x1b[31mred\x07",
        "\u2028size = 7",
        "\x85size = 7",
        '"""',
        "é\ud800",
        "x" * 999,
    ],
)
def test_any_evidence_stays_one_comment(path, evidence):
    fact = Fact.model_construct(value=0.1, source="inferred", evidence=evidence, confidence=None, interval=None)
    path.write_text(dump({"lr": fact}), encoding="utf-8")
    assert load(path) == {"lr": 0.1}
    assert len(path.read_text().splitlines()) == 3
    assert max(map(len, path.read_text().splitlines())) < 200
    assert "\x1b" not in path.read_text()


def test_what_is_assumed_is_commented_out(path):
    path.write_text(dump({"epochs": Fact(value=20, source="assumed", evidence="as usual"), **given(size=4)}))
    assert load(path) == {"size": 4}
    assert "# epochs = 20  # assumed, as usual" in path.read_text()


def test_what_a_scan_does_not_take_or_nobody_knows_is_left_out():
    facts = {**given(image_size=32, normalise="half"), "lr": Fact(value=None, source="assumed")}
    assert tomllib.loads(dump(facts)) == {"recipe": {}}


HOSTILE = {
    "not toml": "hello, I am a recipe for soup",
    "not text": b"\xff\xfe\x00",
    "a pickle": b"\x80\x04\x95cos\nsystem\n",
    "nested": "[recipe]\nlabels = " + "[" * 100_000,
    "long number": "[recipe]\nsize = " + "9" * 5000,
    "long hexadecimal number": "[recipe]\nsize = 0x" + "f" * 9000,
    "long number in labels": "[recipe]\nlabels = [0x" + "f" * 9000 + "]",
    "no table": "lr = 0.1",
    "recipe is no table": "recipe = 3",
    "recipe is an array": "[[recipe]]\nlr = 0.1",
    "unknown field": "[recipe]\nlearning_rate = 0.1",
    "long unknown field": "[recipe]\n" + "x" * 10**5 + " = 1",
    "unknown field with newline": '[recipe]\n"a\\nb" = 1',
    "text for a number": '[recipe]\nlr = "0.1"',
    "number for a word": "[recipe]\noptimizer = 1",
    "truth for a number": "[recipe]\nlr = true",
    "number for a truth": "[recipe]\nnesterov = 1",
    "fraction for a count": "[recipe]\nepochs = 2.5",
    "date": "[recipe]\nlr = 2020-01-01",
    "table for a number": "[recipe.lr]\nvalue = 1",
    "unknown word": '[recipe]\noptimizer = "lamb"',
    "word over two lines": '[recipe]\nschedule = "a\\nb\\u001b[31m"',
    "not a number": "[recipe]\nlr = nan",
    "infinite": "[recipe]\nlr = inf",
    "negative": "[recipe]\nlr = -0.1",
    "zero rate": "[recipe]\nlr = 0.0",
    "momentum one": "[recipe]\nmomentum = 1.0",
    "zero size": "[recipe]\nsize = 0",
    "huge size": "[recipe]\nsize = 1000000000000",
    "negative labels": "[recipe]\nlabels = [1, -1]",
    "labels in words": '[recipe]\nlabels = ["a"]',
    "labels of fractions": "[recipe]\nlabels = [0.5]",
    "labels of truths": "[recipe]\nlabels = [true]",
    "two MiB": "#" * 2**21 + "\n[recipe]\nlr = 0.1",
    "missing": None,
    "directory": ...,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_in_one_sentence(path, monkeypatch, capfd, content):
    if content is ...:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RecipeFileError) as error:
        load(path)
    said = str(error.value)
    assert str(path) in said
    assert len(said) < len(str(path)) + 600
    assert said.isprintable()

    monkeypatch.setattr(sys, "argv", ["memaudit", "infer", *pair(path.parent), "--recipe", str(path)])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capfd.readouterr()
    assert stop.value.code == 2, err
    assert out == ""
    complaints = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(complaints) == 1, err
    assert "This is a bug" not in err


def pair(folder):
    import torch
    from safetensors.torch import save_file
    from torch import nn

    net = nn.Sequential(nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 4))
    names = [str(folder / name) for name in ("a.safetensors", "b.safetensors")]
    save_file(net.state_dict(), names[0])
    save_file({name: value + 0.01 * torch.randn_like(value) for name, value in net.state_dict().items()}, names[1])
    return names
