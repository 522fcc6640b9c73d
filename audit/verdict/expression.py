"""Gate expressions: metrics, operators and values, and what may stand in them. No torch here."""

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from ... import MemauditError
from ..plugins import nearest
from ..report.kind import IMAGE, RecordKind
from ..report.terms import Severity

METRICS = {
    "recovered": "number of recovered {many}",
    "recovered_fraction": "share of recovered {many}",
    "confidence_mean": "mean confidence",
    "confidence_max": "best confidence",
    "confident": "number of {many} that the seeds agree on",
    "identifiable": "number of training {many} nearest to some reconstruction",
    "tpr_at_1_fpr": "share of training {many} above 99 % of the comparison {many}",
    "severity": "worst severity of its findings",
}
"""The metrics that a gate may name whatever the records are; each kind of record adds its own names."""


EXPOSURE = {
    "detected": "number of {many} that are told from held-out ones",
    "detected_fraction": "share of {many} that are told from held-out ones",
    "exposed_at_least": "number of {many} that were trained on, at least",
}
"""Metrics of the exposure of records; ``exposure.tpr_at_1_fpr`` is one as well."""

INSTRUMENT = "exposure"
"""What stands before the dot in place of an attack where a gate is on the exposure of records."""


DATALESS = frozenset({"confidence_mean", "confidence_max", "confident"})
"""Those that need no training data, but an attack with several seeds."""


DEFAULT = "recovered>0"
"""The gate where none is given: one recovered training record is a leak."""

DETECTED = "detected>0"
"""The same of ``memaudit exposure``: one record that can be told from held-out ones."""


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

    @property
    def of_exposure(self) -> bool:
        """Whether it is on the exposure of records and not on an attack."""
        return self.metric in EXPOSURE or self.attack == INSTRUMENT

    def holds(self, number: float) -> bool:
        """Return whether ``number`` trips this gate."""
        return bool(_OPERATORS[self.op](number, self.value))


def metrics(kind: RecordKind) -> dict[str, str]:
    """Return every metric that a gate on records of this kind may name, in words."""
    own = {name: metric.said for name, metric in kind.metrics().items()}
    return own | {name: said.format(many=kind.words.many) for name, said in (METRICS | EXPOSURE).items()}


def parse(text: str, attacks: Sequence[str] = (), kinds: Sequence[RecordKind] = (IMAGE,)) -> Gate:
    """Parse one expression.

    Args:
        text: For example ``simudy.ssim_max>=0.4`` or ``recovered_fraction>=0.05``.
        attacks: Names that may stand before the dot; any name where empty.
        kinds: Kinds of records whose metrics it may name.

    Raises:
        GateError: Malformed, or a metric or attack that does not exist; names the nearest one.
    """
    form = _FORM.fullmatch(text)
    example = "Write it as [ATTACK.]METRIC OP VALUE, for example 'simudy.ssim_max>=0.4'."
    if form is None:
        raise GateError(f"Gate '{text}' cannot be parsed.", example)
    attack, metric = form["attack"], form["metric"]
    known = list(dict.fromkeys(name for kind in kinds for name in metrics(kind)))
    if metric not in known:
        raise GateError(f"Gate '{text}' names an unknown metric '{metric}'.", nearest(metric, known))
    if attack == INSTRUMENT and metric not in {*EXPOSURE, "tpr_at_1_fpr"}:
        raise GateError(f"Gate '{text}' names no metric of the exposure.", nearest(metric, [*EXPOSURE, "tpr_at_1_fpr"]))
    if attack and attack != INSTRUMENT and attacks and attack not in attacks:
        raise GateError(f"Gate '{text}' names an unknown attack '{attack}'.", nearest(attack, list(attacks)))
    if attack and attack != INSTRUMENT and metric in EXPOSURE:
        raise GateError(
            f"Gate '{text}': '{metric}' is of the exposure, not of an attack.", f"Write '{INSTRUMENT}.{metric}'."
        )
    value = _severity(text, form["value"]) if metric == "severity" else _number(text, form["value"])
    return Gate(attack, metric, form["op"], value, text.strip())


def wanted(fail_if: Sequence[str], fail_on: Severity | None = None, default: str = DEFAULT) -> list[str]:
    """Return the gate expressions that ``--fail-if`` and ``--fail-on`` stand for together; ``default`` for none."""
    severity = [f"severity>={fail_on}"] if fail_on else []
    return [*fail_if, *severity] or [default]


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
