"""Our own numbers: rows of ``benchmarks/results/*.json``, grouped over their seeds, each with where it was measured."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from ..cover import EARLIER, LAYERS

RESULTS = Path(__file__).parents[1] / "results"

Row = Mapping[str, Any]


def _options(row: Row) -> str:
    words = [f"{name}={value}" for name, value in row["settings"].items()]
    words += ["strangers"] * row["strangers"] + [EARLIER[kind] for kind in [row["layers"]] if kind in EARLIER]
    return ", ".join([row["row"], *words, "on an H100" if "H100" in row["hardware"] else "on a CPU"])


def _words(*names: str) -> Callable[[Row], str]:
    return lambda row: ", ".join(str(row[name]) for name in names if row.get(name))


LABELS: dict[str, Callable[[Row], str]] = {
    "ablation": _words("victim", "change", "note"),
    "attacks": lambda row: (
        f"{' '.join([row['row'], *row['asked']])}, {row['attack']}" + ", strangers" * row["strangers"]
    ),
    "cover": _options,
    "engine": lambda row: f"{row['network']}, {row['samples']} images, {row['steps']} steps, {row['engine']}",
    "inference": _words("group", "victim", "asked"),
    "linearity": lambda row: f"{row['row']}, {row['epochs']} epochs",
    "paper": lambda row: f"{row['n']}, {row['attack']}, {row['weights']}, {row['hardware']}",
    "questions": _words("group", "asked"),
    "text": lambda row: row["row"] + ", strangers" * row["strangers"],
    "vit": _words("row"),
}
"""What tells the rows of a file apart, beside their seed."""


@dataclass(frozen=True)
class Group:
    """Rows of one file that differ in their seed alone; ``number`` is their place in the page's list of records."""

    file: str
    label: str
    rows: tuple[Row, ...]
    number: int = 0

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds; 0 where a file has none."""
        return tuple(row.get("seed", 0) for row in self.rows)

    @property
    def first(self) -> Row:
        """One of the rows, for what they have in common."""
        return self.rows[0]

    def values(self, name: str) -> list[float]:
        """Return what the rows have under a name."""
        return [row[name] for row in self.rows if row.get(name) is not None]

    def mean(self, name: str) -> float | None:
        """Return the mean of what the rows have under a name; ``None`` where none has it."""
        found = self.values(name)
        return fmean(found) if found else None  # the same in every Python; `sum` is not

    def text(self, name: str, digits: int = 3) -> str:
        """Return the values under a name, one a seed; a dash for none."""
        return ", ".join(f"{value:.{digits}f}" for value in self.values(name)) or "-"

    @property
    def reference(self) -> str:
        """A link to the list of records."""
        return f"[{self.number}](#records)"

    @property
    def source(self) -> str:
        """Where the numbers are."""
        seeds = f"; seed{'s' * (len(self.seeds) > 1)} {', '.join(map(str, self.seeds))}"
        return f"`{self.file}.json`: {self.label}{seeds}"

    @property
    def spent(self) -> str:
        """Seconds of each seed, and the largest peak of memory."""
        peak = max([*self.values("peak_memory_bytes"), *self.values("peak_bytes")], default=0) / 1e6
        peak = peak or max(self.values("peak_memory_mb"), default=0)
        return self.text("seconds", 1) + (f"; {peak:.0f} MB" if peak else "")

    @property
    def versions(self) -> str:
        """Hardware and versions, of all rows."""
        return "; ".join(dict.fromkeys(_machine(row) for row in self.rows))


def _machine(row: Row) -> str:
    versions = [f"{name} {row[name]}" for name in ("torch", "python", "memaudit") if name in row]
    return ", ".join([row["hardware"], *versions])


@dataclass
class Records:
    """The results files, and which of their rows were used."""

    folder: Path = RESULTS
    used: dict[str, Group] = field(default_factory=dict)
    read: dict[str, list[Row]] = field(default_factory=dict)

    def rows(self, file: str) -> list[Row]:
        """Return all rows of a file; none where it is not there yet."""
        if file not in self.read:
            self.read[file] = self._read(file)
        return self.read[file]

    def _read(self, file: str) -> list[Row]:
        path = self.folder / f"{file}.json"
        found = json.loads(path.read_text()) if path.exists() else []
        if isinstance(found, dict):
            where = found["hardware"]
            told = f"{where['cores']} cores, {where['device']}, {where['threads']} threads"
            return [{**where, "hardware": told, **row} for row in found["rows"]]
        return [part for row in found for part in (_lines(row) if file == "attacks" else [row])]

    def groups(self, file: str, **wanted: Any) -> list[Group]:
        """Return the groups whose rows have the wanted values; they count as used."""
        found: dict[str, list[Row]] = {}
        for row in self.rows(file):
            if all(row.get(name) == value for name, value in wanted.items()):
                found.setdefault(LABELS[file](row), []).append(row)
        made = [Group(file, label, tuple(sorted(rows, key=_seed))) for label, rows in found.items()]
        return [self._numbered(group) for group in made]

    def _numbered(self, group: Group) -> Group:
        """Return the group as it was used first, with its number."""
        return self.used.setdefault(group.source, replace(group, number=len(self.used) + 1))

    def one(self, file: str, **wanted: Any) -> Group | None:
        """Return the only such group; ``None`` where there is none."""
        return next(iter(self.groups(file, **wanted)), None)

    def cover(self, row: str) -> list[Group]:
        """Return what `cover` reached on a row: first by the present attack and with fewest options changed."""
        return sorted(self.groups("cover", row=row, strangers=False), key=partial(_plain))


def _plain(group: Group) -> tuple[int, int, str]:
    row = group.first
    return -[*EARLIER, LAYERS].index(row["layers"]), len(row["settings"]), group.label


def _seed(row: Row) -> int:
    return row.get("seed", 0)


def _lines(found: Row) -> Iterator[Row]:
    """Yield the attacks of one scan as rows of their own, with the names of scores that the other files have."""
    names = {"ssim": "ssim_mean", "ssim_paper": "ssim_paper_mean", "ssim_strangers": "control_ssim_mean"}
    about = {name: found[name] for name in ("row", "seed", "asked", "strangers", "torch")}
    about["hardware"] = f"{found['hardware']}, {found['threads']} threads"
    for line in found["leaderboard"]:
        yield {**line, **about, **{ours: line[theirs] for ours, theirs in names.items()}}
