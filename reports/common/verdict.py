"""The result of the audit, in plain words: headline, how it was found, key numbers, meaning and findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...audit.report.model import AuditReport
from ...audit.report.results import AttackResult
from ...audit.report.terms import Severity
from ...audit.report.verdict import Finding, NextStep
from ...audit.scoring.levels import LEVEL
from ...audit.verdict import sentence
from ...audit.verdict.rules import Rule, rules
from ...audit.verdict.tally import UNLISTED, exposure_only, rebuilt, unlisted
from ...audit.words import NOTHING, count, fixed
from . import exposure
from .extracts import by_attack, standing

NAMED = 4
"""Attacks that are named in one sentence, at most."""


_ENDS = {
    "stalled": "found no solution",
    "budget_spent": "stopped at its limit",
    "diverged": "broke down",
    "unsupported": "does not apply here",
}
"""How an attack ended that did not converge, for people."""


class Tile(NamedTuple):
    """One key number of the verdict."""

    label: str
    value: str
    note: str


class Said(NamedTuple):
    """A finding, and the attacks of which the same is said."""

    attacks: str
    finding: Finding


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

    @property
    def said(self) -> list[Said]:
        """Each different message once, with the attacks that it is of."""
        same: dict[tuple[str, tuple[int, ...]], list[Finding]] = {}
        for finding in self.findings:
            same.setdefault((finding.message, tuple(finding.records)), []).append(finding)
        return [Said(", ".join(f.attack for f in found if f.attack), found[0]) for found in same.values()]


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
    """Return the verdict as the scan said it; of an older report, as a scan would say it today."""
    return report.verdict.headline or sentence.headline(report)


def next_step(report: AuditReport) -> NextStep | None:
    """Return what to do about an undecided audit, of an older report too."""
    return report.verdict.next_step or sentence.next_step(report)


def decided(report: AuditReport) -> NextStep | None:
    """Return what follows from a decision, in one sentence; ``None`` where there is none."""
    if exposure_only(report):
        return exposure.then(report)
    match report.verdict.status:
        case "fail":
            best = next((advice.title for advice in report.advice), "")
            more = f" What would help most: {best[:1].lower()}{best[1:]}." if best else ""
            return NextStep(reason=f"Keep these two files away from everybody who may not see the training set.{more}")
        case "pass" if rebuilt(report)[0] or unlisted(report) or any(finding.leaks for finding in report.findings):
            return NextStep(
                reason="The limits that were set allow what was found here. Whoever holds both files can find it as "
                "well: decide who may."
            )
        case "pass":
            return NextStep(
                reason="These attacks give no reason to withhold the two files. Keep this report with them, and audit "
                "again when either changes."
            )
    return None


def tried(report: AuditReport) -> str:
    """Return which attacks found it, or which were tried; empty where nothing was."""
    if report.exposure is not None and exposure_only(report):
        return exposure.measured_by(report.exposure, report.kind.words)
    recovered, names = rebuilt(report)[0], by_attack(report)
    if unlisted(report) and not recovered:
        exact = dict.fromkeys(finding.attack for finding in report.findings if finding.rule == UNLISTED)
        return f"Found by {_listed(list(exact))}: together they make up the whole change between the two files."
    if recovered:
        by = {name: max(r.metrics.recovered if r.metrics else 0 for r in results) for name, results in names.items()}
        found = sorted((name for name in by if by[name]), key=lambda name: -by[name])
        chance = f"Of all that counts as rebuilt, at most {100 * LEVEL:g} % is expected to be chance."
        return f"Found by {_listed([f'{name} ({by[name]})' for name in found])}. {chance}"
    if report.verdict.status == "fail" and not unlisted(report):
        return report.verdict.summary
    said = [f"{name} ({_end(results)})" for name, results in names.items()]
    left = sum(not step.runs for step in report.plan)
    more = f" {count(left, 'other attack')} {'was' if left == 1 else 'were'} left out; nothing follows from that."
    return f"Tried: {_listed(said)}.{more if left else ''}" if said else ""


def _end(results: Sequence[AttackResult]) -> str:
    ended = any(result.status == "converged" for result in results)
    return "finished" if ended else _ENDS[results[0].status]


def _listed(names: Sequence[str]) -> str:
    kept = list(names[:NAMED])
    kept += [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return kept[0] if len(kept) == 1 else f"{', '.join(kept[:-1])} and {kept[-1]}"


def shows(report: AuditReport) -> tuple[str, str]:
    """Return what the verdict shows, and what it does not."""
    if exposure_only(report):
        return exposure.shows(report)
    words = report.kind.words
    match report.verdict.status:
        case "fail":
            return (
                f"With both checkpoints and the training recipe below, {_means(report)} in this report exceeded what "
                "its gates allow. Whoever holds the same two files can repeat them.",
                f"That the {words.many} found are the only ones at risk: other attacks or larger budgets may recover "
                f"more. Similarity of {words.compared} also does not say by itself whether a person can be identified.",
            )
        case "pass":
            return (
                f"{_means(report).capitalize()} in this report, with these settings and this recipe, stayed within "
                "what its gates allow.",
                "That the model is anonymous or that its training data is safe. Resistance was measured against these "
                "attacks only; stronger attacks or a better guess of the recipe may succeed.",
            )
        case _:
            return (
                "What was tried, how far it got, and what is missing for a decision.",
                "That training data leaks, or that it does not. An attack that failed to run or to converge is no "
                "evidence of safety.",
            )


def _means(report: AuditReport) -> str:
    return "the attacks" if report.exposure is None else "the attacks and the measurement of exposure"


def tiles(report: AuditReport) -> list[Tile]:
    """Return the key numbers, in words that need no glossary; those of what was not measured are left out."""
    found, words = report.exposure, report.kind.words
    exposed = [Tile(*told) for told in exposure.key_numbers(found, words)] if found else []
    if exposure_only(report):
        return exposed
    return [*_attack_tiles(report), *(exposed[:1] if found and exposure.tells(report, found) else [])]


def _attack_tiles(report: AuditReport) -> list[Tile]:
    if not any(result.metrics for result in report.attacks):
        return [*_unmatched_tiles(report), _finish_tile(report)]
    power = report.power
    told = (
        _rebuilt_tile(report),
        *_likeness_tiles(report),
        Tile("From a training like this one", f"{power.recovered} of {power.records}", "rebuilt by the same attacks")
        if power and power.status != "left out"
        else _finish_tile(report),
    )
    return list(told)


def _rebuilt_tile(report: AuditReport) -> Tile:
    (recovered, total), other = rebuilt(report), unlisted(report)
    if other and not recovered:
        return Tile("Rebuilt", str(other), f"{report.kind.words.many} that are not among those given")
    many = sum(any(result.metrics for result in results) for results in by_attack(report).values())
    together = ", by all attacks together" if many > 1 else ""
    return Tile("Rebuilt", f"{recovered} of {total}", f"training {report.kind.words.many}{together}")


def _likeness_tiles(report: AuditReport) -> list[Tile]:
    measured = [result.metrics for result in standing(report) if result.metrics]
    best = max(measured, key=lambda metrics: metrics.similarity_max)
    kind, chance = report.kind, best.null[-1] if best.null else best.control_similarity_max
    alike = Tile(
        "How alike, 0 to 1",
        fixed(best.similarity_max, 2),
        f"the closest pair ({kind.statistic}); counts from {kind.threshold:g} on, if chance hardly gives as much",
    )
    if chance is None:
        return [alike]
    size, held_out = best.null_size or best.control_pairs or 0, best.null_kind != "mismatched"
    others = kind.words.count(size, "held-out") if held_out else count(size, "mismatched pair")
    return [alike, Tile("By chance", fixed(chance, 2), f"the closest of {others}")]


def _unmatched_tiles(report: AuditReport) -> list[Tile]:
    many = report.kind.words.many
    together = next((result for result in standing(report) if result.agreement), None)
    if together and (found := together.agreement):
        size = sum(not dummy.insignificant for dummy in together.reconstructions)
        seeds = f"{many}, {together.name}, {len(found.seeds)} independent runs"
        return [
            Tile("Runs agree on", f"{found.confident} of {size}", seeds),
            Tile("How far they agree, 0 to 1", fixed(found.confidence_mean, 2), f"mean {report.kind.statistic}"),
        ]
    made = [sum(not d.insignificant for d in result.reconstructions) for result in report.attacks]
    compared = "nothing was there to compare them with" if any(made) else f"no attack made any {many}"
    return [Tile("Rebuilt", str(max(made, default=0)) if any(made) else NOTHING, compared)]


def _finish_tile(report: AuditReport) -> Tile:
    names = by_attack(report)
    done = [name for name, results in names.items() if any(result.status == "converged" for result in results)]
    if not names:
        return Tile("Converged attacks", NOTHING, "no attack was run")
    note = _listed(done) if done else "one that does not shows nothing by what it misses"
    return Tile("Converged attacks", f"{len(done)} of {len(names)}", note)
