import hashlib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from memaudit import MemauditError
from memaudit.audit.data import assembly
from memaudit.audit.data.base import GROUP, MAX_IMAGES, DataError, RawSet, Sample
from memaudit.audit.data.opening import open_source
from memaudit.audit.data.preparation import Preparation


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photo() -> np.ndarray:
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[:96, 176:304])


def test_the_built_in_sources_are_entry_points() -> None:
    assert {"torchvision", "tensor_file", "folder"} <= {entry.name for entry in entry_points(group=GROUP)}


def test_images_of_the_wanted_shape_are_kept_to_the_bit(tmp_path: Path) -> None:
    pixels = np.arange(2 * 8 * 6 * 3, dtype=np.uint8).reshape(2, 8, 6, 3)
    np.savez(tmp_path / "a.npz", images=pixels, labels=[3, 1])
    data = open_source(str(tmp_path / "a.npz"), (3, 8, 6))
    assert data.records.dtype == torch.float32
    assert torch.equal((data.records * 255).round().byte(), torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert data.labels.tolist() == [3, 1]
    assert data.labels.dtype == torch.int64
    assert data.names == ("a.npz[0]", "a.npz[1]")
    assert not data.resized


def test_resizing_is_flagged_and_agrees_with_pillow(tmp_path: Path, photo: np.ndarray) -> None:
    save(tmp_path / "a.png", photo)
    data = open_source(str(tmp_path), (3, 32, 48))
    reference = np.asarray(Image.fromarray(photo).resize((48, 32), Image.Resampling.BICUBIC))
    assert data.resized
    assert data.records.shape == (1, 3, 32, 48)
    assert np.abs(data.records[0].permute(1, 2, 0).numpy() * 255 - reference).max() < 1.5
    assert data.records.min() >= 0
    assert data.records.max() <= 1


def test_one_image_of_another_size_suffices_for_the_flag(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    save(tmp_path / "b.png", np.zeros((8, 9, 3), np.uint8))
    assert open_source(str(tmp_path), (3, 8, 8)).resized


def test_colour_becomes_grey_as_in_pillow(tmp_path: Path, photo: np.ndarray) -> None:
    save(tmp_path / "a.png", photo)
    data = open_source(str(tmp_path), (1, *photo.shape[:2]))
    assert not data.resized
    assert np.abs(data.records[0, 0].numpy() * 255 - np.asarray(Image.fromarray(photo).convert("L"))).max() < 1


def test_grey_becomes_colour_by_repetition(tmp_path: Path, photo: np.ndarray) -> None:
    save(tmp_path / "a.png", np.ascontiguousarray(photo[..., 0]))
    data = open_source(str(tmp_path), (3, *photo.shape[:2]))
    assert torch.equal(data.records[0, 0], data.records[0, 2])


def test_without_a_shape_the_common_size_is_kept(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((5, 7), np.uint8))
    save(tmp_path / "b.png", np.zeros((5, 7, 3), np.uint8))
    data = open_source(str(tmp_path))
    assert data.records.shape == (2, 3, 5, 7)
    assert not data.resized


def test_without_a_shape_sizes_must_agree(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((5, 7, 3), np.uint8))
    save(tmp_path / "b.png", np.zeros((6, 7, 3), np.uint8))
    with pytest.raises(DataError) as caught:
        open_source(str(tmp_path))
    assert "'a.png' is 5 x 7, 'b.png' is 6 x 7" in caught.value.message
    assert "\n" not in str(caught.value)


def test_channels_that_no_image_has_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((5, 7, 3), np.uint8))
    with pytest.raises(DataError, match=r"'a.png' has 3 channels and cannot be brought to 4"):
        open_source(str(tmp_path), (4, 5, 7))


def test_the_digest_covers_images_and_labels_only(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    for name, images, labels in (("a", pixels, [0, 1, 2]), ("b", pixels, [0, 1, 2]), ("c", pixels, [0, 1, 1])):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)
    first, same, relabelled = (open_source(str(tmp_path / f"{name}.npz")) for name in "abc")
    assert first.digest == same.digest != relabelled.digest
    content = first.records.numpy().tobytes() + first.labels.numpy().tobytes()
    assert first.digest == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("no/such/folder", "no such file or folder exists"),
        ("", "no such file or folder exists"),
        ("s3://bucket/train", "'s3://bucket/train'"),
        ("train.npz", "no such file or folder exists"),
        ("a\nb", r"'a\nb'"),
        ("\0", r"'\x00'"),
        ("x" * 5000, "xxx"),
    ],
)
def test_a_spec_that_nobody_accepts_lists_the_forms(spec: str, named: str) -> None:
    with pytest.raises(DataError) as caught:
        open_source(spec, (3, 8, 8))
    assert isinstance(caught.value, MemauditError)
    assert named in caught.value.message
    for form in ("FOLDER", "FILE.npz", ".safetensors", "torchvision:NAME:ROOT"):
        assert form in caught.value.hint
    assert "\n" not in str(caught.value)


