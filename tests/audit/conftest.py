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

from memaudit.audit.report.facts import Architecture, Checkpoint, Fact, Inputs, Records
from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.model import AuditReport, Environment
from memaudit.audit.report.proof import DataCheck, MockVictim
from memaudit.audit.report.results import AttackResult
from memaudit.audit.report.verdict import Verdict

PRIVATE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
PUBLIC = ("moon.png", "brick.png", "clock_motion.png", "page.png", "coins.png", "camera.png", "horse.png")
SIDE = 12


def photographs(names) -> np.ndarray:
    folder = Path(data.__file__).parent
    return np.stack(
        [np.asarray(ImageOps.fit(Image.open(folder / name).convert("RGB"), (SIDE, SIDE))) for name in names]
    )


def crops(names) -> np.ndarray:
    """Return five images of each photograph, the whole and its quarters: a control set that is large enough."""
    folder, side = Path(data.__file__).parent, 2 * SIDE
    cut = []
    for name in names:
        whole = ImageOps.fit(Image.open(folder / name).convert("RGB"), (side, side))
        corners = [(x, y, x + SIDE, y + SIDE) for x in (0, SIDE) for y in (0, SIDE)]
        cut += [np.asarray(whole.crop(corner)) for corner in corners] + [np.asarray(whole.resize((SIDE, SIDE)))]
    return np.stack(cut)


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
    np.savez(found.control, images=crops(PUBLIC))
    return found


@pytest.fixture
def options() -> dict:
    """What the auditor of that pair knows."""
    settings = ("simudy.iterations=60", "simudy.alpha=0.03")
    return {"normalise": "0.5;0.25", "epochs": 10, "attacks": ("simudy",), "options": settings}


@pytest.fixture
def report() -> AuditReport:
    """A clean audit by one attack, in as few words as the schema allows."""
    attack = AttackResult(
        name="simudy", seed=0, status="converged", loss=0.01, iterations=1, seconds=1.0, peak_memory_bytes=1
    )
    fact = Fact(value=1, source="given")
    images = Records(path="d", sha256="0", count=10)
    checkpoint = Checkpoint(path="a.pt", format="torch", sha256="0")
    names = ("optimizer", "size", "lr", "batch_size", "epochs", "momentum", "nesterov", "weight_decay", "batch_norm",
             "image_size", "normalise")  # fmt: skip
    return AuditReport(
        created="2026-01-01T00:00:00+00:00", kind=IMAGE, model="a.pt", command="", seed=0,
        verdict=Verdict(status="pass", summary=""),
        inputs=Inputs(before=checkpoint, after=checkpoint, data=images, control=images),
        architecture=Architecture(
            family="mlp", name="MLP", score=1.0, classes=2, shape=(3, 8, 8), parameters=1, tensors=1, moved=[]
        ),
        recipe=dict.fromkeys(names, fact), attacks=[attack],
        check=DataCheck(explained=True, reason="They do."),
        power=MockVictim(status="leaks", records=10, recovered=9, attacks=["simudy"], reason="They rebuild 9 of 10."),
        environment=Environment(memaudit="0", python="3", torch="2", platform="", device="cpu", threads=1),
    )  # fmt: skip
