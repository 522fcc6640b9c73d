"""What `cover` finds in deep networks: ``python -m benchmarks.cover [ROW ...] [--seeds N] [--set OPTION=VALUE]``.

A row is a victim, trained in plain PyTorch on the first images of a data pack. The attack knows how many images there
were and the kind of optimiser; no label, no learning rate, no batch. Beside each score stand those against images that
the victim never saw, and the attack's floor: its loss at the true images. With ``--strangers`` the victim is trained on
other images than those it is compared with. A finished row goes to ``benchmarks/results/cover.json`` and is not run
again; ``--table`` prints the file as Markdown.
"""

import argparse
import ast
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from memaudit.attacks.contract.attack import Reconstruction
from memaudit.attacks.contract.params import subtract
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.cover import Cover
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.attacks.optimise.optim import Adam
from memaudit.audit.data.base import TrainingSet
from memaudit.audit.machine.numerics import exact_numerics
from memaudit.audit.run.drive import drive
from memaudit.audit.scoring.image import Image
from memaudit.audit.scoring.match import match

from . import networks
from .paper import machine, pretrained
from .paper_table import WEIGHTS, load
from .victims import IMAGENET, SHARED, VictimSpec, resnet20, train

RESULTS = Path(__file__).parent / "results" / "cover.json"
LAYERS = "by count, more sought, place sought"
"""How layers are chosen, that more records are sought than there are, and where (docs/decisions/0012-cover.md).

Rows of narrow networks are also those of several searches, which others do not have.
"""

EARLIER = {"wide": "wider choice of layers", "by count": "no more sought", "by count, more sought": "half-way"}
"""What the table says of rows that were measured before, by their ``layers`` in the results file; the oldest first."""


def resnet18_tiny() -> nn.Module:
    """The pretrained ResNet-18 with a stem for 64 x 64 images: stride 2, so that its layers are as large as on 32."""
    network = pretrained(SHARED / "weights" / WEIGHTS)
    assert isinstance(network.conv1, nn.Conv2d)
    network.conv1.stride = (2, 2)
    return network


def resnet50() -> nn.Module:
    """ResNet-50 with a CIFAR stem, torchvision's initialisation: without batch statistics its training ends in NaN."""
    network = torchvision.models.resnet50(num_classes=10)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return network


def vgg11() -> nn.Module:
    """VGG-11 with batch norm for 32 x 32 images and one linear layer, torchvision's initialisation."""
    network = torchvision.models.vgg11_bn(num_classes=10)
    network.avgpool, network.classifier = nn.Identity(), nn.Linear(512, 10)
    return network


def resnet18() -> nn.Module:
    """The pretrained ResNet-18 with a fresh head."""
    return pretrained(SHARED / "weights" / WEIGHTS)


@dataclasses.dataclass(frozen=True)
class Row:
    """A victim: how it is trained, on which images, and how its files are rounded."""

    spec: VictimSpec
    pack: str = "cifar10-test"
    first: int = 0
    stored: torch.dtype | None = None


def _pretrained(n: int, epochs: int = 20, first: int = 0, **options: Any) -> Row:
    stored = options.pop("stored", None)
    spec = VictimSpec(resnet18, n, epochs, **{"batch_size": 20, **options})
    return Row(spec, first=first, stored=stored)


ROWS = {
    **{f"n{n}": _pretrained(n) for n in (20, 30, 40, 50, 60, 70, 80, 90, 100, 120, 250)},
    "n20-others": _pretrained(20, first=100),
    "n2": _pretrained(2, 4),
    "n20-momentum": _pretrained(20, momentum=0.9, weight_decay=5e-4),
    "n20-train-bn": _pretrained(20, batch_norm="train"),
    "n20-augmented": _pretrained(20, augmented=True),
    "n20-fp16": _pretrained(20, stored=torch.float16),
    "n20-bf16": _pretrained(20, stored=torch.bfloat16),
    "n20-adamw": _pretrained(20, 10, adamw=True, lr=1e-4),
    "svhn": dataclasses.replace(_pretrained(20), pack="svhn"),
    "tiny": Row(VictimSpec(resnet18_tiny, 10, 20), "tiny-imagenet"),
    "resnet50": Row(VictimSpec(resnet50, 20, 20, batch_size=20, batch_norm="train")),
    "vgg11": Row(VictimSpec(vgg11, 20, 20, batch_size=20)),
    "default-8": Row(VictimSpec(networks.resnet18, 8, 4, batch_size=4)),
    "resnet20-1": Row(VictimSpec(resnet20, 1, 4, scale=IMAGENET)),
    "resnet20-2": Row(VictimSpec(resnet20, 2, 4, scale=IMAGENET)),
    "resnet20-4": Row(VictimSpec(resnet20, 4, 4, scale=IMAGENET)),
    "conv": Row(VictimSpec(networks.conv, 20, 20)),
    "wide": Row(VictimSpec(networks.conv_wide, 20, 20, lr=0.05)),
}
"""The paper's fine-tunings of the pretrained ResNet-18, and what departs from them."""


