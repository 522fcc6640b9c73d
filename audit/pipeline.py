"""``memaudit scan`` from two files to a report: the numbered path of docs/architecture.md, and the Python API.

::

    from memaudit.audit.pipeline import ScanRequest, scan
    report = scan(ScanRequest(before="before.pt", after="after.pt", data="train/"))
    print(report.verdict.status)
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from .. import __version__
from ..attacks.base import Attack, Optimizer, Recipe, Unsupported, Victim, generator
from ..attacks.plans import out_of_memory
from ..attacks.trainstep import gradient
from . import assemble, gate, limitations, planner, plugins, scoring
from .artefacts import read_artefacts
from .campaign import Campaign, Place
from .checkpoint import CheckpointPair, read_pair
from .data.base import TrainingSet, distinct, open_source
from .delta import masked, read_delta
from .drive import Run, job_parts
from .events import Event, Listener, silence
from .evidence import prune
from .executor import LOCAL, Executor, check_executor, open_executor
from .families.base import Architecture, detect
from .families.base import victim as make_victim
from .gate import Gate
from .infer import ALLOWANCE, CREDIBLE, Axes, Candidate, Search, at_edge, search, spread
from .match import check_held_out
from .meter import ceiling, check_memory
from .numerics import exact_numerics
from .options import GROUP as ATTACKS
from .options import build
from .outputs import Look, check_outputs, read_context, write_outputs
from .planner import Choice
from .recipe import ASSUMED_LR, Known, check, decay_of, known, normalisation, pick_device, shapes, shrink
from .report import AuditReport, Delta, Fact, PlanStep
from .request import ScanRequest
from .store import Job, Store, key
from .work import Ground

__all__ = ["ScanRequest", "exact_numerics", "scan"]


SURE = 0.9
"""An optimiser that was read off the change with less confidence is tried beside the other kind."""


SEARCHER = "simudy"
"""The attack whose first steps compare candidate recipes."""


_PRESENTATION = (
    "out", "outputs", "fail_if", "fail_on", "name", "evidence", "context", "max_time", "max_memory", "executor",
)  # fmt: skip
"""Fields of a request that change no number of its answer."""


ATTACKING = 0.95
"""Share of ``--max-time`` in which attacks are to end; what takes longer than foreseen is given up when time is up.
The rest is for matching and the reports."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """What is known before the first attack step; ``steps`` of training only where files tell them."""

    request: ScanRequest
    pair: CheckpointPair
    architecture: Architecture
    ground: Ground
    delta: Delta
    steps: int | None
    known: Known
    data: TrainingSet | None
    control: TrainingSet | None

    @property
    def victim(self) -> Victim:
        """What is attacked."""
        return self.ground()


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
    gates = [gate.parse(text, names) for text in gate.wanted(request.fail_if, request.fail_on)]
    candidates = planner.candidates(request, gates)
    look = Look(request.evidence, read_context(request.context))
    deliver = functools.partial(write_outputs, wanted=check_outputs(request.outputs, look), look=look)
    check_executor(request.executor)
    scene = load(request, listener)
    store, device = Store(run_folder(scene)), scene.victim.like.device
    listener = _both(listener, store.log)
    with (
        store.held(),
        open_executor(request.executor, device) as executor,  # processes that it starts have limits of their own
        ceiling(device, request.max_memory),
    ):
        _warn(scene, listener)
        deadline = _deadline(request, started, ALLOWANCE)
        learned = learn(scene, _searchers(scene, candidates), store, deadline, listener, executor=executor)
        deadline, end = _deadline(request, started, ATTACKING), _deadline(request, started)
        place = _job(scene, store)
        campaign = Campaign(
            request, scene.victim, learned.recipe, place, deadline, listener, executor, end, scene.ground
        )
        runs, plan = _attack(scene, candidates, campaign)
        return _conclude(scene, learned, plan, runs, gates, deliver, store, listener)


def _searchers(scene: Scene, candidates: Sequence[Choice]) -> list[Attack]:
    """Return what searches for an unknown recipe: SimuDy, as it simulates; nothing where nothing will run."""
    request = scene.request
    if scene.delta.lost and not any(choice.asked for choice in candidates):
        return []
    named = [choice.attack for choice in candidates if choice.name == SEARCHER and choice.attack]
    return named or build([SEARCHER], [], request.max_iterations)


def load(request: ScanRequest, listener: Listener = silence) -> Scene:
    """Read the files, recognise the network, and gather what is known of the recipe (steps 1 to 5)."""
    device = pick_device(request.device)
    check_memory(device, request.max_memory)
    with ceiling(device, request.max_memory):
        return _load(request, device, listener)


def _load(request: ScanRequest, device: torch.device, listener: Listener) -> Scene:
    if request.tf32 and device.type == "cpu":
        listener(Event("warning", "--tf32 changes nothing on a CPU."))
    listener(Event("load", "checkpoints"))
    pair = read_pair(request.before, request.after)
    listener(Event("load", "architecture"))
    architecture, module = detect(pair.after.tensors, request.model, request.image_size)
    scale, scale_fact = normalisation(request.normalise, architecture)
    listener(Event("load", "the change of the parameters"))
    delta = read_delta(pair, architecture, module)
    victim = make_victim(pair, architecture, module, scale, device, masked(delta))
    ground = Ground(pair, request.model, request.image_size, scale, masked(delta), str(device), victim)
    listener(Event("load", "images"))
    data = None if request.data is None else open_source(str(request.data), architecture.shape)
    control = None if request.control is None else distinct(open_source(str(request.control), architecture.shape))
    if data is not None and control is not None:
        check_held_out(control, data)
    artefacts = read_artefacts(request.before, request.after)
    what = known(request, architecture, data, delta, artefacts)
    what = Known(what.recipe, {**what.facts, "normalise": scale_fact})
    steps = artefacts.get("steps") or delta.facts.get("steps")
    count = int(steps.value) if steps else None  # type: ignore[arg-type]
    return Scene(request, pair, architecture, ground, delta, count, what, data, control)


def run_folder(scene: Scene) -> Path:
    """Return the folder that belongs to a request: the one it names, or one named after what it asks."""
    if scene.request.out:
        return Path(scene.request.out)
    fields = [field.name for field in dataclasses.fields(scene.request) if field.name not in _PRESENTATION]
    question = [getattr(scene.request, name) for name in fields]
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
    told += [f"{limitations.ASSUMED[fact]} (--model)" for fact in guessed if fact in limitations.ASSUMED]
    if told:
        listener(Event("warning", f"Assumed, as it was not given: {', '.join(told)}."))


def _deadline(request: ScanRequest, started: float, share: float = 1.0) -> float:
    return started + share * request.max_time if request.max_time else math.inf


def _job(scene: Scene, store: Store) -> Place:
    """Return where the state of an attack on a recipe belongs: keyed by everything that its result depends on."""
    victim = scene.victim
    scale = (victim.normalisation.mean, victim.normalisation.std)
    network = [_digests(scene), behaviour(victim), victim.shape, scale]
    machine = [__version__, torch.__version__, str(victim.like.device), torch.get_num_threads()]
    machine += ["tf32"] if scene.request.tf32 else []

    def job(attack: Attack, recipe: Recipe, *more: str, seed: int = scene.request.seed) -> Job:
        parts = job_parts(attack, recipe, seed)
        return store.job(key(network, machine, plugins.origin(ATTACKS, attack.name), parts, *more))

    return job


def behaviour(victim: Victim) -> str:
    """Return a digest of what the network computes: the user's own model file may change between two scans."""
    x = torch.randn(1, *victim.shape, generator=generator(0)).to(victim.like)
    grads = gradient(victim, tuple(victim.theta0.values()), x, torch.zeros(1, dtype=torch.long, device=x.device))
    with torch.no_grad():
        numbers = [victim.logits(victim.theta0, x).flatten().tolist(), [float(grad.norm()) for grad in grads]]
    return key(numbers)


