"""The picture of docs/attacks.md: ``python -m benchmarks.cover_picture [--iterations N]`` draws it to docs/cover.png.

The pretrained ResNet-18 with a fresh head is fine-tuned on the quarters of five of the demo's photographs, as in the
paper's row n = 20, and ``cover`` looks for them from noise. Each is drawn above what was found of it.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image as Picture
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.cover import Cover
from memaudit.audit.machine.numerics import exact_numerics
from memaudit.audit.run.drive import drive
from memaudit.audit.scoring.image import Image
from memaudit.audit.scoring.similarity import ssim_matrix
from memaudit.audit.tasks.demo import write_photographs

from .cover import ROWS, Images10, Row, scores, victim_of

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
STRANGERS = ("coins.png", "hubble_deep_field.jpg", "ihc.png", "retina.jpg", "camera.png")
SIDE, GAP, MARGIN, COLUMNS = 64, 4, 14, 10
DOCS = Path(__file__).resolve().parents[1] / "docs" / "cover.png"


def quarters(names: tuple[str, ...]) -> Tensor:
    """Return the four quarters of each photograph, without the whole: (4 n, 3, 32, 32) pixels."""
    with TemporaryDirectory() as folder:
        found = write_photographs(names, Path(folder), quarters=True)
    return found.view(len(names), 5, *found.shape[1:])[:, 1:].flatten(0, 1)


def sheet(truth: Tensor, found: Tensor) -> Picture.Image:
    """Return a picture of images (n, 3, h, w), each above what was found of it, in rows of :data:`COLUMNS`."""
    lines = -(-len(truth) // COLUMNS)
    size = 2 * MARGIN + COLUMNS * (SIDE + GAP) - GAP, MARGIN + lines * (2 * SIDE + GAP + MARGIN)
    whole = Picture.new("RGB", size, "white")
    for number, pair in enumerate(zip(truth, found, strict=True)):
        line, column = divmod(number, COLUMNS)
        for row, pixels in enumerate(pair):
            bytes_ = (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
            large = Picture.fromarray(bytes_).resize((SIDE, SIDE), Picture.Resampling.NEAREST)
            top = MARGIN + line * (2 * SIDE + GAP + MARGIN) + row * (SIDE + GAP)
            whole.paste(large, (MARGIN + column * (SIDE + GAP), top))
    return whole


def main() -> None:
    """Train, attack, score and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=Cover.iterations)
    parser.add_argument("--output", type=Path, default=DOCS)
    asked = parser.parse_args()
    pixels = torch.cat([quarters(PHOTOGRAPHS), quarters(STRANGERS)])
    images, row = Images10(pixels, torch.arange(len(pixels)) % 10), Row(ROWS["n20"].spec)
    n, spec = row.spec.size, row.spec
    with exact_numerics():
        victim, began = victim_of(row, images, 0, 0, "cpu"), time.monotonic()
        recipe = Recipe(n, spec.lr, spec.batch_size or n, spec.epochs)
        found = drive(Cover(iterations=asked.iterations), victim, recipe, 0).reconstruction
    assert found is not None
    seconds, told = time.monotonic() - began, scores(found, images, 0, n, Image(victim.medium))
    print(f"{asked.iterations} updates, {seconds:.0f} s, loss {found.loss:.4f}: {told}")
    _, order = linear_sum_assignment(-ssim_matrix(pixels[:n], found.records, "audit").numpy())
    sheet(pixels[:n], found.records[torch.as_tensor(order)]).save(asked.output, optimize=True)


if __name__ == "__main__":
    main()
