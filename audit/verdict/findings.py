"""The rules of :mod:`.rules` applied to what an audit found. No torch here."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..report.card import AttackCard
from ..report.exposure import Exposure
from ..report.facts import Delta, Facts, Inputs
from ..report.kind import RecordKind
from ..report.proof import DataCheck, MockVictim
from ..report.results import AttackResult, Metrics
from ..report.terms import Severity
from ..report.verdict import Finding
from ..report.vocabulary import Vocabulary
from . import exposed, vocabulary
from .rules import REACHABLE, RULES, SURE

_GUESSED = {"lr": "learning rate", "batch_size": "batch size", "epochs": "epochs", "size": "number of training {many}"}
"""What attacks need most of a recipe, in words."""

_ORDER: tuple[Severity, ...] = ("critical", "high", "medium", "low", "none")


class Evidence(NamedTuple):
    """What the rules look at: the fields of a report that are known before it is judged."""

    kind: RecordKind
    model: str
    inputs: Inputs
    recipe: Facts
    delta: Delta
    attacks: Sequence[AttackResult]
    cards: Mapping[str, AttackCard]
    check: DataCheck | None
    power: MockVictim | None
    vocabulary: Vocabulary | None = None
    exposure: Exposure | None = None


def findings(evidence: Evidence) -> list[Finding]:
    """Return what the rules find, the most severe first; one finding for each rule and attack.

    Of several results of an attack, seeds and their consensus, the one that shows most stands for it.
    """
    by: dict[str, list[AttackResult]] = {}
    for result in evidence.attacks:
        by.setdefault(result.name, []).append(result)
    sure = SURE / max(sum(result.metrics is not None for result in evidence.attacks), 1)
    kind, model = evidence.kind, evidence.model
    found = [finding for rule in _OF_ATTACKS for results in by.values() for finding in rule(results, sure, kind)]
    found += [finding for rule in _OF_AUDITS for finding in rule(evidence)]
    marked = [f.model_copy(update={"fingerprint": fingerprint(f.rule, f.attack, model)}) for f in found]
    return sorted(marked, key=lambda finding: (_ORDER.index(finding.severity), finding.rule, finding.attack))


def fingerprint(*parts: str) -> str:
    """Return what a finding is recognised by in later audits: never a score, a pixel or a message."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def _finding(rule: str, severity: Severity, message: str, attack: str = "", **more: object) -> Finding:
    fields = {"rule": rule, "name": RULES[rule].name, "severity": severity, "attack": attack, "message": message}
    return Finding.model_validate(fields | more)


def _reconstructed(results: list[AttackResult], sure: float, kind: RecordKind) -> Iterator[Finding]:
    records = sorted({match.sample for result in results for match in result.matches if match.recovered})
    count = next((result.metrics.records for result in results if result.metrics), 0)
    if records:
        best = max(match.scores.similarity for result in results for match in result.matches if match.recovered)
        severity: Severity = "critical" if 2 * len(records) >= count else "high"
        what = f"{len(records)} of {count} training {kind.words.many} were reconstructed"
        message = f"{what}, the best with {kind.statistic} {best:.3f}."
        yield _finding("MA001", severity, message, results[0].name, records=records)


def _resembled(results: list[AttackResult], sure: float, kind: RecordKind) -> Iterator[Finding]:
    if any(match.recovered for result in results for match in result.matches):
        return
    telling = _least(results, lambda metrics: metrics.p_value)
    if telling and telling.p_value is not None and telling.p_value <= sure:
        what = f"The training {kind.words.many} as a whole"
        message = f"{what} are more similar than chance allows ({_said(telling.p_value)})."
        yield _finding("MA002", "medium", message, results[0].name)


def _identified(results: list[AttackResult], sure: float, kind: RecordKind) -> Iterator[Finding]:
    telling = _least(results, lambda metrics: metrics.identifiable_p_value)
    p = telling.identifiable_p_value if telling else None
    if telling and p is not None and p <= sure:
        expected, many = (telling.nearest or 0) * telling.records / (telling.pool or 1), kind.words.many
        message = (
            f"{telling.identifiable} of the {telling.nearest} {many} that are nearest to a reconstruction, in a pool "
            f"of {telling.pool}, are training {many}; chance gives {expected:.1f} ({_said(p)})."
        )
        yield _finding("MA003", "medium", message, results[0].name)


def _agreed(results: list[AttackResult], sure: float, kind: RecordKind) -> Iterator[Finding]:
    for result in results:
        if result.agreement and result.agreement.confident:
            count, seeds = result.agreement.confident, len(result.agreement.seeds)
            message = f"{count} {kind.words.many} come out alike from {seeds} seeds."
            yield _finding("MA004", "medium", message, result.name)


def _unfinished(results: list[AttackResult], sure: float, kind: RecordKind) -> Iterator[Finding]:
    if any(result.status == "converged" for result in results):
        return
    ends = " and ".join(dict.fromkeys(result.status.replace("_", " ") for result in results))
    reason = next((result.reason for result in results if result.reason), "")
    message = f"It ended as {ends}{': ' if reason else ''}{reason}".rstrip(".") + "."
    yield _finding("MA101", "none", message, results[0].name)


def _too_few(results: list[AttackResult], sure: float, kind: RecordKind) -> Iterator[Finding]:
    needed = [result.metrics.detectable for result in results if result.metrics]
    known = [value for value in needed if value is not None]
    if known and min(known) > REACHABLE:
        message = (
            f"Only {kind.statistic} above {min(known):.3f} would stand out from the comparison {kind.words.many}; a "
            "reconstruction that is not nearly exact would go unnoticed."
        )
        yield _finding("MA102", "none", message, results[0].name, blocks=True)


