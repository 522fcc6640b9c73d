import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from memaudit.audit.data.base import DataError
from memaudit.audit.data.folder import FolderSource
from memaudit.audit.data.opening import open_source
from memaudit.audit.data.preparation import Exif, Preparation
from memaudit.audit.printable import printable


def save(path: Path, value: int = 0, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode in ("L", "P", "1") else (value,) * len(mode)).save(path)
    return path


def refuse(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        open_source(str(path), (3, 4, 6))
    assert "\n" not in str(caught.value)
    return caught.value


def test_accepts_folders_only(tmp_path: Path) -> None:
    source = FolderSource()
    assert source.accepts(str(tmp_path))
    assert not source.accepts(str(save(tmp_path / "a.png")))
    assert not source.accepts(str(tmp_path / "absent"))
    assert not source.accepts("\0")
    assert not source.accepts("x" * 10_000)


def test_a_flat_folder_is_sorted_and_has_no_labels(tmp_path: Path) -> None:
    for name, value in (("b.png", 20), ("a.png", 10), ("c.PNG", 30)):
        save(tmp_path / name, value)
    data = open_source(str(tmp_path))
    assert data.names == ("a.png", "b.png", "c.PNG")
    assert (data.records[:, 0, 0, 0] * 255).round().tolist() == [10, 20, 30]
    assert data.labels.tolist() == [-1, -1, -1]
    assert data.class_names == ()


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for name in ("dog/2.png", "dog/1.png", "cat/9.png"):
        save(tmp_path / name)
    data = open_source(str(tmp_path))
    assert data.names == ("cat/9.png", "dog/1.png", "dog/2.png")
    assert data.labels.tolist() == [0, 1, 1]
    assert data.class_names == ("cat", "dog")


def test_a_class_without_images_keeps_its_index(tmp_path: Path) -> None:
    save(tmp_path / "dog/1.png")
    (tmp_path / "cat").mkdir()
    assert open_source(str(tmp_path)).labels.tolist() == [1]


@pytest.mark.parametrize(
    "extension", ["png", "jpg", "jpeg", "bmp", "webp", "gif", "tif", "tiff", "JPG", "ppm", "pgm", "jfif"]
)
def test_formats(tmp_path: Path, extension: str) -> None:
    picture = Image.new("L" if extension == "pgm" else "RGB", (6, 4), 128 if extension == "pgm" else (128,) * 3)
    picture.save(tmp_path / f"a.{extension}", format="JPEG" if extension == "jfif" else None)
    images = open_source(str(tmp_path), (3, 4, 6)).records
    assert abs(float(images.mean()) * 255 - 128) < 2


def test_other_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / ".hidden.png")
    save(tmp_path / ".cache/b.png")
    save(tmp_path / "__MACOSX/c.png")
    (tmp_path / "labels.csv").write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert open_source(str(tmp_path)).names == ("a.png",)


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("L", (6, 4), value) for value in (40, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert round(float(open_source(str(tmp_path)).records.mean()) * 255) == 40


@pytest.mark.parametrize("exif", ["ignore", "apply"])
def test_an_exif_orientation_is_read_as_stored_unless_it_is_to_be_applied(tmp_path: Path, exif: Exif) -> None:
    picture = Image.new("RGB", (6, 4))
    picture.putpixel((0, 0), (255, 255, 255))
    tags = Image.Exif()
    tags[0x0112] = 6  # rotate by 90 degrees clockwise to display
    picture.save(tmp_path / "a.png", exif=tags)
    images = open_source(str(tmp_path), preparation=Preparation(exif)).records
    assert images.shape == ((1, 3, 6, 4) if exif == "apply" else (1, 3, 4, 6))
    assert images[(0, 0, 0, 3) if exif == "apply" else (0, 0, 0, 0)] == 1


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 32768, np.uint16)).save(tmp_path / "a.png")
    images = open_source(str(tmp_path)).records
    assert images.shape == (1, 1, 4, 6)
    assert float(images.mean()) == pytest.approx(0.5, abs=1e-4)


