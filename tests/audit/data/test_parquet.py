"""Data sets in Parquet files, as Hugging Face's library writes them: columns, class names and the odd ones."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from memaudit.audit.data import room as rooms
from memaudit.audit.data.base import DataError
from memaudit.audit.data.opening import open_source
from memaudit.audit.data.room import room

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet")


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(path: Path, columns, names=("cat", "dog")) -> None:
    features = {"label": {"_type": "ClassLabel", "names": list(names)}, "image": {"_type": "Image"}}
    table = pyarrow.table(columns)
    about = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    parquet.write_table(table.replace_schema_metadata(about), path, row_group_size=2)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)


@pytest.fixture
def images(pixels, tmp_path):
    rows = [{"bytes": png(image), "path": f"{i}.png"} for i, image in enumerate(pixels)]
    write(tmp_path / "train-00000.parquet", {"image": rows[:3], "label": [0, 1, 1]})
    write(tmp_path / "train-00001.parquet", {"image": rows[3:], "label": [0, 1]})
    return tmp_path


def test_images_of_one_file_or_of_a_folder_are_kept_to_the_bit(images, pixels) -> None:
    found = open_source(f"parquet:{images}", (3, 6, 4))
    assert torch.equal((found.records * 255).round().byte(), torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert found.labels.tolist() == [0, 1, 1, 0, 1]
    assert found.class_names == ("cat", "dog")
    assert found.names[3] == "train-00001.parquet[0]"
    assert len(open_source(f"parquet:{images / 'train-00000.parquet'}", (3, 6, 4)).records) == 3


def test_bare_bytes_and_another_column_will_do(pixels, tmp_path) -> None:
    write(tmp_path / "a.parquet", {"scan": [png(image) for image in pixels], "labels": [5, 4, 3, 2, 1]})
    found = open_source(f"parquet:{tmp_path / 'a.parquet'}#scan", (3, 6, 4))
    assert found.labels.tolist() == [5, 4, 3, 2, 1]
    with pytest.raises(DataError, match="has no column of images or sentences; it has scan, labels"):
        open_source(f"parquet:{tmp_path / 'a.parquet'}", (3, 6, 4))
    with pytest.raises(DataError, match="has no column 'no'"):
        open_source(f"parquet:{tmp_path / 'a.parquet'}#no", (3, 6, 4))


def test_a_broken_image_is_named_and_can_be_left_out(pixels, tmp_path) -> None:
    write(tmp_path / "a.parquet", {"image": [png(pixels[0]), b"no image", None], "label": [0, 1, 1]})
    with pytest.raises(DataError, match=r"2 of 3 images .* cannot be read: a.parquet\[1\]"):
        open_source(f"parquet:{tmp_path / 'a.parquet'}", (3, 6, 4))
    assert len(open_source(f"parquet:{tmp_path / 'a.parquet'}", (3, 6, 4), skip=True).records) == 1


def test_what_is_no_parquet_file_is_said_in_one_sentence(images, tmp_path) -> None:
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(DataError, match=r"b\.parquet is no Parquet file"):
        open_source(f"parquet:{tmp_path / 'b.parquet'}", (3, 6, 4))
    with pytest.raises(DataError, match="There is no file"):
        open_source(f"parquet:{tmp_path / 'none.parquet'}", (3, 6, 4))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \.parquet files"):
        open_source(f"parquet:{tmp_path / 'empty'}", (3, 6, 4))
    (tmp_path / "b.parquet").unlink()
    whole = (images / "train-00000.parquet").read_bytes()
    middle = len(whole) // 4
    (images / "train-00000.parquet").write_bytes(whole[:middle] + bytes(40) + whole[middle + 40 :])
    with pytest.raises(DataError):
        open_source(f"parquet:{images}", (3, 6, 4))


def test_files_of_two_data_sets_are_refused(images) -> None:
    write(images / "zz.parquet", {"image": [b""], "other": [1]})
    with pytest.raises(DataError, match=r"zz\.parquet has other columns than train-00000\.parquet"):
        open_source(f"parquet:{images}", (3, 6, 4))


def test_names_of_classes_that_are_no_names_are_none(pixels, tmp_path) -> None:
    table = pyarrow.table({"image": [png(pixels[0])], "label": [1]})
    for about in (b"{", b"[]", json.dumps({"info": {"features": {"label": {"names": [1, 2]}}}}).encode()):
        parquet.write_table(table.replace_schema_metadata({b"huggingface": about}), tmp_path / "a.parquet")
        assert open_source(f"parquet:{tmp_path / 'a.parquet'}", (3, 6, 4)).class_names == ()


def test_sentences_are_read_with_their_labels(tmp_path) -> None:
    from memaudit.audit.data.parquet import ParquetSource

    write(tmp_path / "a.parquet", {"text": ["one", "", "two"], "label": [1, 0, 0]}, names=("bad", "good"))
    raw = ParquetSource().open(f"parquet:{tmp_path / 'a.parquet'}")
    assert raw.sentences == ("one", "two")
    assert raw.labels == (1, 0)
    assert raw.class_names == ("bad", "good")
    assert raw.names == ("a.parquet:1", "a.parquet:3")


def test_many_images_lie_in_a_file_that_goes_with_them(images, pixels, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(rooms, "IN_MEMORY", 100)
    found = open_source(f"parquet:{images}", (3, 6, 4))
    assert torch.equal((found.records * 255).round().byte(), torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert isinstance(room("x", (2, 3, 4, 4)), np.memmap)


def test_a_full_disk_is_said_in_one_sentence(monkeypatch) -> None:
    monkeypatch.setattr(rooms, "IN_MEMORY", 100)
    monkeypatch.setattr(rooms.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(DataError, match=r"needs 0\.0 GiB in .* while it is looked at"):
        room("x", (2, 3, 4, 4))
