"""``memaudit scan`` from two files to a report: the numbered path of docs/architecture.md, and the Python API.

::

    from memaudit.audit.scan.pipeline import ScanRequest, scan
    report = scan(ScanRequest(before="before.pt", after="after.pt", data="train/"))
    print(report.verdict.status)
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import plugins
from ..events import Event, Listener, silence
from ..machine.choose import check_executor, open_executor
from ..machine.memory import ceiling
from ..machine.numerics import exact_numerics
from ..outputs import Look, check_outputs, read_context, write_outputs
from ..report.model import AuditReport
from ..report.pictures import prune
from ..report.results import PlanStep
from ..request import ScanRequest, check
from ..run import planner
from ..run.campaign import Campaign
from ..run.cards import GROUP as ATTACKS
from ..run.drive import Run
from ..run.planner import Choice
from ..run.store import Store
from ..scoring import effort
from ..scoring.kind import known_kinds
from ..verdict.expression import Gate, parse, wanted
from . import compose, limitations
from .learn import Learned, learn, searchers
from .place import job_place, run_folder
from .results import attack_results
from .scene import Scene, load
from .search import ALLOWANCE

ATTACKING = 0.95
"""Share of ``--max-time`` in which attacks are to end; what takes longer than foreseen is given up when time is up.
The rest is for matching and the reports."""


def scan(request: ScanRequest, listener: Listener = silence) -> AuditReport:
    """Audit a checkpoint pair and write its reports into the run folder.

    Running the same request again resumes unfinished attacks and reuses finished ones.

    Args:
        request: What to audit, and how.
        listener: Hears one event for everything that happens.

    Returns:
        The report, as it is also written to ``report.json``.

    Raises:
        MemauditError: Unusable input or options, in one sentence and a hint.
        Interrupted: The user stopped it; the state is saved.
    """
    check(request)
    with exact_numerics():
        return _scan(request, listener)


def _scan(request: ScanRequest, listener: Listener) -> AuditReport:
    started = time.monotonic()
    names = list(plugins.available(ATTACKS))
    gates = [parse(text, names, known_kinds()) for text in wanted(request.fail_if, request.fail_on)]
    needed = {gate.attack: f"the gate {gate.text} needs it" for gate in gates if gate.attack}
    candidates = planner.candidates(request, needed)
    look = Look(request.evidence, read_context(request.context))
    deliver = functools.partial(write_outputs, wanted=check_outputs(request.outputs, look), look=look)
    check_executor(request.executor)
    scene = load(request, listener)
    gates = [parse(gate.text, names, [scene.kind.about]) for gate in gates]
    store, device = Store(run_folder(scene)), scene.victim.like.device
    listener = _both(listener, store.log)
    with (
        store.held(),
        open_executor(request.executor, device) as executor,  # processes that it starts have limits of their own
        ceiling(device, request.max_memory),
    ):
        _warn(scene, listener)
        deadline = _deadline(request, started, ALLOWANCE)
        learned = learn(scene, searchers(scene, candidates), store, deadline, listener, executor=executor)
        deadline, end = _deadline(request, started, ATTACKING), _deadline(request, started)
        place = job_place(scene, store)
        campaign = Campaign(
            request, scene.victim, learned.recipe, place, deadline, listener, executor, end, scene.ground
        )
        runs, plan = _attack(scene, candidates, campaign)
        return _conclude(scene, learned, plan, runs, gates, deliver, store, listener)


def _both(first: Listener, second: Listener) -> Listener:
    def listener(event: Event) -> None:
        first(event)
        if not event.step:
            second(event)

    return listener


def _warn(scene: Scene, listener: Listener) -> None:
    facts = scene.known.facts.items()
    assumed = {name: fact for name, fact in facts if fact.source == "assumed"}
    told = [f"{name} = {fact.value} ({fact.option or fact.evidence})" for name, fact in assumed.items()]
    guessed = scene.architecture.assumed
    told += [f"{limitations.ASSUMED[fact]} (--model)" for fact in guessed if fact in limitations.ASSUMED]
    if told:
        listener(Event("warning", f"Assumed, as it was not given: {', '.join(told)}."))


def _deadline(request: ScanRequest, started: float, share: float = 1.0) -> float:
    return started + share * request.max_time if request.max_time else math.inf


def _attack(scene: Scene, candidates: Sequence[Choice], campaign: Campaign) -> tuple[list[Run], list[PlanStep]]:
    """Choose what runs, tell, and run it."""
    sight = planner.look(campaign.victim, campaign.recipe, scene.known.facts, scene.delta)
    chosen = planner.choose(candidates, campaign.request, sight)
    _reserve(scene, chosen, campaign)
    plan = campaign.measure(chosen)
    told = tuple(choice.step().model_dump(mode="json") for choice in plan)
    campaign.listener(Event("plan", f"{sum(choice.runs for choice in plan)} of {len(plan)} attacks run", plan=told))
    runs, plan = campaign.carry_out(plan)
    return runs, [choice.step() for choice in plan]


def _reserve(scene: Scene, plan: Sequence[Choice], campaign: Campaign) -> None:
    """Have the attacks end early enough for what they find to be scored; at most half of the time is kept for that."""
    now = time.monotonic()
    if math.isinf(campaign.end) or scene.data is None:
        return
    seeds = [len(planner.seeds(choice.attack, campaign.request)) for choice in plan if choice.runs and choice.attack]
    results = sum(count + (count > 1) for count in seeds)  # each seed, and what several agree on
    seconds = effort.seconds(scene.kind, scene.data, scene.control, [campaign.recipe.size] * results)
    campaign.deadline = min(campaign.deadline, max(campaign.end - seconds, (now + campaign.end) / 2))
    if campaign.end - seconds < campaign.deadline:
        text = f"Scoring the reconstructions takes about {seconds:.0f} s, so that --max-time will not hold."
        campaign.listener(Event("warning", text))


def _conclude(
    scene: Scene,
    learned: Learned,
    plan: Sequence[PlanStep],
    runs: Sequence[Run],
    gates: Sequence[Gate],
    deliver: Callable[[AuditReport, Path], list[Path]],
    store: Store,
    listener: Listener,
) -> AuditReport:
    listener(Event("match", "reconstructions"))
    attacks = attack_results(scene, runs, store.folder, listener)
    hidden = scene.request.evidence == "none"
    if hidden:
        prune(store.folder, ())
    report = compose.report(scene, learned, attacks, gates, plan).at(store.folder)
    for path in deliver(report, store.folder):
        listener(Event("report", str(path)))
    if not hidden:
        prune(store.folder, report.pictures())
    return report
