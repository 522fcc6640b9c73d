"""LoRA adapters in files as PEFT names them, written by hand, and networks trained with them in plain torch."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

PREFIX = "base_model.model."


def config(**more: object) -> dict[str, object]:
    """Return what PEFT writes of a plain LoRA adapter of rank 4 and scale 2."""
    plain = {
        "peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "bias": "none", "init_lora_weights": True,
        "use_rslora": False, "use_dora": False, "rank_pattern": {}, "alpha_pattern": {}, "fan_in_fan_out": False,
        "base_model_name_or_path": "somebody/base", "target_modules": ["1"], "modules_to_save": None,
    }  # fmt: skip
    return plain | more


def save(folder: Path, tensors: Mapping[str, Tensor], settings: object = None, ending: str = "safetensors") -> Path:
    """Write an adapter's folder; names get PEFT's prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config() if settings is None else settings))
    named = {f"{PREFIX}{name}": value.detach().clone().contiguous() for name, value in tensors.items()}
    if ending == "safetensors":
        save_file(named, folder / "adapter_model.safetensors")
    else:
        torch.save(named, folder / "adapter_model.bin")
    return folder


class Adapted(nn.Module):
    """What PEFT makes of a linear layer or a convolution."""

    def __init__(self, base: nn.Module, rank: int, scale: float) -> None:
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), scale
        if isinstance(base, nn.Conv2d):
            more = {"stride": base.stride, "padding": base.padding, "bias": False}
            self.lora_A: nn.Module = nn.Conv2d(base.in_channels, rank, base.kernel_size, **more)
            self.lora_B: nn.Module = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        else:
            self.lora_A = nn.Linear(base.in_features, rank, bias=False)
            self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.scale * self.lora_B(self.lora_A(x))


def adapt(network: nn.Module, layers: list[str], rank: int = 4, scale: float = 2.0) -> nn.Module:
    """Adapt layers of a network in place; all else of it is frozen."""
    network.requires_grad_(False)
    for layer in layers:
        parent, _, last = layer.rpartition(".")
        setattr(network.get_submodule(parent), last, Adapted(network.get_submodule(layer), rank, scale))
    return network


def factors(network: nn.Module) -> dict[str, Tensor]:
    """Return A and B of an adapted network by name."""
    state = network.state_dict()
    return {name: value.clone() for name, value in state.items() if ".lora_" in name}


def tuned(network: nn.Module, x: Tensor, labels: Tensor, lr: float, steps: int) -> None:
    """Train what is not frozen, in place, by SGD on whole batches."""
    optimizer = torch.optim.SGD([value for value in network.parameters() if value.requires_grad], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), labels).backward()
        optimizer.step()
