"""Gates: expressions over a report's metrics, and the verdict that they give. No torch here."""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .. import MemauditError
from .plugins import nearest
from .report import AttackResult, Decision, GateResult, Metrics, Verdict

METRICS = {
    "ssim_mean": "mean SSIM",
    "ssim_max": "best SSIM",
    "ssim_paper_mean": "mean SSIM as the SimuDy paper computes it",
    "psnr_mean": "mean PSNR in decibel",
    "recovered": "number of recovered images",
    "recovered_fraction": "share of recovered images",
}
"""Every metric that a gate may name."""

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
    if value != value:
        raise GateError(f"Gate '{text}' compares with NaN, which no number ever meets.", example)
    return Gate(attack, metric, form["op"], value, text.strip())


def judge(attacks: Sequence[AttackResult], gates: Sequence[Gate]) -> Verdict:
    """Decide: any gate that trips fails the audit; a gate without the evidence to clear it leaves it inconclusive."""
    results = [_decide(gate, attacks) for gate in gates or [parse(DEFAULT)]]
    worst = next((s for s in ("fail", "inconclusive") if any(r.status == s for r in results)), "pass")
    reasons = [result.reason for result in results if result.status == worst]
    return Verdict(status=worst, summary=" ".join(reasons), gates=results)


def _decide(gate: Gate, attacks: Sequence[AttackResult]) -> GateResult:
    chosen = [attack for attack in attacks if gate.attack in (None, attack.name)]
    measured = [(attack, attack.metrics) for attack in chosen if attack.metrics]
    tripped = [pair for pair in measured if gate.holds(getattr(pair[1], gate.metric))]
    if tripped:
        return _result(gate, "fail", _said(gate.metric, tripped))
    if not measured:
        where = f"attack {gate.attack}" if gate.attack else "any attack"
        return _result(gate, "inconclusive", f"{gate.metric} was not measured for {where}{_why(chosen)}.")
    if not any(attack.status == "converged" for attack, _ in measured):
        states = ", ".join(f"{attack.name} {attack.status}" for attack, _ in measured)
        return _result(
            gate, "inconclusive", f"No attack converged ({states}), so that {gate.text} did not hold clears nothing."
        )
    unclear = ", ".join(f"{attack.name} ({attack.status})" for attack in chosen if attack.status != "converged")
    rest = f" Nothing follows from {unclear}." if unclear else ""
    return _result(gate, "pass", _said(gate.metric, measured) + rest)


def _said(metric: str, measured: Sequence[tuple[AttackResult, Metrics]]) -> str:
    """Say what attacks reached, in one sentence."""

    def reached(found: Metrics) -> str:
        if metric.startswith("recovered"):
            return f"recovered {found.recovered or 'none'} of {found.images} training images"
        return f"reached a {METRICS[metric]} of {getattr(found, metric):.3g}"

    return ", ".join(f"{attack.name} {reached(found)}" for attack, found in measured) + "."


def _why(chosen: Sequence[AttackResult]) -> str:
    if not chosen:
        return " (it was not run)"
    if all(attack.status in ("diverged", "unsupported") for attack in chosen):
        return f" ({', '.join(f'{attack.name} {attack.status}' for attack in chosen)})"
    return " (no training data were given to match against; pass --data)"


def _result(gate: Gate, status: Decision, reason: str) -> GateResult:
    return GateResult(expression=gate.text, status=status, reason=reason)
