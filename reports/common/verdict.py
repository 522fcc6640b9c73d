"""The result of the audit, in plain words: headline, meaning, key numbers and findings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ...audit.report.model import AuditReport
from ...audit.report.results import Agreement, AttackResult, Key, Metrics, titles
from ...audit.report.terms import Severity
from ...audit.report.verdict import Finding
from ...audit.verdict.rules import Rule, rules
from ...audit.words import NOTHING, fixed, number
from .extracts import standing


class Tile(NamedTuple):
    """One key number of the verdict."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Topic:
    """The findings of one rule that weigh the same."""

    rule: str
    title: str
    help: str
    severity: Severity
    blocks: bool
    findings: list[Finding]

    @property
    def word(self) -> str:
        """How bad it is; a reason against a pass never reads as harmless."""
        if self.severity != "none":
            return self.severity
        return "missing evidence" if self.blocks else "note"


def topics(report: AuditReport) -> list[Topic]:
    """Return the findings by rule, in their order."""
    found: dict[tuple[str, Severity, bool], list[Finding]] = {}
    for finding in report.findings:
        found.setdefault((finding.rule, finding.severity, finding.blocks), []).append(finding)
    known = rules(report.kind)
    return [_topic(known.get(name), name, severity, blocks, same) for (name, severity, blocks), same in found.items()]


def _topic(rule: Rule | None, name: str, severity: Severity, blocks: bool, findings: list[Finding]) -> Topic:
    title, help_ = (rule.title, rule.help) if rule else (findings[0].name, "")
    return Topic(name, title, help_, severity, blocks, findings)


def headline(report: AuditReport) -> str:
    """Return the verdict in plain words; it never contradicts the number of recovered records."""
    recovered, words = any(a.metrics and a.metrics.recovered for a in report.attacks), report.kind.words
    match report.verdict.status, recovered:
        case "fail", True:
            return "Training data can be reconstructed"
        case "fail", False:
            return "A leakage limit was exceeded"
        case "pass", True:
            return f"Training {words.many} were recovered, within the limits that were set"
        case "pass", False:
            return f"No training {words.one} was recovered by the attacks that were run"
        case _:
            return "Inconclusive: not enough evidence"


def shows(report: AuditReport) -> tuple[str, str]:
    """Return what the verdict shows, and what it does not."""
    words = report.kind.words
    match report.verdict.status:
        case "fail":
            return (
                "With both checkpoints and the training recipe below, the attacks in this report exceeded what its "
                "gates allow. Whoever holds the same two files can repeat them.",
                f"That the {words.many} found are the only ones at risk: other attacks or larger budgets may recover "
                f"more. Similarity of {words.compared} also does not say by itself whether a person can be identified.",
            )
        case "pass":
            return (
                "The attacks in this report, with these settings and this recipe, stayed within what its gates allow.",
                "That the model is anonymous or that its training data is safe. Resistance was measured against these "
                "attacks only; stronger attacks or a better guess of the recipe may succeed.",
            )
        case _:
            return (
                "What was tried, how far it got, and what is missing for a decision.",
                "That training data leaks, or that it does not. An attack that failed to run or to converge is no "
                "evidence of safety.",
            )


def tiles(report: AuditReport) -> list[Tile]:
    """Return the key numbers: the best over all results, and which one reached it."""
    results, names = standing(report), titles(report.attacks)
    together = next((result for result in results if result.agreement), None)
    if together and together.agreement and not any(result.metrics for result in results):
        return [*_agreement_tiles(report, together, together.agreement), _loss_tile(results, names)]
    mean, mean_by = _best(results, lambda metrics: metrics.similarity_mean)
    top, top_by = _best(results, lambda metrics: metrics.similarity_max)
    chance = mean_by.metrics.control_similarity_mean if mean_by and mean_by.metrics else None
    held_out = None if chance is None else f"{fixed(chance)} with held-out {report.kind.words.many}"
    return [
        _recovered_tile(report, results, names),
        Tile(f"Mean {report.kind.statistic}", fixed(mean), held_out or _by(mean_by, names)),
        Tile(f"Best {report.kind.statistic}", fixed(top), _by(top_by, names)),
        _loss_tile(results, names),
    ]


def _recovered_tile(report: AuditReport, results: list[AttackResult], names: dict[Key, str]) -> Tile:
    most, by = _best(results, lambda metrics: metrics.recovered)
    if most is None or by is None:
        return Tile("Recovered", NOTHING, _by(by, names))
    total, together = report.inputs.data.count if report.inputs.data else 0, report.recovered_by_any or 0
    what = f"training {report.kind.words.many}"
    if together > most:
        return Tile("Recovered", f"{together} of {total}", f"{what}, by all together; {most:.0f} by {names[by.key]}")
    return Tile("Recovered", f"{most:.0f} of {total}", f"{what}, {names[by.key]}")


def _agreement_tiles(report: AuditReport, result: AttackResult, found: Agreement) -> list[Tile]:
    seeds, count = f"{result.name}, {len(found.seeds)} seeds", sum(not d.insignificant for d in result.reconstructions)
    return [
        Tile("Seeds agree on", f"{found.confident} of {count}", f"{report.kind.words.many}, {seeds}"),
        Tile("Mean confidence", fixed(found.confidence_mean), "without training data"),
        Tile("Best confidence", fixed(found.confidence_max), seeds),
    ]


def _best(
    results: list[AttackResult], value: Callable[[Metrics], float]
) -> tuple[float, AttackResult] | tuple[None, None]:
    found = [(value(result.metrics), result) for result in results if result.metrics]
    return max(found, key=lambda pair: pair[0]) if found else (None, None)


def _by(result: AttackResult | None, names: dict[Key, str]) -> str:
    return names[result.key] if result else "not measured"


def _loss_tile(results: list[AttackResult], names: dict[Key, str]) -> Tile:
    if not results:
        return Tile("Attack loss", NOTHING, "no attack was run")
    first = results[0]
    return Tile("Attack loss", number(first.loss, 3), f"{names[first.key]}, {first.status.replace('_', ' ')}")
