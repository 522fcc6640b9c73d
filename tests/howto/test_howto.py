"""The pages of docs/howto: every command on them is run, on files of that kind made small."""

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

from ..forked import memaudit

PAGES = Path(__file__).resolve().parents[2] / "docs" / "howto"
SMALL = {"MEMAUDIT_MAX_ITERATIONS": "2", "MEMAUDIT_POWER": "off", "MEMAUDIT_QUIET": "1"}
"""Settings that make each command short: what is held here is that it is understood, and ends with a verdict."""
LOADED = {"timm.md": ["timm"], "huggingface.md": ["transformers.models.vit.modeling_vit"]}
"""The libraries that commands of a page import."""
KNOWN = {"MEMAUDIT_LR": "0.01", "MEMAUDIT_EPOCHS": "2"}
"""What is searched for where it is not given: on a small ViT, by the page of Hugging Face."""


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (PAGES / page).read_text(), re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[list[str]]:
    """The words of every command of a page."""
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    assert all(line.startswith("$ memaudit ") for line in lines)
    return [shlex.split(line)[2:] for line in lines]


def pictures(count: int, side: int, channels: int = 3) -> np.ndarray:
    """Smooth pictures (count, side, side, channels), of which none is another."""
    coarse = torch.rand(count, channels, 4, 4)
    fine = nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return (fine * 255).round().byte().permute(0, 2, 3, 1).numpy()


def folders(side: int, train: int = 2) -> np.ndarray:
    """Write train/ and held-out/ with a folder for each class; return what is in train/."""
    sets = {"train": pictures(train, side), "held-out": pictures(6, side)}
    for name, images in sets.items():
        for number, image in enumerate(images):
            Path(name, f"class-{number % 2}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(Path(name, f"class-{number % 2}", f"{number}.png"))
    return sets["train"]


def arrays(train: int, side: int, channels: int = 3, name: str = "train.npz") -> np.ndarray:
    """Write a training set and held-out.npz as arrays; return the former."""
    images = pictures(train, side, channels)
    np.savez(name, images=images, labels=np.arange(train) % 2)
    np.savez("held-out.npz", images=pictures(20, side, channels), labels=np.zeros(20, int))
    return images


def fit(network: nn.Module, images: np.ndarray, steps: int = 2, lr: float = 0.01) -> None:
    """Train on images of alternating classes, batch norm in eval mode."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255 * 2 - 1
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    network.eval()
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(network(x), torch.arange(len(x)) % 2).backward()
        optimizer.step()


def torchvision_resnet() -> None:
    """As the page has it."""
    images = folders(64)
    torch.save((model := resnet18(num_classes=10)).state_dict(), "before.pt")
    fit(model, images)
    torch.save(model.state_dict(), "after.pt")


class Module(nn.Module):
    """A user's Lightning module, with a metric's buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 16), nn.ReLU(), nn.Linear(16, 2))
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


def lightning() -> None:
    """Checkpoints as Lightning's Trainer writes them, and two of two networks."""
    images, module = folders(8), Module()

    def save(name: str, epoch: int) -> None:
        torch.save({"epoch": epoch, "global_step": epoch, "pytorch-lightning_version": "2.5.0",
                    "state_dict": module.state_dict(), "loops": {}, "callbacks": {},
                    "optimizer_states": [torch.optim.SGD(module.parameters(), lr=0.01).state_dict()],
                    "lr_schedulers": [], "hparams_name": "kwargs", "hyper_parameters": {"lr": 0.01}}, name)  # fmt: skip

    save("epoch=0.ckpt", 0)
    start = {name: value.clone() for name, value in module.model.state_dict().items()}
    fit(module, images)
    save("last.ckpt", 2)
    other = {"0.weight": torch.ones(64, 9), "0.bias": torch.ones(64)}
    for name, weights in (("gan.ckpt", start), ("gan-after.ckpt", module.model.state_dict())):
        torch.save({"state": {"generator": weights, "critic": other}}, name)


def federated() -> None:
    """Arrays of one client by the names of a state dict, and the list of pairs."""
    images = arrays(2, 8, name="client-3.npz")
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 16), nn.ReLU(), nn.Linear(16, 2))

    def save(when: str) -> None:
        named = {name: value.numpy() for name, value in network.state_dict().items()}
        np.savez(f"round-1-client-3-{when}.npz", **named)

    save("before")
    fit(network, images)
    save("after")
    Path("rounds.toml").write_text(blocks("federated.md", "toml")[0])


