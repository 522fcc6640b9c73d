"""The words that training saw, in letters, and held against the words of the records that were given."""

import torch

from ...attacks.text.medium import Tokens
from ..change.readings import Readings
from ..change.words import words_reached
from ..data.base import TrainingSet
from ..data.text import tokenizer_of
from ..printable import printable
from ..report.vocabulary import MOST_WORDS, Compared, Vocabulary
from ..scoring.spelling import Spelling

_LONGEST = 40
"""Characters of a word that are shown, at most."""


def vocabulary(
    found: Readings, data: TrainingSet | None, control: TrainingSet | None, keep: bool = True
) -> Vocabulary | None:
    """Return the words that training saw; ``None`` where the change does not show them.

    Args:
        found: What can be measured in the pair.
        data: Training records, token numbers (m, L).
        control: Held-out ones.
        keep: Whether the words may be kept; their number is in any case.

    Raises:
        DataError: The tokenizer cannot be used.
    """
    reached = words_reached(found)
    medium = found.victim.medium if found.victim else None
    if reached is None or not isinstance(medium, Tokens):
        return None
    spelling = Spelling(medium, tokenizer_of(medium) if medium.tokenizer else None)
    seen = spelling.tokens(reached.rows)
    known = set() if data is None else set(spelling.tokens(data.records.flatten()))
    return Vocabulary(
        table=reached.table,
        seen=len(seen),
        of=len(spelling.tokens(torch.arange(reached.of))),
        words=[_spelled(spelling, number) for number in sorted(seen, reverse=True)[:MOST_WORDS]] if keep else [],
        data=None if data is None else _compared(known, seen),
        control=None if control is None else _compared(set(spelling.tokens(control.records.flatten())), seen),
        precision=len(known & set(seen)) / len(seen) if data is not None and seen else None,
    )


def _compared(known: set[int], seen: list[int]) -> Compared:
    count = len(known & set(seen))
    return Compared(tokens=len(known), seen=count, recall=count / len(known) if known else None)


def _spelled(spelling: Spelling, number: int) -> str:
    """Return a token as text; as the tokenizer calls it where it is only part of a letter, or blank."""
    text = spelling.text(torch.tensor([number]))
    if (not text or "\ufffd" in text) and spelling.tokenizer is not None:
        text = spelling.tokenizer.id_to_token(number) or ""
    text = printable(text or str(number))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
