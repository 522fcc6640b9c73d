"""How the files of a training set became records, as a report says it."""

from collections.abc import Sequence

from ..data.base import TrainingSet
from ..report.results import AttackResult


def reading(data: TrainingSet, attacks: Sequence[AttackResult]) -> str:
    """Return the usual reading of the files, or another one in which records matched that were recovered.

    Args:
        data: The set, with its other readings.
        attacks: What was found.
    """
    found = {match.sample: match.transform for attack in attacks for match in attack.matches if match.recovered}
    names = set(found.values()) - {""}
    if len(names) != 1 or not names <= {other.name for other in data.readings}:
        return data.reading
    (name,) = names
    matched = sum(transform == name for transform in found.values())
    return f"{name}, in which {matched} of {len(found)} recovered records matched"
