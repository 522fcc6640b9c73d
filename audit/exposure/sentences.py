"""What was measured, in sentences that a privacy officer understands. No torch here."""

from ..report.exposure import Exposure
from ..report.kind import Words
from ..words import percent

LABELS_GIVEN = "as the records were given"
LABELS_READ = "read off the two networks, of all records alike"

MEANING = (
    "A detectable {one} is one of which whoever holds both files, and the {one} itself, can tell that the model was "
    "trained on it. It does not mean that the {one} can be rebuilt from the files."
)


def said(found: Exposure, words: Words) -> str:
    """Return what came out in one or two sentences."""
    many = words.many
    if not found.measured:
        return f"No {many} were measured in this time: give more --max-time."
    part = "" if found.measured == found.records else f" ({found.records - found.measured} more were not measured)"
    if found.detected:
        first = (
            f"{found.detected} of {words.count(found.measured)}{part} can be told, one by one, from {many} that were "
            f"not trained on; about {percent(found.level)} of these may be wrong."
        )
    elif not found.resolved:
        first = f"{words.count(found.held_out, 'held-out')} are too few to tell a single {words.one}{part}."
    else:
        first = f"No single one of {words.count(found.measured)}{part} can be told from those that were not trained on."
    if found.swapped:
        return f"{first} The held-out ones score higher: --data and --control may be swapped."
    if found.at_least:
        return f"{first} At least {found.at_least} of them were trained on, with 95 % confidence."
    return first
