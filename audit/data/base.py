"""The contract of a data source: what it accepts, and what it hands over, which knows how to become records."""

from typing import TYPE_CHECKING, ClassVar, Protocol

from .assembly import AS_STORED, RawSet
from .preparation import Preparation
from .records import MAX_BYTES, MAX_IMAGES, DataError, Reading, Sample, TrainingSet, Unreadable, check_size, distinct

if TYPE_CHECKING:
    from ...attacks.contract.medium import Medium

__all__ = [
    "GROUP",
    "MAX_BYTES",
    "MAX_IMAGES",
    "DataError",
    "DataSource",
    "Raw",
    "RawSet",
    "Reading",
    "Sample",
    "TrainingSet",
    "Unreadable",
    "check_size",
    "distinct",
]

GROUP = "memaudit.data"
"""The entry-point group of data sources."""


class Raw(Protocol):
    """What a source hands over: records of one kind that are not yet those which the network sees."""

    def assembled(
        self,
        spec: str,
        shape: tuple[int, ...] | None = None,
        preparation: Preparation = AS_STORED,
        skip: bool = False,
        medium: "Medium | None" = None,
    ) -> TrainingSet:
        """Return the set, its records as the network sees them.

        Args:
            spec: What the user named.
            shape: Of one input, such as (c, h, w). ``None`` keeps the size of images, which all must then share.
            preparation: How images of another size, and photos with an orientation, are brought to it.
            skip: Leave out what cannot be read, which is an error otherwise.
            medium: What records the network sees; ``None`` stands for images.

        Raises:
            DataError: The medium is of another kind; the set is empty, unreadable or above the limits; sizes differ.
        """
        ...


class DataSource(Protocol):
    """A kind of data set, registered in the entry-point group :data:`GROUP` as a callable without arguments."""

    form: ClassVar[str]
    """What a spec for this source looks like; shown to the user."""

    def accepts(self, spec: str) -> bool:
        """Return whether this source is meant by ``spec``; must not raise."""
        ...

    def open(self, spec: str) -> Raw:
        """Return the data set. Raises :class:`DataError`, naming what is wrong where."""
        ...
