"""What is asked of a scan, understood before any file is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from .. import plugins
from ..machine.choose import check_executor
from ..request import ScanRequest, check
from ..run.cards import GROUP as ATTACKS
from ..run.planner import Choice, candidates
from ..scoring.kind import Kind, known_kinds
from ..verdict.expression import Gate, parse, wanted
from .delivery import Delivery


@dataclass(frozen=True)
class Asked:
    """What a request asks for, beyond its files.

    Attributes:
        gates: What fails the audit.
        candidates: The attacks to choose from, with their options.
        delivery: The reports that are wanted.
    """

    gates: Sequence[Gate]
    candidates: Sequence[Choice]
    delivery: Delivery

    def gates_of(self, kind: Kind) -> list[Gate]:
        """Return the gates. Raises :class:`GateError` where one is about records of another kind."""
        return [parse(gate.text, _attacks(), [kind.about]) for gate in self.gates]


def understand(request: ScanRequest) -> Asked:
    """Return what a request asks for.

    Raises:
        MemauditError: A number is out of range, a gate or a setting cannot be parsed, or an attack, a format or an
            executor is not there.
    """
    check(request)
    gates = [parse(text, _attacks(), known_kinds()) for text in wanted(request.fail_if, request.fail_on)]
    needed = {gate.attack: f"the gate {gate.text} needs it" for gate in gates if gate.attack}
    asked = Asked(gates, candidates(request, needed), Delivery.of(request))
    check_executor(request.executor)
    return asked


def _attacks() -> list[str]:
    return list(plugins.available(ATTACKS))
