"""SimuDy in the row space of the first layer's change: n by n unknowns, and exact where units are never active."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .contract.attack import Reconstruction, State, generator, require
from .contract.params import cosine_distance, norm
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain.labels import guess
from .firstlayer.certificate import AGREEMENT, agreement, certified
from .firstlayer.features import features_of, invert
from .firstlayer.reduced import highest, likely_labels, projected, reduced
from .firstlayer.subspace import Layer, first_layer, subspace
from .images.priors import box, total_variation
from .optimise.descent import Evaluation, begin, best, descend, reconstruction
from .optimise.distances import log_cosine
from .optimise.optim import Adam, warmup_cosine
from .simulation.adjoints import Tensors
from .simulation.dynamics import batch_plan, chain, simulate
from .simulation.plans import adjoint_of, chosen, fitted, smaller
from .simulation.trainstep import TrainingStep

STRETCH = 4
"""A coarse simulation takes steps at most so many times as long as the real ones: longer ones are not stable."""

MIXTURES = 64
"""Further guesses at the missing inputs, once most are known exactly."""


@dataclass(frozen=True)
class Span:
    """Simulation of training (Tian et al., ICLR 2025, Algorithm 1) on data restricted to the span of the first layer.

    Under SGD the change of the first linear layer that the data enter is a combination of the inputs (Dimitrov et al.,
    2024, theorem 3.1, extended to parameter changes: design notes, sections 11 and 11b). So the inputs are
    ``W diag(s) R`` with the right singular vectors R (r, d) and the singular values s of that change, and W (n, r) is
    all that is unknown: the image prior acts on pixels, the simulation runs on the network behind that layer. The
    bias of the layer gives one exact linear equation an input. Now and then the exact directions that the approximate
    inputs lead to are certified and held (:mod:`.certificate`); when all are, the inputs are exact
    whatever the labels and batches were, and the attack is over.

    Attributes:
        iterations: Length of the schedule, in updates of W.
        step_size: Adam step on W.
        alpha: Weight of the total variation of the images at the start; it falls linearly to zero.
        beta: Weight of the mean squared excess of the images over the range of pixels, or of the negative share of
            features that a ReLU made.
        epochs: Simulated epochs; 0 for as many as the recipe has.
        coarse: Most simulated epochs in the first half of the schedule, at the same travel; 0 for no limit.
        certify: Every so many updates exact directions are looked for; 0 for never.
        init_scale: Standard deviation of the Gaussian noise that W starts from.
        warmup: Updates over which the step size rises.
        adjoint: How the simulation is differentiated: a name in :data:`.adjoints.ADJOINTS`, or ``auto``
            for the fastest that the memory suffices for, as predicted.
        inversion: Where the layer is fed by a frozen part of the network: updates that turn features into images.
        tolerance: The attack counts as converged when its loss (the cosine distance, or the residual of the
            certificate where every direction is certified) is at most this.
    """

    name: ClassVar[str] = "span"
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
        x = _coordinates(state.variables["w"], state)
        adjoint = chosen(self.adjoint, *self._chain(victim, recipe, state))
        memory = {**state.memory, "best.x": x, "best.loss": x.new_tensor(torch.inf)}
        return replace(state, constants={**state.constants, **adjoint}, memory=memory)

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One update of W; now and then exact directions are looked for first."""
        layer = first_layer(victim)
        recipe = self._recipe(recipe, len(state.constants["labels"]))
        stretched, half = 0 < self.coarse < recipe.epochs, self.iterations // 2
        coarse = stretched and state.step < half
        recipe = _coarser(recipe, self.coarse) if coarse else recipe
        if self.certify and state.step and state.step % self.certify == 0:
            state = _held(victim, layer, state)
            if state.done:
                return state
        known, labels, plan = state.memory, state.constants["labels"], state.constants["plan"]
        plan = plan[: recipe.steps]
        network = reduced(victim, layer, known["before"], known["after"])
        weight = self.alpha * (1 - state.step / self.iterations)

        def evaluate(variables: Mapping[str, Tensor]) -> Evaluation:
            coordinates = _coordinates(variables["w"], state)
            final = simulate(network, recipe, coordinates, labels, plan, adjoint=adjoint_of(state))
            change = network.change(final)
            objective = log_cosine(change, network.delta)
            if layer.features:
                objective = objective + self.beta * _negative(coordinates @ known["rows"], state)
            else:
                x = _images(victim, coordinates, known)
                objective = objective + weight * total_variation(x) + self.beta * box(x, victim.normalisation)
            cosine = cosine_distance(change, network.delta).detach()
            ratio = norm(change).detach() / norm(network.delta)
            terms = {"cosine": float(cosine), "change_ratio": float(ratio), "exact": float(known["exact"].shape[1])}
            return Evaluation(objective, cosine, coordinates, terms)

        factor = warmup_cosine(state.step, self.iterations, self.warmup)
        keep = not stretched or state.step > half  # the first fine loss does not compare with the coarse ones
        following = descend(state, evaluate, self._adam, total=self.iterations, factor=factor, keep=keep)
        return _held(victim, layer, following) if following.done and self.certify else following

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
            return reconstruction(victim, _images(victim, coordinates, known), labels, influence, loss)
        x = invert(victim, layer, coordinates @ known["rows"], generator(0), self.inversion)
        return replace(reconstruction(victim, x, labels, influence, loss), explained=False)

    @property
    def _adam(self) -> Adam:
        return Adam(self.step_size)

    def _chain(self, victim: Victim, recipe: Recipe, state: State) -> tuple[TrainingStep, Tensors, list[Tensors]]:
        """Return what is differentiated at full length."""
        network = reduced(victim, first_layer(victim), state.memory["before"], state.memory["after"])
        coordinates = _coordinates(state.variables["w"], state).detach().requires_grad_()
        return chain(network, recipe, coordinates, state.constants["labels"], state.constants["plan"])

    def _recipe(self, recipe: Recipe, count: int) -> Recipe:
        """Return the recipe with as many samples as the change shows, whatever was guessed."""
        recipe = replace(recipe, epochs=self.epochs) if self.epochs else recipe
        return replace(recipe, size=count, labels=None) if count and count != recipe.size else recipe