@dataclasses.dataclass(frozen=True)
class Learned:
    """A complete recipe, where each of its values comes from, and what was tried to find it."""

    recipe: Recipe
    facts: dict[str, Fact]
    trace: tuple[Candidate, ...] = ()
    chosen: Candidate | None = None


def learn(
    scene: Scene,
    attacks: Sequence[Attack],
    store: Store,
    deadline: float,
    listener: Listener,
    allowance: float = ALLOWANCE / (1 - ALLOWANCE),
    executor: Executor = LOCAL,
) -> Learned:
    """Search for an unknown learning rate, and what goes with it, with the first attack that can treat this victim."""
    known = scene.known
    if not math.isnan(known.recipe.lr):
        return _decayed(scene, known)
    listener(Event("search", "recipe"))
    job = _job(scene, store)
    tried: tuple[Candidate, ...] = ()
    why = "the search found none in its time" if attacks else "a change that is rounding does not tell it"
    for attack in attacks:
        request = scene.request
        state = Search(
            attack, scene.victim, known.recipe, request.seed, job, allowance, deadline, listener, executor,
            scene.ground, request.max_memory, request.tf32,
        )  # fmt: skip
        try:
            chosen = search(state, _axes(scene))
        except Unsupported as error:
            why = f"no search was possible: {error.message.rstrip('.')}"
            continue
        except Exception as error:
            if not out_of_memory(error):
                raise
            why = "the search ran out of memory, or of what --max-memory leaves"
            continue
        tried = tuple(state.tried)
        if chosen is not None:
            return _learned(scene, chosen, tried)
        break
    listener(Event("warning", f"No learning rate could be found ({why}); {ASSUMED_LR} is assumed (--lr)."))
    lr = Fact(value=ASSUMED_LR, source="assumed", option="--lr", evidence=why)
    return Learned(dataclasses.replace(known.recipe, lr=ASSUMED_LR), {**known.facts, "lr": lr}, tried)


