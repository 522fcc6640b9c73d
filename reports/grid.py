"""The best attack's pairs as one picture, as in the paper's figures: originals above their reconstructions."""

import math
import textwrap
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from ..audit.files import FormatError, write_bytes
from ..audit.outputs import Format, Look
from ..audit.report.exhibit import Picture, Text
from ..audit.report.kind import RecordKind
from ..audit.report.model import AuditReport
from ..audit.report.results import AttackResult, titles
from ..audit.words import fixed
from .common.extracts import evidence, ranked, trusted, unmatched
from .common.pictures import blurred, locate

PAIRS = 100
"""Pairs, at most."""

_SMALLEST, _LARGEST = 96, 224
"""Pixels of a picture's longer side, about: tiny ones are drawn in squares, large ones in less detail."""

_PIXELS = 2**24
"""A file that claims more is not read."""

_WIDE = 1.6
"""Width over height of the whole, about."""

_MARGIN, _GAP, _INSET, _LINE, _LETTER = 16, 10, 3, 18, 8
_PAPER, _INK, _SOFT, _ALARM, _MISSING = "#ffffff", "#1c1f24", "#5b636e", "#b3261e", "#d5d8dc"


class Column(NamedTuple):
    """What is drawn below each other: one record or two, and a line of text."""

    exhibits: tuple[Picture | Text, ...]
    caption: str
    alarming: bool = False


class Drawn(NamedTuple):
    """A column as it is drawn; ``None`` is a picture that cannot be read."""

    pictures: tuple[Image.Image | None, ...]
    column: Column


def write(report: AuditReport, folder: Path, destination: Path, look: Look = Look()) -> Path:  # noqa: B008 - frozen
    """Write one PNG of the most similar pairs, or of the reconstructions where there are no training images.

    Raises:
        FormatError: There is nothing to draw, pictures are not to be shown, or the destination cannot be written.
    """
    buffer = BytesIO()
    draw(report, folder, look).save(buffer, "PNG")
    return write_bytes(destination, buffer.getvalue(), private=True)


def draw(report: AuditReport, folder: Path, look: Look = Look()) -> Image.Image:  # noqa: B008 - frozen
    """Return the picture. Raises :class:`FormatError` where there is none."""
    check(look)
    shown = evidence(report)
    if not shown:
        raise FormatError(f"No attack of this report reconstructed any {report.kind.words.one}.", "Leave the grid out.")
    result = next((result for result in shown if result.matches), shown[0])
    columns = _columns(result, report.kind)[:PAIRS]
    tiles = [Drawn(tuple(_tile(folder, exhibit) for exhibit in column.exhibits), column) for column in columns]
    if look.evidence == "blurred":
        tiles = [Drawn(tuple(p and blurred(p) for p in tile.pictures), tile.column) for tile in tiles]
    title = f"{titles(report.attacks)[result.key]}: {_summary(result, len(_columns(result, report.kind)))}"
    return _laid_out(tiles, title, _legend(result, report.kind))


def _columns(result: AttackResult, kind: RecordKind) -> list[Column]:
    if result.matches:
        return [
            Column(
                (match.truth, match.reconstruction),
                f"{kind.statistic} {fixed(match.scores.similarity)}",
                match.recovered,
            )
            for match in ranked(result)
        ]
    if result.agreement:
        return [Column((dummy.exhibit,), f"conf. {fixed(dummy.confidence)}") for dummy, _ in trusted(result)]
    found = unmatched(result) or result.reconstructions
    return [Column((dummy.exhibit,), f"No. {dummy.dummy}") for dummy in found]


def _summary(result: AttackResult, number: int) -> str:
    first = f"; here the first {PAIRS}" if number > PAIRS else ""
    if not result.matches:
        return f"{number} reconstructions{first}"
    recovered = sum(match.recovered for match in result.matches)
    return f"{recovered} of {number} pairs recovered{first}"


def _legend(result: AttackResult, kind: RecordKind) -> str:
    if result.matches:
        return f"Training {kind.words.one} above, reconstruction below. Red: recovered."
    return f"Reconstructions only: no training {kind.words.many} were given."


def _tile(folder: Path, exhibit: Picture | Text) -> Image.Image | None:
    """Return how a record is drawn; ``None`` where there is nothing to draw."""
    if isinstance(exhibit, Picture):
        return _read(folder, exhibit.path)
    return _written(exhibit.text) if exhibit.text else None


def _written(text: str) -> Image.Image:
    """Return a tile with as much of a text as it has room for."""
    tile = Image.new("RGB", (_LARGEST, _SMALLEST), _MISSING)
    lines = textwrap.wrap(text, _LARGEST // _LETTER)[: _SMALLEST // _LINE]
    ImageDraw.Draw(tile).multiline_text((_INSET, _INSET), "\n".join(lines), _INK, ImageFont.load_default(12))
    return tile


def _read(folder: Path, path: str) -> Image.Image | None:
    """Return a picture of the run folder; ``None`` where there is no sensible one."""
    found = locate(folder, path)
    if found is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(found, formats=["PNG"]) as opened:
                if opened.width * opened.height > _PIXELS:
                    return None
                return _scaled(opened.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def _scaled(picture: Image.Image) -> Image.Image:
    longer = max(picture.size)
    if longer > _LARGEST:
        picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
        return picture
    times = max(1, round(_SMALLEST / longer))
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)


def _laid_out(tiles: Sequence[Drawn], title: str, legend: str) -> Image.Image:
    pictures = [picture for tile in tiles for picture in tile.pictures if picture]
    wide = max([picture.width for picture in pictures] or [_SMALLEST])
    high = max([picture.height for picture in pictures] or [_SMALLEST])
    stacked = max(len(tile.pictures) for tile in tiles)
    across, down = wide + _GAP, stacked * (high + _INSET) + _LINE + _GAP
    rows = math.ceil(len(tiles) / min(len(tiles), math.ceil(math.sqrt(_WIDE * len(tiles) * down / across))))
    columns = math.ceil(len(tiles) / rows)

    font, heading = ImageFont.load_default(13), ImageFont.load_default(16)
    text = max(heading.getlength(title), font.getlength(legend))
    width = max(columns * across - _GAP, math.ceil(text)) + 2 * _MARGIN
    top = _MARGIN + 2 * _LINE + _GAP
    sheet = Image.new("RGB", (width, top + rows * down - _GAP + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN), title, _INK, heading)
    pen.text((_MARGIN, _MARGIN + _LINE + 4), legend, _SOFT, font)
    for place, tile in enumerate(tiles):
        left, upper = _MARGIN + place % columns * across, top + place // columns * down
        for level, picture in enumerate(tile.pictures):
            _place(sheet, picture, (left, upper + level * (high + _INSET), wide, high))
        under = (left + wide / 2, upper + stacked * (high + _INSET) + 2)
        pen.text(under, tile.column.caption, _ALARM if tile.column.alarming else _INK, font, anchor="ma")
    return sheet


def _place(sheet: Image.Image, picture: Image.Image | None, box: tuple[int, int, int, int]) -> None:
    left, upper, wide, high = box
    if picture is None:
        sheet.paste(_MISSING, (left, upper, left + wide, upper + high))
    else:
        sheet.paste(picture, (left + (wide - picture.width) // 2, upper + (high - picture.height) // 2))


def check(look: Look) -> None:
    """Raise :class:`FormatError` where no picture may be shown."""
    if look.evidence == "none":
        raise FormatError("A grid is nothing but pictures, and --evidence none leaves them out.", "Ask for blurred.")


FORMAT = Format(write, check)
"""The format by its entry point."""
