"""Pairs as libraries and their users write them, each inspected from its files, and the likes of each."""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed import checkpoint as dcp

from memaudit.audit.checkpoints.pair import CheckpointError, read_pair
from memaudit.audit.tasks.inspect import inspect

State = dict[str, Tensor]
MINILM = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "weights" / "minilm-l6-fp16"


def resnet(classes: int = 10, dropout: bool = False) -> State:
    from torchvision.models.resnet import BasicBlock, ResNet

    torch.manual_seed(0)
    network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=classes)
    if dropout:
        network.fc = nn.Sequential(nn.Dropout(), nn.Linear(512, 2))
    return network.state_dict()


def mlp() -> State:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 20), nn.ReLU(), nn.Linear(20, 10)).state_dict()


def tuned(state: State) -> State:
    """The state after a training, as far as it concerns a reader of files: everything moved a little."""
    torch.manual_seed(1)
    return {
        name: value + 0.01 * torch.randn_like(value) if value.is_floating_point() else value + 3
        for name, value in state.items()
    }


def under(prefix: str, state: State, **others: Tensor) -> State:
    return {prefix + name: value for name, value in state.items()} | others


def optimizer() -> Any:
    return torch.optim.SGD(nn.Linear(3, 2).parameters(), lr=0.01).state_dict()


def lightning(state: State, **others: Tensor) -> Any:
    """What Trainer.save_checkpoint writes."""
    return {
        "epoch": 3, "global_step": 3, "pytorch-lightning_version": "2.6.0",
        "state_dict": under("model.", state, **others),
        "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {}, "optimizer_states": [optimizer()],
        "hparams_name": "kwargs", "hyper_parameters": {"lr": 0.01},
    }  # fmt: skip


def timm(state: State) -> Any:
    args = argparse.Namespace(model="mlp", lr=0.01, opt="sgd", epochs=10, output=Path("out"))
    return {"epoch": 9, "arch": "mlp", "state_dict": state, "optimizer": optimizer(), "args": args, "metric": 1.0}


def torchvision_reference(state: State) -> Any:
    args = argparse.Namespace(model="mlp", lr=0.01)
    return {"model": state, "optimizer": optimizer(), "lr_scheduler": {"step_size": 30}, "epoch": 9, "args": args}


CRITERION = {"criterion.weight": torch.ones(10)}
RESNET, MLP = "ResNet-10, ImageNet stem", "MLP 48-20-10"

PAIRS: dict[str, tuple[Callable[[], tuple[Any, Any]], str]] = {
    "lightning": (lambda: (lightning(resnet(), **CRITERION), lightning(tuned(resnet()), **CRITERION)), RESNET),
    "lightning, plain before": (lambda: (resnet(), lightning(tuned(resnet()), **CRITERION)), RESNET),
    "lightning, another attribute": (
        lambda: (under("net.", mlp()), under("net.", tuned(mlp()), **{"train_acc.total": torch.ones(3)})), MLP),
    "opacus": (lambda: (mlp(), under("_module.", tuned(mlp()))), MLP),
    "opacus and DataParallel": (lambda: (under("_module.", mlp()), under("_module.module.", tuned(mlp()))), MLP),
    "DeepSpeed": (lambda: (mlp(), {"module": under("_forward_module.model.", tuned(mlp()))}), MLP),
    "compiled within": (lambda: (under("net.", mlp()), under("net._orig_mod.", tuned(mlp()))), MLP),
    "timm": (lambda: (mlp(), timm(tuned(mlp()))), MLP),
    "timm with averages": (lambda: (mlp(), timm(tuned(mlp())) | {"state_dict_ema": mlp()}), MLP),
    "torchvision's reference": (lambda: (mlp(), torchvision_reference(tuned(mlp()))), MLP),
    "own key": (lambda: ({"model_state": mlp(), "epoch": 0}, {"model_state": tuned(mlp()), "epoch": 9}), MLP),
    "own key, deep": (lambda: ({"run": {"best": {"w": mlp()}}}, tuned(mlp())), MLP),
    "parameters of the attribute's name": (lambda: (under("classifier.net.", mlp()), under("net.", tuned(mlp()))), MLP),
    "head in a sequence": (lambda: (resnet(dropout=True), tuned(resnet(dropout=True))), RESNET),
    "head one deeper": (lambda: (resnet(), {n.replace("fc.", "fc.1."): v for n, v in tuned(resnet()).items()}), RESNET),
    "head swapped": (lambda: (resnet(1000), tuned(resnet(2))), RESNET),
    "head swapped for a sequence": (lambda: (resnet(1000), tuned(resnet(dropout=True))), RESNET),
    "wrong order": (lambda: (tuned(resnet()), resnet()), RESNET),
}  # fmt: skip