def _decayed(scene: Scene, known: Known) -> Learned:
    """Return what is known, with the weight decay that the change and a known learning rate tell together."""
    factor = shrink(scene.delta, known.facts)
    if factor >= 1:
        return Learned(known.recipe, known.facts)
    fact = decay_of(factor, known.recipe.travel)
    recipe = dataclasses.replace(known.recipe, weight_decay=float(fact.value))  # type: ignore[arg-type]
    return Learned(recipe, {**known.facts, "weight_decay": fact})


def _axes(scene: Scene) -> Axes:
    facts, recipe, read = scene.known.facts, scene.known.recipe, scene.delta.facts
    fact = facts["optimizer"]
    optimizers: tuple[Optimizer, ...] = (recipe.optimizer,)
    if fact.source != "given" and (fact.confidence or 0.0) < SURE:
        optimizers = (*optimizers, "adam" if recipe.optimizer == "sgd" else "sgd")
    travel = float(read["travel"].value) if "travel" in read else None  # type: ignore[arg-type]
    return Axes(optimizers, shapes(facts, recipe, scene.steps), travel, shrink(scene.delta, facts))


def _learned(scene: Scene, chosen: Candidate, trace: tuple[Candidate, ...]) -> Learned:
    """Return the chosen recipe with what the search adds to the facts."""
    facts, recipe = dict(scene.known.facts), chosen.recipe
    recipe = dataclasses.replace(recipe, labels=scene.known.recipe.labels)
    count = sum(candidate.complete for candidate in trace)
    factor = spread(chosen, trace)
    read = scene.delta.facts.get("travel")
    if recipe.optimizer != "sgd" and read is not None:
        low, high = (float(end or 0.0) / recipe.travel * recipe.lr for end in read.interval or (0.0, 0.0))
        why = f"{read.evidence}; over {recipe.steps} steps"
        facts["lr"] = Fact(
            value=recipe.lr, source="inferred", option="--lr", confidence=read.confidence, interval=(low, high),
            evidence=why,
        )  # fmt: skip
    else:
        edge = ", beyond all that were tried" if at_edge(chosen, trace) else ""
        why = (
            f"lowest early loss of {count} candidates{edge}; explains the change to a cosine distance of "
            f"{chosen.cosine:.2g}; the change tells learning rate times steps, {recipe.travel:.3g}, hardly either alone"
        )
        facts["lr"] = Fact(
            value=recipe.lr, source="inferred", option="--lr", confidence=0.8 if chosen.cosine <= CREDIBLE else 0.5,
            interval=(recipe.lr / factor, recipe.lr * factor), evidence=why,
        )  # fmt: skip
    _adopt(facts, scene.known.recipe, recipe)
    factor = shrink(scene.delta, facts)
    if factor < 1:
        facts["weight_decay"] = decay_of(factor, recipe.travel)
    if chosen.labels and "labels" not in facts:
        facts["labels"] = Fact(
            value=list(chosen.labels), source="inferred", option="--labels",
            confidence=0.7 if chosen.cosine <= CREDIBLE else 0.3, evidence="the labels that explained the change best",
        )  # fmt: skip
    return Learned(recipe, facts, trace, chosen)


def _adopt(facts: dict[str, Fact], before: Recipe, after: Recipe) -> None:
    """Write into ``facts`` what the search changed beside the learning rate."""
    for name in ("optimizer", "batch_size", "epochs"):
        value = getattr(after, name)
        if value != getattr(before, name) and facts[name].source != "given":
            why = "explained the change better than the others that were tried"
            option = facts[name].option
            facts[name] = Fact(value=value, source="inferred", option=option, confidence=0.5, evidence=why)


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
    seconds = scoring.seconds(scene.data, scene.control, [campaign.recipe.size] * results)
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
    attacks = assemble.attack_results(scene, runs, store.folder, listener)
    hidden = scene.request.evidence == "none"
    if hidden:
        prune(store.folder, ())
    report = assemble.report(scene, learned, attacks, gates, plan)
    for path in deliver(report, store.folder):
        listener(Event("report", str(path)))
    if not hidden:
        prune(store.folder, report.pictures())
    return report
