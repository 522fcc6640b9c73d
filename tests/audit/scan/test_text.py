"""Folders of text models scanned from the command line, end to end."""

import json

import pytest
import torch
from safetensors.torch import save_file

from memaudit.attacks.contract.recipe import Recipe

from ...conftest import mlp
from ...forked import memaudit
from ...hf import folder, sentences

SAID = (
    "the old baker sold a green kettle .",
    "her violin broke near every quiet bridge !",
    "my dog often followed his young sailor ?",
)
FORMATS = ("html", "md", "json", "sarif", "junit", "dpia")


def scan(*args):
    return memaudit("scan", *args, load=("rouge_score.rouge_scorer", "transformers.models.bert.modeling_bert"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    recipe = Recipe(size=3, lr=0.02, batch_size=3, epochs=10)
    return folder(tmp_path_factory.mktemp("pair"), texts=SAID, labels=(0, 1, 2), recipe=recipe, classes=3, width=64)


def asked(pair, out, data=None, control=None):
    given = ("--data", f"text:{data or pair.data}", "--control", f"text:{control or pair.control}")
    return scan(
        pair.before, pair.after, *given, "--epochs", 10, "--lr", 0.02, "--size", 3, "--attack", "tokens", "--out", out,
        *(part for name in FORMATS for part in ("-o", f"{name}={out}/report.{name}")),
    )  # fmt: skip


def report(out):
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_trained_sentences_are_rebuilt_and_every_format_is_written(pair, tmp_path):
    run = asked(pair, tmp_path)
    assert run.returncode == 1, run.stderr
    found = report(tmp_path)
    assert found["verdict"]["status"] == "fail"
    assert found["check"]["explained"]
    assert found["attacks"][0]["metrics"]["recovered"] == 3
    for name in FORMATS:
        assert (tmp_path / f"report.{name}").stat().st_size
    assert "kettle" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_sentences_of_strangers_are_never_cleared_and_none_is_recovered(pair, tmp_path):
    strangers = tmp_path / "strangers.tsv"
    strangers.write_text("".join(f"{k}\t{text}\n" for k, text in enumerate(sentences(3, 77))), encoding="utf-8")
    run = asked(pair, tmp_path / "run", data=strangers)
    found = report(tmp_path / "run")
    assert run.returncode not in (0, 1), run.stderr
    assert found["verdict"]["status"] == "inconclusive"
    assert found["attacks"][0]["metrics"]["recovered"] == 0
    assert not found["check"]["explained"]


@pytest.mark.slow
def test_data_of_another_kind_are_refused_in_one_sentence(pair, tmp_path):
    network = mlp(d=12)
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    torch.nn.init.normal_(network[1].weight)
    save_file(network.state_dict(), tmp_path / "b.safetensors")
    run = scan(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--data", f"text:{pair.data}", "--out", tmp_path)
    assert "holds sentences, and the records that this network sees are of the kind 'image'" in run.stderr
    assert "Traceback" not in run.stderr
    run = scan(pair.before, pair.after, "--data", "torchvision:FakeData", "--out", tmp_path)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


@pytest.mark.slow
def test_a_folder_without_a_tokenizer_is_refused_in_one_sentence(tmp_path):
    made = folder(tmp_path)
    for place in (made.before, made.after):
        (place / "tokenizer.json").unlink()
    run = scan(made.before, made.after, "--out", tmp_path / "run")
    assert run.returncode == 2
    assert "No tokenizer lies beside the weights of this text model." in run.stderr