FRESH = {"head swapped": {"fc.weight", "fc.bias"}, "head swapped for a sequence": {"fc.1.weight", "fc.1.bias"}}


@pytest.mark.parametrize("what", PAIRS)
def test_pairs(tmp_path: Path, what: str) -> None:
    make, name = PAIRS[what]
    files = [str(tmp_path / f"{side}.pth.tar") for side in ("before", "after")]
    for file, content in zip(files, make(), strict=True):
        torch.save(content, file)
    assert read_pair(*files).fresh == FRESH.get(what, set())
    found = inspect(*files)
    assert (found["architecture"]["name"], found["architecture"]["score"]) == (name, 1)
    assert ("backwards" in found["delta"]) == (what == "wrong order")


def test_what_is_no_part_of_the_network_is_named(tmp_path: Path) -> None:
    torch.save(resnet(), tmp_path / "before.pt")
    torch.save(lightning(tuned(resnet()), **CRITERION), tmp_path / "after.ckpt")
    pair = read_pair(tmp_path / "before.pt", tmp_path / "after.ckpt")
    assert (pair.before.aside, pair.after.aside) == ((), ("criterion.weight",))


def test_a_lightning_pair_fits_the_users_network(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(48, 20), nn.ReLU(), nn.Linear(20, 10))\n"
    )
    for name, state in (("before.ckpt", mlp()), ("after.ckpt", tuned(mlp()))):
        torch.save(lightning(state, **CRITERION), tmp_path / name)
    found = inspect(*(str(tmp_path / name) for name in ("before.ckpt", "after.ckpt")), f"{tmp_path}/net.py:build")
    assert found["architecture"]["score"] == 1


def test_a_distributed_checkpoint_is_told_how_to_be_converted(tmp_path: Path) -> None:
    torch.save(mlp(), tmp_path / "before.pt")
    with warnings.catch_warnings(action="ignore"):
        dcp.save({"model": tuned(mlp())}, checkpoint_id=str(tmp_path / "pytorch_model_fsdp_0"), no_dist=True)
    with pytest.raises(CheckpointError, match=r"torch\.distributed\.checkpoint") as caught:
        inspect(str(tmp_path / "before.pt"), str(tmp_path / "pytorch_model_fsdp_0"))
    assert "dcp_to_torch" in caught.value.hint


@pytest.mark.skipif(not MINILM.exists(), reason="the data pack is absent")
@pytest.mark.parametrize("pooled", [True, False])
def test_a_sentence_classifier_made_from_a_published_base(tmp_path: Path, pooled: bool) -> None:
    base = load_file(MINILM / "model.safetensors")
    body = {name: value.float() for name, value in base.items() if pooled or not name.startswith("pooler.")}
    heads = {"classifier.weight": torch.randn(2, 384), "classifier.bias": torch.zeros(2)}
    floats = {name: value for name, value in body.items() if base[name].is_floating_point()}
    save_file(under("bert.", tuned(floats), **heads), tmp_path / "model.safetensors")
    pair = read_pair(MINILM, tmp_path)
    assert pair.fresh == heads.keys()
    assert len(pair.moved) == len(floats)
    poolers = () if pooled else ("pooler.dense.bias", "pooler.dense.weight")
    assert set(pair.dropped) >= set(poolers)
    assert torch.equal(pair.before.tensors["bert.embeddings.LayerNorm.bias"], body["embeddings.LayerNorm.bias"])
