"""``memaudit exposure``: what the change betrays of each record, also where nothing can be rebuilt. Runs no attack."""

import csv
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import plugins
from ..data.base import TrainingSet
from ..events import Listener, silence
from ..files import read_regular
from ..machine.choose import check_executor
from ..machine.clock import Deadline
from ..machine.means import Means
from ..machine.numerics import exact_numerics
from ..printable import printable
from ..report.exposure import Exposure
from ..report.model import AuditReport
from ..report.proof import DataCheck
from ..request import RequestError, ScanRequest
from ..request import check as check_request
from ..run.cards import GROUP as ATTACKS
from ..scan import compose
from ..scan.causal import UNCHECKED, language_exposure, load_language, of_language
from ..scan.delivery import Delivery
from ..scan.exposure import Terms, exposure
from ..scan.learn import Learned, learn
from ..scan.place import job_place
from ..scan.proof import Proof, data_check
from ..scan.scene import Scene, load
from ..scan.workplace import workplace
from ..scoring.kind import known_kinds
from ..verdict.expression import DETECTED, Gate, GateError, parse, wanted

MOST = 64 * 2**20
"""Bytes of a file of groups, at most."""

NO_SETS = RequestError(
    "Records and held-out ones are both needed.",
    "Give what the model was trained on with --data, and records of the same kind that it never saw with --control.",
)


@dataclass(frozen=True)
class Expose:
    """What is asked beside the request.

    Attributes:
        group: A file that gives each record's group: CSV, ``name,group`` on each line.
        assigned_at_random: A coin decided for every record, of ``--data`` and ``--control`` alike, whether it was
            trained on: only then is there a bound on epsilon.
    """

    group: str | Path | None = None
    assigned_at_random: bool = False


def expose(
    request: ScanRequest,
    more: Expose = Expose(),
    listener: Listener = silence,
    end: Deadline | None = None,
) -> AuditReport:
    """Measure how exposed the records of ``data`` are, beside those of ``control``, and write the reports.

    Running the same request again goes on where it was.

    Raises:
        RequestError: There are no data or no held-out records.
        MemauditError: Unusable input or options, in one sentence and a hint.
    """
    check_request(request)
    if request.data is None or request.control is None:
        raise NO_SETS
    end = end or Deadline.after(request.max_time)
    gates = _gates(request)
    delivery = Delivery.of(request)
    check_executor(request.executor)
    with exact_numerics():
        language = of_language(request)
        scene = load_language(request, listener) if language else load(request, listener)
        groups = _groups(more.group, scene.data) if more.group and scene.data else ()
        with workplace(scene, end, listener) as (store, means):
            measured = language_exposure if language else exposure
            found = measured(scene, store, means, Terms(groups, more.assigned_at_random))
            learned = learn(scene, (), job_place(scene, store), means)
            checked = UNCHECKED if language else _checked(scene, learned, gates, found, means)
            report = compose.report(scene, learned, (), gates, (), Proof(checked), found)
            return delivery.deliver(_as_asked(report, request, more), store.folder, means.listener)


def _checked(
    scene: Scene, learned: Learned, gates: Sequence[Gate], found: Exposure | None, means: Means
) -> DataCheck | None:
    """Return whether the data explain the change; ``None`` where that is known by single records, or decides nothing.

    It takes minutes on large networks, and is needed where too little was found, and before a pass.
    """
    if found is not None and found.proven:
        right = Proof(DataCheck(explained=True, reason=""))
        if compose.judged(scene, learned, (), gates, (), right, found)[1].status != "pass":
            return None
    return data_check(scene, scene.known.recipe, means)


def _gates(request: ScanRequest) -> list[Gate]:
    """Return what fails the audit. Raises :class:`GateError` for a gate on what an attack finds: none is run."""
    texts = wanted(request.fail_if, request.fail_on, DETECTED)
    gates = [parse(text, list(plugins.available(ATTACKS)), known_kinds()) for text in texts]
    for gate in gates:
        if not gate.of_exposure and gate.metric != "severity":
            raise GateError(
                f"Gate '{gate.text}' is on what attacks find, and memaudit exposure runs none.",
                f"Use {DETECTED!r} or 'exposure.tpr_at_1_fpr>0.05', or run memaudit scan.",
            )
    return gates


def _groups(path: str | Path, data: TrainingSet) -> tuple[str, ...]:
    """Return the group of each record, as a file gives them by name.

    Raises:
        RequestError: It cannot be read, or a record has no line in it.
    """
    try:
        text = read_regular(Path(path), MOST).decode("utf-8-sig")
        found = {row[0]: printable(row[1]) for row in csv.reader(text.splitlines()) if len(row) > 1}
    except (OSError, ValueError, csv.Error) as error:
        raise RequestError(f"--group {path} cannot be read ({error}).", "Give CSV, NAME,GROUP on each line.") from None
    missing = [name for name in data.names if name not in found]
    if missing:
        raise RequestError(
            f"--group {path} has no line for {len(missing)} of {len(data.names)} records, such as {missing[0]!r}.",
            "Give the name of every record of --data as the report shows it, a comma and its group.",
        )
    return tuple(found[name] for name in data.names)


def _as_asked(report: AuditReport, request: ScanRequest, more: Expose) -> AuditReport:
    """Return the report with the command that asked for it."""
    words: Sequence[str] = ["--group", str(more.group)] if more.group else []
    words = [*words, "--assigned-at-random"] if more.assigned_at_random else words
    command = " ".join([request.command("exposure"), *map(shlex.quote, words)])
    return report.model_copy(update={"command": command}).sealed()