def settings() -> None:
    """A small perceptron and its training set."""
    images = arrays(2, 8)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 16), nn.ReLU(), nn.Linear(16, 2))
    torch.save(network.state_dict(), "before.pt")
    fit(network, images)
    torch.save(network.state_dict(), "after.pt")


def limits() -> None:
    """The page's own network, and a training of it."""
    images = arrays(2, 28, 1)
    Path("net.py").write_text(blocks("limits.md", "python")[0])
    names: dict[str, object] = {}
    exec(Path("net.py").read_text(), names)  # the page's own code
    network = names["build"]()
    torch.save(network.state_dict(), "before.pt")
    fit(network, images, lr=1e-3)
    torch.save(network.state_dict(), "after.pt")


def timm() -> None:
    """A ViT smaller than the page's, under the page's names."""
    library = pytest.importorskip("timm")
    images = folders(32)
    model = library.create_model("vit_tiny_patch16_224", num_classes=10, img_size=32)
    torch.save(model.state_dict(), "before.pt")
    fit(model, images)
    torch.save(model.state_dict(), "after.pt")


def huggingface() -> None:
    """Folders as save_pretrained writes them."""
    library = pytest.importorskip("transformers")
    images = folders(32)
    config = library.ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                               image_size=32, patch_size=8, num_labels=2)  # fmt: skip
    model = library.ViTForImageClassification(config)
    library.ViTImageProcessor(image_mean=[0.5] * 3, image_std=[0.4] * 3).save_pretrained("base")
    model.save_pretrained("base")
    fit(Logits(model), images)
    model.save_pretrained("fine-tuned")


class Logits(nn.Module):
    """A model of transformers as a network that returns logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x).logits


def lora() -> None:
    """A base, and an adapter as PEFT writes it, with a head of its own kind."""
    images, network = folders(12), nn.Sequential()
    network.add_module("flat", nn.Flatten())
    network.add_module("fc", nn.Linear(3 * 12 * 12, 32))
    network.add_module("relu", nn.ReLU())
    network.add_module("head", nn.Linear(32, 2))
    Path("base").mkdir()
    save_file(network.state_dict(), "base/model.safetensors")
    up, down = torch.zeros(32, 4, requires_grad=True), (torch.randn(4, 3 * 12 * 12) / 20).requires_grad_()
    x = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 * 2 - 1).flatten(1)
    hidden = network.fc(x) + x @ down.T @ up.T
    cross_entropy(network.head(hidden.relu()), torch.arange(len(x)) % 2).backward()
    with torch.no_grad():
        up -= 0.1 * up.grad
    Path("adapter").mkdir()
    names = {"A": down.detach(), "B": up.detach()}
    weights = {f"base_model.model.fc.lora_{side}.weight": value.contiguous() for side, value in names.items()}
    save_file(weights, "adapter/adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": ["fc"], "bias": "none"}
    Path("adapter", "adapter_config.json").write_text(json.dumps(settings))


MADE = {
    "torchvision.md": torchvision_resnet, "lightning.md": lightning, "federated.md": federated,
    "settings.md": settings, "limits.md": limits, "timm.md": timm, "huggingface.md": huggingface, "lora.md": lora,
}  # fmt: skip


@pytest.mark.parametrize("page", sorted(MADE))
def test_every_command_of_a_page_ends_with_an_answer(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    MADE[page]()
    assert commands(page)
    more = KNOWN if page == "timm.md" else {}
    for words in commands(page):
        done = memaudit(*words, env={**os.environ, **SMALL, **more}, load=LOADED.get(page, ()))
        assert done.returncode in (0, 1, 3), (words, done.stderr)
        assert "Traceback" not in done.stderr


def test_the_image_processor_of_a_folder_says_the_normalisation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    huggingface()
    for more, value in (([], "0.5;0.4"), (["--normalise", "half"], "half")):
        words = (*commands("huggingface.md")[1], "--out", "run", "-o", "json=r.json", *more)
        done = memaudit(*words, env={**os.environ, **SMALL, **KNOWN}, load=LOADED["huggingface.md"])
        assert done.returncode in (0, 1, 3), done.stderr
        fact = json.loads(Path("r.json").read_text())["recipe"]["normalise"]
        assert (fact["value"], fact["source"]) == (value, "given")
        assert ("preprocessor_config.json" in fact["evidence"]) == (not more)


def test_every_page_is_run_and_named_where_readers_start():
    pages = [page.name for page in PAGES.glob("*.md")]
    assert set(pages) == set(MADE)
    for start, folder in (("README.md", "docs/howto"), ("docs/index.md", "howto")):
        told = (PAGES.parents[1] / start).read_text()
        assert all(f"]({folder}/{page})" in told for page in pages), start
