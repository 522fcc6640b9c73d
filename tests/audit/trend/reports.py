"""Reports of the same twenty images, of which an attack recovers some."""

from collections.abc import Iterable

from memaudit.audit.report.exhibit import Text
from memaudit.audit.report.model import AuditReport
from memaudit.audit.report.results import AttackResult, Match

from ...reports.pairs import metrics, scores
from ...reports.parts import finding, judged
from ...reports.samples import ranked, whole

COUNT = 20


def pair(sample: int, recovered: bool, similarity: float) -> Match:
    shown = Text(text="")
    return Match(
        sample=sample, name=f"train/{sample:03}.png", dummy=sample, scores=scores(similarity, 20.0, 0.1),
        nearest=similarity, recovered=recovered, truth=shown, reconstruction=shown, rank=1,
    )  # fmt: skip


def attack(recovered: Iterable[int], name: str = "simudy", **more: object) -> AttackResult:
    """Return a result that recovers these of the images."""
    found = set(recovered)
    pairs = [pair(i, i in found, 0.8 - 0.01 * i if i in found else 0.2 + 0.01 * i) for i in range(COUNT)]
    fields = {"name": name, "status": "converged", "loss": 1e-4, "iterations": 100, "seconds": 60.0,
              "peak_memory_bytes": 2**30, "matches": pairs, "metrics": metrics(pairs, COUNT)}  # fmt: skip
    return AttackResult(**fields | more)


def audit(*attacks: AttackResult, status: str = "", **more: object) -> AuditReport:
    """Return the report of such attacks: a leak where one recovers something, else a pass."""
    leaking = [one for one in attacks if one.metrics and one.metrics.recovered]
    said = status or ("fail" if leaking else "pass")
    found = [finding("MA001", "high", "recovered", one.name) for one in leaking]
    report = whole(judged(said, "so it is", "recovered>0"), list(attacks))
    severity = {"severity": "high"} if leaking else {}
    verdict = report.verdict.model_copy(update=severity)
    data = report.inputs.data.model_copy(update={"count": COUNT})
    inputs = report.inputs.model_copy(update={"data": data})
    base = {"findings": found, "inputs": inputs, "verdict": verdict}
    return ranked(report.model_copy(update=base | more), list(attacks)).sealed()
