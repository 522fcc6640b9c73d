"""Which parts of a report the page shows, and in which order."""

import math
from collections import Counter
from typing import NamedTuple

from ...audit.report.exhibit import Text
from ...audit.report.model import AuditReport
from ...audit.report.results import AttackResult, BestMatch, Dummy, Match
from ...audit.verdict import leaderboard
from ...audit.verdict.tally import UNLISTED


class Slice(NamedTuple):
    """What the attacks made of the records of one class."""

    label: str
    records: int
    recovered: int
    similarity_mean: float
    similarity_max: float


def standing(report: AuditReport) -> list[AttackResult]:
    """Return the results in the order of the leaderboard; those that it does not have come last."""
    places = {row.key: row.rank for row in report.leaderboard}
    return sorted(report.attacks, key=lambda result: places.get(result.key, math.inf))


def by_attack(report: AuditReport) -> dict[str, list[AttackResult]]:
    """Return the results of each attack, the best attack and the best result first."""
    found: dict[str, list[AttackResult]] = {}
    for result in standing(report):
        found.setdefault(result.name, []).append(result)
    return found


def evidence(report: AuditReport) -> list[AttackResult]:
    """Return the results whose records are shown, the best one of each attack: those with pairs, else with any."""
    best = {name: [r for r in results if r.matches] or results for name, results in by_attack(report).items()}
    return [results[0] for results in best.values() if results[0].matches or results[0].reconstructions]


def records(report: AuditReport) -> list[BestMatch]:
    """Return the best reconstruction of each training record, the most exposed one first."""
    found = report.per_record or leaderboard.per_record(report.attacks)
    return sorted(found, key=lambda best: -best.match.scores.similarity)


def beside(report: AuditReport) -> list[BestMatch]:
    """Return those of :func:`records` in which both are texts that were kept."""
    found = ((best, best.match.truth, best.match.reconstruction) for best in records(report))
    return [
        best for best, one, two in found if isinstance(one, Text) and isinstance(two, Text) and one.text and two.text
    ]


def leading(report: AuditReport) -> tuple[list[BestMatch], list[Dummy]]:
    """Return what shows the verdict best: pairs, or what was rebuilt of records that are not among those given."""
    pairs, alone = records(report), {finding.attack for finding in report.findings if finding.rule == UNLISTED}
    if pairs and (not alone or any(best.recovered_by for best in pairs)):
        return pairs, []
    made = [result for result in evidence(report) if not alone or result.name in alone]
    return [], [dummy for result in made[:1] for dummy in result.reconstructions if not dummy.insignificant]


def slices(records: list[BestMatch]) -> list[Slice]:
    """Return the records by class, the most exposed class first; none where all are of one class."""
    found: dict[str, list[BestMatch]] = {}
    for best in records:
        found.setdefault(best.match.label, []).append(best)
    if len(found) < 2:
        return []
    return sorted((_slice(label, same) for label, same in found.items()), key=lambda part: -part.similarity_mean)


def _slice(label: str, records: list[BestMatch]) -> Slice:
    found = [best.match.scores.similarity for best in records]
    recovered = sum(bool(best.recovered_by) for best in records)
    return Slice(label, len(records), recovered, sum(found) / len(found), max(found))


def class_names(report: AuditReport) -> dict[int, str]:
    """Return the names of classes by their numbers, as most of the pairs have them; none where no class has a name."""
    votes: dict[int, Counter[str]] = {}
    for result in report.attacks:
        labels = {dummy.dummy: dummy.label for dummy in result.reconstructions}
        for match in result.matches:
            if match.label and match.dummy in labels:
                votes.setdefault(labels[match.dummy], Counter())[match.label] += 1
    return {label: found.most_common(1)[0][0] for label, found in votes.items()}


def ranked(attack: AttackResult) -> list[Match]:
    """Return the pairs, most similar first."""
    return sorted(attack.matches, key=lambda match: -match.scores.similarity)


def unmatched(attack: AttackResult) -> list[Dummy]:
    """Return the reconstructions without a training record beside them, most influential first."""
    return [dummy for dummy in _unpaired(attack) if not dummy.insignificant]


def insignificant(attack: AttackResult) -> list[Dummy]:
    """Return those that stand for no record, most influential first."""
    return [dummy for dummy in _unpaired(attack) if dummy.insignificant]


def trusted(result: AttackResult) -> list[tuple[Dummy, Match | None]]:
    """Return what a consensus found with the training record paired with each, most confident first."""
    pairs = {match.dummy: match for match in result.matches}
    kept = [dummy for dummy in result.reconstructions if not dummy.insignificant]
    return [(dummy, pairs.get(dummy.dummy)) for dummy in sorted(kept, key=lambda dummy: -(dummy.confidence or 0.0))]


def _unpaired(attack: AttackResult) -> list[Dummy]:
    paired = {match.dummy for match in attack.matches}
    rest = [dummy for dummy in attack.reconstructions if dummy.dummy not in paired]
    return sorted(rest, key=lambda dummy: -(dummy.influence or 0.0))
