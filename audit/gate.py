"""Gates: expressions over a report's metrics, and the verdict that they give. No torch here."""

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .. import MemauditError
from .plugins import nearest
from .report import Agreement, AttackResult, Decision, GateResult, Key, PlanStep, Verdict, titles

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
}
"""Every metric that a gate may name."""

DATALESS = METRICS.keys() & Agreement.model_fields
"""Those that need no training data, but an attack with several seeds."""

DEFAULT = "recovered>0"
"""The gate where none is given: one recovered training image is a leak."""

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
    try:
        value = float(form["value"])
    except ValueError:
        raise GateError(f"Gate '{text}' compares with '{form['value']}', which is not a number.", example) from None
    if not math.isfinite(value):
        raise GateError(f"Gate '{text}' compares with {form['value']}, which decides nothing.", example)
    return Gate(attack, metric, form["op"], value, text.strip())


def judge(attacks: Sequence[AttackResult], gates: Sequence[Gate], plan: Sequence[PlanStep] = ()) -> Verdict:
    """Decide: any gate that trips fails the audit; a gate without the evidence to clear it leaves it inconclusive.

    Args:
        attacks: Every result. Any one trips a gate; one that converged clears it, but for its own attack only.
        gates: :data:`DEFAULT` where none is given.
        plan: Tells which attacks were left out: from them nothing follows.
    """
    results = [_decide(gate, attacks, plan) for gate in gates or [parse(DEFAULT)]]
    worst = next((s for s in ("fail", "inconclusive") if any(r.status == s for r in results)), "pass")
    reasons = [result.reason for result in results if result.status == worst]
    return Verdict(status=worst, summary=" ".join(reasons), gates=results)


def _decide(gate: Gate, attacks: Sequence[AttackResult], plan: Sequence[PlanStep]) -> GateResult:
    chosen = [attack for attack in attacks if gate.attack in (None, attack.name)]
    left_out = [step for step in plan if not step.runs and gate.attack in (None, step.attack)]
    measured = [attack for attack in chosen if _value(gate.metric, attack) is not None]
    tripped = [attack for attack in measured if gate.holds(_value(gate.metric, attack) or 0)]
    if tripped:
        return _result(gate, "fail", _said(gate, tripped, titles(attacks)))
    if not measured:
        where = f"attack {gate.attack}" if gate.attack else "any attack"
        return _result(
            gate, "inconclusive", f"{gate.metric} was not measured for {where}{_why(gate, chosen, left_out)}."
        )
    converged = [attack for attack in measured if attack.status == "converged"]
    if not converged:
        states = ", ".join(f"{name} {ends}" for name, ends in _ends(measured).items())
        return _result(
            gate, "inconclusive", f"No attack converged ({states}), so that {gate.text} did not hold clears nothing."
        )
    clear = {attack.name for attack in converged}
    unclear = _ends([attack for attack in chosen if attack.name not in clear])
    unclear |= {step.attack: "left out" for step in left_out if step.attack not in unclear}
    rest = ", ".join(f"{name} ({ends})" for name, ends in unclear.items())
    return _result(
        gate, "pass", _said(gate, converged, titles(attacks)) + (f" Nothing follows from {rest}." if rest else "")
    )


def _value(metric: str, attack: AttackResult) -> float | None:
    part = attack.agreement if metric in DATALESS else attack.metrics
    return None if part is None else float(getattr(part, metric))


def _ends(attacks: Sequence[AttackResult]) -> dict[str, str]:
    """Return for each attack how its results ended."""
    ends: dict[str, dict[str, None]] = {}
    for attack in attacks:
        ends.setdefault(attack.name, {})[attack.status] = None
    return {name: " and ".join(found) for name, found in ends.items()}


def _said(gate: Gate, attacks: Sequence[AttackResult], names: Mapping[Key, str]) -> str:
    """Say in one sentence what each attack reached: the result that comes nearest to the gate, or passes it most."""
    sign = -1.0 if gate.op.startswith("<") else 1.0
    by: dict[str, list[AttackResult]] = {}
    for attack in attacks:
        by.setdefault(attack.name, []).append(attack)
    said: dict[str, list[str]] = {}
    for name, results in by.items():
        values = [sign * (_value(gate.metric, result) or 0) for result in results]
        telling = results[values.index(max(values))]
        who = name if len(results) > 1 and len(set(values)) == 1 else names[telling.key]
        said.setdefault(_reached(gate.metric, telling), []).append(who)
    return "; ".join(f"{', '.join(who)} {reached}" for reached, who in said.items()) + "."


def _reached(metric: str, attack: AttackResult) -> str:
    if attack.metrics and metric.startswith("recovered"):
        return f"recovered {attack.metrics.recovered or 'none'} of {attack.metrics.images} training images"
    if attack.agreement and metric == "confident":
        agreed = attack.agreement.confident or "none"
        return f"shows {agreed} of {len(attack.reconstructions)} images alike with {len(attack.agreement.seeds)} seeds"
    return f"reached a {METRICS[metric]} of {_value(metric, attack):.3g}"


def _why(gate: Gate, chosen: Sequence[AttackResult], left_out: Sequence[PlanStep]) -> str:
    if not chosen:
        return (
            f" (it was left out: {left_out[0].reason.rstrip('.')})" if gate.attack and left_out else " (it was not run)"
        )
    if all(attack.status in ("diverged", "unsupported") or not attack.iterations for attack in chosen):
        return f" ({', '.join(f'{name} {ends}' for name, ends in _ends(chosen).items())})"
    if gate.metric in DATALESS:
        return " (no attack came to an end with several seeds; pass --restarts)"
    return " (no training data were given to match against; pass --data)"


def _result(gate: Gate, status: Decision, reason: str) -> GateResult:
    return GateResult(expression=gate.text, status=status, reason=reason)
