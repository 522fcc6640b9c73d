"""``memaudit scan`` from two files to a report: the numbered path of docs/architecture.md, and the Python API.

::

    from memaudit.audit.pipeline import ScanRequest, scan
    report = scan(ScanRequest(before="before.pt", after="after.pt", data="train/"))
    print(report.verdict.status)
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from .. import __version__
from ..attacks.base import Attack, Recipe, Unsupported, Victim
from . import assemble, gate, plugins
from .checkpoint import CheckpointPair, read_pair
from .data.base import TrainingSet, open_source
from .drive import Budget, Outcome, drive, job_parts
from .events import Event, Listener, silence
from .families.base import Architecture, detect
from .families.base import victim as make_victim
from .gate import Gate
from .infer import Candidate, learning_rate
from .options import GROUP as ATTACKS
from .options import build
from .outputs import Output, check_outputs, write_outputs
from .recipe import Known, check, known, normalisation, pick_device
from .report import AuditReport, Fact
from .request import ScanRequest
from .store import Job, Store, key

__all__ = ["ScanRequest", "scan"]


@dataclasses.dataclass(frozen=True)
class Scene:
    """What is known before the first attack step."""

    request: ScanRequest
    pair: CheckpointPair
    architecture: Architecture
    victim: Victim
    known: Known
    data: TrainingSet | None
    control: TrainingSet | None


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
    torch.set_flush_denormal(True)
    started = time.monotonic()
    check(request)
    attacks = build(request.attacks, request.options, request.max_iterations)
    gates = [gate.parse(text, list(plugins.available(ATTACKS))) for text in request.fail_if]
    outputs = check_outputs(request.outputs)
    scene = load(request, listener)
    store = Store(_folder(scene))
    listener = _both(listener, store.log)
    _warn(scene, listener)
    recipe, trace = _learn(scene, attacks[0], store, _deadline(request, started, 0.5), listener)
    deadline = _deadline(request, started)
    results = [(attack, *_attack(scene, attack, recipe, store, deadline, listener)) for attack in attacks]
    return _conclude(scene, recipe, trace, results, gates, outputs, store, listener)


def load(request: ScanRequest, listener: Listener = silence) -> Scene:
    """Read the files, recognise the network, and gather what is known of the recipe (steps 1 to 5)."""
    device = pick_device(request.device)
    listener(Event("load", "checkpoints"))
    pair = read_pair(request.before, request.after)
    listener(Event("load", "architecture"))
    architecture, module = detect(pair.after.tensors, request.model, request.image_size)
    scale, scale_fact = normalisation(request.normalise, architecture)
    victim = make_victim(pair, architecture, module, scale, device)
    listener(Event("load", "images"))
    data = open_source(str(request.data), architecture.shape) if request.data else None
    control = open_source(str(request.control), architecture.shape) if request.control else None
    what = known(request, architecture, data, pair.moved)
    what = Known(what.recipe, {**what.facts, "normalise": scale_fact})
    return Scene(request, pair, architecture, victim, what, data, control)


def _folder(scene: Scene) -> Path:
    if scene.request.out:
        return Path(scene.request.out)
    question = dataclasses.replace(scene.request, out=None, outputs=(), fail_if=(), max_time=None)
    return Path("memaudit-runs") / key(_digests(scene), repr(question), __version__)


def _digests(scene: Scene) -> tuple[str, str]:
    return scene.pair.before.sha256, scene.pair.after.sha256


def _both(first: Listener, second: Listener) -> Listener:
    def listener(event: Event) -> None:
        first(event)
        if not event.step:
            second(event)

    return listener


def _warn(scene: Scene, listener: Listener) -> None:
    facts = scene.known.facts.items()
    told = [
        f"{name} = {fact.value} ({fact.option})" for name, fact in facts if fact.source == "assumed" and fact.option
    ]
    guessed = scene.architecture.assumed
    told += [f"{assemble.ASSUMED[fact]} (--model)" for fact in guessed if fact in assemble.ASSUMED]
    if told:
        listener(Event("warning", f"Assumed, as it was not given: {', '.join(told)}."))


def _deadline(request: ScanRequest, started: float, share: float = 1.0) -> float:
    return started + share * request.max_time if request.max_time else math.inf


def _job(scene: Scene, store: Store, seed: int) -> Callable[[Attack, Recipe], Job]:
    """Return where the state of an attack on a recipe belongs: keyed by everything that its result depends on."""
    facts = [scene.known.facts[name].value for name in ("image_size", "normalise")]
    machine = [__version__, torch.__version__, str(scene.victim.like.device), torch.get_num_threads()]

    def job(attack: Attack, recipe: Recipe) -> Job:
        return store.job(
            key(_digests(scene), scene.request.model, facts, machine, dict(job_parts(attack, recipe, seed)))
        )

    return job


def _learn(
    scene: Scene, attack: Attack, store: Store, deadline: float, listener: Listener
) -> tuple[Recipe, tuple[Candidate, ...]]:
    recipe, seed = scene.known.recipe, scene.request.seed
    if not math.isnan(recipe.lr):
        return recipe, ()
    listener(Event("search", "learning rate"))
    try:
        return learning_rate(
            attack, scene.victim, recipe, seed, job=_job(scene, store, seed), deadline=deadline, listener=listener
        )
    except Unsupported:
        return dataclasses.replace(recipe, lr=1.0), ()


def _attack(
    scene: Scene, attack: Attack, recipe: Recipe, store: Store, deadline: float, listener: Listener
) -> tuple[Outcome | None, str]:
    """Return the outcome, or ``None`` and the reason why the attack cannot treat this victim."""
    listener(Event("attack", attack.name))
    seed = scene.request.seed
    job = _job(scene, store, seed)(attack, recipe)
    try:
        outcome = drive(
            attack, scene.victim, recipe, seed, job=job, budget=Budget(deadline=deadline), listener=listener
        )
    except Unsupported as error:
        return None, str(error)
    return outcome, ""


def _conclude(
    scene: Scene,
    recipe: Recipe,
    trace: Sequence[Candidate],
    results: Sequence[tuple[Attack, Outcome | None, str]],
    gates: Sequence[Gate],
    outputs: Sequence[Output],
    store: Store,
    listener: Listener,
) -> AuditReport:
    facts = dict(scene.known.facts)
    if "lr" not in facts:
        why = f"lowest early loss of {len(trace)} candidates" if trace else "not searched for"
        source = "inferred" if trace else "assumed"
        facts["lr"] = Fact(value=recipe.lr, source=source, option="--lr", evidence=why)
    listener(Event("match", "reconstructions"))
    attacks = [assemble.attack_result(scene, *result, store.folder) for result in results]
    report = assemble.report(scene, facts, trace, attacks, gates)
    for path in write_outputs(report, store.folder, outputs):
        listener(Event("report", str(path)))
    return report
