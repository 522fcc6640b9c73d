"""How the files of a training set became records, as a report says it."""

from collections.abc import Sequence

from ..data.base import TrainingSet
from ..report.results import AttackResult


def reading(data: TrainingSet, attacks: Sequence[AttackResult]) -> str:
    """Return the usual reading of the files, or another one in which every record that was recovered matched.

    Args:
        data: The set, with its other readings.
        attacks: What was found.
    """
    found = {match.transform for attack in attacks for match in attack.matches if match.recovered}
    others = found & {other.name for other in data.readings}
    return f"{others.pop()}, in which every recovered record matched" if others and len(found) == 1 else data.reading
