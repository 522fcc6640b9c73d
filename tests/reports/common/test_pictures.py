import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from memaudit.audit.files import FormatError
from memaudit.audit.outputs import Look
from memaudit.audit.report.exhibit import Picture, Text
from memaudit.audit.report.model import AuditReport
from memaudit.reports import html
from memaudit.reports.common import pictures


def save(path: Path, width: int, height: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(width).integers(0, 256, (height or width, width, 3), dtype=np.uint8)
    Image.fromarray(levels).save(path)
    return path


def decoded(uri: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(uri.split(",")[1])))


def test_a_small_picture_is_embedded_exactly(tmp_path: Path) -> None:
    content = save(tmp_path / "a.png", 96).read_bytes()
    assert pictures.picture(tmp_path, "a.png") == "data:image/png;base64," + base64.b64encode(content).decode()


@pytest.mark.parametrize(("size", "shown"), [((97, 50), (97, 50)), ((500, 300), (256, 154)), ((300, 600), (128, 256))])
def test_a_large_picture_is_embedded_smaller(size: tuple[int, int], shown: tuple[int, int], tmp_path: Path) -> None:
    save(tmp_path / "a.png", *size)
    uri = pictures.picture(tmp_path, "a.png")
    assert uri is not None
    assert (decoded(uri).format, decoded(uri).size) == ("WEBP", shown)
    assert pictures.Album(tmp_path)(Picture(path="a.png")).fine


def test_a_large_picture_that_is_broken_or_too_large_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(save(tmp_path / "a.png", 120).read_bytes())
    content[24] = 99  # bits of a pixel
    (tmp_path / "b.png").write_bytes(content)
    assert pictures.picture(tmp_path, "b.png") is None
    monkeypatch.setattr(pictures, "_PIXEL_LIMIT", 120 * 119)
    assert pictures.picture(tmp_path, "a.png") is None


def test_a_picture_is_embedded_once(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 8)
    album, shown = pictures.Album(tmp_path), Picture(path="a.png")
    assert shown not in album
    first, second = album(shown), album(shown)
    assert (first.kind, second.kind, second.href) == ("inside", "again", f"#{first.id}")
    assert shown in album
    assert [album(Picture(path="none.png")).kind for _ in range(2)] == ["missing", "missing"]


def test_a_text_is_shown_as_often_as_it_is_asked_for_and_no_longer_than_has_room(tmp_path: Path) -> None:
    album, said = pictures.Album(tmp_path), Text(text="<b>once upon a time")
    assert said not in album
    assert [album(said) for _ in range(2)] == [pictures.Shot("text", text="<b>once upon a time")] * 2
    assert said in album
    assert album(Text(text="")).kind == "missing"
    assert album(Text(text="x" * 10_000)).text == "x" * 2000 + "…"


def test_what_is_veiled_cannot_be_recognised(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 64)
    album = pictures.Album(tmp_path, veiled=True)
    shown = decoded(album(Picture(path="a.png")).href)
    assert (shown.size, len(set(shown.getdata()))) == ((64, 64), 16)
    told = album(Text(text="my name is Ada"))
    assert set(told.text) == {"▒"}


def test_pictures_without_room_lie_beside_the_page(
    leak: AuditReport, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "ROOM", 20_000)
    page = html.write(leak, folder, tmp_path / "my report.html")
    beside = tmp_path / "my report-evidence"
    copies = sorted(beside.iterdir())
    assert beside.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in copies} == {0o600}
    assert len(copies) == 20 + 2 * 4 - page.read_text().count("<img ")
    for file in copies:
        assert f'href="my%20report-evidence/{file.name}"' in page.read_text()
    originals = {(folder / match.reconstruction.path).read_bytes() for match in leak.attacks[0].matches}
    assert copies[-1].read_bytes() in originals
    (beside / "0999.png").write_bytes(b"of an earlier page")
    (beside / "notes.txt").write_text("mine")
    html.write(leak, folder, page, Look("none"))
    assert [file.name for file in beside.iterdir()] == ["notes.txt"]
    (beside / "notes.txt").unlink()
    html.write(leak, folder, page, Look("none"))
    assert list(tmp_path.iterdir()) == [page]


def test_a_glimpse_takes_no_room_and_no_place(leak: AuditReport, folder: Path) -> None:
    album, shown = pictures.Album(folder), leak.attacks[0].matches[0].truth
    glimpse = album.glimpse(shown)
    assert (glimpse.kind, glimpse.id) == ("inside", "")
    assert shown not in album
    assert album(shown) == pictures.Shot("inside", glimpse.href, "picture-1")
    assert album.glimpse(Picture(path="nowhere.png")).kind == "missing"
    assert album.glimpse(Text(text="word " * 100)).text == ("word " * 24)[:120]
    veiled = pictures.Album(folder, veiled=True)
    assert veiled.glimpse(shown).href != glimpse.href
    assert veiled.glimpse(Text(text="word")).text == "▒▒▒▒"


def test_the_page_of_the_run_folder_links_to_the_files_themselves(
    leak: AuditReport, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "ROOM", 20_000)
    page = html.write(leak, folder, folder / "report.html")
    match = min(leak.attacks[0].matches, key=lambda match: match.scores.similarity)
    assert f'href="{match.reconstruction.path}"' in page.read_text()
    assert not (folder / "report-evidence").exists()
    page.unlink()


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_side_folder_that_cannot_be_is_refused(
    kind: str, leak: AuditReport, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "ROOM", 0)
    beside = tmp_path / "report-evidence"
    beside.symlink_to(folder) if kind == "link" else beside.write_text("")
    with pytest.raises(FormatError, match="report-evidence"):
        html.write(leak, folder, tmp_path / "report.html")


def test_texts_beside_each_other_are_shown_with_what_differs(tmp_path: Path) -> None:
    one, two = Text(text="the cat ran"), Text(text="the dog ran")
    first, second = pictures.Album(tmp_path).pair(one, two)
    assert [(part.text, part.state) for part in first.parts if part.state != "same"] == [("cat", "other")]
    assert "".join(part.text for part in second.parts) == second.text == "the dog ran"
    assert all(not shot.parts for shot in pictures.Album(tmp_path, veiled=True).pair(one, two))
    assert all(not shot.parts for shot in pictures.Album(tmp_path).pair(one, Text(text="")))
    assert [shot.kind for shot in pictures.Album(tmp_path).pair(Picture(path="no.png"), two)] == ["missing", "text"]
