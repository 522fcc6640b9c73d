"""Which words training saw, in sentences."""

from ...audit.report.kind import Words
from ...audit.report.vocabulary import Vocabulary
from ...audit.words import percent


def statements(found: Vocabulary, words: Words) -> list[str]:
    """Return how many words training saw, and how many of those of the records given."""
    said = [f"Training saw {found.seen:,} of the {found.of:,} words and parts of words that the model knows."]
    for name, part in (("training", found.data), ("held-out", found.control)):
        if part is not None:
            share = percent(part.recall, 1)
            said.append(f"Of the {part.tokens:,} different words of the {name} {words.many} it saw {share}.")
    if found.precision is not None:
        said.append(f"Of those that it saw, {percent(found.precision, 1)} are in the training {words.many} given.")
    return said
