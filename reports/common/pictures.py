"""What a page shows of records: pictures inside it while there is room, each once, and beside it after that; texts."""

import base64
import os
import re
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

from PIL import Image

from ...audit.files import FormatError, refuse_links, write_bytes
from ...audit.report.exhibit import Picture, Text
from ...audit.report.pictures import inside
from .differences import Part, differences

ROOM = 2_200_000
"""Pictures of at most this many characters in total are put into the page."""

_EXACT, _SIDE = 96, 256
"""A picture of up to this many pixels per side stays as it is; a larger one becomes a lossy one of that size."""

_FILE_LIMIT, _PIXEL_LIMIT = 8 * 2**20, 2**24
"""Files of more bytes or pixels are not read."""

_QUALITY, _EFFORT = 75, 1
"""Of lossy pictures; with more effort they take three times as long and are as large."""

_PNG_HEAD, _PNG_TAIL = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_COPY = re.compile(r"\d{4}\.png")


_LONGEST = 2000
"""Characters of one text, at most."""

_GLIMPSE = 120
"""Characters of a text that is shown in passing, at most."""

_BLOCKS = 4
"""A picture that must not be recognised has this many colours across and down."""


class Shot(NamedTuple):
    """How one record appears at one place of the page; a text in parts where it stands beside another one."""

    kind: Literal["inside", "again", "beside", "missing", "text"]
    href: str = ""
    id: str = ""
    text: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def fine(self) -> bool:
        """Whether it has so many pixels that it is not to be drawn in squares."""
        return self.href.startswith("data:image/webp")


class Aside:
    """Where a page at ``destination`` links to pictures that it has no room for.

    A page in the run folder links to the files of the run; any other one gets copies, readable by their owner only.
    """

    def __init__(self, folder: Path, destination: Path) -> None:
        self._root = Path(os.path.realpath(folder))
        self._page = Path(os.path.realpath(destination))
        self.folder = self._page.with_name(f"{self._page.stem}-evidence")
        self._copies: dict[Path, str] = {}

    def link(self, file: Path) -> str:
        """Return the address of a picture of the run folder, relative to the page."""
        if self._page.parent.is_relative_to(self._root):
            return quote(Path(os.path.relpath(file, self._page.parent)).as_posix())
        name = self._copies.setdefault(file, f"{len(self._copies) + 1:04}.png")
        return quote(f"{self.folder.name}/{name}")

    def write(self) -> None:
        """Copy what was linked to, and delete copies of an earlier page.

        Raises:
            FormatError: The folder cannot be written.
        """
        refuse_links(self.folder)
        try:
            self._clear()
            for file, name in self._copies.items():
                self.folder.mkdir(mode=0o700, exist_ok=True)
                self.folder.chmod(0o700)
                write_bytes(self.folder / name, file.read_bytes(), private=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise FormatError(f"{self.folder} cannot be written ({reason}).", "Choose another destination.") from None

    def _clear(self) -> None:
        if not self.folder.is_dir():
            return
        for old in self.folder.iterdir():
            if _COPY.fullmatch(old.name):
                old.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


class Album:
    """Decides for each record, in the order of the page, how it appears; ``veiled`` ones beyond recognition."""

    def __init__(self, folder: Path, aside: Aside | None = None, veiled: bool = False) -> None:
        self.left_out = 0
        self._folder, self._aside, self._veiled, self._room = folder, aside, veiled, ROOM
        self._placed: dict[Picture | Text, Shot] = {}
        self._read: dict[str, str | None] = {}

    def __contains__(self, exhibit: Picture | Text) -> bool:
        """Return whether the record has its place in the page already."""
        return exhibit in self._placed

    def __call__(self, exhibit: Picture | Text) -> Shot:
        """Return how a record appears here."""
        if exhibit not in self._placed:
            first = self._text(exhibit.text) if isinstance(exhibit, Text) else self._first(exhibit.path)
            self._placed[exhibit] = first
            return first
        shot = self._placed[exhibit]
        return Shot("again", f"#{shot.id}") if shot.kind == "inside" else shot

    def pair(self, truth: Picture | Text, made: Picture | Text) -> tuple[Shot, Shot]:
        """Return how two records appear beside each other: texts with what differs between them."""
        one, two = self(truth), self(made)
        if self._veiled or not (one.text and two.text):
            return one, two
        first, second = differences(one.text, two.text)
        return one._replace(parts=first), two._replace(parts=second)

    def glimpse(self, exhibit: Picture | Text) -> Shot:
        """Return how a record appears in passing, before its own place: as a copy that takes no room from others."""
        if isinstance(exhibit, Text):
            return self._text(exhibit.text[:_GLIMPSE])
        found = self._read[exhibit.path] = self._drawn(exhibit.path)
        return Shot("inside", found) if found else Shot("missing")

    def _drawn(self, path: str) -> str | None:
        if path in self._read:
            return self._read[path]
        found = picture(self._folder, path)
        return _coarse(found) if found and self._veiled else found

    def _text(self, text: str) -> Shot:
        cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        return Shot("text", text=hidden(cut) if self._veiled else cut) if text else Shot("missing")

    def _first(self, path: str) -> Shot:
        found = self._drawn(path)
        if found is None:
            return Shot("missing")
        if len(found) > self._room:
            return self._beside(path)
        self._room -= len(found)
        return Shot("inside", found, f"picture-{len(self._placed) + 1}")

    def _beside(self, path: str) -> Shot:
        self.left_out += 1
        file = locate(self._folder, path)
        return Shot("beside", self._aside.link(file)) if self._aside and file else Shot("missing")


def blurred(picture: Image.Image) -> Image.Image:
    """Return the picture beyond recognition: the mean colours of 4 x 4 blocks."""
    coarse = picture.resize((_BLOCKS, _BLOCKS), Image.Resampling.BOX)
    return coarse.resize(picture.size, Image.Resampling.NEAREST)


def hidden(text: str) -> str:
    """Return the text beyond recognition: a block for each mark, so that not even the words' lengths show."""
    return "▒" * min(len(text), 80)


def locate(folder: Path, path: str) -> Path | None:
    """Return the file of a picture in ``folder``; ``None`` where there is none of a sensible size.

    Reports come from strangers too: a path that leads out of the folder is not followed.
    """
    found = inside(folder, path)
    try:
        return found if found and found.stat().st_size <= _FILE_LIMIT else None
    except OSError:
        return None


def picture(folder: Path, path: str) -> str | None:
    """Return a PNG in ``folder`` as a data URI, a large one in less detail; ``None`` where there is no such file."""
    found = locate(folder, path)
    try:
        content = found.read_bytes() if found else b""
    except OSError:
        return None
    if not (content.startswith(_PNG_HEAD) and content.endswith(_PNG_TAIL)):
        return None
    width, height = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))
    if max(width, height) <= _EXACT:
        return _uri("png", content)
    small = _shrunk(content) if width * height <= _PIXEL_LIMIT else None
    return _uri("webp", small) if small else None


def _shrunk(content: bytes) -> bytes | None:
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as opened:
            drawn = opened.convert("RGB")
        drawn.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        buffer = BytesIO()
        drawn.save(buffer, "WEBP", quality=_QUALITY, method=_EFFORT)
    except (OSError, ValueError, SyntaxError, EOFError):
        return None
    return buffer.getvalue()


def _coarse(uri: str) -> str:
    """Return a picture's address with its pixels beyond recognition."""
    with Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])), formats=["PNG", "WEBP"]) as opened:
        buffer = BytesIO()
        blurred(opened.convert("RGB")).save(buffer, "PNG")
    return _uri("png", buffer.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