def _coarser(recipe: Recipe, epochs: int) -> Recipe:
    """Return a training of fewer epochs that travels as far, in steps at most :data:`STRETCH` times as long."""
    epochs = max(epochs, -(-recipe.epochs // STRETCH))
    short = replace(recipe, epochs=epochs, warmup=recipe.warmup * epochs // recipe.epochs)
    return replace(short, lr=recipe.lr * recipe.travel / short.travel)


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


def _coordinates(w: Tensor, state: State) -> Tensor:
    """Return the coordinates (n, r) of ``w`` made to fulfil what is known exactly.

    Input j has no component along the exact direction of another one, and ``W offset = 1``.
    """
    exact, offset = (state.memory[name].to(w) for name in ("exact", "offset"))
    inverse = torch.linalg.pinv(exact)
    strange = torch.ones(len(w), exact.shape[1]).to(w)
    strange[state.constants["owners"], torch.arange(exact.shape[1])] = 0
    w = w - ((w @ exact) * strange) @ inverse
    if len(offset):
        free = offset - inverse.T @ (exact.T @ offset)
        reach = free @ offset
        if float(reach) > 1e-6 * float(offset @ offset):
            w = w + (1 - w @ offset)[:, None] * free / reach
    return w * state.memory["scale"]


def _images(victim: Victim, coordinates: Tensor, known: Mapping[str, Tensor]) -> Tensor:
    return (coordinates @ known["rows"]).view(len(coordinates), *victim.shape)


def _held(victim: Victim, layer: Layer, state: State) -> State:
    """Return the state that holds the exact directions its inputs lead to; done when that is all of them."""
    known = state.memory
    with torch.no_grad():
        w = _coordinates(state.variables["w"], state).double() / known["scale"]
        points = torch.cat([w, _mixtures(w, state)])
        found = certified(
            known["basis"], highest(victim, layer, points * known["scale"], known["before"], known["after"])
        )
        if found.q.shape[1] < known["exact"].shape[1]:
            return state
        w, owners = _settled(w, points, found.owners)
        labels, q = state.constants["labels"].clone(), found.q[:, : len(owners)]
        exact = q * (w[owners] * q.T).sum(1).sign()
    network = reduced(victim, layer, known["before"], known["after"])
    labels[owners] = likely_labels(network, (w * known["scale"])[owners], (known["basis"] @ exact).T, known["before"])
    constants = {**state.constants, "owners": owners, "labels": labels}
    memory = {**known, "exact": exact}
    state = replace(state, variables={"w": w.to(state.variables["w"])}, constants=constants, memory=memory)
    if exact.shape[1] < len(known["scale"]) or len(w) != len(known["scale"]) or not len(known["offset"]):
        w = _coordinates(state.variables["w"], state) / known["scale"]
        return replace(state, variables={"w": w})
    return _solved(victim, layer, state, found.residual)


def _released(state: State) -> State:
    """Return the state that holds no direction: together they contradict themselves."""
    constants = {**state.constants, "owners": state.constants["owners"][:0]}
    return replace(state, constants=constants, memory={**state.memory, "exact": state.memory["exact"][:, :0]})


def _mixtures(w: Tensor, state: State) -> Tensor:
    """Return random mixtures of the inputs that own no exact direction yet, where those are few: further guesses.

    Affine ones: they lie where the missing inputs must lie, in the complement of all exact directions and where the
    equation of the bias holds.
    """
    owners = state.constants["owners"]
    free = [row for row in range(len(w)) if row not in set(owners.tolist())]
    if 2 * len(free) > len(w) or len(free) < 2:
        return w[:0]
    draws = torch.randn(MIXTURES, len(free), generator=generator(state.step)).to(w)
    return (draws + (1 - draws.sum(1, keepdim=True)) / len(free)) @ w[free]


def _settled(w: Tensor, points: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``w`` (n, r) in which inputs without a direction become the mixtures that found one, and the owners.

    At most n of them: mixtures may find more directions than there are inputs left, the surest of which come first.
    """
    own = set(owners.tolist())
    free = [row for row in range(len(w)) if row not in own]
    w, settled = w.clone(), []
    for owner in owners.tolist():
        if owner >= len(w):
            if not free:
                break
            w[free[0]] = points[owner]
            owner = free.pop(0)
        settled.append(owner)
    return w, torch.tensor(settled, dtype=torch.long)


def _solved(victim: Victim, layer: Layer, state: State, residual: float) -> State:
    """Return the state whose inputs follow from a complete set of exact directions, if they agree with it.

    D = U Q diag(a) with D 1 = the change of the bias, and W is the inverse of Q diag(a).
    """
    known, q, owners = state.memory, state.memory["exact"], state.constants["owners"]
    w = torch.empty_like(q)
    w[owners] = torch.linalg.inv(q * torch.linalg.solve(q, known["offset"]))
    solution = w * known["scale"]
    active = highest(victim, layer, solution[owners], known["before"], known["after"])
    if agreement(known["basis"], q, active) < AGREEMENT:
        return _released(state)
    x = solution.to(state.variables["w"])
    memory = {**known, "best.x": x, "best.loss": x.new_tensor(residual)}
    terms = {**state.terms, "exact": float(len(w))}
    return replace(state, variables={"w": w.to(x)}, memory=memory, loss=residual, terms=terms, done=True)


def _influence(coordinates: Tensor, known: Mapping[str, Tensor]) -> Tensor:
    """Return (n,) norms of each input's share in the change of the layer, the sum of its gradients there."""
    signals = known["basis"] @ torch.linalg.pinv((coordinates / known["scale"]).double())
    lengths = torch.linalg.vector_norm(coordinates.double(), dim=1)
    found: Tensor = torch.linalg.vector_norm(signals, dim=0) * lengths
    return found.to(coordinates)
