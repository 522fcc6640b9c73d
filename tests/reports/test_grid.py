import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from memaudit.audit.files import FormatError
from memaudit.audit.outputs import Look
from memaudit.audit.report.exhibit import Picture, Text
from memaudit.audit.report.model import AuditReport
from memaudit.audit.report.results import Match
from memaudit.reports import grid

from .pairs import SIDE

MISSING = np.array([0xD5, 0xD8, 0xDC])


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB")).astype(int)


def source(folder: Path, shown: Picture) -> np.ndarray:
    return pixels(Image.open(folder / shown.path))


def holds(sheet: np.ndarray, picture: np.ndarray) -> bool:
    """Return whether a picture, enlarged in squares, stands anywhere in the sheet."""
    return bool(found(sheet, picture))


def found(sheet: np.ndarray, picture: np.ndarray) -> list[tuple[int, int]]:
    times = round(96 / max(picture.shape[:2]))
    tile = picture.repeat(times, 0).repeat(times, 1)
    high, wide = tile.shape[:2]
    corners = np.argwhere((sheet[: len(sheet) - high + 1, : sheet.shape[1] - wide + 1] == tile[0, 0]).all(-1))
    return [(y, x) for y, x in corners.tolist() if (sheet[y : y + high, x : x + wide] == tile).all()]


def with_matches(report: AuditReport, matches: list[Match]) -> AuditReport:
    return report.model_copy(update={"attacks": [report.attacks[0].model_copy(update={"matches": matches})]})


def test_originals_stand_above_their_reconstructions_the_most_similar_first(leak: AuditReport, folder: Path) -> None:
    sheet = pixels(grid.draw(leak, folder))
    order = sorted(leak.attacks[0].matches, key=lambda match: -match.scores.similarity)
    corners = []
    for match in order:
        ((top, left),) = found(sheet, source(folder, match.truth))
        ((below, same),) = found(sheet, source(folder, match.reconstruction))
        assert same == left
        assert top + 3 * SIDE <= below <= top + 3 * SIDE + 8
        corners.append((top, left))
    assert corners == sorted(corners)


def test_it_is_one_png_and_stable(leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    one = grid.write(leak, folder, tmp_path / "new" / "grid.png")
    two = grid.write(leak.model_copy(deep=True), folder, tmp_path / "two.png")
    assert one.read_bytes() == two.read_bytes()
    with Image.open(one) as picture:
        assert picture.format == "PNG"
    assert [path.name for path in one.parent.iterdir()] == ["grid.png"]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 25, 60, 99, 100, 130])
def test_any_number_of_pairs_has_a_sensible_shape(leak: AuditReport, folder: Path, count: int) -> None:
    matches = [leak.attacks[0].matches[place % 10] for place in range(count)]
    width, height = grid.draw(with_matches(leak, matches), folder).size
    room = width * height / (min(count, grid.PAIRS) * 96 * 210)
    assert room < (6 if count < 4 else 2)
    if count > 9:
        assert 0.8 < width / height < 2.4


def test_without_training_images_the_reconstructions_are_shown(
    blind: AuditReport, trust: AuditReport, folder: Path
) -> None:
    for report in (blind, trust):
        sheet = pixels(grid.draw(report, folder))
        kept = [dummy for dummy in report.attacks[0].reconstructions if not dummy.insignificant]
        assert all(holds(sheet, source(folder, dummy.exhibit)) for dummy in kept)
        assert not holds(sheet, source(folder, Picture(path="pictures/originals/000.png")))


def test_blurred_pictures_cannot_be_recognised(leak: AuditReport, folder: Path) -> None:
    sheet = pixels(grid.draw(leak, folder, Look(evidence="blurred")))
    ((top, left),) = found(pixels(grid.draw(leak, folder)), source(folder, leak.attacks[0].matches[0].truth))
    tile = sheet[top : top + 96, left : left + 96]
    assert len(np.unique(tile.reshape(-1, 3), axis=0)) <= 16
    blocks = source(folder, leak.attacks[0].matches[0].truth).reshape(4, 8, 4, 8, 3).mean((1, 3))
    assert np.abs(tile[::24, ::24] - blocks).max() <= 1


