"""Pursuit: the records of a dense network one at a time, each by what its own signals and activations must fulfil."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .contract.attack import Reconstruction, State, Unsupported, generator, require
from .contract.card import Card, Sight
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain.inversion import undecayed
from .firstlayer.candidates import APART, free, taken
from .firstlayer.features import FITTED, features_of, invert
from .firstlayer.held import coordinates_of, held
from .firstlayer.reduced import projected, reduced
from .firstlayer.single import Single, single
from .firstlayer.subspace import first_layer, subspace
from .optimise.descent import Evaluation, begin, descend, reconstruction
from .optimise.optim import Adam, warmup_cosine
from .simulation.losses import goal_of

ROUND = 300
"""Updates of a set of candidates, after which those that pass are taken and others drawn."""

CANDIDATES = 100
"""Candidates at a time."""

EASE = (0.2, 0.05)
"""How smoothly the derivative of a ReLU rises, at the beginning and at the end of a round."""

PUSH = 10.0
"""Weight of that push."""

PATIENCE = 4
"""Rounds without a new record after which the search ends."""

TRIES = 4
"""How often exact directions are looked for when all records are there."""

LEFT = 0.05
"""Least loss as long as the records are not proven to be exact."""

SEEKING = "it is not known whether these are all records of the training"
"""Why a low loss is no evidence for what was found."""


def _joins(sight: Sight) -> tuple[bool, str]:
    if sight.unseen:
        return False, sight.unseen
    return True, f"looks for one record at a time in the span of the first layer's change; {sight.samples}"


@dataclass(frozen=True)
class Pursuit:
    """Single records in the span of the first layer's change, without simulating (docs/decisions/0019-pursuit.md).

    Under SGD the change of the first linear layer is ``D X`` with the summed signals D (width, n) and records X: each
    record lies in the span of its rows, its signals in that of its columns, and what deeper linear layers are fed by it
    in that of the rows of their changes (Dimitrov et al., 2024, theorem 3.1; for parameter changes
    docs/decisions/0007-span.md). From noise with the spectrum of the change, candidates with random labels minimise

        ``log beyond + mean log outside / 2 + alpha |w|^2 / r + push``

    with the share ``beyond`` of their signals and the shares ``outside`` of what deeper layers are fed that lie outside
    of these spans, in the network half-way between before and after. The derivative of a ReLU is eased, so that a
    candidate is drawn to the units that its record switches. Those that pass are kept, and push later ones away from
    their signals. When half of the records are there, exact directions are looked for (:mod:`.firstlayer.held`).

    Attributes:
        iterations: Most updates of the candidates; those that pass are taken after every 300.
        step_size: Adam step on w.
        alpha: Weight of the squared coordinates, in the units of the change's spectrum.
        inversion: Where the layer is fed by a frozen part of the network: updates that turn features into images.
        tolerance: The attack counts as converged when its loss is at most this: the residual of the certificate where
            every record is exact, else the share of the records that were not found, at least 0.05.
    """

    name: ClassVar[str] = "pursuit"
    card: ClassVar[Card] = Card(
        goal="Individual training records, one at a time: those whose signals and activations fit the change.",
        knowledge="That training was SGD; neither learning rate, batches nor labels.",
        source="memaudit, after Dimitrov et al., NeurIPS 2024",
        reads="first layer",
        exact=True,
        blind=True,
        rule=_joins,
        place=12,
    )
    iterations: int = 9000
    step_size: float = 0.8
    alpha: float = 0.1
    inversion: int = 300
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        require(self, ("iterations", "step_size"), ("alpha", "inversion", "tolerance"))

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Read the row space and draw candidates. Raises :class:`.Unsupported` where too little tells records apart."""
        found = subspace(victim, recipe)
        rank = len(found.rows)
        tests = single(victim, undecayed(victim, recipe), found, goal_of(recipe))
        if tests.equations < rank:
            raise Unsupported(
                f"the layers have room for {tests.equations} equations on a record that has {rank} unknown numbers.",
                "span and simudy explain all records together.",
            )
        usual = torch.randn(8, *victim.shape, generator=generator(0)).to(victim.like)
        with torch.no_grad():
            length = torch.linalg.vector_norm(features_of(victim, found.layer, usual).double(), dim=1).mean()
        scale = found.values / found.values.norm() * length
        basis, offset = tests.basis.double(), found.values.new_zeros(0)
        if found.bias_change is not None:
            offset = torch.linalg.lstsq(basis, found.bias_change[:, None]).solution[:, 0] * (scale / found.values)
        before, after = projected(victim, found.layer, found.rows)
        known = {
            "rows": found.rows.to(victim.like), "scale": scale.to(victim.like), "basis": basis, "offset": offset,
            "before": before, "after": after, "exact": basis.new_zeros(rank, 0),
            "found": scale.new_zeros(0, rank).to(victim.like), "signals": scale.new_zeros(0, rank).to(victim.like),
            **{f"beside.{path}": rows for path, rows in tests.beside.items()},
        }  # fmt: skip
        none = torch.zeros(0, dtype=torch.long)
        constants = {"seed": torch.tensor(seed), "labels": none, "owners": none, "idle": torch.tensor(0)}
        state = begin({"w": known["found"]}, constants, self._adam)
        return self._drawn(victim, replace(state, memory={**state.memory, **known}))

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One update of all candidates; after every 300, those that pass are taken and others drawn."""
        tests, known = _tests(victim, recipe, state), state.memory
        labels = state.constants["tried"]
        along = (state.step % ROUND) / ROUND
        ease = EASE[0] * (EASE[1] / EASE[0]) ** along

        def evaluate(variables: Mapping[str, Tensor]) -> Evaluation:
            w = free(variables["w"], known)
            look = tests.look(w * known["scale"], labels, ease)
            push = (normalize(look.signals, dim=1) @ known["signals"].T - APART[0]).clamp(min=0).sum(1)
            each = (look.beyond + 1e-4).log() + look.deeper / 2 + self.alpha * w.square().mean(1) + PUSH * push
            terms = {"found": float(len(known["found"])), "beyond": float(look.beyond.detach().median())}
            return Evaluation(each.sum(), w.new_tensor(_loss(state)), w, terms)

        factor = warmup_cosine(state.step % ROUND, ROUND, 10)
        following = descend(state, evaluate, self._adam, total=self.iterations, factor=factor, keep=False)
        return (
            self._harvested(victim, recipe, following) if following.step % ROUND == 0 or following.done else following
        )

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the records that passed; where none did, the candidates that came nearest."""
        layer, tests = first_layer(victim), _tests(victim, recipe, state)
        exact = state.loss <= self.tolerance
        w, labels = state.memory["found"], state.constants["labels"]
        if not len(w):
            w, labels = state.variables["w"], state.constants["tried"]
            beyond, _ = tests.proof(w * state.memory["scale"], labels)
            nearest = beyond.argsort()[: len(state.memory["scale"])]
            w, labels = w[nearest], labels[nearest.cpu()]
        coordinates = w * state.memory["scale"] if exact else coordinates_of(w.double(), state).to(victim.like)
        features = coordinates @ state.memory["rows"]
        influence = torch.linalg.vector_norm(coordinates, dim=1)
        if layer.features:
            x = invert(victim, layer, features, generator(0), self.inversion)
        else:
            x = features.view(len(features), *victim.shape)
        found = reconstruction(victim, x, labels, influence, state.loss)
        return replace(found, doubt=FITTED if layer.features else "" if exact else SEEKING)

    @property
    def _adam(self) -> Adam:
        return Adam(self.step_size, beta1=0.9, beta2=0.99)

    def _drawn(self, victim: Victim, state: State) -> State:
        """Return the state with fresh candidates and labels."""
        gen = generator((int(state.constants["seed"]) * 100_003 + state.step) % 2**63)
        rank = len(state.memory["scale"])
        w = torch.randn(CANDIDATES, rank, generator=gen).to(victim.like)
        tried = torch.randint(victim.categories, (CANDIDATES,), generator=gen)
        variables = {"w": w}
        memory = {**state.memory, **self._adam.start(variables)}
        return replace(state, variables=variables, constants={**state.constants, "tried": tried}, memory=memory)

    def _harvested(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Return the state that keeps the candidates that pass, and goes on with others if records are missing."""
        before = len(state.memory["found"])
        state = taken(victim, _tests(victim, recipe, state), state)
        count, rank = len(state.memory["found"]), len(state.memory["scale"])
        idle = state.constants["idle"] + 1 if count == before else torch.tensor(0)
        state = replace(state, constants={**state.constants, "idle": idle}, loss=_loss(state))
        if count == rank:
            return self._solved(victim, state)
        if int(idle) >= PATIENCE or state.done:
            return replace(state, done=True)
        return self._drawn(victim, state)

    def _solved(self, victim: Victim, state: State) -> State:
        """Return the last state: with exact records, where the directions of all that were found are exact."""
        constants = {**state.constants, "owners": state.constants["owners"][:0]}
        memory = {**state.memory, "exact": state.memory["exact"][:, :0]}
        trial = replace(state, variables={"w": memory["found"]}, constants=constants, memory=memory, done=False)
        for _ in range(TRIES):
            trial = held(victim, first_layer(victim), trial)
            if trial.done and trial.loss <= self.tolerance:
                return replace(trial, memory={**trial.memory, "found": trial.variables["w"]})
        return replace(state, done=True)


def _tests(victim: Victim, recipe: Recipe, state: State) -> Single:
    """Return the tests that a state remembers."""
    layer, known = first_layer(victim), state.memory
    network = reduced(victim, layer, known["before"], known["after"])
    beside = {name.removeprefix("beside."): rows for name, rows in known.items() if name.startswith("beside.")}
    return Single(network, layer, known["basis"].to(victim.like), beside, goal_of(recipe))


def _loss(state: State) -> float:
    """Return the share of the records that are missing, or :data:`LEFT`: none is proven to be exact."""
    return max(1 - len(state.memory["found"]) / len(state.memory["scale"]), LEFT)
