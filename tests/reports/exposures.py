"""Reports with an exposure of records, made of drawn scores by the arithmetic of a real one."""

from pathlib import Path

import numpy as np

from memaudit.audit.exposure import statistics
from memaudit.audit.exposure.sentences import LABELS_GIVEN, said
from memaudit.audit.report.exhibit import Exhibit, Picture
from memaudit.audit.report.exposure import Epsilon, Exposed, Exposure, Group, Separation
from memaudit.audit.report.facts import Records
from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.model import AuditReport
from memaudit.audit.report.verdict import Finding
from memaudit.audit.scoring.chance import q_values
from memaudit.audit.verdict import exposed
from memaudit.audit.verdict.expression import parse
from memaudit.audit.verdict.gate import judge
from memaudit.audit.verdict.sentence import phrased

from .pairs import PHOTOS
from .parts import finding, judged
from .proofs import explained
from .samples import leak_report, whole

COMMAND = (
    "memaudit exposure runs/before.pt runs/after.pt --normalise cifar10 --data train/ --control held-out/ --out run "
    "--fail-if 'detected>0' --group groups.csv --assigned-at-random"
)


def separation(name: str, own: statistics.Values, others: statistics.Values) -> Separation:
    area, reach = statistics.auc(own, others)
    share = statistics.tpr(own, others, 0.01)
    return Separation(
        name=name, auc=area, auc_interval=reach, tpr_at_1_fpr=share,
        tpr_at_1_fpr_interval=statistics.interval(share, len(own)), tpr_at_01_fpr=statistics.tpr(own, others, 0.001),
    )  # fmt: skip


def exposure(count: int, held_out: int, shift: float, records: int = 0, shown: int = 10, **more: object) -> Exposure:
    """Return the exposure of some records whose scores lie that much above those of held-out ones."""
    draw = np.random.default_rng(0)
    own, others = draw.normal(shift, 0.8, count), draw.normal(0, 0.8, held_out)
    p = statistics.conformal(own, others)
    q = q_values(p)
    classes = list(dict.fromkeys(PHOTOS.values()))

    def row(place: int, record: int) -> Exposed:
        exhibit: Exhibit | None = Picture(path=f"pictures/originals/{place:03}.png") if place < shown else None
        return Exposed(
            record=record, name=f"train/{record:05}.png", label=classes[record % len(classes)],
            score=round(float(own[record]), 4), p_value=float(p[record]), q_value=float(q[record]),
            detected=bool(q[record] <= 0.01), leverage=round(float(draw.uniform(0.3, 1)), 4), exhibit=exhibit,
        )  # fmt: skip

    order = [int(record) for record in np.lexsort((-own, p))]
    rows = [row(place, record) for place, record in enumerate(order)]
    groups = [
        Group(
            name=name, records=len(mine), detected=sum(r.detected for r in mine),
            auc=statistics.auc(np.array([r.score for r in mine]), others)[0],
        )
        for name in classes
        if (mine := [r for r in rows if r.label == name])
    ]  # fmt: skip
    found = Exposure(
        records=records or count, measured=count, held_out=held_out, detected=sum(r.detected for r in rows),
        level=0.01, at_least=statistics.at_least(own, others), needed=999, explained=0.37,
        average="over its first half", labels=LABELS_GIVEN, own=separation("regression on gradients", own, others),
        baselines=[separation("loss after training", own / 3 + draw.normal(size=count), others)],
        curve=statistics.curve(own, others), scores=statistics.quantiles(own),
        held_out_scores=statistics.quantiles(others), groups=sorted(groups, key=lambda group: -(group.auc or 0)),
        per_record=rows, reason="",
    ).model_copy(update=more)  # fmt: skip
    return found.model_copy(update={"reason": said(found, IMAGE.words)})


def leaks(found: Exposure) -> list[Finding]:
    """Return what the rule of a real audit says."""
    if not (found.detected or found.at_least):
        return []
    records = sorted(row.record for row in found.per_record if row.detected)
    return [finding("MA008", exposed.severity(found), found.reason, records=records)]


def exposure_report(found: Exposure, *gates: str, findings: tuple[Finding, ...] = ()) -> AuditReport:
    """Return what ``memaudit exposure`` writes: no attack, and the verdict of its gates."""
    all_ = [*leaks(found), *findings]
    asked = [parse(gate) for gate in gates or ("detected>0",)]
    report = whole(judge([], asked, IMAGE, findings=all_, exposure=found), [])
    inputs = report.inputs.model_copy(
        update={
            "data": Records(path="train/", sha256="0c" * 32, count=found.records),
            "control": Records(path="held-out/", sha256="d9" * 32, count=found.held_out),
        }
    )
    update = {"exposure": found, "findings": all_, "inputs": inputs, "command": COMMAND, "check": explained()}
    report = report.model_copy(update=update)
    return report.model_copy(update={"verdict": phrased(report)})


def exposed_report() -> AuditReport:
    """Return an audit that tells many records."""
    return exposure_report(exposure(300, 1000, 2.0))


def hidden_report() -> AuditReport:
    """Return an audit that tells none, with enough held-out records to see them."""
    return exposure_report(exposure(300, 1000, 0))


def few_report() -> AuditReport:
    """Return an audit with too few held-out records, of which some are copies."""
    return exposure_report(exposure(300, 60, 0, records=400, copies=3, labels=""))


def drawn_report() -> AuditReport:
    """Return an audit of records that a coin chose, whose finding its gates allow."""
    found = exposure(300, 300, 2.0, epsilon=Epsilon(value=1.7345, guesses=60, right=57), average="")
    return exposure_report(found, "exposure.tpr_at_1_fpr>0.99")


def both_report(root: Path) -> AuditReport:
    """Return a scan that rebuilds records and tells others."""
    report, found = leak_report(root), exposure(300, 1000, 2.0)
    update = {"exposure": found, "findings": [*report.findings, *leaks(found)], "verdict": judged("fail", "It leaks.")}
    return report.model_copy(update=update)
