"""Gates: expressions over a report's metrics, and the verdict that they give. No torch here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..report.exposure import Exposure
from ..report.kind import RecordKind
from ..report.proof import MockVictim
from ..report.results import AttackResult, PlanStep, titles
from ..report.terms import Severity
from ..report.verdict import Decision, Finding, GateResult, Verdict
from .exposed import by_exposure
from .expression import DATALESS, DEFAULT, METRICS, SEVERITIES, Gate, metrics, parse

CALIBRATED = {"recovered", "recovered_fraction", "severity", "identifiable", "tpr_at_1_fpr"}
"""Metrics that count what stands out from the comparison records, and so need enough of these."""

ENDED = ("converged", "stalled", "budget_spent")
"""How an attack ends that can be compared with itself on the mock victim, which had no larger budget."""

ORDER: tuple[Decision, ...] = ("fail", "inconclusive", "pass")
"""The worst first."""


def judge(
    attacks: Sequence[AttackResult],
    gates: Sequence[Gate],
    kind: RecordKind,
    plan: Sequence[PlanStep] = (),
    findings: Sequence[Finding] = (),
    power: MockVictim | None = None,
    exposure: Exposure | None = None,
) -> Verdict:
    """Decide: any gate that trips fails the audit; a gate without the evidence to clear it leaves it inconclusive.

    Args:
        attacks: Every result. Any one trips a gate; one whose attack has shown its power clears it, and no other.
        gates: :data:`DEFAULT` where none is given.
        kind: What the records are: it names some of the metrics.
        plan: Says which attacks were left out: nothing follows from them.
        findings: Their severities, and what evidence is missing: an attack with a finding that blocks clears no gate.
        power: What the attacks show of a training like this one. Nothing passes without it, but for attacks that
            rebuild most records here and yet trip no gate.
        exposure: What gates on the exposure of records are checked against.
    """
    bench = _Bench(attacks, kind, plan, findings, power)
    results = [
        by_exposure(gate, exposure, kind, findings) if _alone(gate, attacks, exposure) else bench.decide(gate)
        for gate in gates or [parse(DEFAULT)]
    ]
    status: Decision = next((s for s in ORDER if any(r.status == s for r in results)), "pass")
    reasons = dict.fromkeys(result.reason for result in results if result.status == status)
    return Verdict(status=status, severity=worst(findings), summary=" ".join(reasons), gates=results)


def _alone(gate: Gate, attacks: Sequence[AttackResult], exposure: Exposure | None) -> bool:
    """Return whether the exposure of records alone decides: it is what the gate is on, or there is nothing else."""
    return gate.of_exposure or (gate.metric == "severity" and exposure is not None and not attacks)


def worst(findings: Sequence[Finding]) -> Severity:
    """Return the worst severity of findings."""
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default="none")


@dataclass(frozen=True)
class _Bench:
    """All evidence that gates are checked against."""

    attacks: Sequence[AttackResult]
    kind: RecordKind
    plan: Sequence[PlanStep]
    findings: Sequence[Finding]
    power: MockVictim | None

    def decide(self, gate: Gate) -> GateResult:
        """Check one gate against every result that it is for."""
        chosen = [attack for attack in self.attacks if gate.attack in (None, attack.name)]
        left_out = [step for step in self.plan if not step.runs and gate.attack in (None, step.attack)]
        measured = [attack for attack in chosen if self.value(gate.metric, attack) is not None]
        tripped = [attack for attack in measured if gate.holds(self.value(gate.metric, attack) or 0)]
        if tripped:
            return _result(gate, "fail", self.said(gate, tripped))
        if not measured:
            where = f"attack {gate.attack}" if gate.attack else "any attack"
            why = _why(gate, chosen, left_out, self.kind)
            return _result(gate, "inconclusive", f"{gate.metric} was not measured for {where}{why}.")
        telling = [attack for attack in measured if not self.blocks(gate, attack)]
        if not telling:
            reasons = dict.fromkeys(why for attack in measured for why in self.blocks(gate, attack))
            return _result(gate, "inconclusive", " ".join(reasons))
        powered = [attack for attack in telling if self.strong(gate, attack)]
        if not powered:
            return _result(gate, "inconclusive", self.weak(gate, telling))
        return _result(gate, "pass", self.said(gate, powered) + _unclear(powered, chosen, left_out))

    def strong(self, gate: Gate, attack: AttackResult) -> bool:
        """Return whether an attack rebuilds records: most of the mock victim's, coming to its end here, or of these."""
        found, shown = attack.metrics, self.power
        named = shown.attacks if shown and gate.attack else [attack.name]
        mocked = shown is not None and shown.status == "leaks" and attack.name in named and attack.status in ENDED
        return mocked or (found is not None and 2 * found.recovered >= found.records)

    def weak(self, gate: Gate, attacks: Sequence[AttackResult]) -> str:
        """Say why attacks that did not trip a gate do not clear it either."""
        if self.power is not None and self.power.status != "leaks":
            return self.power.reason
        if all(attack.status != "converged" for attack in attacks):
            states = ", ".join(f"{name} {ends}" for name, ends in _ends(attacks).items())
            return f"No attack converged ({states}), so that {gate.text} did not hold clears nothing."
        what = "Whether these attacks can show anything was not measured"
        return f"{what}, so that {gate.text} did not hold clears nothing."

    def value(self, metric: str, attack: AttackResult) -> float | None:
        """Return a metric of one result; ``None`` where it was not measured."""
        if metric == "severity":
            return self.severity(attack)
        if metric in METRICS:
            found = getattr(attack.agreement if metric in DATALESS else attack.metrics, metric, None)
        else:
            found = self.own(metric, attack)
        return float(found) if found is not None and math.isfinite(found) else None

    def own(self, metric: str, attack: AttackResult) -> float | None:
        """Return a number that the kind of the records names; ``None`` where it was not measured."""
        named = self.kind.metrics().get(metric)
        if named is None or attack.metrics is None:
            return None
        found: float | dict[str, float | None] = getattr(attack.metrics, named.field)
        return found.get(named.detail) if isinstance(found, dict) else found

    def severity(self, attack: AttackResult) -> float | None:
        """Return the place of the worst finding of an attack, or of all; ``None`` where nothing was measured."""
        places = [SEVERITIES.index(found.severity) for found in self.findings if found.attack in ("", attack.name)]
        if not any(places) and attack.metrics is None and attack.agreement is None:
            return None
        return float(max(places, default=0))

    def blocks(self, gate: Gate, attack: AttackResult) -> list[str]:
        """Return why an attack clears nothing although it converged; a comparison set only matters to what needs it."""
        calibrated = gate.metric in CALIBRATED
        return [
            found.message
            for found in self.findings
            if found.blocks and (not found.attack or (calibrated and found.attack == attack.name))
        ]

    def said(self, gate: Gate, attacks: Sequence[AttackResult]) -> str:
        """Say in one sentence what each attack reached, by the result nearest to the gate, or furthest past it."""
        sign, names = -1.0 if gate.op.startswith("<") else 1.0, titles(self.attacks)
        by: dict[str, list[AttackResult]] = {}
        for attack in attacks:
            by.setdefault(attack.name, []).append(attack)
        said: dict[str, list[str]] = {}
        for name, results in by.items():
            values = [sign * (self.value(gate.metric, result) or 0) for result in results]
            telling = results[values.index(max(values))]
            who = name if len(results) > 1 and len(set(values)) == 1 else names[telling.key]
            said.setdefault(self.reached(gate.metric, telling), []).append(who)
        return "; ".join(f"{', '.join(who)} {reached}" for reached, who in said.items()) + "."

    def reached(self, metric: str, attack: AttackResult) -> str:
        """Say what one result reached."""
        value, many = self.value(metric, attack) or 0.0, self.kind.words.many
        if metric == "severity":
            return f"shows findings of severity {SEVERITIES[int(value)]}" if value else "shows no leak"
        if attack.metrics and metric.startswith("recovered"):
            return f"recovered {attack.metrics.recovered or 'none'} of {attack.metrics.records} training {many}"
        if attack.agreement and metric == "confident":
            agreed, seeds = attack.agreement.confident or "none", len(attack.agreement.seeds)
            return f"shows {agreed} of {len(attack.reconstructions)} {many} alike with {seeds} seeds"
        return f"reached a {metrics(self.kind)[metric]} of {value:.3g}"


