import os
from pathlib import Path

import pytest

from memaudit.audit.data.base import DataError
from memaudit.audit.data.listing import check_depth, look


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def wrong(folder: Path) -> dict[str, str]:
    return {path.name: reason for path, reason in look(folder).images}


def test_litter_is_passed_over_quietly_and_other_files_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "Thumbs.db", "desktop.ini", ".DS_Store", "._a.png", "README.txt", "__MACOSX/b.png")
    touch(tmp_path, "labels.csv", "more.zip", "no-ending")
    found = look(tmp_path)
    assert wrong(tmp_path) == {"a.png": ""}
    assert [path.name for path in found.passed] == ["labels.csv", "more.zip", "no-ending"]
    assert found.folders == ()


@pytest.mark.parametrize("name", ["a.heic", "a.AVIF", "a.dng", "a.jxl", "a.psd", "a.svg"])
def test_an_image_of_another_type_is_not_passed_over(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    assert "an image of a type that is not read" in wrong(tmp_path)[name]


def test_only_regular_files_count_and_nothing_is_opened(tmp_path: Path) -> None:
    touch(tmp_path, "real.png")
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink("nowhere", tmp_path / "gone.png")
    os.symlink("real.png", tmp_path / "link.png")
    os.symlink("loop.png", tmp_path / "loop.png")
    os.symlink("elsewhere", tmp_path / "class")
    found = wrong(tmp_path)
    assert found["real.png"] == found["link.png"] == ""
    assert found["pipe.png"] == "not a regular file"
    assert found["gone.png"] == found["class"] == "a link to a missing file"
    assert found["loop.png"].startswith("a link that leads nowhere")


def refused(folder: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        check_depth(str(folder), [(below, look(below)) for below in look(folder).folders])
    return caught.value


def test_a_root_with_parts_says_which_sub_folders_hold_images(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "notes/old/x.txt")
    error = refused(tmp_path)
    assert "'train' (2 images), 'val' (1 image)" in error.message
    assert str(tmp_path / "train") in error.hint


def test_flat_parts_are_no_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.png", "test/2.png")
    assert "'test' (1 image), 'train' (1 image)" in refused(tmp_path).message


def test_classes_may_have_any_name(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.png", "tram/2.png", "bus/3.png")
    check_depth(str(tmp_path), [(below, look(below)) for below in look(tmp_path).folders])