@dataclasses.dataclass(frozen=True)
class Images10:
    """The images of a row: those it was trained on, and as many that it never saw."""

    pixels: Tensor
    labels: Tensor

    @classmethod
    def of(cls, row: Row, pack: Path) -> "Images10":
        """Read them; at most as many classes as the head has."""
        found = np.load(pack / f"{row.pack}.npz")
        labels = torch.from_numpy(found["labels"])
        kept = (labels < 10).nonzero().flatten()
        pixels = torch.from_numpy(found["images"]).permute(0, 3, 1, 2).float() / 255
        return cls(pixels[kept], labels[kept])

    def part(self, start: int, count: int) -> TrainingSet:
        """Return some of them, to compare with."""
        rows = slice(start, start + count)
        names = tuple(map(str, range(start, start + count)))
        return TrainingSet(self.pixels[rows], self.labels[rows], names, (), "", False)


def victim_of(row: Row, images: Images10, first: int, seed: int, device: str) -> Victim:
    """Train a row on the images from ``first`` on, and return it with the network on ``device``."""
    rows = slice(first, first + row.spec.size)
    before, after = train(row.spec, images.pixels[rows], images.labels[rows], seed, device)
    if row.stored:
        before, after = ({k: v.to(row.stored).to(v.dtype) for k, v in side.items()} for side in (before, after))
    torch.manual_seed(seed)
    module = row.spec.build().eval().to(device)
    names = {name for name, _ in module.named_parameters()}
    sides = [{name: value.to(device) for name, value in side.items()} for side in (before, after)]
    return Victim(
        module,
        theta0={name: value for name, value in sides[0].items() if name in names},
        thetaf={name: value for name, value in sides[1].items() if name in names},
        buffers={name: value for name, value in sides[0].items() if name not in names},
        shape=tuple(images.pixels.shape[1:]),
        classes=10,
        medium=Images(Normalisation(*row.spec.scale)),
    )


def measure(name: str, seed: int, settings: dict[str, Any], pack: Path, device: str, strangers: bool) -> dict[str, Any]:
    """Train a row's victim, attack it, and return the figures."""
    row = ROWS[name]
    spec, images = row.spec, Images10.of(ROWS[name], pack)
    n, away = spec.size, len(images.pixels) // 2
    with exact_numerics():
        victim = victim_of(row, images, row.first + away * strangers, seed, device)
        attack, count = Cover(**{k: v for k, v in settings.items() if k != "dummies"}), settings.get("dummies", n)
        optimizer = "adamw" if spec.adamw else "sgd"
        batch_norm = "train" if spec.batch_norm == "train" else "eval"
        recipe = Recipe(
            count, spec.lr, spec.batch_size or n, spec.epochs, optimizer=optimizer, batch_norm=batch_norm,
            momentum=spec.momentum, weight_decay=spec.weight_decay,
        )  # fmt: skip
        began = time.monotonic()
        outcome = drive(attack, victim, recipe, seed)
        seconds = time.monotonic() - began
        place = outcome.state.memory["place"]
        floor = floor_of(attack, victim, dataclasses.replace(recipe, size=n), images.pixels[row.first :][:n], place)
    found = outcome.reconstruction
    assert found is not None
    size = float(torch.cat([v.flatten() for v in subtract(victim.thetaf, victim.theta0).values()]).norm())
    return {
        **scores(found, images, row.first, n, Image(victim.medium)),
        "loss": round(found.loss, 5), "floor": round(floor, 5), "change": round(size, 4),
        "place": round(float(place), 3),
        "rehearsed": [round(part, 5) for part in outcome.state.memory["rehearsed"].tolist()],
        "seconds": round(seconds, 1), "peak_memory_bytes": outcome.peak_bytes, **machine(device),
    }  # fmt: skip


