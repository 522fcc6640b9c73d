"""By how much one image is moved against another. All tensors are (n, c, h, w)."""

import torch
from torch import Tensor

REACH = 8
"""Images are moved by at most this part of their side, as random crops with padding do."""

_FLAT = 1e-5
"""Energy per number below which what two images share is blank."""


def moves(one: Tensor, two: Tensor) -> Tensor:
    """Return (n, 2): how many rows down and columns right each image of ``one`` is moved to look like that of ``two``.

    The move with the highest correlation of what both then show, up to a :data:`REACH`-th of the side.

    Args:
        one: (n, c, h, w), finite.
        two: The same.
    """
    height, width = one.shape[-2:]
    down, right = height // REACH, width // REACH
    if not len(one) or not (down or right):
        return torch.zeros(len(one), 2, dtype=torch.long, device=one.device)
    rows, columns = _nearest_first(down).to(one.device), _nearest_first(right).to(one.device)
    likeness = _likeness(_centred(one), _centred(two), (height + down, width + right))
    near = likeness[:, rows % (height + down)][:, :, columns % (width + right)]
    best = near.flatten(1).argmax(1)
    return torch.stack([rows[best // len(columns)], columns[best % len(columns)]], 1)


def _centred(images: Tensor) -> Tensor:
    return images - images.mean((2, 3), keepdim=True)


def _likeness(one: Tensor, two: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (n, *size) the correlation of what both show, for every move; those beyond the margin mean nothing."""
    whole = torch.ones_like(one[:1, :1])
    ones, a, b, aa, bb = (torch.fft.rfft2(x, s=size) for x in (whole, one, two, one.square(), two.square()))

    def over(first: Tensor, second: Tensor) -> Tensor:
        """Return sums over what both show of ``first``, moved, times ``second``: (n, c, *size)."""
        sums: Tensor = torch.fft.irfft2(first.conj() * second, s=size)
        return sums

    count = over(ones, ones).clamp(min=1)
    sums = over(a, ones), over(ones, b)
    energy = [
        (over(*pair) - total.square() / count).sum(1)
        for pair, total in zip([(aa, ones), (ones, bb)], sums, strict=True)
    ]
    shared = (over(a, b) - sums[0] * sums[1] / count).sum(1)
    blank = _FLAT * one[0].numel()
    return shared / (energy[0].clamp(min=blank) * energy[1].clamp(min=blank)).sqrt()


def _nearest_first(reach: int) -> Tensor:
    """Return the moves in [-reach, reach], nothing first, so that it wins where all are alike."""
    return torch.tensor(sorted(range(-reach, reach + 1), key=abs))


def moved(images: Tensor, by: Tensor, edge: bool) -> Tensor:
    """Return each image moved by its own number of rows down and columns right.

    Args:
        images: (n, c, h, w).
        by: (n, 2) whole numbers.
        edge: Whether what comes in repeats the edge; otherwise it is black.
    """
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device)[None] - by[:, :1]
    columns = torch.arange(width, device=images.device)[None] - by[:, 1:]
    each = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    found = images[
        each, channel, rows.clamp(0, height - 1)[:, None, :, None], columns.clamp(0, width - 1)[:, None, None]
    ]
    if edge:
        return found
    seen = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None]
    return found * seen
