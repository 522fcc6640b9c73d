import io
import os
import pickle  # noqa: TID251 - to build the attack that must fail
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from memaudit.audit.data.base import DataError
from memaudit.audit.data.opening import open_source
from memaudit.audit.data.tensor_file import TensorFileSource

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), dtype=np.uint8)
WANTED = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255
LABELS = np.array([2, 0, 1, 0])


class Payload:
    """Creates a marker file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def refuse(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        open_source(str(path))
    assert path.name in caught.value.message
    assert "\n" not in str(caught.value)
    return caught.value


def write(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_accepts_existing_files_with_a_known_extension(tmp_path: Path) -> None:
    source = TensorFileSource()
    assert source.accepts(str(write(tmp_path / "a.npz", x=PIXELS)))
    assert not source.accepts(str(tmp_path / "absent.npz"))
    (tmp_path / "folder.npz").mkdir()
    assert not source.accepts(str(tmp_path / "folder.npz"))
    (tmp_path / "a.csv").write_text("")
    assert not source.accepts(str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("images", "labels"),
    [("images", "labels"), ("x", "y"), ("data", "targets"), ("X", "Y"), ("arr_0", "arr_1"), ("x", "target")],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_keys(tmp_path: Path, save: Any, images: str, labels: str) -> None:
    save(tmp_path / "a.npz", **{images: PIXELS, labels: LABELS, "extra": np.zeros(3)})
    data = open_source(str(tmp_path / "a.npz"))
    assert torch.allclose(data.records, WANTED)
    assert data.labels.tolist() == LABELS.tolist()
    assert data.names[3] == "a.npz[3]"


def test_npz_without_labels(tmp_path: Path) -> None:
    assert open_source(str(write(tmp_path / "a.npz", x=PIXELS))).labels.tolist() == [-1] * 4


@pytest.mark.parametrize("key", ["class_names", "classes", "names"])
def test_class_names(tmp_path: Path, key: str) -> None:
    names = ["cat", "dog", "ship"]
    path = write(tmp_path / "a.npz", x=PIXELS, y=LABELS, **{key: np.array(names)})
    assert open_source(str(path)).class_names == tuple(names)
    torch.save({"x": torch.from_numpy(PIXELS), "y": torch.from_numpy(LABELS), key: names}, tmp_path / "a.pt")
    assert open_source(str(tmp_path / "a.pt")).class_names == tuple(names)


def test_too_few_class_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", x=PIXELS, y=LABELS, names=np.array(["cat", "dog"]))
    assert "2 class names, but labels up to 2" in refuse(path).message


@pytest.mark.parametrize(
    "content",
    [
        lambda x, y: (x, y),
        lambda x, y: [x, y],
        lambda x, y: (x, y.tolist()),
        lambda x, y: {"images": x, "labels": y},
        lambda x, y: {"data": x.float() / 255, "targets": y[:, None]},
        lambda x, y: (x.half(), y.to(torch.uint8)),
        lambda x, y: (x.to(torch.int64).requires_grad_(False), y),
        lambda x, y: ((x / 255).requires_grad_(), y),
    ],
)
@pytest.mark.parametrize("extension", ["pt", "pth"])
def test_torch_files(tmp_path: Path, content: Any, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    torch.save(content(torch.from_numpy(PIXELS), torch.from_numpy(LABELS)), path)
    data = open_source(str(path))
    assert torch.allclose(data.records, WANTED)
    assert data.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"x": x}])
def test_torch_files_without_labels(tmp_path: Path, wrap: Any) -> None:
    torch.save(wrap(WANTED), tmp_path / "a.pt")
    data = open_source(str(tmp_path / "a.pt"))
    assert torch.equal(data.records, WANTED)
    assert data.labels.tolist() == [-1] * 4


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    assert torch.allclose(open_source(str(tmp_path / "a.npy")).records, WANTED)


def test_safetensors(tmp_path: Path) -> None:
    save_file(
        {"images": WANTED.bfloat16().contiguous(), "labels": torch.from_numpy(LABELS)}, tmp_path / "a.safetensors"
    )
    data = open_source(str(tmp_path / "a.safetensors"))
    assert torch.allclose(data.records, WANTED, atol=1e-2)
    assert data.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 5, 7), (2, 1, 5, 7)),
        ((2, 1, 5, 7), (2, 1, 5, 7)),
        ((2, 5, 7, 1), (2, 1, 5, 7)),
        ((2, 3, 5, 7), (2, 3, 5, 7)),
        ((2, 5, 7, 3), (2, 3, 5, 7)),
        ((2, 3, 5, 3), (2, 3, 5, 3)),
        ((2, 1, 1, 1), (2, 1, 1, 1)),
    ],
)
def test_layouts(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    images = open_source(str(write(tmp_path / "a.npz", x=np.zeros(shape, np.uint8)))).records
    assert tuple(images.shape) == expected


@pytest.mark.parametrize("shape", [(4,), (2, 784), (8, 8, 3), (2, 8, 8, 4), (2, 4, 8, 8), (1, 2, 3, 8, 8), ()])
def test_what_is_not_a_set_of_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write(tmp_path / "a.npz", x=np.zeros(shape, np.uint8))
    assert str(shape) in refuse(path).message


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 255], np.uint8), 1),
        (np.array([0, 255], np.int64), 1),
        (np.array([0, 1], np.uint8), 1 / 255),
        (np.array([0, 1.0]), 1),
        (np.array([0, 1.2], np.float32), 1),
        (np.array([-1e-6, 0.5]), 0.5),
        (np.array([0, 255.0]), 1),
        (np.array([0, 51], np.float16), 0.2),
    ],
)
def test_values(tmp_path: Path, values: np.ndarray, expected: float) -> None:
    path = write(tmp_path / "a.npz", x=np.resize(values, (2, 4, 4)))
    images = open_source(str(path)).records
    assert float(images.max()) == pytest.approx(expected, abs=1e-6)
    assert float(images.min()) == 0


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (np.array([-1.0, 1.0]), "looks normalised"),
        (np.array([-1, 1], np.int8), "looks normalised"),
        (np.array([0, np.nan]), "not finite"),
        (np.array([0, np.inf]), "not finite"),
        (np.array([0, 256], np.int32), "up to 256"),
        (np.array([0, 65535.0]), "up to 65535"),
        (np.array([True, False]), "type bool"),
        (np.array([1j, 0]), "type complex128"),
        (np.array(["a", "b"]), "type <U1"),
    ],
)
def test_values_that_are_no_pixels(tmp_path: Path, values: np.ndarray, complaint: str) -> None:
    path = write(tmp_path / "a.npz", x=np.resize(values, (2, 4, 4)))
    assert complaint in refuse(path).message


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (np.zeros(3, int), "4 images, but labels of shape (3,)"),
        (np.zeros((4, 10), int), "labels of shape (4, 10)"),
        (np.zeros(4), "not class indices"),
        (np.array([0, 1, -2, 0]), "not class indices"),
        (np.array(["a"] * 4), "not class indices"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, labels: np.ndarray, complaint: str) -> None:
    assert complaint in refuse(write(tmp_path / "a.npz", x=PIXELS, y=labels)).message


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (4, 0, 8, 3)])
def test_empty(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert "holds no images" in refuse(write(tmp_path / "a.npz", x=np.zeros(shape, np.uint8))).message


def test_unknown_keys_are_listed(tmp_path: Path) -> None:
    error = refuse(write(tmp_path / "a.npz", pictures=PIXELS, other=LABELS))
    assert "found other, pictures" in error.message
    assert "images, x" in error.hint
    torch.save({"state": WANTED}, tmp_path / "a.pt")
    assert "found state" in refuse(tmp_path / "a.pt").message
    save_file({"fc.weight": WANTED.contiguous()}, tmp_path / "a.safetensors")
    assert "found fc.weight" in refuse(tmp_path / "a.safetensors").message


@pytest.mark.parametrize("content", [(1, 2, 3), "text", 5, (torch.zeros(1),) * 3])
def test_torch_files_of_another_structure(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    assert type(content).__name__ in refuse(tmp_path / "a.pt").message


@pytest.mark.parametrize(
    "make", [torch.Tensor.to_sparse, lambda x: x.to("meta"), lambda x: torch.complex(x, x), lambda x: x > 0]
)
def test_tensors_that_are_no_plain_arrays(tmp_path: Path, make: Any) -> None:
    torch.save(make(WANTED), tmp_path / "a.pt")
    refuse(tmp_path / "a.pt")


def test_code_in_a_torch_file_is_not_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    for index, content in enumerate([Payload(marker), {"images": WANTED, "labels": Payload(marker)}]):
        torch.save(content, tmp_path / f"{index}.pt")
        torch.save(content, tmp_path / f"{index}.pth", _use_new_zipfile_serialization=False)
        for path in (tmp_path / f"{index}.pt", tmp_path / f"{index}.pth"):
            assert "Save plain arrays" in refuse(path).hint
    assert not marker.exists()


def test_code_in_an_object_array_is_not_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    objects = np.array([Payload(marker)], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    paths = [tmp_path / "a.npy", write(tmp_path / "a.npz", images=objects)]
    paths.append(write(tmp_path / "b.npz", images=PIXELS, labels=objects))
    for path in paths:
        assert "Python objects, which are never loaded" in refuse(path).message
    assert not marker.exists()


@pytest.mark.parametrize("extension", ["npy", "npz", "pt", "pth", "safetensors"])
def test_a_bare_pickle_is_not_executed(tmp_path: Path, extension: str) -> None:
    marker = tmp_path / "executed"
    path = tmp_path / f"a.{extension}"
    path.write_bytes(pickle.dumps(Payload(marker)))
    refuse(path)
    assert not marker.exists()


def header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(1, 3, 100_000, 100_000), (60_000, 1, 2, 2), (2**40, 2**40, 3)])
def test_an_array_that_claims_too_much_is_refused_before_it_is_unpacked(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (tmp_path / "a.npy").write_bytes(header(shape) + b"\0" * 100)
    assert "at most" in refuse(tmp_path / "a.npy").message
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header(shape) + b"\0" * 10_000_000)
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    assert "at most" in refuse(tmp_path / "a.npz").message


def test_an_array_that_claims_more_than_the_file_holds(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(header((10, 8, 8)) + b"\0" * 100)
    assert "cannot be read as plain arrays" in refuse(tmp_path / "a.npy").message


def test_a_header_with_a_huge_length_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b" " * 100)
    assert "version 1.0" in refuse(tmp_path / "a.npy").message


def test_a_torch_archive_that_unpacks_to_too_much(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\0" * 1000)
        archive.infolist()[0].file_size = 5 * 2**30
    assert "unpacks to far more than its size" in refuse(tmp_path / "a.pt").message


def test_a_view_larger_than_its_storage(tmp_path: Path) -> None:
    torch.save(torch.zeros(1).expand(40_000, 3, 512, 512), tmp_path / "a.pt")
    assert "at most 4 GiB" in refuse(tmp_path / "a.pt").message


@pytest.mark.parametrize("keep", [0, 1, 10, 0.3, 0.9])
def test_truncated_files(tmp_path: Path, keep: float) -> None:
    images, labels = torch.from_numpy(PIXELS), torch.from_numpy(LABELS)
    write(tmp_path / "a.npz", x=PIXELS, y=LABELS)
    np.save(tmp_path / "a.npy", PIXELS)
    torch.save((images, labels), tmp_path / "a.pt")
    save_file({"x": images, "y": labels}, tmp_path / "a.safetensors")
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else int(keep)])
        refuse(path)


@pytest.mark.parametrize("extension", ["npz", "npy", "pt", "pth", "safetensors"])
def test_rubbish(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    refuse(path)


def test_values_of_no_size_or_of_any_size_are_no_pixels(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 8, 8), "V1000000"))
    assert "values of type |V1000000" in refuse(tmp_path / "a.npz").message
    np.savez(tmp_path / "b.npz", images=np.zeros((0, 2**40), np.uint8), labels=np.zeros(0, np.int64))
    assert isinstance(refuse(tmp_path / "b.npz"), DataError)
