"""Gates: expressions over a report's metrics, and the verdict that they give. No torch here."""

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from .. import MemauditError
from .plugins import nearest
from .report import (
    Agreement,
    AttackResult,
    Decision,
    Finding,
    GateResult,
    PlanStep,
    Severity,
    Verdict,
    titles,
)

METRICS = {
    "ssim_mean": "mean SSIM",
    "ssim_max": "best SSIM",
    "ssim_paper_mean": "mean SSIM as the SimuDy paper computes it",
    "psnr_mean": "mean PSNR in decibel",
    "recovered": "number of recovered images",
    "recovered_fraction": "share of recovered images",
    "confidence_mean": "mean confidence",
    "confidence_max": "best confidence",
    "confident": "number of images that the seeds agree on",
    "identifiable": "number of training images nearest to some reconstruction",
    "tpr_at_1_fpr": "share of training images above 99 % of the comparison images",
    "severity": "worst severity of its findings",
}
"""Every metric that a gate may name."""

DATALESS = METRICS.keys() & Agreement.model_fields
"""Those that need no training data, but an attack with several seeds."""

DEFAULT = "recovered>0"
"""The gate where none is given: one recovered training image is a leak."""

CALIBRATED = {"recovered", "recovered_fraction", "severity", "identifiable", "tpr_at_1_fpr"}
"""Metrics that count what stands out from the comparison images, and so need enough of these."""

ORDER: tuple[Decision, ...] = ("fail", "inconclusive", "pass")
"""The worst first."""

SEVERITIES = get_args(Severity)
"""From the least to the worst; a gate on ``severity`` compares their places."""

_OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}
_FORM = re.compile(r"\s*(?:(?P<attack>[\w-]+)\.)?(?P<metric>\w+)\s*(?P<op>>=|<=|==|>|<)\s*(?P<value>\S+)\s*")


class GateError(MemauditError):
    """A gate expression that cannot be understood."""


@dataclass(frozen=True)
class Gate:
    """``[ATTACK.]METRIC OP VALUE``: the audit fails where it holds for (any) attack."""

    attack: str | None
    metric: str
    op: str
    value: float
    text: str

    def holds(self, number: float) -> bool:
        """Return whether ``number`` trips this gate."""
        return bool(_OPERATORS[self.op](number, self.value))


def parse(text: str, attacks: Sequence[str] = ()) -> Gate:
    """Parse one expression.

    Args:
        text: For example ``simudy.ssim_max>=0.4`` or ``recovered_fraction>=0.05``.
        attacks: Names that may stand before the dot; any name where empty.

    Raises:
        GateError: Malformed, or a metric or attack that does not exist; names the nearest one.
    """
    form = _FORM.fullmatch(text)
    example = "Write it as [ATTACK.]METRIC OP VALUE, for example 'simudy.ssim_max>=0.4'."
    if form is None:
        raise GateError(f"Gate '{text}' cannot be parsed.", example)
    attack, metric = form["attack"], form["metric"]
    if metric not in METRICS:
        raise GateError(f"Gate '{text}' names an unknown metric '{metric}'.", nearest(metric, list(METRICS)))
    if attack and attacks and attack not in attacks:
        raise GateError(f"Gate '{text}' names an unknown attack '{attack}'.", nearest(attack, list(attacks)))
    value = _severity(text, form["value"]) if metric == "severity" else _number(text, form["value"])
    return Gate(attack, metric, form["op"], value, text.strip())


def wanted(fail_if: Sequence[str], fail_on: Severity | None = None) -> list[str]:
    """Return the gate expressions that ``--fail-if`` and ``--fail-on`` stand for together; :data:`DEFAULT` for none."""
    severity = [f"severity>={fail_on}"] if fail_on else []
    return [*fail_if, *severity] or [DEFAULT]


def _severity(text: str, word: str) -> float:
    if word not in SEVERITIES:
        raise GateError(f"Gate '{text}' names an unknown severity '{word}'.", nearest(word, list(SEVERITIES)))
    return float(SEVERITIES.index(word))


def _number(text: str, word: str) -> float:
    example = "Write it as [ATTACK.]METRIC OP VALUE, for example 'simudy.ssim_max>=0.4'."
    try:
        value = float(word)
    except ValueError:
        raise GateError(f"Gate '{text}' compares with '{word}', which is not a number.", example) from None
    if not math.isfinite(value):
        raise GateError(f"Gate '{text}' compares with {word}, which decides nothing.", example)
    return value


