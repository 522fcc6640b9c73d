"""``memaudit scan`` from two files to a report: the numbered path of docs/architecture.md, and the Python API.

::

    from memaudit.audit.pipeline import ScanRequest, scan
    report = scan(ScanRequest(before="before.pt", after="after.pt", data="train/"))
    print(report.verdict.status)
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from .. import __version__
from ..attacks.base import Attack, Recipe, Unsupported, Victim, generator
from ..attacks.dynamics import gradient
from . import assemble, gate, plugins
from .checkpoint import CheckpointPair, read_pair
from .data.base import TrainingSet, open_source
from .drive import Budget, Outcome, drive, job_parts
from .events import Event, Listener, silence
from .evidence import prune
from .families.base import Architecture, detect
from .families.base import victim as make_victim
from .gate import Gate
from .infer import Candidate, Search, at_edge, learning_rate, probe_of
from .match import check_held_out
from .options import GROUP as ATTACKS
from .options import build
from .outputs import Output, check_outputs, write_outputs
from .recipe import ASSUMED_LR, Known, check, known, normalisation, pick_device
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
    check(request)
    with _exact_numerics():
        return _scan(request, listener)


def _scan(request: ScanRequest, listener: Listener) -> AuditReport:
    started = time.monotonic()
    attacks = build(request.attacks, request.options, request.max_iterations)
    gates = [gate.parse(text, list(plugins.available(ATTACKS))) for text in request.fail_if]
    outputs = check_outputs(request.outputs)
    scene = load(request, listener)
    store = Store(_folder(scene))
    listener = _both(listener, store.log)
    _warn(scene, listener)
    recipe, trace = _learn(scene, attacks, store, _deadline(request, started, 0.5), listener)
    deadline = _deadline(request, started)
    results = [(attack, *_attack(scene, attack, recipe, store, deadline, listener)) for attack in attacks]
    return _conclude(scene, recipe, trace, results, gates, outputs, store, listener)


@contextlib.contextmanager
def _exact_numerics() -> Iterator[None]:
    """Same machine, same numbers, full precision; attention in the form that can be differentiated twice."""
    torch.set_flush_denormal(True)
    convolutions = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with convolutions, sdpa_kernel(SDPBackend.MATH):
        yield


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
    data = None if request.data is None else open_source(str(request.data), architecture.shape)
    control = None if request.control is None else open_source(str(request.control), architecture.shape)
    if data is not None and control is not None:
        check_held_out(control, data)
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
    assumed = {name: fact for name, fact in facts if fact.source == "assumed"}
    told = [f"{name} = {fact.value} ({fact.option or fact.evidence})" for name, fact in assumed.items()]
    guessed = scene.architecture.assumed
    told += [f"{assemble.ASSUMED[fact]} (--model)" for fact in guessed if fact in assemble.ASSUMED]
    if told:
        listener(Event("warning", f"Assumed, as it was not given: {', '.join(told)}."))


def _deadline(request: ScanRequest, started: float, share: float = 1.0) -> float:
    return started + share * request.max_time if request.max_time else math.inf


def _job(scene: Scene, store: Store, seed: int) -> Callable[[Attack, Recipe], Job]:
    """Return where the state of an attack on a recipe belongs: keyed by everything that its result depends on."""
    victim = scene.victim
    scale = (victim.normalisation.mean, victim.normalisation.std)
    network = [_digests(scene), behaviour(victim), victim.shape, scale]
    machine = [__version__, torch.__version__, str(victim.like.device), torch.get_num_threads()]

    def job(attack: Attack, recipe: Recipe) -> Job:
        return store.job(key(network, machine, plugins.origin(ATTACKS, attack.name), job_parts(attack, recipe, seed)))

    return job


def behaviour(victim: Victim) -> str:
    """Return a digest of what the network computes: the user's own model file may change between two scans."""
    x = torch.randn(1, *victim.shape, generator=generator(0)).to(victim.like)
    grads = gradient(victim, tuple(victim.theta0.values()), x, torch.zeros(1, dtype=torch.long, device=x.device))
    with torch.no_grad():
        numbers = [victim.logits(victim.theta0, x).flatten().tolist(), [float(grad.norm()) for grad in grads]]
    return key(numbers)


def _learn(
    scene: Scene, attacks: Sequence[Attack], store: Store, deadline: float, listener: Listener
) -> tuple[Recipe, tuple[Candidate, ...]]:
    """Return the recipe with its learning rate, searched for with the first attack that can treat this victim."""
    recipe, seed = scene.known.recipe, scene.request.seed
    if not math.isnan(recipe.lr):
        return recipe, ()
    listener(Event("search", "learning rate"))
    trace: tuple[Candidate, ...] = ()
    for attack in attacks:
        search = Search(probe_of(attack), scene.victim, recipe, seed, _job(scene, store, seed), deadline, listener)
        try:
            found, trace = learning_rate(search)
        except Unsupported:
            continue
        if found is not None:
            return found, trace
        break
    listener(Event("warning", f"No learning rate could be found; {ASSUMED_LR} is assumed (--lr)."))
    return dataclasses.replace(recipe, lr=ASSUMED_LR), trace


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
        facts["lr"] = _found(recipe.lr, trace)
    listener(Event("match", "reconstructions"))
    attacks = [assemble.attack_result(scene, *result, store.folder) for result in results]
    report = assemble.report(scene, facts, trace, attacks, gates)
    for path in write_outputs(report, store.folder, outputs):
        listener(Event("report", str(path)))
    prune(store.folder, report.pictures())
    return report


def _found(lr: float, trace: Sequence[Candidate]) -> Fact:
    complete = [candidate for candidate in trace if math.isfinite(candidate.loss)]
    if not any(candidate.lr == lr for candidate in complete):
        return Fact(value=lr, source="assumed", option="--lr", evidence="the search found none in its time")
    why = f"lowest early loss of {len(complete)} candidates" + (", at their edge" if at_edge(lr, trace) else "")
    return Fact(value=lr, source="inferred", option="--lr", evidence=why)
