"""The one-point baseline of the SimuDy paper: the change as a weighted sum of gradients at the end of training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from .contract.attack import Reconstruction, State, generator, require
from .contract.card import Card
from .contract.params import Params, cosine_distance, dot, norm, subtract
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain.inversion import check, terms, undecayed
from .explain.kkt import MULTIPLIERS, spread, untried
from .explain.multipliers import Point, Weigh, combine, shares
from .optimise.descent import Evaluation, begin, best, descend, reconstruction
from .optimise.optim import Adam, Momentum, Split, warmup_cosine
from .simulation.losses import sample_losses

STAGES = ((0.006, 1 / 100), (0.016, 1 / 30), (0.04, 1 / 20), (0.08, 1.0), (0.12, 5.0))
"""Weights of the squared error up to these shares of the schedule; then the cosine distance takes over."""

COSINE = 30.0
"""Weight of the cosine distance."""


@dataclass(frozen=True)
class OneStep:
    """What the SimuDy authors compare with as "Buzaglo" (Tian et al., ICLR 2025, appendix C.4; their published code).

    Not the attack of Buzaglo et al. (:class:`.buzaglo.Buzaglo`): it explains the change of the parameters, not where
    they end, as ``theta0 - theta_f = sum_i w_i grad loss(theta_f; x_i)`` with random labels and weights of both signs.
    The squared error comes first, then 30 times the cosine distance and the total variation. Steps are a hundred times
    as long as theirs and a hundred times fewer (100,000 of 3e-4 on the images and 1e-6 on the weights), in one cosine
    decay where theirs repeats. ``refit`` solves for the weights instead, not negative and by least squares, which makes
    a stronger attack.

    Attributes:
        iterations: Length of the schedule, in updates of the dummies.
        step_size: Adam step on the normalised images.
        multiplier_step: Step of gradient descent with momentum 0.9 on the weights.
        refit: Updates between solving for the weights; 0 for never.
        factor: Dummies for each training image; they have 2.
        init_scale: Standard deviation of the Gaussian noise that the images start from.
        alpha: Weight of the total variation beside the cosine distance.
        tolerance: The attack counts as converged when its loss, the cosine distance, is at most this.
    """

    name: ClassVar[str] = "onestep"
    card: ClassVar[Card] = Card(
        goal="Individual training records: a published baseline that weighs gradients at the end of training.",
        knowledge="The number of training records; neither learning rate nor labels.",
        source="Tian et al., ICLR 2025, appendix C.4",
        on_request="a weaker form of buzaglo, there to compare with the SimuDy paper",
        place=130,
    )
    iterations: int = 1000
    step_size: float = 0.03
    multiplier_step: float = 1e-4
    refit: int = 0
    factor: float = 2.0
    init_scale: float = 0.5
    alpha: float = 1e-3
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        positive = ("iterations", "step_size", "factor", "init_scale")
        require(self, positive, ("multiplier_step", "refit", "alpha", "tolerance"))

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Draw images, weights and labels. Raises :class:`.attack.Unsupported` for Adam."""
        check(victim, recipe)
        gen, size = generator(seed), max(round(self.factor * recipe.size), 1)
        noise = torch.randn(size, *victim.shape, generator=gen).to(victim.like)
        weights = (torch.rand(size * len(self.sides(victim)), generator=gen) - 0.5).to(noise)
        labels = spread(victim, recipe, size, gen)
        variables = {"x": self.init_scale * noise, MULTIPLIERS: weights}
        return untried(begin(variables, {"labels": labels}, self._rule))

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One update of images and weights."""
        labels = state.constants["labels"].to(victim.like.device)
        target = undecayed(victim, recipe)
        if self.refit and state.step % self.refit == 0:
            fitted = _fit(victim, recipe, self.sides(victim), state.variables["x"], labels, target)
            state = replace(state, variables={**state.variables, MULTIPLIERS: fitted})

        def evaluate(variables: Mapping[str, Tensor]) -> Evaluation:
            x, weights = variables["x"], variables[MULTIPLIERS]
            change = combine(victim, recipe, _points(self.sides(victim), weights, labels), x)
            change = {name: change[name] for name in target}
            cosine, scale = cosine_distance(change, target), self._scale(state.step)
            objective = COSINE * cosine + self.alpha * victim.medium.roughness(x)
            if scale is not None:
                objective = scale * norm(subtract(change, target)) ** 2
            loss = cosine.detach().clamp(min=0)
            return Evaluation(objective, loss, x, terms(change, target), {MULTIPLIERS: weights})

        factor = warmup_cosine(state.step, self.iterations, 1)
        return descend(state, evaluate, self._rule, total=self.iterations, factor=factor)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the iterate whose weighted gradients came closest to the change in direction."""
        (x, loss), labels = best(state), state.constants["labels"]
        points = _points(self.sides(victim), state.memory[f"best.{MULTIPLIERS}"], labels.to(x.device))
        return reconstruction(victim, x, labels, shares(victim, recipe, points, x), loss)

    def sides(self, victim: Victim) -> tuple[Params, ...]:
        """Return the parameters at which gradients are taken."""
        return (victim.thetaf,)

    def _scale(self, step: int) -> float | None:
        """Return the weight of the squared error, ``None`` where the cosine distance has taken over."""
        return next((scale for share, scale in STAGES if step < share * self.iterations), None)

    @property
    def _rule(self) -> Split:
        return Split({"x": Adam(self.step_size), MULTIPLIERS: Momentum(self.multiplier_step)})


