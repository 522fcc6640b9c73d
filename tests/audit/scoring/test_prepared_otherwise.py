"""Pairs that hold ten photos plainly, trained on them prepared otherwise than the audit reads them: each must fail.

The pairs of pytorch/vision#7977 and its like (../shared/cases has them in full): the network is a small perceptron, and
the exact attack rebuilds what it was trained on.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor, nn
from torchvision import transforms

from memaudit.audit.data.base import DataError
from memaudit.audit.report.model import AuditReport
from memaudit.audit.request import ScanRequest
from memaudit.audit.scan.pipeline import scan

SIDE, COUNT = 32, 10
Prepared = Callable[[Image.Image], Tensor]


def pieces(width: int, height: int) -> list[Image.Image]:
    """Return 48 pieces of photographs, the plainest last."""
    folder, found = Path(data.__file__).parent, []
    for name in ("astronaut.png", "coffee.png", "chelsea.png"):
        photo = Image.open(folder / name).convert("RGB").resize((8 * SIDE, 8 * SIDE))
        corners = [(x, y) for y in range(0, 192, 48) for x in range(0, 192, 48)]
        found += [photo.crop((x, y, x + 64, y + 64)).resize((width, height)) for x, y in corners]
    return sorted(found, key=lambda piece: -np.asarray(piece).std())


def written(folder: Path, photos: list[Image.Image], orientation: Callable[[int], int], ending: str = "png") -> None:
    folder.mkdir()
    for number, photo in enumerate(photos):
        tags = Image.Exif()
        if orientation(number) > 1:
            tags[0x0112] = orientation(number)
        photo.save(folder / f"{number:02}.{ending}", **({"exif": tags} if ending == "png" else {}))


def trained(folder: Path, inputs: Tensor) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 100), nn.ReLU(), nn.Linear(100, 10))
    torch.save(net.state_dict(), folder / "before.pt")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(2 * inputs - 1), torch.arange(COUNT)).backward()
        optimizer.step()
    torch.save(net.state_dict(), folder / "after.pt")


def audited(folder: Path, **options: object) -> AuditReport:
    return scan(
        ScanRequest(
            folder / "before.pt", folder / "after.pt", data=folder / "train", control=folder / "control",
            normalise="half", epochs=10, lr=0.01, attacks=("spear",), out=folder / "run", **options,
        )
    )  # fmt: skip


def as_stored(photo: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255


def moved(photo: Image.Image) -> Tensor:
    return nn.functional.pad(as_stored(photo), (3, 0, 3, 0))[:, :SIDE, :SIDE]


def cropped(resize: int) -> Prepared:
    return transforms.Compose([transforms.Resize(resize), transforms.CenterCrop(SIDE), transforms.ToTensor()])


def last_first(photo: Image.Image) -> Tensor:
    return as_stored(photo).permute(1, 2, 0).reshape(3, SIDE, SIDE)


CASES: dict[str, tuple[tuple[int, int], Callable[[int], int], Prepared, str]] = {
    "exif": ((SIDE, SIDE), lambda number: 6, as_stored, ""),
    "exif_half": ((SIDE, SIDE), lambda number: 6 if number % 2 else 1, as_stored, ""),
    "exif_applied": ((SIDE, SIDE), lambda number: 6, lambda p: as_stored(p.rotate(-90)), "orientation tag applied"),
    "shifted": ((SIDE, SIDE), lambda number: 1, moved, "moved by 3 to the right and 3 down (pixels)"),
    "mirrored": ((SIDE, SIDE), lambda number: 1, lambda p: as_stored(p).flip(-1), "mirrored"),
    "bgr": ((SIDE, SIDE), lambda number: 1, lambda p: as_stored(p).flip(0), "red and blue exchanged"),
    "nhwc": ((SIDE, SIDE), lambda number: 1, last_first, "channels last read as channels first"),
    "crop_3_2": ((48, 32), lambda number: 1, cropped(SIDE), "centre crop"),
    "crop_16_9": ((57, 32), lambda number: 1, cropped(SIDE), "centre crop"),
    "crop_256_224": ((64, 64), lambda number: 1, cropped(37), "resized by 256/224, then centre crop"),
}


@pytest.mark.parametrize("name", CASES)
def test_all_ten_are_found_and_the_report_says_how(tmp_path: Path, name: str) -> None:
    size, orientation, prepared, transform = CASES[name]
    photos = pieces(*size)
    written(tmp_path / "train", photos[:COUNT], orientation)
    written(tmp_path / "control", photos[COUNT:], orientation)
    trained(tmp_path, torch.stack([prepared(photo) for photo in photos[:COUNT]]))
    report = audited(tmp_path)
    assert report.verdict.status == "fail"
    assert report.recovered_by_any == COUNT
    (result,) = report.attacks
    assert transform in {match.transform for match in result.matches} <= {"", transform}
    assert min(match.scores.similarity for match in result.matches) > 0.85
    if "crop" in name or name == "exif_applied":
        assert report.inputs.data.reading.startswith(f"{transform}, in which ")


@pytest.mark.parametrize("endings", [("ppm",), ("png", "ppm", "pgm", "tiff", "webp", "bmp")])
def test_every_format_counts(tmp_path: Path, endings: tuple[str, ...]) -> None:
    photos = pieces(SIDE, SIDE)
    (tmp_path / "train").mkdir()
    seen = []
    for number, photo in enumerate(photos[:COUNT]):
        ending = endings[number % len(endings)]
        kept = photo.convert("L") if ending == "pgm" else photo
        kept.save(tmp_path / "train" / f"{number}.{ending}", **({"lossless": True} if ending == "webp" else {}))
        seen.append(as_stored(kept.convert("RGB")))
    (tmp_path / "train" / "Thumbs.db").write_bytes(b"\xd0\xcf")
    written(tmp_path / "control", photos[COUNT:], lambda number: 1)
    trained(tmp_path, torch.stack(seen))
    report = audited(tmp_path)
    assert (report.verdict.status, report.recovered_by_any, report.inputs.data.count) == ("fail", COUNT, COUNT)


def test_what_cannot_be_read_is_refused_or_told(tmp_path: Path) -> None:
    photos = pieces(SIDE, SIDE)
    written(tmp_path / "train", photos[:COUNT], lambda number: 1)
    written(tmp_path / "control", photos[COUNT:], lambda number: 1)
    trained(tmp_path, torch.stack([as_stored(photo) for photo in photos[:COUNT]]))
    for path in sorted((tmp_path / "train").iterdir())[:7]:
        path.unlink()
        os.symlink(f"../.git/annex/objects/{path.name}", path)
    with pytest.raises(DataError, match=r"7 of 10 images .* cannot be read: 00.png \(a link to a missing file\)"):
        audited(tmp_path)
    report = audited(tmp_path, skip_unreadable=True)
    assert (report.verdict.status, report.inputs.data.count) == ("fail", 3)
    assert report.inputs.data.skipped[:1] == ["00.png (a link to a missing file)"]
    assert len(report.inputs.data.skipped) == 7