def floor_of(attack: Cover, victim: Victim, recipe: Recipe, pixels: Tensor, place: Tensor) -> float:
    """Return the attack's loss at the true images, at a place: far below it, an attack overfits."""
    state = dataclasses.replace(attack, parametrisation="pixels").init(victim, recipe, 0)
    x = victim.medium.encode(pixels.to(victim.like))
    moments = Adam(attack.step_size).start({"x": x})  # anew, as the search may begin with more images
    memory = {**state.memory, **moments, "place": place}
    return attack.step(victim, recipe, dataclasses.replace(state, variables={"x": x}, memory=memory)).loss


def scores(found: Reconstruction, images: Images10, first: int, n: int, kind: Image) -> dict[str, Any]:
    """Score a reconstruction; ``ssim_strangers`` is against as many images that the victim never saw."""
    found = dataclasses.replace(found, records=found.records.cpu(), inputs=found.inputs.cpu())
    away = (first + len(images.pixels) // 2) % (len(images.pixels) - n + 1)
    matching = match(found, images.part(first, n), kind, images.part(away if away != first else first + n, n))
    pairs = matching.matches
    right = sum(int(found.labels[pair.dummy]) == int(images.labels[first + pair.sample]) for pair in pairs)
    parts = {name: [pair.details[name] for pair in pairs] for name in ("ssim_paper", "psnr")}
    parts["ssim"] = [pair.similarity for pair in pairs]
    parts["ssim_strangers"] = list(matching.null.matched)
    means = {name: round(float(np.mean(part)), 4) for name, part in parts.items()}
    return {**means, "recovered": sum(pair.recovered for pair in pairs), "labels": right}


def main(words: Sequence[str] | None = None) -> None:
    """Measure the rows that were asked for, and replace their entries in the results file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"any of {list(ROWS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of victim and attack alike")
    parser.add_argument("--set", action="append", default=[], help="OPTION=VALUE of the attack, or dummies=M")
    parser.add_argument("--strangers", action="store_true", help="train on other images than are compared with")
    parser.add_argument("--data-pack", type=Path, default=SHARED, help="folder of the data pack")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the results file as Markdown")
    asked = parser.parse_args(words)
    settings = {name: _value(value) for name, _, value in (setting.partition("=") for setting in asked.set)}
    if asked.table:
        print(table(load(asked.results)))
    for name in asked.rows:
        for seed in asked.seeds:
            about = {"row": name, "seed": seed, "settings": settings, "strangers": asked.strangers, "layers": LAYERS}
            about["hardware"] = machine(asked.device)["hardware"]
            if any(all(old[key] == value for key, value in about.items()) for old in load(asked.results)):
                print(f"{name}, seed {seed}: measured before", flush=True)
                continue
            found = about | measure(name, seed, settings, asked.data_pack, asked.device, asked.strangers)
            asked.results.write_text(json.dumps([*load(asked.results), found], indent=1) + "\n")
            told = ("ssim", "ssim_paper", "ssim_strangers", "recovered", "labels", "loss", "floor", "seconds")
            print(f"{name}, seed {seed}:", ", ".join(f"{key} {found[key]}" for key in told), flush=True)


HEAD = (
    "row",
    "options",
    "seed",
    "audit",
    "paper mode",
    "strangers",
    "recovered",
    "labels",
    "loss",
    "floor",
    "time",
    "where",
)


def table(rows: list[dict[str, Any]]) -> str:
    """Return results as Markdown, in the order of :data:`ROWS`."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for row in sorted(rows, key=lambda row: (list(ROWS).index(row["row"]), str(row["settings"]), row["seed"])):
        options = [f"{name}={value}" for name, value in row["settings"].items()]
        options += ["strangers"] * row["strangers"] + [EARLIER[kind] for kind in [row["layers"]] if kind in EARLIER]
        where = "H100" if "H100" in row["hardware"] else row["hardware"].rpartition(", ")[2]
        size = ROWS[row["row"]].spec.size
        lines.append((
            row["row"], ", ".join(options), str(row["seed"]), f"{row['ssim']:.3f}", f"{row['ssim_paper']:.3f}",
            f"{row['ssim_strangers']:.3f}", f"{row['recovered']} of {size}", str(row["labels"]), f"{row['loss']:.4f}",
            f"{row['floor']:.4f}", f"{row['seconds']:.0f} s", where,
        ))  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()
