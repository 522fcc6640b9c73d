"""What a kind of record must be able to do, so that reconstructions of it can be matched, judged and shown."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from ... import MemauditError
from ...attacks.contract.victim import Victim
from .. import plugins
from ..report.kind import RecordKind

if TYPE_CHECKING:
    from ..report.exhibit import Picture, Text

GROUP = "memaudit.kinds"
"""The entry-point group of kinds: classes that are made with the victim's medium."""


class KindError(MemauditError):
    """A kind of record whose numbers cannot be right; the message names them."""


Told = Callable[[int], None]
"""Hears how many more pairs are scored."""


def unheard(pairs: int) -> None:
    """Ignore it."""


class Kind(Protocol):
    """Records of one kind: (n, ...) tensors, of which only this knows what the numbers mean.

    Similarities are float64 in [-1, 1]; 1 is identical.
    """

    about: ClassVar[RecordKind]
    """What a reader of the report must know of the kind."""

    def matrix(self, truth: Tensor, guess: Tensor, told: Told = unheard) -> Tensor:
        """Return the similarity (m, n) of every record of ``truth`` (m, ...) to every one of ``guess`` (n, ...).

        Raises:
            ValueError: The records of the two sets have different shapes.
        """
        ...

    def pairs(self, one: Tensor, two: Tensor) -> Tensor:
        """Return the similarity (n,) of each record of ``one`` to the one at the same place of ``two``."""
        ...

    def details(self, truth: Tensor, guess: Tensor, inputs: Tensor) -> dict[str, float]:
        """Return further numbers on one pair, by name.

        Args:
            truth: (1, ...) the training record.
            guess: (1, ...) the reconstruction as a record.
            inputs: (1, ...) the same as the network sees it.
        """
        ...

    def mismatches(self, records: Tensor) -> list[Tensor]:
        """Return versions of reconstructions that cannot show what these show, each (n, ...); of none, as many."""
        ...

    def decoys(self, truth: Tensor, count: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Return records that no attack made, by what they are: ``count`` each, or one that stands for as many."""
        ...

    def alignment(self, one: Tensor, two: Tensor) -> Tensor:
        """Return (m, n), higher where a record of ``two`` may be another reconstruction of one of ``one``."""
        ...

    def merged(self, records: Tensor) -> Tensor:
        """Return the one record (...) that several reconstructions (s, ...) of it have in common."""
        ...

    def near_copies(self, control: Tensor, truth: Tensor) -> int:
        """Return how many held-out records are training records but for processing."""
        ...

    def show(self, record: Tensor, folder: Path, name: str, keep: bool = True) -> "Picture | Text":
        """Return how a report shows one record (...), in files of the run folder or by itself.

        Args:
            record: One record.
            folder: The run folder.
            name: File name without its suffix; may hold folders.
            keep: Whether what it shows may be kept at all.

        Raises:
            FormatError: A file cannot be written.
        """
        ...


class Transformed(NamedTuple):
    """Records in the way in which each is most like some reconstruction.

    Attributes:
        records: (m, ...).
        names: (m,) what was done to each, in plain English; empty where nothing was.
    """

    records: Tensor
    names: tuple[str, ...]


@runtime_checkable
class Transforming(Protocol):
    """A kind whose records training may have seen otherwise than they are given; not every kind has this."""

    def transformed(
        self,
        records: Tensor,
        readings: Mapping[str, Tensor],
        guesses: Tensor,
        turned: bool,
        lacking: int,
        without: Tensor | None,
    ) -> Transformed:
        """Choose for each record the way in which it is most like some reconstruction.

        Args:
            records: (m, ...), training or held-out ones: nothing may depend on which.
            readings: Other readings of the same files, by name, each as ``records``.
            guesses: (n, ...) reconstructions, n at least 1.
            turned: Whether ways count that make :meth:`Kind.mismatches`.
            lacking: How many readings only other records have, with which these are compared: as many others are to
                be tried instead, lest those have more chances.
            without: (m,) for each record the index of a reconstruction that does not count, or -1.
        """
        ...


def open_kind(name: str, medium: object) -> Kind:
    """Return a registered kind for victims of one medium. Raises :class:`.plugins.PluginError`."""
    return cast("Callable[[object], Kind]", plugins.load(GROUP, name))(medium)


def kind_of(victim: Victim) -> Kind:
    """Return the kind of the records that a victim was trained on."""
    return open_kind(victim.medium.kind, victim.medium)


def known_kinds() -> list[RecordKind]:
    """Return what the registered kinds are; those that cannot be imported are left out."""
    return [cast("type[Kind]", kind).about for kind in plugins.load_all(GROUP)[0].values()]