def _unclear(telling: Sequence[AttackResult], chosen: Sequence[AttackResult], left_out: Sequence[PlanStep]) -> str:
    clear = {attack.name for attack in telling}
    unclear = _ends([attack for attack in chosen if attack.name not in clear])
    unclear |= {step.attack: "left out" for step in left_out if step.attack not in unclear}
    rest = ", ".join(f"{name} ({ends})" for name, ends in unclear.items())
    return f" Nothing follows from {rest}." if rest else ""


def _ends(attacks: Sequence[AttackResult]) -> dict[str, str]:
    """Return for each attack how its results ended."""
    ends: dict[str, dict[str, None]] = {}
    for attack in attacks:
        ends.setdefault(attack.name, {})[attack.status] = None
    return {name: " and ".join(found) for name, found in ends.items()}


def _why(gate: Gate, chosen: Sequence[AttackResult], left_out: Sequence[PlanStep], kind: RecordKind) -> str:
    if not chosen:
        return (
            f" (it was left out: {left_out[0].reason.rstrip('.')})" if gate.attack and left_out else " (it was not run)"
        )
    if all(attack.status in ("diverged", "unsupported") or not attack.iterations for attack in chosen):
        return f" ({', '.join(f'{name} {ends}' for name, ends in _ends(chosen).items())})"
    if gate.metric in DATALESS:
        return " (no attack came to an end with several seeds; pass --restarts)"
    if gate.metric in ("identifiable", "tpr_at_1_fpr") and any(attack.metrics for attack in chosen):
        return f" (there are too few held-out {kind.words.many} for it; pass more with --control)"
    if all(attack.status == "budget_spent" and not attack.reconstructions for attack in chosen):
        return f" (time ran out before any {kind.words.many} were read out; give more --max-time)"
    return " (no training data were given to match against; pass --data)"


def _result(gate: Gate, status: Decision, reason: str) -> GateResult:
    return GateResult(expression=gate.text, status=status, reason=reason)
