"""``memaudit demo``: a positive control on real files. A network is trained on ten photographs, saved, and audited.

The training is plain :mod:`torch.optim`; memaudit's own simulator is not used for it. The photographs ship inside
scikit-image.
"""

from pathlib import Path

import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from skimage import data as skimage_data
from torch import Tensor, nn

from ...attacks.contract.victim import Normalisation
from ..events import Event, Listener
from ..recipe.normalise import PRESETS
from ..report.model import AuditReport
from ..request import ScanRequest
from ..scan.pipeline import scan

PRIVATE = (
    "astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "hubble_deep_field.jpg", "ihc.png",
    "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip
"""The photographs that the demonstration network is trained on."""

PUBLIC = (
    "brick.png", "cell.png", "clock_motion.png", "grass.png", "gravel.png", "horse.png", "microaneurysms.png",
    "moon.png", "page.png", "text.png",
)  # fmt: skip
"""The photographs that it never saw: with their quarters, the negative control."""

SIDE = 32
WIDTH = 300
LR = 0.005
EPOCHS = 10


def run_demo(folder: Path, listener: Listener) -> AuditReport:
    """Write images and checkpoints into ``folder``, scan them with the learning rate unknown, and return the report.

    Raises:
        StoreError: The folder cannot be written.
    """
    torch.set_flush_denormal(True)
    listener(Event("load", "ten photographs, and a network trained on them"))
    private = write_photographs(PRIVATE, folder / "private")
    write_photographs(PUBLIC, folder / "public", quarters=True)
    train_victim(private, folder)
    request = ScanRequest(
        before=folder / "before.safetensors",
        after=folder / "after.safetensors",
        data=folder / "private",
        control=folder / "public",
        normalise="cifar10",
        epochs=EPOCHS,
        out=folder / "run",
    )
    return scan(request, listener)


def write_photographs(names: tuple[str, ...], folder: Path, quarters: bool = False) -> Tensor:
    """Write bundled photographs as 32 x 32 PNG files and return them: (n, 3, 32, 32) pixels in [0, 1].

    Args:
        names: Of the photographs.
        folder: Where to write.
        quarters: Whether the four quarters of each follow it, as pictures of their own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for name in names:
        with Image.open(Path(skimage_data.__file__).parent / name) as photograph:
            whole = photograph.convert("RGB")
        parts = {Path(name).stem: _fitted(whole, SIDE)}
        if quarters:
            corners = [(x, y) for x in (0, SIDE) for y in (0, SIDE)]
            large = _fitted(whole, 2 * SIDE)
            parts |= {f"{Path(name).stem}-{x}-{y}": large.crop((x, y, x + SIDE, y + SIDE)) for x, y in corners}
        for title, part in parts.items():
            part.save(folder / f"{title}.png")
            pixels = torch.frombuffer(bytearray(part.tobytes()), dtype=torch.uint8)
            images.append(pixels.view(SIDE, SIDE, 3).permute(2, 0, 1).float() / 255)
    return torch.stack(images)


def _fitted(photograph: Image.Image, side: int) -> Image.Image:
    return ImageOps.fit(photograph, (side, side), Image.Resampling.LANCZOS)


def train_victim(images: Tensor, folder: Path) -> None:
    """Train a two-hidden-layer network, one class per photograph, and save it before and after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        d = 3 * SIDE * SIDE
        layers = (nn.Linear(d, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, len(images)))
        network = nn.Sequential(nn.Flatten(), *layers)
    save_file(network.state_dict(), folder / "before.safetensors")
    optimizer = torch.optim.SGD(network.parameters(), lr=LR)
    x, labels = Normalisation(*PRESETS["cifar10"]).from_pixels(images), torch.arange(len(images))
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss: Tensor = nn.functional.cross_entropy(network(x), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    save_file(network.state_dict(), folder / "after.safetensors")
