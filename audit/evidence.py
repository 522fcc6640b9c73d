"""Pictures of reconstructions and of the training images they match, as PNG files in the run folder."""

import os
from pathlib import Path

from PIL import Image
from torch import Tensor


def save_picture(image: Tensor, folder: Path, name: str) -> str:
    """Write one image (c, h, w) in [0, 1] losslessly and return its path relative to the run folder.

    Args:
        image: One, three or any other number of channels; all but the first three are left out.
        folder: The run folder.
        name: File name without its suffix; may hold one folder.
    """
    relative = Path("evidence") / f"{name}.png"
    path = folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = (image.detach().cpu().clamp(0, 1) * 255).round().byte().numpy()
    picture = Image.fromarray(levels[0]) if len(levels) < 3 else Image.fromarray(levels[:3].transpose(1, 2, 0))
    beside = path.with_suffix(".tmp")
    picture.save(beside, format="PNG", optimize=False)
    os.replace(beside, path)
    return relative.as_posix()
