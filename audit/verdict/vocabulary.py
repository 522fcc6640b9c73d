"""How much it tells which words training saw. No torch here."""

from ..report.kind import RecordKind
from ..report.terms import Severity
from ..report.vocabulary import Vocabulary
from ..words import percent

EXACT = 0.9
"""Words are read exactly where so large a share of those seen is in the data, and of those of the data is seen."""

_MOST = 0.5
"""Without held-out records, they are not if more than this share of all words was seen: then any text's were."""


def severity(found: Vocabulary) -> Severity:
    """Return ``medium`` where the words of the data, and not others, are what training saw."""
    recall = found.data.recall if found.data else None
    if recall is None or found.precision is None or min(recall, found.precision) < EXACT:
        return "low"
    chance = beyond_chance(found)
    exact = found.seen < _MOST * found.of if chance is None else chance
    return "medium" if exact else "low"


def beyond_chance(found: Vocabulary) -> bool | None:
    """Return whether training missed clearly fewer words of the data than of held-out records: at most half as many.

    ``None`` where that was not measured.
    """
    if found.data is None or found.control is None or found.data.recall is None or found.control.recall is None:
        return None
    mine, others = found.data.recall, found.control.recall
    return mine > others and 1 - mine <= (1 - others) / 2


def said(found: Vocabulary, kind: RecordKind) -> str:
    """Say how many words training saw, and what --data and --control show of that."""
    count = f"The two files show which words training saw: {found.seen:,} of the {found.of:,} that the model knows."
    if found.data is None or found.data.recall is None:
        return count
    mine = f"Of the words of --data training saw {percent(found.data.recall)}"
    more = f"{percent(found.precision)} of all that it saw are in --data."
    if found.control is None or found.control.recall is None:
        return f"{count} {mine}; {more} Without --control it is not known how many of other {kind.words.many} it saw."
    others, chance = f"of {kind.words.many} that were not trained on", percent(found.control.recall)
    if not beyond_chance(found):
        return f"{count} {mine}, about as many as {others} ({chance}): that says nothing of --data."
    return f"{count} {mine}, {others} {chance}; {more}"
