"""Adapters that the library PEFT itself saved compute here what they compute there; without the library, skipped."""

import warnings

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from memaudit.attacks.images.normalisation import PLAIN
from memaudit.audit.checkpoints.pair import read_pair
from memaudit.audit.checkpoints.weights import CheckpointError
from memaudit.audit.families.beside import NOTHING, read_beside
from memaudit.audit.families.lora import network
from memaudit.audit.families.media import medium_of
from memaudit.audit.families.victim import victim

from ... import hf

peft = pytest.importorskip("peft")

MLP = "nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))"
CONV = "nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(72, 3))"

CASES = {
    "layers": (MLP, 4, {"target_modules": ["1", "3"]}),
    "a pattern, and a head": (MLP, 4, {"target_modules": r"[13]", "modules_to_save": ["5"]}),
    "scaled by the root of the rank": (MLP, 4, {"target_modules": ["3"], "use_rslora": True}),
    "ranks and alphas of their own": (
        MLP, 4, {"target_modules": ["1", "3"], "rank_pattern": {"3": 2}, "alpha_pattern": {"1": 5}},
    ),
    "biases of adapted layers": (MLP, 4, {"target_modules": ["3"], "bias": "lora_only"}),
    "all biases": (MLP, 4, {"target_modules": ["3"], "bias": "all"}),
    "another start": (MLP, 4, {"target_modules": ["1"], "init_lora_weights": "gaussian"}),
    "convolutions": (CONV, 10, {"target_modules": ["0", "2", "4"]}),
}  # fmt: skip


def tuned(model, x, labels):
    optimizer = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        out = model(x) if x.is_floating_point() else model(input_ids=x, attention_mask=(x != 0).long()).logits
        nn.functional.cross_entropy(out, labels).backward()
        optimizer.step()


def wrapped(model, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=6, **more)).eval()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("safe", [True, False])
def test_networks_of_images(case, safe, tmp_path):
    code, side, more = CASES[case]
    (tmp_path / "net.py").write_text(f"from torch import nn\ndef make():\n    return {code}\n")
    made = eval(code, {"nn": nn})
    save_file(made.state_dict(), tmp_path / "base.safetensors")
    model, x = wrapped(made, **more), torch.randn(2, 3, side, side)
    tuned(model, x, torch.arange(2))
    model.save_pretrained(tmp_path / "adapter", safe_serialization=safe)
    pair = read_pair(tmp_path / "base.safetensors", tmp_path / "adapter")
    architecture, module = network(pair, f"{tmp_path / 'net.py'}:make", side)
    architecture, medium = medium_of(pair, architecture, module, NOTHING, PLAIN)
    subject = victim(pair, architecture, module, medium)
    with torch.no_grad():
        assert torch.allclose(subject.logits(subject.thetaf, x), model(x), atol=1e-6)
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    assert sum(value.numel() for value in subject.theta0.values()) == trained


@pytest.mark.parametrize("base", [False, True])
def test_networks_of_sentences(base, tmp_path):
    pair = hf.folder(tmp_path, base=base)
    made, ids = hf.network(), hf.encoded(hf.sentences(2))
    model = wrapped(made, task_type="SEQ_CLS", target_modules=["query", "value", "dense"])
    tuned(model, ids, torch.arange(2))
    model.save_pretrained(tmp_path / "adapter")
    found, beside = (
        read_pair(pair.before, tmp_path / "adapter"),
        read_beside(str(tmp_path / "adapter"), str(pair.before)),
    )
    assert found.fresh - found.starts == ({"classifier.weight", "classifier.bias"} if base else set())
    architecture, module = network(found, beside=beside)
    architecture, medium = medium_of(found, architecture, module, beside, PLAIN)
    subject = victim(found, architecture, module, medium)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
        assert torch.allclose(subject.logits(subject.thetaf, ids.float()), logits, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "more", "told"),
    [
        ("LoraConfig", {"use_dora": True}, "DoRA"),
        ("LoraConfig", {"init_lora_weights": "pissa"}, "pissa"),
        ("LoraConfig", {"init_lora_weights": False}, "init_lora_weights=False"),
        ("IA3Config", {"feedforward_modules": []}, "IA3"),
        ("AdaLoraConfig", {"total_step": 10}, "ADALORA"),
        ("LoHaConfig", {}, "LOHA"),
    ],
)
def test_other_kinds_are_told_by_name(kind, more, told, tmp_path):
    made = eval(MLP, {"nn": nn})
    save_file(made.state_dict(), tmp_path / "base.safetensors")
    peft.get_peft_model(made, getattr(peft, kind)(target_modules=["3"], **more)).save_pretrained(tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=told):
        read_pair(tmp_path / "base.safetensors", tmp_path / "adapter")