def test_texts_are_written_into_tiles_and_hidden_where_they_are_to_be(leak: AuditReport, folder: Path) -> None:
    first = leak.attacks[0].matches[0]
    texts = [Text(text="the quick brown fox " * 20), Text(text=""), Text(text="another one")]
    told = [first.model_copy(update={"truth": text, "reconstruction": texts[0]}) for text in texts]
    plain = [pixels(grid.draw(with_matches(leak, [match]), folder)) for match in told]
    assert not np.array_equal(plain[0], plain[2])
    report = with_matches(leak, told[:1])
    hidden = pixels(grid.draw(report, folder, Look("blurred")))
    assert hidden.shape == plain[0].shape
    assert not np.array_equal(hidden, plain[0])


def test_without_evidence_there_is_no_grid(leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="--evidence none"):
        grid.write(leak, folder, tmp_path / "grid.png", Look(evidence="none"))
    assert not list(tmp_path.iterdir())


def test_a_report_without_pictures_says_so(leak: AuditReport, folder: Path) -> None:
    bare = leak.model_copy(update={"attacks": [leak.attacks[2]]})
    with pytest.raises(FormatError, match="No attack of this report reconstructed any image"):
        grid.draw(bare, folder)


@pytest.mark.parametrize(
    "path", ["missing.png", "../outside.png", "/etc/passwd", "text.png", "cut.png", "link.png", ""]
)
def test_what_is_no_picture_of_the_run_becomes_a_grey_tile(
    leak: AuditReport, folder: Path, tmp_path: Path, path: str
) -> None:
    root = tmp_path / "run"
    root.mkdir()
    original = (folder / "pictures/originals/000.png").read_bytes()
    (tmp_path / "outside.png").write_bytes(original)
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    (root / "text.png").write_text("no picture")
    (root / "cut.png").write_bytes(original[:200])
    (root / "good.png").write_bytes(original)
    good = Picture(path="good.png")
    match = leak.attacks[0].matches[0].model_copy(update={"truth": Picture(path=path), "reconstruction": good})
    sheet = pixels(grid.draw(with_matches(leak, [match]), root))
    ((top, left),) = found(sheet, source(root, good))
    assert (sheet[top - 60, left + 40] == MISSING).all()


def test_a_picture_that_claims_to_be_huge_is_not_read(leak: AuditReport, tmp_path: Path) -> None:
    Image.new("1", (30_000, 20_000)).save(tmp_path / "bomb.png")
    bomb = Picture(path="bomb.png")
    match = leak.attacks[0].matches[0].model_copy(update={"truth": bomb, "reconstruction": bomb})
    assert grid.draw(with_matches(leak, [match]), tmp_path).width < 1000


@pytest.mark.parametrize(("size", "mode"), [((4, 4), "RGB"), ((28, 28), "L"), ((300, 200), "RGB"), ((900, 20), "RGBA")])
def test_pictures_of_any_size_and_mode_are_drawn(
    leak: AuditReport, tmp_path: Path, size: tuple[int, int], mode: str
) -> None:
    Image.new(mode, size, {"RGB": "#204060", "L": 90, "RGBA": "#204060ff"}[mode]).save(tmp_path / "a.png")
    shown = Picture(path="a.png")
    match = leak.attacks[0].matches[0].model_copy(update={"truth": shown, "reconstruction": shown})
    sheet = grid.draw(with_matches(leak, [match]), tmp_path)
    assert sheet.height < 800
    colour = (90, 90, 90) if mode == "L" else (0x20, 0x40, 0x60)
    scaled = max(size) * max(1, round(96 / max(size))) if max(size) <= 224 else 224
    area = scaled**2 * min(size) / max(size)
    assert math.isclose((pixels(sheet) == colour).all(-1).sum(), 2 * area, rel_tol=0.05)


def test_a_hostile_title_is_only_text(hostile: AuditReport, folder: Path) -> None:
    assert grid.draw(hostile, folder).height < 1000


def test_what_cannot_be_written_is_said_plainly(leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "grid.png", Path("/dev/null")):
        with pytest.raises(FormatError):
            grid.write(leak, folder, path)
