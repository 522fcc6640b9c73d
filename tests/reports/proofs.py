"""Reports with what a PASS rests on: one that has it all, and those that lack one part of it."""

from pathlib import Path

from memaudit.audit.report.model import AuditReport
from memaudit.audit.report.proof import Comparison, DataCheck, MockVictim
from memaudit.audit.verdict.sentence import phrased

from .parts import finding, judged
from .samples import clean_report, leak_report, ranked


def explained(own: float = 0.03) -> DataCheck:
    """Return a check that the data pass, where they leave clearly less than others do."""
    others = [
        Comparison(name="held-out images", unexplained=0.61, sets=4),
        Comparison(name="yours, turned by 90 degrees", unexplained=0.48),
        Comparison(name="yours, mirrored", unexplained=0.36),
    ]
    said = f"The data leave {own:.0%} of the change unexplained, held-out images at best 61%."
    return DataCheck(
        explained=own < 0.2,
        unexplained=own,
        basis="layers",
        comparisons=others,
        recipe=True,
        likeness=0.993,
        reason=said,
    )


def mock(recovered: int) -> MockVictim:
    """Return what the attacks did on a training like this one."""
    status = "leaks" if recovered else "silent"
    said = f"The same attacks rebuilt {recovered or 'none'} of 20 held-out images from a training like this one."
    return MockVictim(
        status=status, records=20, recovered=recovered, similarity_mean=0.81 if recovered else 0.12,
        attacks=["simudy"], seconds=301.0, reason=said,
    )  # fmt: skip


def proven_report(root: Path) -> AuditReport:
    """Return a PASS with all that it rests on."""
    base = clean_report(root)
    report = base.model_copy(update={"check": explained(), "power": mock(18), "recovered_by_any": 0})
    return report.model_copy(update={"verdict": phrased(report)})


def wrong_report(root: Path) -> AuditReport:
    """Return an audit with another folder as data, whose change holds seven records of its own."""
    base = clean_report(root)
    check = explained(0.58).model_copy(update={"recipe": False, "likeness": 0.21, "reading": "cropped to the centre"})
    verdict = judged("inconclusive", "The data do not explain the change.", "recovered>0")
    found = [finding("MA105", "none", "No held-out images were given.")]
    report = base.model_copy(update={"check": check, "verdict": verdict, "findings": found, "recovered_by_any": 0})
    return report.model_copy(update={"verdict": phrased(report)})


def silent_report(root: Path) -> AuditReport:
    """Return an audit whose attacks have no power, with many of them left out or cut short for the same reasons."""
    base = proven_report(root)
    verdict = judged("inconclusive", "No attack that was run has power against a training like this.", "recovered>0")
    report = base.model_copy(update={"power": mock(0), "verdict": verdict})
    return report.model_copy(update={"verdict": phrased(report)})


def turned_report(root: Path) -> AuditReport:
    """Return a leak of which some records match only after they were changed."""
    report = leak_report(root)
    first = report.attacks[0]
    changes = {0: "mirrored", 2: "turned by 90 degrees"}
    pairs = [match.model_copy(update={"transform": changes.get(match.sample, "")}) for match in first.matches]
    attacks = [first.model_copy(update={"matches": pairs}), *report.attacks[1:]]
    return ranked(report, attacks).model_copy(update={"check": explained(), "power": None})
