"""Sentence classifiers as transformers computes them, and configurations that lie."""

import json
import time

import pytest
import torch

from memaudit.audit.checkpoints.pair import read_pair
from memaudit.audit.families.base import UnknownArchitecture, fitted
from memaudit.audit.families.beside import Beside, read_beside
from memaudit.audit.families.detect import detect
from memaudit.audit.families.transformer import Transformer

from ...hf import LENGTH, encoded, folder, network, sentences

KINDS = ["bert", "distilbert", "roberta", "electra"]


def beside_of(made) -> Beside:
    return Beside(made.config.to_json_string(use_diff=False))


def built(made):
    architecture = Transformer().recognise_folder(made.state_dict(), beside_of(made))
    assert architecture.score == 1
    return architecture, Transformer().build(architecture)


def called(made, module, x):
    return torch.func.functional_call(module, fitted(made.state_dict(), module), (x,))


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_transformers(kind):
    made = network(kind, classes=3)
    architecture, module = built(made)
    assert architecture.classes == 3
    assert architecture.shape == (LENGTH, 32)
    ids = encoded(sentences(5), kind)
    mask = (ids != made.config.pad_token_id).long()
    expected = made(input_ids=ids, attention_mask=mask).logits
    assert torch.allclose(called(made, module, ids.float()), expected, atol=1e-6)
    rows = made.get_input_embeddings()(ids) * mask[..., None]
    assert torch.allclose(called(made, module, rows), expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_in_the_middle_is_not_attended_to(kind):
    made = network(kind)
    _, module = built(made)
    ids = encoded(sentences(3), kind)
    ids[:, 3] = made.config.pad_token_id
    mask = (ids != made.config.pad_token_id).long()
    first = 2 if kind == "roberta" else 0
    places = {} if kind == "distilbert" else {"position_ids": torch.arange(first, first + LENGTH).expand(ids.shape)}
    others = torch.where(mask.bool(), ids, 5)
    expected = made(input_ids=others, attention_mask=mask, **places).logits
    assert torch.allclose(called(made, module, ids.float()), expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives(kind):
    made = network(kind)
    _, module = built(made)
    x = made.get_input_embeddings()(encoded(sentences(2), kind)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(called(made, module, x).square().sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.square().sum(), x)
    assert bend.abs().sum() > 0


def test_buffers_of_old_versions_are_no_tensors_of_another_network():
    made = network()
    tensors = {**made.state_dict(), "bert.embeddings.position_ids": torch.arange(LENGTH)[None]}
    assert Transformer().recognise_folder(tensors, beside_of(made)).score == 1


def test_a_base_network_is_no_classifier():
    made = network()
    assert Transformer().recognise_folder(made.bert.state_dict(), beside_of(made)) is None


def test_the_start_may_be_the_base_network(tmp_path):
    found = folder(tmp_path, base=True)
    pair = read_pair(found.before, found.after)
    assert pair.fresh == {"classifier.weight", "classifier.bias"}
    architecture, _ = detect(pair.after.tensors, beside=read_beside(str(found.after)))
    assert architecture.name == "bert, 2 layers x 32, sequence classifier"


def changed(**settings) -> tuple[object, Beside]:
    made = network()
    return made, Beside(json.dumps({**json.loads(beside_of(made).config), **settings}))


@pytest.mark.parametrize(
    "settings",
    [
        {"auto_map": {"AutoModelForSequenceClassification": "evil--code.Network"}, "trust_remote_code": True},
        {"return_dict": False, "output_attentions": True},
        {"torchscript": True},
        {"dtype": "banana"},
        {"torch_dtype": "float16"},
        {"quantization_config": {"quant_method": "gptq"}},
        {"pruned_heads": {"0": [0]}},
        {"attn_implementation": "flash_attention_2", "_attn_implementation": "flash_attention_2"},
        {"architectures": ["Evil"], "id2label": {"0": "<script>"}, "num_labels": 10**9, "_name_or_path": "https://x"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_that_change_nothing(settings):
    made, beside = changed(**settings)
    architecture = Transformer().recognise_folder(made.state_dict(), beside)
    assert architecture.score == 1
    ids = encoded(sentences(2))
    expected = made(input_ids=ids, attention_mask=(ids != 0).long()).logits
    assert torch.allclose(called(made, Transformer().build(architecture), ids.float()), expected, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_hidden_layers": 10**6},
        {"num_hidden_layers": 10**400},
        {"num_hidden_layers": -1},
        {"num_hidden_layers": "2"},
        {"hidden_size": 10**9},
        {"hidden_size": 10**30},
        {"vocab_size": 10**12},
        {"intermediate_size": 10**9},
        {"max_position_embeddings": 10**9},
        {"num_attention_heads": 10**9},
        {"num_attention_heads": 0},
        {"pad_token_id": 10**9},
        {"pad_token_id": -1},
        {"pad_token_id": [3]},
        {"hidden_act": "evil"},
        {"model_type": "gpt2"},
        {"model_type": ["bert"]},
        {"model_type": {"bert": 1}},
        {"model_type": None},
    ],
    ids=lambda settings: "-".join(str(part)[:12] for pair in settings.items() for part in pair),
)
def test_absurd_settings_are_refused_at_once_in_one_sentence(settings):
    made, beside = changed(**settings)
    began = time.process_time()
    with pytest.raises(UnknownArchitecture) as refusal:
        detect(made.state_dict(), beside=beside)
    assert time.process_time() - began < 20
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("config", ["", "no JSON", "[]", '"bert"'])
def test_no_configuration_is_not_recognised(config):
    with pytest.raises(UnknownArchitecture, match="resembles no known model family"):
        detect(network().state_dict(), beside=Beside(config))


def test_a_refusal_says_why():
    made, beside = changed(num_hidden_layers=10**6)
    with pytest.raises(UnknownArchitecture) as refusal:
        detect(made.state_dict(), beside=beside)
    assert "num_hidden_layers is 1000000 in config.json" in refusal.value.hint
