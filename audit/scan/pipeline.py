"""``memaudit scan`` from two files to a report: the numbered path of docs/architecture.md, and the Python API.

::

    import memaudit
    report = memaudit.scan(memaudit.ScanRequest(before="before.pt", after="after.pt", data="train/"))
    print(report.verdict.status)
"""

from ..events import Event, Listener, silence
from ..machine.clock import Deadline
from ..machine.numerics import exact_numerics
from ..report.model import AuditReport
from ..request import ScanRequest
from . import compose
from .asked import understand
from .assumed import tell_assumed
from .attack import attack
from .exact import explained
from .exposure import beside_attacks
from .learn import learn, searchers, unsearched
from .mock import Found, before_proof, prove
from .place import job_place
from .proof import data_check
from .results import attack_results
from .scene import load
from .workplace import workplace


def scan(
    request: ScanRequest, listener: Listener = silence, end: Deadline | None = None, *, search: bool = False
) -> AuditReport:
    """Audit a checkpoint pair and write its reports into the run folder.

    Running the same request again resumes unfinished attacks and reuses finished ones.

    Args:
        request: What to audit, and how.
        listener: Hears one event for everything that happens.
        end: When all is to be over; ``max_time`` from now by default.
        search: Search for an unknown recipe even where no attack of this scan needs it, as later ones will.

    Returns:
        The report, as it is also written to ``report.json``.

    Raises:
        MemauditError: Unusable input or options, in one sentence and a hint.
        Interrupted: The user stopped it; the state is saved.
    """
    end = end or Deadline.after(request.max_time)
    with exact_numerics():
        asked = understand(request)  # step 1
        scene = load(request, listener)  # steps 2 to 5
        gates = asked.gates_of(scene.kind)
        with workplace(scene, end, listener) as (store, means):
            tell_assumed(scene.known.facts, scene.architecture, means.listener)
            place = job_place(scene, store)
            able = before_proof(scene, means)
            first = None if search else explained(scene, unsearched(scene).recipe, asked.candidates, place, able)
            probes = [] if first else searchers(scene, asked.candidates, search)
            learned = learn(scene, probes, place, means)  # step 6
            checked = data_check(scene, learned.recipe, means)
            runs, plan = attack(scene, learned.recipe, asked.candidates, place, able, first)  # steps 7 and 8
            means.listener(Event("match", "reconstructions"))
            results = attack_results(scene, runs, store.folder, means.listener)  # step 9
            told = beside_attacks(scene, store, means)
            found = Found(scene, learned, results, gates, plan, checked, told)
            proof = prove(found, asked.candidates, store, means)
            report = compose.report(scene, learned, results, gates, plan, proof, told)  # step 10
            return asked.delivery.deliver(report, store.folder, means.listener)  # step 11