def test_sixteen_bits_of_a_pgm_are_scaled(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 6 4 65535\n" + b"\x80\x00" * 24)
    assert float(open_source(str(tmp_path)).records.mean()) == pytest.approx(0.5, abs=1e-4)


def test_a_tiff_is_turned_by_pillow_itself_and_not_twice(tmp_path: Path) -> None:
    picture = Image.new("RGB", (6, 4))
    tags = Image.Exif()
    tags[0x0112] = 6
    picture.save(tmp_path / "a.tif", exif=tags)
    with Image.open(tmp_path / "a.tif") as stored:
        size = stored.convert("RGB").size  # as ImageFolder sees it
    for exif in ("ignore", "apply"):
        records = open_source(str(tmp_path), preparation=Preparation(exif)).records
        assert records.shape[2:] == (size[1], size[0])


def test_palette_grey_and_transparency(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4), (0, 255, 0)).quantize(4).save(tmp_path / "palette.png")
    save(tmp_path / "grey.png", 51, mode="L")
    Image.new("RGBA", (6, 4), (255, 0, 0, 0)).save(tmp_path / "transparent.png")
    grey, palette, transparent = open_source(str(tmp_path), (3, 4, 6)).records
    assert palette[:, 0, 0].tolist() == [0, 1, 0]
    assert grey[:, 0, 0].tolist() == pytest.approx([0.2] * 3)
    assert transparent[:, 0, 0].tolist() == [1, 0, 0]


def test_a_range_that_is_unknown_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 0.5, np.float32)).save(tmp_path / "a.tif")
    assert "a.tif (32 bits per pixel, mode F" in refuse(tmp_path).message


@pytest.mark.parametrize("sub", ["", "cat", "cat/deep"])
def test_no_images(tmp_path: Path, sub: str) -> None:
    (tmp_path / sub).mkdir(parents=True, exist_ok=True)
    error = refuse(tmp_path)
    assert f"{str(tmp_path)!r} holds no images" in error.message
    assert "sub-folder" in error.hint


def test_flat_images_beside_classes_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "stray.png")
    save(tmp_path / "cat/1.png")
    error = refuse(tmp_path)
    assert "'stray.png'" in error.message
    assert "'cat'" in error.message


def test_flat_images_beside_other_folders_are_fine(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "notes").mkdir()
    assert len(open_source(str(tmp_path)).names) == 1


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(path: Path, side: int) -> None:
    """A file of some hundred bytes that claims side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_decompression_bombs_are_refused(tmp_path: Path, side: int) -> None:
    bomb(tmp_path / "bomb.png", side)
    error = refuse(tmp_path)
    assert "bomb.png" in error.message
    assert "exceeds limit" in error.message


@pytest.mark.parametrize("keep", [0, 8, 40, 0.5, 0.9])
@pytest.mark.parametrize("extension", ["png", "jpg", "bmp", "webp", "gif", "tif"])
def test_truncated_images_are_refused(tmp_path: Path, extension: str, keep: float) -> None:
    whole = tmp_path / f"whole.{extension}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(whole)
    content = whole.read_bytes()
    whole.unlink()
    cut = tmp_path / f"cut.{extension}"
    cut.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else int(keep)])
    assert f"cut.{extension}" in refuse(tmp_path).message


@pytest.mark.parametrize("content", [b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_no_image_is_refused_whatever_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fake.png").write_bytes(content)
    assert "fake.png" in refuse(tmp_path).message


def test_errors_stay_on_one_line_and_names_printable(tmp_path: Path) -> None:
    (tmp_path / "two\nlines.png").write_bytes(b"")
    assert r"two\nlines.png" in refuse(tmp_path).message


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    picture = save(tmp_path / "a.png")
    os.rename(picture, os.path.join(os.fsencode(tmp_path), b"\xff.png"))
    (name,) = open_source(str(tmp_path)).names
    assert name.encode() == "�.png".encode()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    assert "closed' cannot be listed: Permission denied" in refuse(closed).message


@pytest.mark.parametrize("classes", [False, True])
def test_names_that_are_not_utf_8_are_read_and_told(tmp_path, classes):
    folder = os.path.join(os.fsencode(tmp_path), b"class\xfe" if classes else b"")
    os.makedirs(folder, exist_ok=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.path.join(folder, b"a\xff.png"))
    found = open_source(str(tmp_path))
    assert found.names == (("class\ufffd/" if classes else "") + "a\ufffd.png",)
    with open(os.path.join(folder, b"b\xff.png"), "wb") as file:
        file.write(b"none")
    with pytest.raises(DataError, match="1 of 2 images") as stop:
        open_source(str(tmp_path))
    assert printable(str(stop.value)).encode()
