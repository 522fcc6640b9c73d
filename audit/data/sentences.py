"""A text file becomes sentences with labels: a sentence a line, a label before it, or columns with names."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..files import read_regular
from ..printable import printable
from .records import DataError

MAX_FILE, MAX_SENTENCES, MAX_LINE = 256 * 2**20, 200_000, 100_000
"""Limits: bytes of a file, sentences in it, and bytes of one line."""

TEXTS, LABELS = ("sentence", "text", "content"), ("label", "labels", "target")
"""Names of the columns, the more usual first; capital letters count as small ones."""

_WHOLE = re.compile(r"[+-]?\d{1,9}(\.0+)?")
_SHOWN = 60


class Sentence(NamedTuple):
    """One sentence of a file.

    Attributes:
        text: Never blank.
        label: As written; empty where there is none.
        line: Where it ends, from 1.
    """

    text: str
    label: str
    line: int


class Lines(NamedTuple):
    """The lines of a file: at most :data:`MAX_LINE` bytes each, UTF-8, without NUL.

    Attributes:
        name: Of the file, for messages.
        texts: Without line ends.
    """

    name: str
    texts: tuple[str, ...]

    def wrong(self, line: int, what: str, hint: str = "") -> DataError:
        """Return the error that a line is wrong."""
        return DataError(f"Line {line} of {self.name} {what}.", hint)


def read_sentences(path: Path, column: str = "") -> tuple[Sentence, ...]:
    """Return the sentences of a file; lines and cells without one are passed over.

    ``.csv`` has a head with the names of columns, ``.jsonl``, ``.ndjson`` and ``.json`` an object a line. ``.tsv`` has
    such a head, or a label, a tabulator and a sentence in each line. Any other file has a sentence a line.

    Args:
        path: The file.
        column: Name of the column with the sentences; empty for the first of :data:`TEXTS` that is there.

    Raises:
        DataError: The file cannot be read, is above the limits or not UTF-8, has no such column, or a line that is
            not of its form; or it holds no sentence.
    """
    lines = _lines(path)
    found: list[Sentence] = []
    for sentence in _rows(path.suffix.lower(), lines, column):
        if len(found) == MAX_SENTENCES:
            raise DataError(f"{lines.name} holds more than {MAX_SENTENCES} sentences.", _SUBSET)
        if sentence.text.strip():
            found.append(sentence._replace(text=sentence.text.strip(), label=sentence.label.strip()))
    if not found:
        raise DataError(f"{lines.name} holds no sentences.", "Give a file with one sentence a line, or columns.")
    return tuple(found)


def class_indices(name: str, sentences: Sequence[Sentence]) -> tuple[list[int], tuple[str, ...]]:
    """Return the class index of each sentence, -1 for unknown, and the names of the classes.

    Labels that are all whole numbers are indices, without names. Others are names, in the order of the alphabet.

    Raises:
        DataError: A number is negative, but for -1.
    """
    told = sorted({sentence.label for sentence in sentences} - {""})
    if not all(_WHOLE.fullmatch(label) for label in told):
        return [told.index(sentence.label) if sentence.label else -1 for sentence in sentences], tuple(told)
    for sentence in sentences:
        if sentence.label and float(sentence.label) < -1:
            raise DataError(
                f"Line {sentence.line} of {name} has the label {sentence.label}, which is no class index.",
                "Give 0, 1, ..., names of classes, or -1 for unknown.",
            )
    return [int(float(sentence.label or -1)) for sentence in sentences], ()


_SUBSET = "Give the subset that is to be audited."


def _lines(path: Path) -> Lines:
    name = repr(printable(str(path), 200))
    try:
        content = read_regular(path, MAX_FILE)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or error
        raise DataError(f"{name} cannot be read: {reason}.", "Give an existing file behind text:.") from None
    if len(content) > MAX_FILE:
        raise DataError(f"{name} is larger than {MAX_FILE // 2**20} MiB.", _SUBSET)
    lines, texts = Lines(name, ()), []
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if len(raw) > MAX_LINE:
            raise lines.wrong(number, f"has {len(raw)} bytes; at most {MAX_LINE} can be read")
        if b"\0" in raw:
            raise lines.wrong(number, "holds a NUL byte, so this is no text", "Save it as text in UTF-8.")
        try:
            texts.append(raw.removesuffix(b"\r").decode())
        except UnicodeDecodeError:
            raise lines.wrong(number, "is not UTF-8", "Save the file as text in UTF-8.") from None
    return lines._replace(texts=tuple(texts))


def _rows(suffix: str, lines: Lines, column: str) -> Iterator[Sentence]:
    if suffix in (".jsonl", ".ndjson", ".json"):
        return _objects(lines, column)
    if suffix == ".csv" or (suffix == ".tsv" and (column or _is_head(lines))):
        return _table(lines, column, tabs=suffix == ".tsv")
    if column:
        raise DataError(f"{lines.name} has no columns, so none of them is {_said(column)}.", "Leave #COLUMN out.")
    if suffix == ".tsv":
        return _pairs(lines)
    return (Sentence(text, "", number) for number, text in enumerate(lines.texts, 1))


def _is_head(lines: Lines) -> bool:
    names = [name.strip().lower() for name in lines.texts[0].split("\t")]
    return any(name in TEXTS for name in names)


def _pairs(lines: Lines) -> Iterator[Sentence]:
    for number, line in enumerate(lines.texts, 1):
        cells = line.split("\t")
        if len(cells) == 2:
            yield Sentence(cells[1], cells[0], number)
        elif line.strip():
            raise lines.wrong(number, f"has {len(cells)} columns", "Give a label, a tabulator and a sentence a line.")


def _table(lines: Lines, column: str, tabs: bool) -> Iterator[Sentence]:
    text = (f"{line}\n" for line in lines.texts)
    reader = csv.reader(text, "excel-tab", quoting=csv.QUOTE_NONE) if tabs else csv.reader(text, strict=True)
    head: list[str] = []
    try:
        for row in reader:
            if not head:
                head = [name.strip() for name in row]
            elif row:
                yield _cells(lines, head, row, reader.line_num, column)
    except csv.Error as error:
        raise lines.wrong(reader.line_num, f"is not CSV ({error})") from None


def _cells(lines: Lines, head: list[str], row: list[str], line: int, column: str) -> Sentence:
    if len(row) != len(head):
        raise lines.wrong(line, f"has {len(row)} columns, and the first line {len(head)}")
    wanted, labels = _named(lines, head, column), [name for name in head if name.lower() in LABELS]
    return Sentence(row[head.index(wanted)], row[head.index(labels[0])] if labels else "", line)


def _objects(lines: Lines, column: str) -> Iterator[Sentence]:
    for number, line in enumerate(lines.texts, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise lines.wrong(number, "is not a JSON object", 'Give one a line, such as {"text": "...", "label": 0}.')
        text = content[_named(lines, content, column, number)]
        if not isinstance(text, str):
            raise lines.wrong(number, "has no text in its column of sentences")
        labels = [name for name in content if name.lower() in LABELS]
        yield Sentence(text, _written(content[labels[0]]) if labels else "", number)


def _written(label: Any) -> str:
    """Return a label of a JSON object as text; truth values are numbers."""
    return "" if label is None else str(int(label)) if isinstance(label, bool) else str(label)


def _named(lines: Lines, columns: Iterable[str], wanted: str, line: int = 1) -> str:
    """Return the name of the column with the sentences."""
    small = {name.lower(): name for name in reversed(list(columns))}
    for name in [wanted.lower()] if wanted else TEXTS:
        if name in small:
            return small[name]
    there = ", ".join(_said(name) for name in list(columns)[:10])
    missing = f"column {_said(wanted)}" if wanted else f"column named {', '.join(TEXTS[:-1])} or {TEXTS[-1]}"
    raise lines.wrong(line, f"has no {missing}, but {there or 'nothing'}", "Name it: text:FILE#COLUMN.")


def _said(name: str) -> str:
    return repr(printable(name, _SHOWN))
