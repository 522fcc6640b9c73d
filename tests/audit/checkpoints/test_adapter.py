"""Adapters are read with every name that PEFT gives their tensors, and each that cannot be is told why."""

import json
import math

import pytest
import torch

from memaudit.audit.checkpoints.adapter import CONFIG, adapter_file, holds_weights, read_adapter
from memaudit.audit.checkpoints.pair import read
from memaudit.audit.checkpoints.weights import CheckpointError

from ...adapters import config, save

A, B = torch.randn(4, 6), torch.randn(5, 4)
PLAIN = {"fc.lora_A.weight": A, "fc.lora_B.weight": B}


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_factors_scale_and_digest_are_read(tmp_path, ending):
    found = read_adapter(save(tmp_path / "a", PLAIN, ending=ending))
    assert found is not None
    parts = found.layers["fc"]
    assert torch.equal(parts.down, A)
    assert torch.equal(parts.up, B)
    assert (parts.scale, parts.shape, found.base) == (2.0, (5, 6), "somebody/base")
    assert found.format == f"adapter {'torch' if ending == 'bin' else 'safetensors'}"
    same = save(tmp_path / "b", PLAIN, config(lora_alpha=4), ending)
    assert read_adapter(same).sha256 != found.sha256  # the configuration decides what the network computes


def test_the_file_stands_for_its_folder(tmp_path):
    folder = save(tmp_path / "a", PLAIN)
    assert adapter_file(folder / "adapter_model.safetensors") == folder / "adapter_model.safetensors"
    (folder / CONFIG).unlink()
    assert adapter_file(folder) is adapter_file(folder / "adapter_model.safetensors") is None


def test_an_adapter_without_its_base_is_no_network(tmp_path):
    folder = save(tmp_path / "a", PLAIN)
    (folder / CONFIG).unlink()
    for path in (folder, folder / "adapter_model.safetensors"):
        with pytest.raises(CheckpointError, match="nothing but the factors of a LoRA adapter"):
            read(path)


def test_names_of_other_versions_and_whole_modules(tmp_path):
    head, bias = torch.randn(3, 5), torch.randn(5)
    named = {
        "fc.lora_A.default.weight": A, "fc.lora_B.default.weight": B, "fc.base_layer.bias": bias,
        "head.modules_to_save.default.weight": head, "head.original_module.weight": head + 1,
    }  # fmt: skip
    found = read_adapter(save(tmp_path, named))
    assert list(found.layers) == ["fc"]
    assert found.whole.keys() == {"fc.bias", "head.weight"}
    assert torch.equal(found.whole["head.weight"], head)
    assert found.stored.keys() == {"fc.lora_A.weight", "fc.lora_B.weight", "fc.bias", "head.weight"}


@pytest.mark.parametrize(
    ("more", "scale"),
    [
        ({}, 2.0),
        ({"use_rslora": True}, 8 / math.sqrt(4)),
        ({"alpha_pattern": {"fc": 3}}, 3 / 4),
        ({"alpha_pattern": {"^a.fc": 3}}, 3 / 4),
        ({"alpha_pattern": {"^fc": 3, "c": 5}}, 2.0),
        ({"r": 16, "rank_pattern": {"fc": 4}}, 2.0),
        ({"lora_alpha": 0.5}, 0.125),
    ],
)
def test_scales(tmp_path, more, scale):
    named = {f"a.{name}": value for name, value in PLAIN.items()}
    assert read_adapter(save(tmp_path, named, config(**more))).layers["a.fc"].scale == pytest.approx(scale)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"peft_type": "IA3"}, "'IA3'"),
        ({"peft_type": "PROMPT_TUNING"}, "'PROMPT_TUNING'"),
        ({"peft_type": "ADALORA"}, "'ADALORA'"),
        ({"peft_type": None}, "of no type"),
        ({"peft_type": ["LORA"]}, "LORA"),
        ({"use_dora": True}, "DoRA"),
        ({"lora_bias": True}, "lora_bias"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"init_lora_weights": "pissa"}, "'pissa'"),
        ({"init_lora_weights": False}, "init_lora_weights"),
        ({"r": 10**30}, "r is"),
        ({"r": "8"}, "r is"),
        ({"r": True}, "r is"),
        ({"r": float("nan")}, "r is"),
        ({"r": 8}, "rank 8"),
        ({"lora_alpha": 0}, "lora_alpha is"),
        ({"lora_alpha": -1.0}, "lora_alpha is"),
        ({"lora_alpha": {}}, "lora_alpha is"),
        ({"alpha_pattern": []}, None),
        ({"alpha_pattern": [1]}, "alpha_pattern is no mapping"),
        ({"alpha_pattern": {"(a+)+$": 1}}, "does not follow"),
        ({"rank_pattern": {"fc": "x"}}, "rank_pattern is"),
    ],
)
def test_hostile_and_other_configurations(tmp_path, more, told):
    folder = save(tmp_path, PLAIN, config(**more))
    if told is None:
        assert read_adapter(folder)
        return
    with pytest.raises(CheckpointError) as caught:
        read_adapter(folder)
    assert told in caught.value.message
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"fc.lora_A.weight": A}, "only lora_A of 'fc'"),
        (PLAIN | {"fc.lora_B.weight": torch.randn(5, 3)}, "do not fit"),
        (PLAIN | {"fc.lora_A.weight": torch.randn(4)}, "do not fit"),
        (PLAIN | {"fc.lora_A.weight": torch.ones(4, 6, dtype=torch.int64)}, "do not fit"),
        (PLAIN | {"fc.lora_A.other.weight": A}, "two adapters for 'fc'"),
        (PLAIN | {"fc.lora_magnitude_vector": B[0]}, "lora_magnitude_vector"),
        (PLAIN | {"emb.lora_embedding_A": A, "emb.lora_embedding_B": B}, "lora_embedding_A"),
        ({"head.weight": A}, "no lora_A"),
        (PLAIN | {"fc.lora_A.weight": torch.full((4, 6), math.nan)}, "NaN"),
    ],
)
def test_tensors_that_are_no_plain_adapter(tmp_path, tensors, told):
    with pytest.raises(CheckpointError, match=told):
        read_adapter(save(tmp_path, tensors))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10**5, '{"peft_type": "LORA"', "\x00"])
def test_damaged_configurations(tmp_path, text):
    folder = save(tmp_path, PLAIN)
    (folder / CONFIG).write_text(text)
    with pytest.raises(CheckpointError):
        read_adapter(folder)


def test_what_is_no_adapter(tmp_path):
    assert read_adapter(tmp_path) is None
    assert read_adapter(tmp_path / "absent") is None
    (tmp_path / CONFIG).write_text(json.dumps(config()))
    with pytest.raises(CheckpointError, match="not the adapter's weights"):
        read_adapter(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert holds_weights(tmp_path)
    assert read_adapter(tmp_path) is None
