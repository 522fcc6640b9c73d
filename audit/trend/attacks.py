"""What each attack of two audits found, record by record. No torch here."""

import math
from collections.abc import Sequence

from ..report.model import AuditReport
from ..report.results import AttackResult, Match
from ..verdict.tally import rebuilt
from .ground import Ground
from .intervals import Difference, paired_mean, paired_shares, shares
from .model import AttackChange, Ended, Measure, Record, Turnover


def by_attack(report: AuditReport) -> dict[str, list[AttackResult]]:
    """Return the results of each attack, the best one first, as the leaderboard has them."""
    places = {row.key: row.rank for row in report.leaderboard}
    found: dict[str, list[AttackResult]] = {}
    for result in sorted(report.attacks, key=lambda result: places.get(result.key, math.inf)):
        found.setdefault(result.name, []).append(result)
    return found


def attack_changes(earlier: AuditReport, later: AuditReport, ground: Ground) -> list[AttackChange]:
    """Compare every attack that ran in both audits by its best results."""
    before, after = by_attack(earlier), by_attack(later)
    return [
        _change(before[name], after[name], ground, doubts(earlier, later, name)) for name in before if name in after
    ]


def doubts(earlier: AuditReport, later: AuditReport, attack: str) -> list[str]:
    """Return why less that an attack found in the later audit is not safer; none where it is."""
    before, after = (by_attack(report).get(attack, []) for report in (earlier, later))
    if not after:
        return [f"{attack} did not run again."]
    found = []
    if after[0].status != "converged" and later.verdict.status != "pass":
        found.append(f"{attack} ended as {after[0].status.replace('_', ' ')}: what it misses shows nothing.")
    if before and before[0].options != after[0].options:
        found.append(f"{attack} ran with other options.")
    if len(after) < len(before):
        found.append(f"{attack} ran with fewer seeds.")
    return found


def together(earlier: AuditReport, later: AuditReport, ground: Ground) -> tuple[Measure | None, Turnover | None]:
    """Compare what all attacks recovered, and return which records are among that in one audit alone."""
    if not all(any(result.metrics for result in report.attacks) for report in (earlier, later)):
        return None, None
    (was, of_was), (now, of_now) = rebuilt(earlier), rebuilt(later)
    before, after = (recovered(report.attacks) for report in (earlier, later))
    lost = sorted({name for name in by_attack(earlier) if recovered(by_attack(earlier)[name])})
    missing = [doubt for name in lost for doubt in doubts(earlier, later, name)]
    difference = _share(set(before), was, of_was, set(after), now, of_now)
    found = ground.measure(was, now, difference, missing, of=(of_was, of_now), records=of_now)
    return found, turnover(before, after) if ground.comparable else None


def turnover(before: dict[int, str], after: dict[int, str]) -> Turnover:
    """Return which records are in one of two sets alone, by their numbers and names."""
    return Turnover(
        appeared=[Record(record=one, name=after[one]) for one in sorted(after.keys() - before.keys())],
        vanished=[Record(record=one, name=before[one]) for one in sorted(before.keys() - after.keys())],
        stayed=len(before.keys() & after.keys()),
    )


def recovered(attacks: Sequence[AttackResult]) -> dict[int, str]:
    """Return the training records that any of some results recovered, with their names."""
    return {match.sample: match.name for result in attacks for match in result.matches if match.recovered}


def _change(before: list[AttackResult], after: list[AttackResult], ground: Ground, doubts: list[str]) -> AttackChange:
    one, two = before[0], after[0]
    found = AttackChange(attack=one.name, earlier=_ended(before), later=_ended(after), doubts=doubts)
    if one.metrics is None or two.metrics is None:
        return found
    was, now = one.metrics, two.metrics
    sets = (set(recovered([result])) for result in (one, two))
    share = _share(next(sets), was.recovered, was.records, next(sets), now.recovered, now.records)
    counts = (was.records, now.records)
    return found.model_copy(
        update={
            "recovered": ground.measure(was.recovered, now.recovered, share, doubts, counts, now.records),
            "similarity": _similarity(one.matches, two.matches, ground, doubts),
            "best": ground.measure(was.similarity_max, now.similarity_max, None),
        }
    )


def _ended(results: Sequence[AttackResult]) -> Ended:
    return Ended(
        status=results[0].status,
        results=len(results),
        seconds=math.fsum(result.seconds for result in results),
        peak_memory_bytes=max(result.peak_memory_bytes for result in results),
    )


def _share(before: set[int], was: int, of_was: int, after: set[int], now: int, of_now: int) -> Difference | None:
    """Return the difference of two shares: of the same records where the report names all that count."""
    if not 0 <= was <= of_was or not 0 <= now <= of_now or not of_was or not of_now:
        return None
    both = len(before & after)
    neither = of_now - was - now + both
    if of_was == of_now and (len(before), len(after)) == (was, now) and neither >= 0:
        return paired_shares(both, was - both, now - both, neither)
    return shares(was, of_was, now, of_now)


def _similarity(before: Sequence[Match], after: Sequence[Match], ground: Ground, doubts: list[str]) -> Measure | None:
    """Compare the mean similarity of the records that are paired with a reconstruction in both audits."""
    known = {match.sample: match.scores.similarity for match in before}
    pairs = [(known[match.sample], match.scores.similarity) for match in after if match.sample in known]
    if not pairs or not ground.comparable:
        return None
    was, now = (math.fsum(side) / len(pairs) for side in zip(*pairs, strict=True))
    return ground.measure(was, now, paired_mean([two - one for one, two in pairs]), doubts, records=len(pairs))
