"""SimuDy in the row space of the first layer's change: n by n unknowns, and exact where units are never active."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .contract.attack import Reconstruction, State, generator, require
from .contract.card import Card, Sight
from .contract.params import cosine_distance, norm
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain.labels import guess
from .firstlayer.features import FITTED, features_of, invert
from .firstlayer.held import coordinates_of, held
from .firstlayer.reduced import projected, reduced
from .firstlayer.subspace import Layer, first_layer, subspace
from .optimise.descent import Evaluation, begin, best, descend, reconstruction
from .optimise.distances import log_cosine
from .optimise.optim import Adam, warmup_cosine
from .simulation.adjoints import Tensors
from .simulation.coarse import slowdown, staged
from .simulation.dynamics import batch_plan, chain, simulate
from .simulation.plans import adjoint_of, chosen, fitted, smaller
from .simulation.trainstep import TrainingStep


def _joins(sight: Sight) -> tuple[bool, str]:
    if sight.unseen:
        return False, sight.unseen
    return True, f"searches the span of the first layer's change; {sight.samples}"


@dataclass(frozen=True)
class Span:
    """Simulation of training (Tian et al., ICLR 2025, Algorithm 1) on data restricted to the span of the first layer.

    Under SGD the change of the first linear layer that the data enter is a combination of the inputs (Dimitrov et al.,
    2024, theorem 3.1; for parameter changes docs/decisions/0007-span.md). So the inputs are
    ``W diag(s) R`` with the right singular vectors R (r, d) and the singular values s of that change, and W (n, r) is
    all that is unknown: the image prior acts on pixels, the simulation runs on the network behind that layer. The
    bias of the layer gives one exact linear equation per input. Now and then the exact directions that the approximate
    inputs lead to are certified and held (:mod:`.certificate`); when all are, the inputs are exact
    whatever the labels and batches were, and the attack is over.

    Attributes:
        iterations: Length of the schedule, in updates of W.
        step_size: Adam step on W.
        alpha: Weight of the total variation of the images at the start; it falls linearly to zero.
        beta: Weight of the mean squared excess of the images over the range of pixels, or of the negative share of
            features that a ReLU made.
        epochs: Simulated epochs; 0 for as many as the recipe has.
        coarse: Most simulated epochs in the first half of the schedule, at the same travel; twice as many until four
            fifths of it; 0 for no limit.
        certify: Updates between searches for exact directions; 0 for never.
        init_scale: Standard deviation of the Gaussian noise that W starts from.
        warmup: Updates over which the step size rises.
        adjoint: How the simulation is differentiated: a name in :data:`.adjoints.ADJOINTS`, or ``auto``
            for the fastest that the memory suffices for, as predicted.
        inversion: Where the layer is fed by a frozen part of the network: updates that turn features into images.
        tolerance: The attack counts as converged when its loss (the cosine distance, or the residual of the
            certificate where every direction is certified) is at most this.
    """

    name: ClassVar[str] = "span"
    card: ClassVar[Card] = Card(
        goal="Individual training records, exactly: those in the row space of the first layer's change.",
        knowledge="That training was SGD, and its recipe roughly; batches and labels need not be known.",
        source="Tian et al., ICLR 2025, with Dimitrov et al., NeurIPS 2024",
        reads="first layer",
        exact=True,
        simulates=True,
        rule=_joins,
        place=20,
    )
    iterations: int = 200
    step_size: float = 0.2
    alpha: float = 1e-2
    beta: float = 0.1
    epochs: int = 0
    coarse: int = 5
    certify: int = 25
    init_scale: float = 0.5
    warmup: int = 5
    adjoint: Literal["auto", "full", "stepwise", "forward", "host", "segmented", "smallest"] = "auto"
    inversion: int = 300
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        others = ("alpha", "beta", "epochs", "coarse", "certify", "warmup", "inversion", "tolerance")
        require(self, ("iterations", "step_size", "init_scale"), others)

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Read the row space, draw W, labels and batches. Raises :class:`.Unsupported` where there is no row space."""
        found = subspace(victim, recipe)
        recipe = self._recipe(recipe, found.count)
        gen, size, rank = generator(seed), recipe.size, len(found.rows)
        labels, plan = guess(victim, recipe, gen), batch_plan(recipe, size, gen)
        start = self.init_scale * torch.randn(size, rank, generator=gen)
        constants = {"labels": labels, "plan": plan, "owners": torch.zeros(0, dtype=torch.long)}
        usual = _inputs(victim, found.layer)
        constants["positive"] = torch.tensor(bool((usual >= 0).all()))
        before, after = projected(victim, found.layer, found.rows)
        basis = (found.change @ found.rows.T) / found.values
        scale = found.values / found.values.norm() * torch.linalg.vector_norm(usual, dim=1).mean()
        offset = basis.new_zeros(0)
        if found.bias_change is not None:
            # D 1 = the change of the bias, and U diag(values) = D W diag(scale): hence W offset = 1.
            offset = torch.linalg.lstsq(basis, found.bias_change[:, None]).solution[:, 0] * (scale / found.values)
        state = begin({"w": start.to(victim.like)}, constants, self._adam)
        known = {
            "rows": found.rows.to(victim.like), "scale": scale.to(victim.like), "basis": basis, "offset": offset,
            "before": before, "after": after, "exact": basis.new_zeros(rank, 0),
        }  # fmt: skip
        state = replace(state, memory={**state.memory, **known})
        x = coordinates_of(state.variables["w"], state)
        adjoint = chosen(self.adjoint, *self._chain(victim, recipe, state))
        memory = {**state.memory, "best.x": x, "best.loss": x.new_tensor(torch.inf)}
        return replace(state, constants={**state.constants, **adjoint}, memory=memory)

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One update of W; now and then exact directions are looked for first."""
        layer = first_layer(victim)
        whole = self._recipe(recipe, len(state.constants["labels"]))
        before, recipe = (staged(whole, self.coarse, (state.step + i) / self.iterations) for i in range(2))
        if self.certify and state.step and state.step % self.certify == 0:
            state = held(victim, layer, state)
            if state.done:
                return state
        known, labels, plan = state.memory, state.constants["labels"], state.constants["plan"]
        plan = plan[: recipe.steps]
        network = reduced(victim, layer, known["before"], known["after"])
        weight = self.alpha * (1 - state.step / self.iterations)

        def evaluate(variables: Mapping[str, Tensor]) -> Evaluation:
            coordinates = coordinates_of(variables["w"], state)
            final = simulate(network, recipe, coordinates, labels, plan, adjoint=adjoint_of(state))
            change = network.change(final)
            objective = log_cosine(change, network.delta)
            if layer.features:
                objective = objective + self.beta * _negative(coordinates @ known["rows"], state)
            else:
                x = _whole(victim, coordinates, known)
                objective = objective + weight * victim.medium.roughness(x) + self.beta * victim.medium.excess(x)
            cosine = cosine_distance(change, network.delta).detach()
            ratio = norm(change).detach() / norm(network.delta)
            terms = {"cosine": float(cosine), "change_ratio": float(ratio), "exact": float(known["exact"].shape[1])}
            return Evaluation(objective, cosine, coordinates, terms)

        factor = warmup_cosine(state.step, self.iterations, self.warmup)
        keep = before is whole  # the first fine loss does not compare with the coarse ones
        following = descend(state, evaluate, self._adam, total=self.iterations, factor=factor, keep=keep)
        return held(victim, layer, following) if following.done and self.certify else following

    def slowdown(self, recipe: Recipe) -> float:
        """Return how much longer an update takes on average than the first ones."""
        return slowdown(self._recipe(recipe, 0), self.coarse)

    def fitted(self, victim: Victim, recipe: Recipe, state: State, limit: float) -> State:
        """Choose another adjoint where the predicted memory of the present one is more than ``limit`` bytes."""
        recipe = self._recipe(recipe, len(state.constants["labels"]))
        return fitted(state, self._chain(victim, recipe, state), limit)

    def smaller(self, state: State) -> tuple[State, str] | None:
        """Return the state with the next smaller adjoint."""
        return smaller(state)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the images of the best iterate, through the frozen part of the network where there is one."""
        coordinates, loss = best(state)
        labels, known, layer = state.constants["labels"], state.memory, first_layer(victim)
        influence = _influence(coordinates, known)
        if not layer.features:
            return reconstruction(victim, _whole(victim, coordinates, known), labels, influence, loss)
        x = invert(victim, layer, coordinates @ known["rows"], generator(0), self.inversion)
        return replace(reconstruction(victim, x, labels, influence, loss), doubt=FITTED)

    @property
    def _adam(self) -> Adam:
        return Adam(self.step_size)

    def _chain(self, victim: Victim, recipe: Recipe, state: State) -> tuple[TrainingStep, Tensors, list[Tensors]]:
        """Return what is differentiated at full length."""
        network = reduced(victim, first_layer(victim), state.memory["before"], state.memory["after"])
        coordinates = coordinates_of(state.variables["w"], state).detach().requires_grad_()
        return chain(network, recipe, coordinates, state.constants["labels"], state.constants["plan"])

    def _recipe(self, recipe: Recipe, count: int) -> Recipe:
        """Return the recipe with as many samples as the change shows, whatever was guessed.

        A version of an image that training saw is an input of its own in that row space.
        """
        recipe = replace(recipe, views=1)
        recipe = replace(recipe, epochs=self.epochs) if self.epochs else recipe
        return replace(recipe, size=count, labels=None) if count and count != recipe.size else recipe


def _negative(features: Tensor, state: State) -> Tensor:
    """Return the negative share of features that are never negative (after a ReLU), else zero (a scalar)."""
    if not bool(state.constants["positive"]):
        return features.new_zeros(())
    return features.clamp(max=0).square().mean() / features.square().mean()


def _inputs(victim: Victim, layer: Layer) -> Tensor:
    """Return what the layer sees of eight images of white noise: how long its inputs are, and whether ever negative."""
    noise = torch.randn(8, *victim.shape, generator=generator(0)).to(victim.like)
    with torch.no_grad():
        return features_of(victim, layer, noise).double()


def _whole(victim: Victim, coordinates: Tensor, known: Mapping[str, Tensor]) -> Tensor:
    return (coordinates @ known["rows"]).view(len(coordinates), *victim.shape)


def _influence(coordinates: Tensor, known: Mapping[str, Tensor]) -> Tensor:
    """Return (n,) norms of each input's share in the change of the layer, the sum of its gradients there."""
    signals = known["basis"] @ torch.linalg.pinv((coordinates / known["scale"]).double())
    lengths = torch.linalg.vector_norm(coordinates.double(), dim=1)
    found: Tensor = torch.linalg.vector_norm(signals, dim=0) * lengths
    return found.to(coordinates)
