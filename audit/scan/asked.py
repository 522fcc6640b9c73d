"""What is asked of a scan, understood before any file is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from .. import plugins
from ..machine.choose import check_executor
from ..recipe.known import check
from ..request import ScanRequest
from ..run.options import GROUP as ATTACKS
from ..run.planner import Choice, candidates
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


def understand(request: ScanRequest) -> Asked:
    """Return what a request asks for.

    Raises:
        MemauditError: A number is out of range, a gate or a setting cannot be parsed, or an attack, a format or an
            executor is not there.
    """
    check(request)
    gates = [parse(text, list(plugins.available(ATTACKS))) for text in wanted(request.fail_if, request.fail_on)]
    asked = Asked(gates, candidates(request, gates), Delivery.of(request))
    check_executor(request.executor)
    return asked