def _exactly(evidence: Evidence) -> Iterator[Finding]:
    words, most, who = evidence.kind.words, 0, ""
    for result in evidence.attacks:
        card = evidence.cards.get(result.name)
        if card and card.exact and result.status == "converged":
            known = {match.dummy for match in result.matches if match.recovered}
            count = sum(not dummy.insignificant and dummy.dummy not in known for dummy in result.reconstructions)
            most, who = max((most, who), (count, result.name))
    if most:
        strange = "" if evidence.inputs.data is None else " that are not among the data"
        message = f"{words.count(most)}{strange} can be rebuilt from these two files; look at them."
        yield _finding("MA005", "high", message, who)


def _words(evidence: Evidence) -> Iterator[Finding]:
    found = evidence.vocabulary
    if found is not None and found.seen:
        yield _finding("MA006", vocabulary.severity(found), vocabulary.said(found, evidence.kind))


def _made_to_store(evidence: Evidence) -> Iterator[Finding]:
    found = evidence.delta.facts.get("ladders")
    if found is not None:
        yield _finding("MA007", "high", f"{found.evidence[:1].upper()}{found.evidence[1:]}.")


def _exposed(evidence: Evidence) -> Iterator[Finding]:
    found = evidence.exposure
    if found is not None and (found.detected or found.at_least):
        records = sorted(row.record for row in found.per_record if row.detected)
        yield _finding("MA008", exposed.severity(found), found.reason, records=records)


def _unexplained(evidence: Evidence) -> Iterator[Finding]:
    if evidence.check is None and evidence.exposure is not None and evidence.exposure.proven:
        return
    if evidence.inputs.data is not None and (evidence.check is None or not evidence.check.explained):
        reason = evidence.check.reason if evidence.check else "Whether the data explain the change was not looked at."
        yield _finding("MA107", "none", reason, blocks=True)


def _not_unique(evidence: Evidence) -> Iterator[Finding]:
    if evidence.check is None or not evidence.check.explained:
        return
    for result in evidence.attacks:
        if result.status == "converged" and result.metrics and 2 * result.metrics.recovered < result.metrics.records:
            many = evidence.kind.words.many
            message = f"{result.name} explains the change with {many} unlike the data, so the change does not fix them."
            yield _finding("MA108", "none", message, blocks=True)
            return


def _powerless(evidence: Evidence) -> Iterator[Finding]:
    if evidence.power is not None and evidence.power.status != "leaks":
        yield _finding("MA109", "none", evidence.power.reason, blocks=True)


def _incomplete(evidence: Evidence) -> Iterator[Finding]:
    shown, data = evidence.delta.facts.get("size"), evidence.inputs.data
    if shown is not None and data is not None and shown.value > data.count:
        words = evidence.kind.words
        message = f"The change shows {shown.value} samples, and the data have {words.count(data.count)}."
        yield _finding("MA110", "none", message, blocks=True)


def _swapped(evidence: Evidence) -> Iterator[Finding]:
    fact = evidence.delta.facts.get("backwards")
    if fact is not None:
        yield _finding("MA111", "none", fact.evidence[:1].upper() + fact.evidence[1:] + ".", blocks=True)


def _unknown_start(evidence: Evidence) -> Iterator[Finding]:
    fact = evidence.delta.facts.get("unknown_start")
    if fact is not None:
        what = f"{fact.evidence[:1].upper()}{fact.evidence[1:]}"
        yield _finding("MA112", "none", f"{what}. Attacks find less than with its start.", blocks=True)


def _said(p: float) -> str:
    return "p < 1e-6" if p < 1e-6 else f"p = {p:.2g}"


def _rounding(evidence: Evidence) -> Iterator[Finding]:
    if evidence.delta.tensors and evidence.delta.lost:
        message = "No tensor changed by clearly more than its rounding, so the change holds nothing to attack."
        yield _finding("MA103", "none", message, blocks=True)


def _blind(evidence: Evidence) -> Iterator[Finding]:
    if evidence.inputs.data is None:
        many = evidence.kind.words.many
        message = f"No training {many} were given, so nothing was compared with them."
        yield _finding("MA104", "none", message, blocks=True)


def _weak_null(evidence: Evidence) -> Iterator[Finding]:
    if evidence.inputs.data is not None and evidence.inputs.control is None:
        many = evidence.kind.words.many
        message = f"No held-out {many} were given: chance was measured with mismatched pairs, a weaker comparison."
        yield _finding("MA105", "none", message)


def _guessed(evidence: Evidence) -> Iterator[Finding]:
    assumed = [name for name in _GUESSED if name in evidence.recipe and evidence.recipe[name].source == "assumed"]
    if assumed:
        titles = ", ".join(_GUESSED[name].format(many=evidence.kind.words.many) for name in assumed)
        yield _finding("MA106", "none", f"Assumed, neither given nor inferred: {titles}.")


def _least(results: list[AttackResult], value: Callable[[Metrics], float | None]) -> Metrics | None:
    known = [(p, result.metrics) for result in results if result.metrics and (p := value(result.metrics)) is not None]
    return min(known, key=lambda pair: pair[0])[1] if known else None


_OF_ATTACKS = (_reconstructed, _resembled, _identified, _agreed, _unfinished, _too_few)
_OF_AUDITS = (
    _exactly, _words, _made_to_store, _exposed, _rounding, _blind, _weak_null, _guessed, _unexplained, _not_unique,
    _powerless, _incomplete, _swapped, _unknown_start,
)  # fmt: skip
