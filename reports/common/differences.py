"""Two texts word by word: what both have, what both have at another place, and what only one has."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

State = Literal["same", "moved", "other"]

_WORDS = re.compile(r"\S+")
_EDGES = re.compile(r"^\W+|\W+$")


class Part(NamedTuple):
    """Some words of a text, and the blanks among them.

    Attributes:
        text: As it stands in the text.
        state: ``same`` where the other text has the words too, in the same order; ``moved`` where it has them
            elsewhere; ``other`` where it has not.
    """

    text: str
    state: State


def differences(one: str, two: str) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Return the parts of two texts, which together are these texts; case and marks around words do not count."""
    words = [[_plain(found[0]) for found in _WORDS.finditer(text)] for text in (one, two)]
    placed = _shared(*words)
    left = [Counter(word for place, word in enumerate(words[side]) if place not in placed[side]) for side in (0, 1)]
    both = left[0] & left[1]
    texts = zip((one, two), words, placed, strict=True)
    first, second = (_parts(text, _states(those, there, both.copy())) for text, those, there in texts)
    return first, second


def _shared(one: Sequence[str], two: Sequence[str]) -> tuple[set[int], set[int]]:
    """Return the places of the longest common subsequence in both.

    The table of the dynamic programme has a number for each row, with a bit for each word (Hyyrö 2004).
    """
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    rows = [(1 << len(one)) - 1]
    for word in two:
        same = rows[-1] & places.get(word, 0)
        rows.append((rows[-1] + same | rows[-1] - same) & rows[0])

    def length(i: int, j: int) -> int:
        return i - (rows[j] & ((1 << i) - 1)).bit_count()

    i, j, found = len(one), len(two), []
    while i and j:
        if one[i - 1] == two[j - 1]:
            i, j = i - 1, j - 1
            found.append((i, j))
        elif length(i, j - 1) == length(i, j):
            j -= 1
        else:
            i -= 1
    return {i for i, _ in found}, {j for _, j in found}


def _plain(word: str) -> str:
    return _EDGES.sub("", word).casefold() or word


def _states(words: Sequence[str], placed: set[int], both: Counter[str]) -> Iterator[State]:
    for place, word in enumerate(words):
        if place in placed:
            yield "same"
        elif both[word]:
            both[word] -= 1
            yield "moved"
        else:
            yield "other"


def _parts(text: str, states: Iterable[State]) -> tuple[Part, ...]:
    """Return the parts: words of one state that follow each other are one, and blanks between two belong to none."""
    found: list[Part] = []
    end = 0
    for word, state in zip(_WORDS.finditer(text), states, strict=True):
        blank, end = text[end : word.start()], word.end()
        if found and found[-1].state == state:
            found[-1] = Part(found[-1].text + blank + word[0], state)
        else:
            found += [Part(blank, "same")] * bool(blank) + [Part(word[0], state)]
    rest = text[end:]
    return (*found, Part(rest, "same")) if rest else tuple(found)