def judge(
    attacks: Sequence[AttackResult],
    gates: Sequence[Gate],
    plan: Sequence[PlanStep] = (),
    findings: Sequence[Finding] = (),
) -> Verdict:
    """Decide: any gate that trips fails the audit; a gate without the evidence to clear it leaves it inconclusive.

    Args:
        attacks: Every result. Any one trips a gate; one that converged clears it, but for its own attack only.
        gates: :data:`DEFAULT` where none is given.
        plan: Tells which attacks were left out: from them nothing follows.
        findings: Their severities, and what evidence is missing: an attack with a finding that blocks clears no gate.
    """
    bench = _Bench(attacks, plan, findings)
    results = [bench.decide(gate) for gate in gates or [parse(DEFAULT)]]
    status: Decision = next((s for s in ORDER if any(r.status == s for r in results)), "pass")
    reasons = dict.fromkeys(result.reason for result in results if result.status == status)
    return Verdict(status=status, severity=worst(findings), summary=" ".join(reasons), gates=results)


def worst(findings: Sequence[Finding]) -> Severity:
    """Return the worst severity of findings."""
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default="none")


@dataclass(frozen=True)
class _Bench:
    """All evidence that gates are held against."""

    attacks: Sequence[AttackResult]
    plan: Sequence[PlanStep]
    findings: Sequence[Finding]

    def decide(self, gate: Gate) -> GateResult:
        """Hold one gate against every result that it is for."""
        chosen = [attack for attack in self.attacks if gate.attack in (None, attack.name)]
        left_out = [step for step in self.plan if not step.runs and gate.attack in (None, step.attack)]
        measured = [attack for attack in chosen if self.value(gate.metric, attack) is not None]
        tripped = [attack for attack in measured if gate.holds(self.value(gate.metric, attack) or 0)]
        if tripped:
            return _result(gate, "fail", self.said(gate, tripped))
        if not measured:
            where = f"attack {gate.attack}" if gate.attack else "any attack"
            why = _why(gate, chosen, left_out)
            return _result(gate, "inconclusive", f"{gate.metric} was not measured for {where}{why}.")
        converged = [attack for attack in measured if attack.status == "converged"]
        if not converged:
            states = ", ".join(f"{name} {ends}" for name, ends in _ends(measured).items())
            return _result(
                gate,
                "inconclusive",
                f"No attack converged ({states}), so that {gate.text} did not hold clears nothing.",
            )
        telling = [attack for attack in converged if not self.blocks(gate, attack)]
        if not telling:
            reasons = dict.fromkeys(why for attack in converged for why in self.blocks(gate, attack))
            return _result(gate, "inconclusive", " ".join(reasons))
        return _result(gate, "pass", self.said(gate, telling) + _unclear(telling, chosen, left_out))

    def value(self, metric: str, attack: AttackResult) -> float | None:
        """Return a metric of one result; ``None`` where it was not measured."""
        if metric == "severity":
            return self.severity(attack)
        part = attack.agreement if metric in DATALESS else attack.metrics
        found = None if part is None else getattr(part, metric)
        return None if found is None else float(found)

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
        value = self.value(metric, attack) or 0.0
        if metric == "severity":
            return f"shows findings of severity {SEVERITIES[int(value)]}" if value else "shows no leak"
        if attack.metrics and metric.startswith("recovered"):
            return f"recovered {attack.metrics.recovered or 'none'} of {attack.metrics.images} training images"
        if attack.agreement and metric == "confident":
            agreed, seeds = attack.agreement.confident or "none", len(attack.agreement.seeds)
            return f"shows {agreed} of {len(attack.reconstructions)} images alike with {seeds} seeds"
        return f"reached a {METRICS[metric]} of {value:.3g}"


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


def _why(gate: Gate, chosen: Sequence[AttackResult], left_out: Sequence[PlanStep]) -> str:
    if not chosen:
        return (
            f" (it was left out: {left_out[0].reason.rstrip('.')})" if gate.attack and left_out else " (it was not run)"
        )
    if all(attack.status in ("diverged", "unsupported") or not attack.iterations for attack in chosen):
        return f" ({', '.join(f'{name} {ends}' for name, ends in _ends(chosen).items())})"
    if gate.metric in DATALESS:
        return " (no attack came to an end with several seeds; pass --restarts)"
    if gate.metric in ("identifiable", "tpr_at_1_fpr") and any(attack.metrics for attack in chosen):
        return " (there are too few held-out images for it; pass more with --control)"
    if all(attack.status == "budget_spent" and not attack.reconstructions for attack in chosen):
        return " (the time was up before an attack had its images read off; give more --max-time)"
    return " (no training data were given to match against; pass --data)"


def _result(gate: Gate, status: Decision, reason: str) -> GateResult:
    return GateResult(expression=gate.text, status=status, reason=reason)
