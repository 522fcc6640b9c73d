import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from memaudit.audit.data.base import DataError
from memaudit.audit.data.opening import open_source
from memaudit.audit.data.torchvision import TorchvisionSource

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)


def write_mnist(root: Path, name: str = "MNIST", prefix: str = "train", count: int = 12) -> None:
    raw = root / name / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        size = count if part == prefix else 2
        images = struct.pack(">IIII", 0x803, size, 28, 28) + PIXELS[:size].tobytes()
        labels = struct.pack(">II", 0x801, size) + bytes(index % 10 for index in range(size))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(images)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(labels)


def refuse(spec: str) -> DataError:
    with pytest.raises(DataError) as caught:
        open_source(spec, (1, 28, 28))
    assert "\n" not in str(caught.value)
    return caught.value


def test_accepts_its_scheme_only(tmp_path: Path) -> None:
    assert TorchvisionSource().accepts("torchvision:MNIST:/data")
    assert not TorchvisionSource().accepts("MNIST")
    assert not TorchvisionSource().accepts(str(tmp_path))


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_mnist_of_both_splits(tmp_path: Path, name: str) -> None:
    write_mnist(tmp_path, name)
    data = open_source(f"torchvision:{name}:{tmp_path}", (1, 28, 28))
    assert np.array_equal((data.records[:, 0].numpy() * 255).round(), PIXELS)
    assert data.labels.tolist() == [index % 10 for index in range(12)]
    assert data.names[11] == f"{name}[11]"
    assert len(data.class_names) == 10
    assert not data.resized
    assert len(open_source(f"torchvision:{name}:{tmp_path}:train").names) == 12
    assert len(open_source(f"torchvision:{name}:{tmp_path}:test").names) == 2


def test_images_come_into_the_victims_shape(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    data = open_source(f"torchvision:MNIST:{tmp_path}", (3, 32, 32))
    assert data.records.shape == (12, 3, 32, 32)
    assert data.resized


def test_image_folder(tmp_path: Path) -> None:
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8), (50 * label,) * 3).save(tmp_path / name / "a.png")
    data = open_source(f"torchvision:ImageFolder:{tmp_path}")
    assert data.class_names == ("cat", "dog")
    assert data.labels.tolist() == [0, 1]
    assert data.records.amax((1, 2, 3)).tolist() == pytest.approx([0, 50 / 255])


def test_fake_data_needs_no_root() -> None:
    data = open_source("torchvision:FakeData", (3, 4, 4))
    assert data.records.shape == (1000, 3, 4, 4)
    assert "takes no root" in refuse("torchvision:FakeData:/data").message


def test_a_data_set_whose_split_is_a_word(tmp_path: Path) -> None:
    root = tmp_path / "imagenette2"
    for split in ("train", "val"):
        for wnid in ("n01440764", "n02102040"):
            folder = root / split / wnid
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / f"{split}.JPEG")
    assert len(open_source(f"torchvision:Imagenette:{tmp_path}:val").names) == 2
    assert "'holdout'" in str(refuse(f"torchvision:Imagenette:{tmp_path}:holdout"))


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "SVHN", "STL10", "SEMEION", "USPS"])
def test_an_absent_data_set_is_not_downloaded(tmp_path: Path, name: str) -> None:
    error = refuse(f"torchvision:{name}:{tmp_path}")
    assert f"torchvision:{name} cannot be opened at {str(tmp_path)!r}" in error.message
    assert f"torchvision.datasets.{name}({str(tmp_path)!r}, download=True)" in error.hint
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_absent_folder_is_not_said_to_be_downloadable(tmp_path: Path) -> None:
    error = refuse(f"torchvision:ImageFolder:{tmp_path / 'absent'}")
    assert "absent" in error.message
    assert "download" not in str(error)


def test_files_that_do_not_have_the_published_checksum(tmp_path: Path) -> None:
    cifar = tmp_path / "cifar-10-batches-py"
    cifar.mkdir()
    (cifar / "data_batch_1").write_bytes(b"cos\nsystem\n")
    assert "torchvision:CIFAR10 cannot be opened" in refuse(f"torchvision:CIFAR10:{tmp_path}").message
    scipy.io.savemat(tmp_path / "train_32x32.mat", {"X": np.zeros((32, 32, 3, 1), np.uint8), "y": np.ones((1, 1))})
    assert "torchvision:SVHN cannot be opened" in refuse(f"torchvision:SVHN:{tmp_path}").message


def test_damaged_files(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    images = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    images.write_bytes(gzip.compress(images.read_bytes()))
    assert "torchvision:MNIST cannot be opened" in refuse(f"torchvision:MNIST:{tmp_path}").message


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/a.png").write_bytes(b"no image")
    assert "ImageFolder[0]" in refuse(f"torchvision:ImageFolder:{tmp_path}").message


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("torchvision:", "no image data set ''"),
        ("torchvision:CIFAR:/data", "no image data set 'CIFAR'"),
        ("torchvision:models:/data", "no image data set 'models'"),
        ("torchvision:VisionDataset:/data", "no image data set 'VisionDataset'"),
        ("torchvision:LSUN:/data", "no image data set 'LSUN'"),
        ("torchvision:MNIST", "needs a root folder"),
        ("torchvision:MNIST::test", "needs a root folder"),
        ("torchvision:MNIST:/data:val", "no split 'val'"),
        ("torchvision:ImageFolder:/data:train", "no splits"),
        ("torchvision:DatasetFolder:/data", "DatasetFolder cannot be opened"),
    ],
)
def test_specs_that_mean_nothing(spec: str, complaint: str) -> None:
    assert complaint in refuse(spec).message


@pytest.mark.parametrize(
    ("name", "near"), [("cifar10", "CIFAR10"), ("CIFAR", "CIFAR10"), ("FashionMnist", "FashionMNIST")]
)
def test_near_names_are_proposed(name: str, near: str) -> None:
    assert near in refuse(f"torchvision:{name}:/data").hint


def test_without_a_near_name_all_are_listed() -> None:
    assert "CIFAR10" in refuse("torchvision:zzzzzzzz:/data").hint


def test_a_video_data_set_is_no_image_data_set(tmp_path: Path) -> None:
    (tmp_path / "MovingMNIST").mkdir()
    np.save(tmp_path / "MovingMNIST/mnist_test_seq.npy", np.zeros((20, 3, 64, 64), np.uint8))
    error = refuse(f"torchvision:MovingMNIST:{tmp_path}")
    assert "MovingMNIST[0]" in error.message


def test_more_images_than_can_be_audited(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST/raw"
    write_mnist(tmp_path)
    count = 50_001
    (raw / "train-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, count, 1, 1) + bytes(count))
    (raw / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + bytes(count))
    error = refuse(f"torchvision:MNIST:{tmp_path}")
    assert "holds 50001 images" in error.message
    assert "subset" in error.hint


def test_builds_that_do_not_fit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torchvision on disk that fails on import as one built for another torch does."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist\\nmore')")
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    error = refuse("torchvision:MNIST:/data")
    assert "torchvision cannot be imported" in error.message
    assert "operator torchvision::nms does not exist" in error.message
    assert "same release" in error.hint
