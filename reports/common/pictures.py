"""The pictures of one page: inside it while there is room, each once, and in a folder beside it after that."""

import base64
import os
import re
import shutil
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

from PIL import Image

from ...audit.files import FormatError

ROOM = 2_200_000
"""Pictures of so many characters together are put into the page."""

_EXACT, _SIDE = 96, 256
"""A picture of up to so many pixels a side stays as it is; a larger one becomes a lossy one of so many at most."""

_FILE_LIMIT, _PIXEL_LIMIT = 8 * 2**20, 2**24
"""Files of more bytes or pixels are not read."""

_QUALITY, _EFFORT = 75, 1
"""Of lossy pictures; with more effort they take three times as long and are as large."""

_PNG_HEAD, _PNG_TAIL = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_COPY = re.compile(r"\d{4}\.png")


class Shot(NamedTuple):
    """How one picture appears at one place of the page."""

    kind: Literal["inside", "again", "beside", "missing"]
    href: str = ""
    id: str = ""

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
        if self.folder.is_symlink():
            raise FormatError(f"{self.folder} is a link.", "Remove it, or choose another destination.")
        try:
            self._clear()
            for file, name in self._copies.items():
                self.folder.mkdir(mode=0o700, exist_ok=True)
                self.folder.chmod(0o700)
                shutil.copyfile(file, self.folder / name)
                (self.folder / name).chmod(0o600)
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
    """Decides for each picture, in the order of the page, where it goes."""

    def __init__(self, folder: Path, aside: Aside | None = None) -> None:
        self.left_out = 0
        self._folder, self._aside, self._room = folder, aside, ROOM
        self._placed: dict[str, Shot] = {}

    def __contains__(self, path: str) -> bool:
        """Return whether the picture has its place in the page already."""
        return path in self._placed

    def __call__(self, path: str) -> Shot:
        """Return how a picture of the run folder appears here."""
        if path not in self._placed:
            self._placed[path] = self._first(path)
            return self._placed[path]
        shot = self._placed[path]
        return Shot("again", f"#{shot.id}") if shot.kind == "inside" else shot

    def _first(self, path: str) -> Shot:
        found = picture(self._folder, path)
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


def locate(folder: Path, path: str) -> Path | None:
    """Return the file of a picture in ``folder``; ``None`` where there is none of a sensible size.

    Reports come from strangers too: a path that leads out of the folder is not followed.
    """
    try:
        root, found = (Path(os.path.realpath(part)) for part in (folder, folder / path))
        inside = found.is_relative_to(root) and found.is_file() and found.stat().st_size <= _FILE_LIMIT
    except (OSError, ValueError):
        return None
    return found if inside else None


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


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
