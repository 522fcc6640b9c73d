import hashlib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from memaudit import MemauditError
from memaudit.audit.data.base import GROUP, MAX_IMAGES, DataError, RawSet, Sample
from memaudit.audit.data.opening import assemble, open_source


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
        assemble("spec", RawSet(0, ()), (3, 8, 8))


def test_too_many_images_are_refused_before_one_is_decoded() -> None:
    def samples() -> Iterator[Sample]:
        raise AssertionError("decoded")
        yield

    with pytest.raises(DataError, match=f"holds {MAX_IMAGES + 1} images; at most {MAX_IMAGES}") as caught:
        assemble("spec", RawSet(MAX_IMAGES + 1, samples()), None)
    assert "subset" in caught.value.hint
