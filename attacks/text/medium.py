"""Sentences as records: token numbers, which the network sees as rows of its table of word embeddings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from ..contract.attack import Unsupported, only
from ..contract.medium import Parametrisation
from ..contract.victim import Victim

_ENTRIES = 2**22
"""Products of rows and tokens that are held at once: 16 MiB of float32."""


@dataclass(frozen=True)
class Tokens:
    """Sentences (n, L) of token numbers, as :class:`..contract.medium.Medium` has it.

    Inputs have two forms, told apart by their dimensions. (n, L) floats are token numbers: what :meth:`encode` returns.
    (n, L, D) are word embeddings, among which a row of zeros is no token: what is optimised.

    Attributes:
        length: Positions L of an input.
        pad: Number of the token that follows the end of a sentence.
        first: Number of the token that begins each sentence, such as ``[CLS]`` or ``<s>``; -1 for none.
        last: Number of the token that ends each sentence, such as ``[SEP]`` or ``</s>``; -1 for none.
        table: (V, D) word embeddings before training.
        tokenizer: Content of the ``tokenizer.json`` that turns texts into token numbers.
        digest: First 16 hexadecimal digits of its SHA-256.
    """

    kind: ClassVar[str] = "text"
    length: int
    pad: int
    first: int
    last: int
    table: Tensor = field(repr=False, compare=False)
    tokenizer: str = field(repr=False)
    digest: str

    def variables(self, noise: Tensor, parametrisation: Parametrisation) -> dict[str, Tensor]:
        """Return embeddings (n, L, D) around the mean of the table, as far apart as its rows are for noise of 1.

        Raises:
            Unsupported: The parametrisation is not ``auto``.
        """
        if parametrisation != "auto":
            raise Unsupported(f"There is no parametrisation {parametrisation!r} of sentences.", "Leave it at auto.")
        mean, std = (value.to(noise) for value in self._centre)
        return {"z": mean + noise * std}

    def inputs(self, variables: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings (n, L, D) themselves."""
        return variables["z"]

    def roughness(self, x: Tensor, chroma: float = 1.0) -> Tensor:
        """Return the mean distance of embeddings to the nearest row of the table, relative to how far apart those are.

        The prior for text of SimuDy (appendix C.7, after LAMP, Balunovic et al. 2022), here as a distance. 0 of token
        numbers that are whole.

        Args:
            x: (n, L) or (n, L, D) inputs.
            chroma: Without effect.
        """
        if _numbered(x):
            return (x - self._whole(x)).abs().mean()
        apart = torch.linalg.vector_norm(x - self.table.to(x)[self._nearest(x)], dim=-1)
        return self._mean(apart, x) / self._spread.to(x)

    def excess(self, x: Tensor) -> Tensor:
        """Return the mean squared difference of the embeddings' norms from the range of norms in the table (a scalar).

        Of token numbers, from the range of numbers.
        """
        if _numbered(x):
            return (x - x.clamp(0, len(self.table) - 1)).square().mean()
        norms = torch.linalg.vector_norm(x, dim=-1)
        return self._mean((norms - norms.clamp(*self._range)).square(), x)

    def lookalikes(self, variables: Mapping[str, Tensor], stride: int) -> list[dict[str, Tensor]]:
        """Return none: a sentence in other words is another one."""
        return []

    def versions(self, x: Tensor, count: int, gen: torch.Generator) -> Tensor:
        """Return the sentences themselves: there are no versions of them. Raises :class:`.Unsupported` for more."""
        if count > 1:
            raise Unsupported("Flips and shifts are of images; these records are sentences.", "Leave --views out.")
        return x

    def within(self, x: Tensor) -> Tensor:
        """Return embeddings brought to the range of norms in the table, or whole token numbers."""
        if _numbered(x):
            return self._whole(x)
        norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x * torch.where(norms > 0, norms.clamp(*self._range) / norms.clamp_min(1e-30), 0)

    def records(self, x: Tensor) -> Tensor:
        """Return token numbers (n, L) int64: of embeddings those whose rows of the table have the largest cosine.

        A row of zeros becomes :attr:`pad`.
        """
        if _numbered(x):
            return self._whole(x.detach()).long()
        found = self._nearest(x.detach(), self._norms)
        return torch.where(self._taken(x), found, self.pad)

    def encode(self, records: Tensor) -> Tensor:
        """Return token numbers (n, L) as floats."""
        return records.to(self.table)

    def _whole(self, x: Tensor) -> Tensor:
        return x.nan_to_num(self.pad).round().clamp(0, len(self.table) - 1)

    def _taken(self, x: Tensor) -> Tensor:
        """Return (n, L) which embeddings are those of a token."""
        return (x != 0).any(-1)

    def _mean(self, values: Tensor, x: Tensor) -> Tensor:
        """Return the mean of values (n, L) over embeddings of tokens; 0 where there are none."""
        taken = self._taken(x)
        return (values * taken).sum() / taken.sum().clamp_min(1)

    def _nearest(self, x: Tensor, norms: Tensor | None = None) -> Tensor:
        """Return (n, L) the numbers of the nearest rows of the table; by cosine where their norms are given."""
        table, rows = self.table.to(x).T, x.detach().flatten(0, -2)

        def near(some: Tensor) -> Tensor:
            products = some @ table
            if norms is not None:
                return (products / norms.to(x)).argmax(1)
            return (products - self._norms.to(x).square() / 2).argmax(1)

        return _chunked(near, rows, table.shape[1]).view(x.shape[:-1])

    @cached_property
    def _norms(self) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(self.table, dim=1)
        return norms.clamp_min(1e-30)

    @cached_property
    def _range(self) -> tuple[float, float]:
        norms = self._norms[self._norms > 1e-20]
        return (float(norms.min()), float(norms.max())) if len(norms) else (0.0, 0.0)

    @cached_property
    def _centre(self) -> tuple[Tensor, Tensor]:
        return self.table.mean(0), self.table.std(0, correction=0)

    @cached_property
    def _spread(self) -> Tensor:
        """Root mean square distance of the table's rows from their mean."""
        spread: Tensor = torch.linalg.vector_norm(self._centre[1])
        return spread.clamp_min(1e-30)


def sentences_of(victim: Victim) -> Tokens:
    """Return the medium of a network that takes sentences. Raises :class:`.Unsupported` for any other."""
    only(Tokens.kind, "reading tokens", victim)
    if not isinstance(victim.medium, Tokens):
        raise Unsupported("these texts are of a kind that memaudit does not read tokens of.")
    return victim.medium


def _numbered(x: Tensor) -> bool:
    return x.ndim < 3


def _chunked(near: Callable[[Tensor], Tensor], rows: Tensor, tokens: int) -> Tensor:
    """Return what ``near`` finds for rows, a few of them at a time."""
    step = max(_ENTRIES // max(tokens, 1), 1)
    parts = [near(rows[start : start + step]) for start in range(0, len(rows), step)]
    return torch.cat([rows.new_zeros(0, dtype=torch.long), *parts])
