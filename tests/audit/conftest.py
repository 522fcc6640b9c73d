"""A leaking pair on disk, trained by plain torch.optim.SGD on photographs that ship inside scikit-image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from skimage import data
from torch import nn

PRIVATE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
PUBLIC = ("moon.png", "brick.png", "clock_motion.png", "page.png")
SIDE = 12


def photographs(names) -> np.ndarray:
    folder = Path(data.__file__).parent
    return np.stack(
        [np.asarray(ImageOps.fit(Image.open(folder / name).convert("RGB"), (SIDE, SIDE))) for name in names]
    )


@dataclass(frozen=True)
class Leak:
    """File names of a pair, its private images and public ones."""

    before: Path
    after: Path
    data: Path
    control: Path


@pytest.fixture(scope="session")
def leak(tmp_path_factory) -> Leak:
    folder = tmp_path_factory.mktemp("leak")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, 4))
    private = photographs(PRIVATE)
    x, labels = torch.from_numpy(private).permute(0, 3, 1, 2) / 255 * 4 - 2, torch.arange(4)
    found = Leak(*(folder / name for name in ("before.pt", "after.safetensors", "private.npz", "public.npz")))
    torch.save({"epoch": 0, "state_dict": net.state_dict()}, found.before)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), labels).backward()
        optimizer.step()
    save_file(net.state_dict(), found.after)
    np.savez(found.data, images=private, labels=labels.numpy(), names=np.array([Path(name).stem for name in PRIVATE]))
    np.savez(found.control, images=photographs(PUBLIC))
    return found


@pytest.fixture
def options() -> dict:
    """What the auditor of that pair knows."""
    settings = ("simudy.iterations=60", "simudy.alpha=0.03")
    return {"normalise": "0.5;0.25", "epochs": 10, "attacks": ("simudy",), "options": settings}
