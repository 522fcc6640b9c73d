"""Parquet files, as Hugging Face stores data sets: images or sentences in columns, read a few rows at a time."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..plugins import one_line
from .base import DataError, Raw, RawSet, Sample, Unreadable
from .folder import decode
from .records import MAX_IMAGES
from .sentences import LABELS, TEXTS, Sentence, class_indices
from .text import RawText

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

SCHEME = "parquet:"

IMAGES = ("image", "img", "picture")
"""Names of columns of images, the more usual first."""

ROWS, LARGEST = 32, 64 * 2**20
"""Rows that are read at once, and bytes of one image file."""


class ParquetSource:
    """``parquet:FILE`` or a folder of such files, with a column of images (``image``) or of sentences (``text``).

    ``#COLUMN`` behind it names another column. Labels are those of ``label`` or ``labels``; names of classes are read
    off what Hugging Face writes into the file.
    """

    form: ClassVar[str] = "parquet:FILE-OR-FOLDER[#COLUMN] as Hugging Face stores images or sentences"

    def accepts(self, spec: str) -> bool:
        """Return whether ``spec`` begins with ``parquet:``."""
        return spec.startswith(SCHEME)

    def open(self, spec: str) -> Raw:
        """Open the files; images are decoded on the way.

        Raises:
            DataError: pyarrow is not installed; there is no such file or column, or the files do not go together.
        """
        place, _, column = spec.removeprefix(SCHEME).partition("#")
        table = _Table.of(place, column)
        return table.images() if table.pictures else table.sentences()


@dataclass(frozen=True)
class _Table:
    """Files with the same columns.

    Attributes:
        files: Opened, with their names.
        column: Of the records.
        label: Column of the labels; empty where there is none.
        pictures: Whether the records are images.
        class_names: Names of the classes, where the files tell.
    """

    files: Sequence[tuple[str, "ParquetFile"]]
    column: str
    label: str
    pictures: bool
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, place: str, column: str) -> "_Table":
        files = [(path.name, _opened(path)) for path in _paths(place)]
        names = files[0][1].schema_arrow.names
        for name, file in files:
            if file.schema_arrow.names != names:
                raise DataError(f"{name} has other columns than {files[0][0]}.", "Give files of one data set.")
        lower = {name.lower(): name for name in reversed(names)}
        found = column or next((lower[name] for name in (*IMAGES, *TEXTS) if name in lower), "")
        if found not in names:
            wanted = f"no column {column!r}" if column else "no column of images or sentences"
            raise DataError(f"{place!r} has {wanted}; it has {', '.join(names)}.", "Name one: parquet:FILE#COLUMN.")
        kind = files[0][1].schema_arrow.field(found).type
        label = next((lower[name] for name in LABELS if name in lower), "")
        return cls(files, found, label, not _is_text(kind), _classes(files[0][1], label))

    def images(self) -> RawSet:
        return RawSet(self._count("images"), self._samples(), self.class_names, photos=True)

    def sentences(self) -> RawText:
        count = self._count("sentences")
        rows = [(name, row, text, label) for name, row, text, label in self._rows() if isinstance(text, str) and text]
        found = [Sentence(text, "" if label is None else str(label), row + 1) for _, row, text, label in rows]
        if not found:
            raise DataError(f"None of {count} rows holds a sentence.")
        labels, names = class_indices(repr(self.files[0][0]), found)
        places = tuple(f"{name}:{row + 1}" for name, row, _, _ in rows)
        return RawText(tuple(s.text for s in found), tuple(labels), places, self.class_names or names)

    def _count(self, many: str) -> int:
        count = sum(int(file.metadata.num_rows) for _, file in self.files)
        if count > MAX_IMAGES:
            raise DataError(
                f"The files hold {count} {many}; at most {MAX_IMAGES} can be read.",
                "Give the subset that is to be audited.",
            )
        return count

    def _rows(self) -> Iterator[tuple[str, int, Any, Any]]:
        """Give file, row, record and label, a few rows at a time."""
        columns = [self.column, *([self.label] if self.label else [])]
        for name, file in self.files:
            row = 0
            try:
                for batch in file.iter_batches(ROWS, columns=columns):
                    labels = batch.column(self.label).to_pylist() if self.label else [None] * len(batch)
                    for record, label in zip(batch.column(self.column).to_pylist(), labels, strict=True):
                        yield name, row, record, label
                        row += 1
            except (OSError, ValueError, KeyError) as error:  # pyarrow's own errors are of these kinds
                raise DataError(f"{name} is damaged after row {row}: {one_line(error)}.") from None

    def _samples(self) -> Iterator[Sample | Unreadable]:
        for file, row, record, label in self._rows():
            name = f"{file}[{row}]"
            content = record.get("bytes") if isinstance(record, dict) else record
            if not isinstance(content, bytes) or len(content) > LARGEST:
                yield Unreadable(name, "the row holds no image file" if not content else "its file is too large")
                continue
            try:
                image, orientation = decode(io.BytesIO(content))
            except DataError as error:
                yield Unreadable(name, error.message)
            except Exception as error:  # as of image files in a folder
                yield Unreadable(name, one_line(error))
            else:
                whole = isinstance(label, int) and not isinstance(label, bool) and 0 <= label < 2**31
                yield Sample(image, name, label if whole else -1, orientation)


def _paths(place: str) -> list[Path]:
    path = Path(place)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix == ".parquet" and file.is_file())
        if not found:
            raise DataError(f"{place!r} holds no .parquet files.")
        return found
    if not path.is_file():
        raise DataError(f"There is no file {place!r}.", "Check the path.")
    return [path]


def _opened(path: Path) -> "ParquetFile":
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise DataError(
            "Parquet files need the package pyarrow, which is not installed.",
            "Run pip install '.[parquet]' in a checkout of memaudit.",
        ) from None
    try:
        return ParquetFile(path)
    except Exception as error:  # damaged bytes fail in any way
        raise DataError(f"{path.name} is no Parquet file: {one_line(error)}.") from None


def _is_text(kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def _classes(file: "ParquetFile", label: str) -> tuple[str, ...]:
    """Return the names of classes that Hugging Face's ``datasets`` wrote beside the columns; none where it did not."""
    try:
        about = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])
        names = about["info"]["features"][label]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return ()
    known = isinstance(names, list) and len(names) <= 100_000 and all(isinstance(name, str) for name in names)
    return tuple(name[:200] for name in names) if known else ()
