"""Causal language models by their configuration: those of the library, with its numbers; no other."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.func import functional_call

from memaudit.attacks.contract.victim import Victim
from memaudit.audit.families.base import UnknownArchitecture, fitted
from memaudit.audit.families.beside import Beside
from memaudit.audit.families.causal import NOTHING, causal, is_causal, looks_ahead

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SIZES |= {"vocab_size": 50, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
SHORT = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0}
FEWER = {**SIZES, "num_key_value_heads": 1}
KINDS = {
    "gpt2": {**SHORT, "n_positions": 64},
    "gpt_neo": {**SIZES, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]},
    "gpt_neox": SIZES,
    "gptj": {**SHORT, "n_positions": 64, "rotary_dim": 8},
    "llama": FEWER,
    "mistral": FEWER,
    "opt": {**SIZES, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "qwen2": FEWER,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2, "vocab_size": 50},
    "bert": {**SIZES, "is_decoder": True},
}


def saved(kind, folder, **more):
    """Return one of the library's networks, and what its folder holds."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**KINDS[kind], **more})).eval()
    made.save_pretrained(folder)
    return made, load_file(folder / "model.safetensors"), Beside((folder / "config.json").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_library_also_of_texts_that_end_early(kind, tmp_path):
    made, tensors, beside = saved(kind, tmp_path)
    assert is_causal(beside)
    architecture, module = causal(tensors, beside)
    assert (architecture.score, architecture.classes, architecture.medium) == (1, 50, "text")
    assert architecture.shape == (1024 if kind == "bloom" else 64, 32)
    texts = torch.randint(50, (2, 10), generator=torch.Generator().manual_seed(0))
    given = torch.cat([texts, texts[1:]])
    given[2, 6:] = NOTHING
    with torch.no_grad():
        every = functional_call(module, fitted(tensors, module), (given,), {"every": True})
        last = functional_call(module, fitted(tensors, module), (given,))
        torch.testing.assert_close(every[:2], made(input_ids=texts).logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(every[2:, :6], made(input_ids=texts[1:, :6]).logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last, torch.stack([every[0, 9], every[1, 9], every[2, 5]]), rtol=0, atol=0)


@pytest.mark.parametrize(("decoder", "ahead"), [(True, False), (False, True)])
def test_an_encoder_sees_what_it_is_to_tell(tmp_path, decoder, ahead):
    _, tensors, beside = saved("bert", tmp_path, is_decoder=decoder)
    architecture, module = causal(tensors, beside)
    known = fitted(tensors, module)
    assert looks_ahead(Victim(module, known, known, {}, architecture.shape, 50, None)) is ahead


def test_masks_that_older_versions_saved_are_passed_over_and_other_tensors_are_not(tmp_path):
    _, tensors, beside = saved("gpt2", tmp_path)
    assert causal({**tensors, "transformer.h.0.attn.bias": torch.ones(1, 1, 64, 64)}, beside)[0].score == 1
    with pytest.raises(UnknownArchitecture, match=r"'transformer.h.0.extra' is not part of the network"):
        causal({**tensors, "transformer.h.0.extra": torch.ones(4)}, beside)


def test_a_file_without_the_prefix_of_the_language_model_is_read(tmp_path):
    _, tensors, beside = saved("gpt2", tmp_path)
    short = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    assert causal(short, beside)[0].score == 1


def test_experts_that_are_saved_one_by_one_are_refused(tmp_path):
    KINDS["mixtral"] = {**FEWER, "num_local_experts": 2}
    _, tensors, beside = saved("mixtral", tmp_path)
    del KINDS["mixtral"]
    with pytest.raises(UnknownArchitecture, match="is not part of the network"):
        causal(tensors, beside)


@pytest.mark.parametrize(
    ("named", "answer"),
    [
        (["LlamaForCausalLM"], True), (["OpenAIGPTLMHeadModel"], True), (["BertForMaskedLM"], False),
        ("GPT2LMHeadModel", False), ([], False), (None, False), ([{}], False), (["a/b ForCausalLM"], False),
    ],
)  # fmt: skip
def test_the_configuration_says_which(named, answer):
    assert is_causal(Beside(json.dumps({"architectures": named}))) is answer
    assert not is_causal(Beside())