def _points(sides: tuple[Params, ...], weights: Tensor, labels: Tensor) -> list[Point]:
    """Return where gradients are taken and of what; minus, as training goes down the gradient.

    Args:
        sides: Parameters of the network.
        weights: Those of the first parameters for all dummies, then those of the next.
        labels: (m,) on the device of the weights.
    """

    def weighed(part: Tensor) -> Weigh:
        return lambda logits, rows: -(part[rows] * sample_losses(logits, labels[rows])).sum()

    return [(theta, weighed(part)) for theta, part in zip(sides, weights.chunk(len(sides)), strict=True)]


def _fit(
    victim: Victim, recipe: Recipe, sides: tuple[Params, ...], x: Tensor, labels: Tensor, target: Params
) -> Tensor:
    """Return the weights, not negative, that explain ``target`` best for the images ``x``."""
    weights = x.new_ones(len(sides) * len(x)).requires_grad_()
    total = combine(victim, recipe, _points(sides, weights, labels), x)  # linear in the weights

    def against(direction: Params) -> Tensor:
        value = dot({name: total[name] for name in target}, direction)
        return torch.autograd.grad(value, weights, retain_graph=True)[0]

    rows = []
    for alone in torch.eye(len(weights)).to(x):
        with torch.no_grad():
            gradient = combine(victim, recipe, _points(sides, alone, labels), x)
        rows.append(against({name: gradient[name] for name in target}))
    return nonnegative(torch.stack(rows).double(), against(target).double()).to(x)


def nonnegative(gram: Tensor, moments: Tensor) -> Tensor:
    """Return (m,) numbers w >= 0 that minimise ``w G w / 2 - w b`` (Lawson and Hanson, 1974, chapter 23).

    Args:
        gram: (m, m) inner products G of the vectors that are combined.
        moments: (m,) their inner products b with the target.
    """
    w, free = torch.zeros_like(moments), torch.zeros_like(moments, dtype=torch.bool)
    floor = 1e-10 * moments.abs().max()
    ridge = 1e-12 * gram.diagonal().max() * torch.eye(len(gram)).to(gram)
    for _ in range(3 * len(w)):
        slope = (moments - gram @ w).masked_fill(free, -torch.inf)
        if bool(slope.max() <= floor):
            break
        free[slope.argmax()] = True
        while True:
            rows = free.nonzero().flatten()
            wanted = torch.zeros_like(w)
            wanted[rows] = torch.linalg.solve((gram + ridge)[rows][:, rows], moments[rows])
            low = free & (wanted <= 0)
            if not bool(low.any()):
                break
            share = (w[low] / (w[low] - wanted[low]).clamp(min=1e-300)).min()
            w = w + share * (wanted - w)
            free &= w > floor / gram.diagonal().max()
            w = w * free
        w = wanted
    return w
