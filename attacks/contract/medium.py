"""What makes records of one kind, such as images or text, out of optimisation variables."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

Parametrisation = Literal["auto", "pyramid", "pixels", "generator"]
"""What is optimised in place of the inputs: ``auto`` is what suits a medium best; the others are those of images."""


class Medium(Protocol):
    """All that an attack knows of the kind of record that it looks for: no attack asks which kind that is.

    *Variables* are what is optimised, *inputs* (n, ...) floating-point numbers that the network takes, in the shape of
    :attr:`.victim.Victim.shape`, *records* what a person is shown and what is scored. A frozen dataclass whose ``repr``
    distinguishes it from every other medium of the same victim.
    """

    kind: ClassVar[str]
    """The kind of record in one word, such as ``image``."""

    def variables(self, noise: Tensor, parametrisation: Parametrisation) -> dict[str, Tensor]:
        """Return the first variables, by names that no attack uses for its own.

        Args:
            noise: (n, ...) Gaussian, as strong as the attack wants; its shape is that of the inputs.
            parametrisation: How they stand for inputs.

        Raises:
            Unsupported: This medium has no such parametrisation.
        """
        ...

    def inputs(self, variables: Mapping[str, Tensor]) -> Tensor:
        """Return the inputs (n, ...) that variables stand for, differentiable; those of other names are left alone."""
        ...

    def roughness(self, x: Tensor, chroma: float = 1.0) -> Tensor:
        """Return how unlike natural records inputs (n, ...) are, a mean over all of them (a scalar, not negative).

        Args:
            x: Inputs.
            chroma: Weight of what varies less than the rest in records of this kind: of images, the colours.
        """
        ...

    def excess(self, x: Tensor) -> Tensor:
        """Return the mean squared distance of inputs (n, ...) from what records can give (a scalar)."""
        ...

    def lookalikes(self, variables: Mapping[str, Tensor], stride: int) -> list[dict[str, Tensor]]:
        """Return variables of look-alikes of all records, which a deep layer hardly tells from them.

        Of images: moved by ``stride`` pixels each way, and mirrored. Empty for a kind that has none, or variables that
        do not show any.
        """
        ...

    def versions(self, x: Tensor, count: int, gen: torch.Generator) -> Tensor:
        """Return (n * count, ...) versions of inputs (n, ...) as a training that augments may have seen them.

        Those of one record stand together, itself first; the others are drawn from ``gen``, the same for all records.
        Differentiable.

        Raises:
            Unsupported: There are no versions of this kind of record, and ``count`` is more than 1.
        """
        ...

    def within(self, x: Tensor) -> Tensor:
        """Return inputs (n, ...) moved to where records can lie."""
        ...

    def records(self, x: Tensor) -> Tensor:
        """Return the records (n, ...) that inputs (n, ...) come closest to."""
        ...

    def encode(self, records: Tensor) -> Tensor:
        """Return the inputs (n, ...) that the network sees of records (n, ...)."""
        ...
