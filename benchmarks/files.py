"""Which files of real libraries are recognised: ``python -m benchmarks.files [PAIR ...]``.

A pair is a small network before and after two steps of SGD, saved by a library itself or as its users do. What
``inspect`` says of it goes to ``benchmarks/results/files.json`` as ``now``; ``before`` is what it said when this was
first measured, empty for pairs that came later. A pair whose library is not installed is left as it is. ``--table``
prints the file.
"""

import argparse
import importlib
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from memaudit import MemauditError
from memaudit.audit.tasks.inspect import inspect

from .paper_table import load

RESULTS = Path(__file__).parent / "results" / "files.json"
VIT: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
BERT: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 64,
}  # fmt: skip
DISTILBERT: dict[str, Any] = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "vocab_size": 64}
CONV: dict[str, Any] = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}

Pair = tuple[Path, Path]


class Missing(Exception):
    """A library is not installed."""


def library(name: str) -> Any:
    """Return a library. Raises :class:`Missing`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(str(error)) from None


class Plain(NamedTuple):
    """A pair of state dicts in torch files: how the network is made, its images, and what the second file has it in."""

    make: Callable[[], nn.Module]
    side: int = 64
    channels: int = 3
    wrap: Callable[[nn.Module], Any] = nn.Module.state_dict

    def __call__(self, folder: Path) -> Pair:
        """Write it."""
        network, paths = self.make(), (folder / "before.pt", folder / "after.pt")
        torch.save(network.state_dict(), paths[0])
        trained(network, torch.randn(2, self.channels, self.side, self.side))
        torch.save(self.wrap(network), paths[1])
        return paths


def trained(network: nn.Module, given: Tensor) -> nn.Module:
    """Return a network after two steps on two records of classes 0 and 1."""
    optimizer = torch.optim.SGD([value for value in network.parameters() if value.requires_grad], lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        found = network.eval()(given)
        if not isinstance(found, Tensor):
            found = found["out"].mean((2, 3)) if "out" in found else found.logits
        cross_entropy(found, torch.arange(2)).backward()
        optimizer.step()
    return network


def _torchvision(name: str, **options: Any) -> nn.Module:
    module: nn.Module = library("torchvision.models").get_model(name, weights=None, num_classes=3, **options)
    return module


def _timm(name: str, **options: Any) -> nn.Module:
    module: nn.Module = library("timm").create_model(name, num_classes=3, **options)
    return module


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 32), nn.ReLU(), nn.Linear(32, 3))


def _vit() -> nn.Module:
    module: nn.Module = library("torchvision.models").VisionTransformer(32, 8, 2, 4, 64, 128, num_classes=3)
    return module


def _segmenting() -> nn.Module:
    module: nn.Module = library("torchvision.models.segmentation").fcn_resnet50(weights_backbone=None, num_classes=3)
    return module


def _monai() -> nn.Module:
    module: nn.Module = library("monai.networks.nets").DenseNet121(spatial_dims=2, in_channels=1, out_channels=3)
    return module


def _pytorchcv() -> nn.Module:
    module: nn.Module = library("pytorchcv.model_provider").get_model("resnet20_cifar10")
    return module


def _referenced(network: nn.Module) -> dict[str, Any]:
    args = argparse.Namespace(model="resnet18", lr=0.01, output_dir=Path("out"))
    return {"model": network.state_dict(), "lr_scheduler": {"step_size": 30}, "epoch": 1, "args": args}


def _learned(network: nn.Module) -> dict[str, Any]:
    return {"model": network.state_dict(), "opt": {"state": [], "hypers": []}}


def _wrapped(network: nn.Module) -> Any:
    return nn.DataParallel(torch.compile(network)).state_dict()  # type: ignore[arg-type]


def _private(network: nn.Module) -> Any:
    return library("opacus").GradSampleModule(network).state_dict()


def _swapped(folder: Path) -> Pair:
    network = library("torchvision.models").resnet18()
    torch.save(network.state_dict(), folder / "before.pt")
    network.fc = nn.Linear(512, 3)
    torch.save(trained(network, torch.randn(2, 3, 64, 64)).state_dict(), folder / "after.pt")
    return folder / "before.pt", folder / "after.pt"


def _folders(folder: Path, save: Callable[[Path], object], network: nn.Module, given: Tensor) -> Pair:
    for when in ("before", "after"):
        save(folder / when)
        trained(network, given)
    return folder / "before", folder / "after"


def _timm_train(folder: Path) -> Pair:
    network, args = _timm("vit_tiny_patch16_224", img_size=64), argparse.Namespace(model="vit_tiny_patch16_224")
    optimizer, saver = torch.optim.SGD(network.parameters(), lr=0.01), library("timm.utils").CheckpointSaver

    def save(place: Path) -> None:
        place.mkdir()
        saver(network, optimizer, args=args, checkpoint_dir=str(place)).save_checkpoint(0)

    pair = _folders(folder, save, network, torch.randn(2, 3, 64, 64))
    return pair[0] / "last.pth.tar", pair[1] / "last.pth.tar"


def _hf(kind: str, settings: dict[str, Any], folder: Path) -> Pair:
    transformers, texts = library("transformers"), "bert" in kind
    task = f"AutoModelFor{'Sequence' if texts else 'Image'}Classification"
    config = transformers.AutoConfig.for_model(kind, num_labels=3, **settings)
    config.architectures = ["DeiTForImageClassification"] if kind == "deit" else None  # it has two classes
    network = getattr(transformers, task).from_config(config)
    words = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{number}" for number in range(59))])

    def save(place: Path) -> None:
        network.save_pretrained(place)
        if texts:
            (place / "vocab.txt").write_text(words)

    return _folders(folder, save, network, torch.arange(10).view(2, 5) if texts else torch.randn(2, 3, 32, 32))


def _trainer(folder: Path) -> Pair:
    transformers = library("transformers")
    library("accelerate")  # the trainer needs it
    network = transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=3, **VIT))
    network.save_pretrained(folder / "before")
    rows = [{"pixel_values": torch.randn(3, 32, 32), "labels": label} for label in range(2)]
    options = {"max_steps": 2, "save_steps": 2, "report_to": [], "use_cpu": True, "disable_tqdm": True}
    asked = transformers.TrainingArguments(str(folder / "run"), **options)
    transformers.Trainer(network, asked, train_dataset=rows).train()
    return folder / "before", folder / "run" / "checkpoint-2"


def _peft(folder: Path) -> Pair:
    transformers, peft = library("transformers"), library("peft")
    network = transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=3, **VIT))
    network.save_pretrained(folder / "before")
    linear = [name for name, part in network.named_modules() if isinstance(part, nn.Linear) and "attention" in name]
    adapted = peft.get_peft_model(network, peft.LoraConfig(r=4, target_modules=linear))
    trained(adapted, torch.randn(2, 3, 32, 32))
    adapted.save_pretrained(folder / "after")
    return folder / "before", folder / "after"


def _accelerate(folder: Path) -> Pair:
    runner = library("accelerate").Accelerator(cpu=True)
    network = runner.prepare(_mlp())
    return _folders(folder, lambda place: runner.save_state(str(place)), network, torch.randn(2, 3, 32, 32))


def _distributed(folder: Path) -> Pair:
    network, checkpoint = _mlp(), library("torch.distributed.checkpoint")
    save = lambda place: checkpoint.save(network.state_dict(), checkpoint_id=place, no_dist=True)  # noqa: E731
    return _folders(folder, save, network, torch.randn(2, 3, 32, 32))


def _flower(folder: Path) -> Pair:
    network = _mlp()
    save = lambda place: np.savez(place, *(value.numpy() for value in network.state_dict().values()))  # noqa: E731
    before, after = _folders(folder, save, network, torch.randn(2, 3, 32, 32))
    return before.with_suffix(".npz"), after.with_suffix(".npz")


def _pickled(folder: Path) -> Pair:
    network = _mlp()
    return _folders(folder, lambda place: torch.save(network, place), network, torch.randn(2, 3, 32, 32))


_RESNET = partial(_torchvision, "resnet18")
_NETWORKS = (
    "convnext_tiny", "densenet121", "efficientnet_b0", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_y_400mf", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t",
)  # fmt: skip
PAIRS: dict[str, Callable[[Path], Pair]] = {
    **{f"tv_{name}": Plain(partial(_torchvision, name)) for name in _NETWORKS},
    "tv_references_resnet18": Plain(_RESNET, wrap=_referenced), "tv_resnet18_swapped_head": _swapped,
    "tv_resnet18_group_norm": Plain(partial(_RESNET, norm_layer=partial(nn.GroupNorm, 32))),
    "tv_vit_small": Plain(_vit, 32), "segmentation_fcn": Plain(_segmenting),
    **{f"timm_{name}": Plain(partial(_timm, name))
       for name in ("convnext_atto", "efficientnet_b0", "mobilenetv3_small_050", "resnet18", "resnet50_gn")},
    "timm_deit_tiny_patch16_224": Plain(partial(_timm, "deit_tiny_patch16_224", img_size=64)),
    "timm_train_vit": _timm_train,
    "hf_vit": partial(_hf, "vit", VIT), "hf_deit": partial(_hf, "deit", VIT),
    "hf_convnext": partial(_hf, "convnext", CONV), "hf_resnet": partial(_hf, "resnet", {**CONV, "embedding_size": 8}),
    "hf_bert": partial(_hf, "bert", BERT), "hf_distilbert": partial(_hf, "distilbert", DISTILBERT),
    "hf_trainer_vit": _trainer, "peft_vit": _peft,
    "accelerate_state": _accelerate, "compiled_ddp": Plain(_RESNET, wrap=_wrapped), "dcp_folder": _distributed,
    "fastai_save": Plain(_RESNET, wrap=_learned), "flower_npz": _flower, "whole_pickle": _pickled,
    "opacus_module": Plain(_mlp, 32, wrap=_private), "monai_densenet": Plain(_monai, channels=1),
    "pytorchcv_resnet20": Plain(_pytorchcv, 32),
}  # fmt: skip


def said(pair: Pair) -> str:
    """Return what ``inspect`` says of a pair in a few words."""
    try:
        found = inspect(*map(str, pair))
    except MemauditError as error:
        return "refused: " + re.split("[:,]", error.message.replace(f"{pair[0].parent}/", ""))[0]
    return found["architecture"]["name"] or "not recognised"


def table(rows: list[dict[str, str]]) -> str:
    """Return the results as Markdown, by name."""
    lines = [(_spelled(row["pair"]), row["before"], row["now"]) for row in rows]
    lines.sort(key=lambda line: line[0].lower())
    return "\n".join(f"| {' | '.join(line)} |" for line in (("pair", "before", "now"), ("---",) * 3, *lines))


def _spelled(pair: str) -> str:
    words = pair.replace("tv_", "torchvision_").replace("hf_", "Hugging Face_")
    return words.replace("_", " ")


def main(words: Sequence[str] | None = None) -> None:
    """Measure the pairs that were asked for, all by default, and write what is said of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", help=f"any of {list(PAIRS)}")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the results file as Markdown")
    asked = parser.parse_args(words)
    known = {row["pair"]: row for row in load(asked.results)} if asked.results.exists() else {}
    for name in () if asked.table else asked.pairs or PAIRS:
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as place:
            try:
                now = said(PAIRS[name](Path(place)))
            except Missing as error:
                print(f"{name}: left as it is ({error})", flush=True)
                continue
        known[name] = {"pair": name, "before": known.get(name, {}).get("before", ""), "now": now}
        asked.results.write_text(json.dumps([known[key] for key in sorted(known)], indent=1) + "\n")
        print(f"{name}: {now}", flush=True)
    if asked.table:
        print(table(list(known.values())))


if __name__ == "__main__":
    main()