def test_an_existing_file_of_an_unknown_kind_is_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("0,1")
    with pytest.raises(DataError) as caught:
        open_source(str(tmp_path / "images.csv"))
    assert "images.csv" in caught.value.message
    assert "no such file" not in caught.value.message


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(DataError, match="'spec' holds no images"):
        RawSet(0, ()).assembled("spec", (3, 8, 8))


def test_too_many_images_are_refused_before_one_is_decoded() -> None:
    def samples() -> Iterator[Sample]:
        raise AssertionError("decoded")
        yield

    with pytest.raises(DataError, match=f"holds {MAX_IMAGES + 1} images; at most {MAX_IMAGES}") as caught:
        RawSet(MAX_IMAGES + 1, samples()).assembled("spec")
    assert "subset" in caught.value.hint


def tagged(path: Path, pixels: np.ndarray) -> None:
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(path, exif=exif)


def test_a_folder_is_read_in_other_ways_too(tmp_path: Path, photo: np.ndarray) -> None:
    save(tmp_path / "plain.png", photo)
    tagged(tmp_path / "tagged.png", photo)
    data = open_source(str(tmp_path), (3, 32, 32))
    assert data.reading == "orientation tag ignored, stretched"
    found = {reading.name: reading.records for reading in data.readings}
    assert len(found) == 7
    for name, preparation in {
        "centre crop": Preparation("ignore", "center-crop"),
        "orientation tag applied": Preparation("apply", "squash"),
        "orientation tag applied, padded with black": Preparation("apply", "pad"),
    }.items():
        assert torch.equal(found[name], open_source(str(tmp_path), (3, 32, 32), preparation).records)
    assert torch.equal(found["orientation tag applied"][0], data.records[0])


def test_readings_that_change_nothing_are_left_out(tmp_path: Path, photo: np.ndarray) -> None:
    save(tmp_path / "wide.png", photo)
    assert [reading.name for reading in open_source(str(tmp_path), (3, *photo.shape[:2])).readings] == []
    names = [reading.name for reading in open_source(str(tmp_path), (3, 32, 32)).readings]
    assert names == ["centre crop", "resized by 256/224, then centre crop", "padded with black"]
    np.savez(tmp_path / "a.npz", images=photo[None])
    assert open_source(str(tmp_path / "a.npz"), (3, 32, 32)).readings == ()


def test_readings_take_bounded_memory(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    tagged(tmp_path / "a.png", photo)
    monkeypatch.setattr(assembly, "MAX_READINGS", 2 * 3 * 32 * 32 * 4)
    names = [reading.name for reading in open_source(str(tmp_path), (3, 32, 32)).readings]
    assert names == ["orientation tag applied", "centre crop"]


def test_sizes_that_must_fit_are_refused_otherwise(tmp_path: Path, photo: np.ndarray) -> None:
    save(tmp_path / "a.png", photo)
    none = Preparation("ignore", "none")
    assert not open_source(str(tmp_path), (3, *photo.shape[:2]), none).resized
    with pytest.raises(DataError, match=r"'a.png' of .* is 96 x 128, and the network sees 32 x 32") as caught:
        open_source(str(tmp_path), (3, 32, 32), none)
    assert "--preprocess" in caught.value.hint


def test_what_cannot_be_read_is_counted_and_named_or_left_out(tmp_path: Path, photo: np.ndarray) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", photo)
    for name in ("a.png", "b\n.jpg", "c.heic", "d.png"):
        (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(DataError) as caught:
        open_source(str(tmp_path), (3, 32, 32))
    assert "4 of 7 images" in caught.value.message
    assert "a.png (a pointer of Git LFS, whose file was not fetched), b\\n.jpg (" in caught.value.message
    assert caught.value.message.endswith("and 1 more.")
    assert "--skip-unreadable" in caught.value.hint
    data = open_source(str(tmp_path), (3, 32, 32), skip=True)
    assert data.names == ("0.png", "1.png", "2.png")
    assert len(data.skipped) == 4
    assert any("4 of 7 images" in warning and "left out" in warning for warning in data.warnings)
    for number in range(3):
        (tmp_path / f"{number}.png").unlink()
    with pytest.raises(DataError, match="4 of 4 images"):
        open_source(str(tmp_path), (3, 32, 32), skip=True)


def test_files_passed_over_and_stretching_are_told(tmp_path: Path, photo: np.ndarray) -> None:
    save(tmp_path / "a.png", photo)
    (tmp_path / "labels.csv").write_text("a,1")
    passed, stretched = open_source(str(tmp_path), (3, 32, 32)).warnings
    assert passed.startswith("1 file of ")
    assert passed.endswith("labels.csv.")
    assert "1 of 1 images" in stretched
    assert "--preprocess center-crop" in stretched
    assert len(open_source(str(tmp_path), (3, 32, 32), Preparation("ignore", "center-crop")).warnings) == 1
