"""What the change betrays of each record, and what defences do, in two audits. No torch here."""

from ..report.exposure import Exposure, Separation
from ..report.model import AuditReport
from .attacks import turnover
from .ground import Ground
from .intervals import Difference, areas, paired_shares, shares
from .model import DefenceChange, ExposureChange


def exposure_change(earlier: AuditReport, later: AuditReport, ground: Ground) -> ExposureChange | None:
    """Compare the exposure of records; ``None`` where not both audits measured it."""
    was, now = earlier.exposure, later.exposure
    if was is None or now is None or not was.measured or not now.measured:
        return None
    doubts = exposure_doubts(earlier, later)
    before, after = ({row.record: row.name for row in found.per_record if row.detected} for found in (was, now))
    counts = (was.measured, now.measured)
    shown = was.own.tpr_at_1_fpr is not None or now.own.tpr_at_1_fpr is not None
    return ExposureChange(
        detected=ground.measure(was.detected, now.detected, _detected(was, now), doubts, counts, now.measured),
        tpr_at_1_fpr=ground.measure(
            was.own.tpr_at_1_fpr, now.own.tpr_at_1_fpr, _above(was, now), doubts, records=now.measured
        )
        if shown
        else None,
        auc=ground.measure(was.own.auc, now.own.auc, _areas(was.own, now.own), doubts),
        at_least=ground.measure(was.at_least, now.at_least, None, of=counts),
        records=turnover(before, after) if ground.comparable else None,
        doubts=doubts,
    )


def exposure_doubts(earlier: AuditReport, later: AuditReport) -> list[str]:
    """Return why less exposure in the later audit is not safer; none where it is."""
    was, now = earlier.exposure, later.exposure
    if now is None or not now.measured:
        return ["Exposure was not measured again."]
    found = []
    if now.measured < now.records:
        found.append(f"Of {now.records} records, the exposure of {now.measured} was measured.")
    if was is not None and now.held_out < was.held_out:
        found.append(f"Exposure was held against {now.held_out} held-out records, and before against {was.held_out}.")
    return found


def defence_changes(earlier: AuditReport, later: AuditReport) -> list[DefenceChange]:
    """Return the defences that both audits measured."""
    known = {(point.kind, point.value): point for point in earlier.defences}
    return [
        DefenceChange(earlier=known[point.kind, point.value], later=point)
        for point in later.defences
        if (point.kind, point.value) in known
    ]


def _detected(was: Exposure, now: Exposure) -> Difference | None:
    """Return the difference of the shares of detected records, among those that both audits measured."""
    before, after = ({row.record: row.detected for row in found.per_record} for found in (was, now))
    pairs = [(before[one], after[one]) for one in before.keys() & after.keys()]
    if not pairs:
        return None
    return paired_shares(*(pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))))


def _above(was: Exposure, now: Exposure) -> Difference | None:
    """Return the difference of the shares of records above 99 % of the held-out ones."""
    before, after = was.own.tpr_at_1_fpr, now.own.tpr_at_1_fpr
    if before is None or after is None or not 0 <= before <= 1 or not 0 <= after <= 1:
        return None
    return shares(round(before * was.measured), was.measured, round(after * now.measured), now.measured)


def _areas(was: Separation, now: Separation) -> Difference | None:
    (low, high), (its_low, its_high) = was.auc_interval or (None, None), now.auc_interval or (None, None)
    if was.auc is None or now.auc is None or low is None or high is None or its_low is None or its_high is None:
        return None
    return areas(was.auc, (low, high), now.auc, (its_low, its_high))
