"""Initial and final gradients with trainable duals: the change as the kernel of training explains it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .contract.attack import Reconstruction, State, generator, only, require
from .contract.card import Card, Sight
from .contract.medium import Parametrisation
from .contract.params import Params, cosine_distance
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain.inversion import check, undecayed
from .explain.multipliers import Point, Weigh, classes, combine, shares
from .images.priors import unblurred
from .optimise.descent import Evaluation, begin, best, descend, reconstruction
from .optimise.distances import DISTANCES
from .optimise.optim import Adam, warmup_cosine
from .simulation.activations import activations, soft

DUALS = ("duals.final", "duals.initial")
"""The variables (m, k) that weigh the gradients of every logit at the end and at the start of training."""

LINEAR = 0.9
"""Cosine of gradients before and after training from which training counts as nearly linear."""

SHARPEST = 200.0
"""Inverse width of the softplus from which on it counts as a ReLU."""


def _joins(sight: Sight) -> tuple[bool, str]:
    if sight.left:
        return False, sight.left
    if sight.linearity is None:
        return False, "needs a nearly linear training, and how linear this one was could not be measured"
    if sight.linearity < LINEAR:
        return False, f"needs a nearly linear training, and this one was not ({sight.linearity:.2f})"
    if sight.coverage < 1:
        return False, f"infeasible: {sight.covered}"
    return True, f"training was nearly linear ({sight.linearity:.2f})"


@dataclass(frozen=True)
class Loo:
    """Reconstruction from initial and final parameters (Loo et al., ICLR 2024, sections 4 and 6).

    As long as the tangent kernel stays what it was, training moves the parameters by ``sum_ic A_ic grad f_c(x_i)``,
    with duals A of free sign. Minimises ``distance(change, theta_f - theta0) + alpha roughness(x) + beta excess(x)``
    over images and duals, with the gradients of the logits at ``theta_f`` and, with ``both_kernels``, at ``theta0``.
    Needs no labels and no learning rate: the duals stand for both. Differs from the published code in the distance, the
    variables, the optimiser's schedule and the exact ReLU, all measured (docs/attacks.md), and in the bounds of the
    images, which come from the normalisation and not from the training data. Theirs are ``distance="euclidean",
    parametrisation="pixels", step_size=0.02, dual_step=0.02, smooth=True, alpha=0, beta=0.1, init_scale=0.2,
    iterations=80_000``; 10,000 with both kernels.

    Attributes:
        iterations: Length of the schedule, in updates of the dummies.
        step_size: Adam step on the image variables.
        dual_step: Adam step on the duals, which are in units of what a sample alone can reach.
        factor: Dummies for each training image.
        both_kernels: Use the gradients at both ends of training, not at the end alone.
        smooth: Replace ReLUs by softplus, whose sharpness rises to 200 over the first 57 % of the run.
        alpha: Weight of the total variation at the start; it falls linearly to zero.
        beta: Weight of the mean squared excess of the images over the range of pixels.
        blur: Weight of the mean squared difference of the images from themselves blurred.
        distance: ``log_cosine``, ``cosine`` or ``euclidean``.
        parametrisation: ``auto``, ``pyramid``, ``pixels`` or ``generator``; as in :class:`.simudy.SimuDy`.
        init_scale: Standard deviation of the Gaussian noise that the finest variables start from.
        warmup: Updates over which the step sizes rise.
        tolerance: The attack counts as converged when its loss, the cosine distance, is at most this.
    """

    name: ClassVar[str] = "loo"
    card: ClassVar[Card] = Card(
        goal="Individual training records: those whose gradients at both ends explain the change.",
        knowledge="That training was SGD and nearly linear; neither learning rate nor labels.",
        source="Loo et al., ICLR 2024",
        rule=_joins,
        place=40,
    )
    iterations: int = 200
    step_size: float = 0.4
    dual_step: float = 0.1
    factor: float = 2.0
    both_kernels: bool = True
    smooth: bool = False
    alpha: float = 3e-2
    beta: float = 1.0
    blur: float = 0.0
    distance: Literal["log_cosine", "cosine", "euclidean"] = "log_cosine"
    parametrisation: Parametrisation = "auto"
    init_scale: float = 0.1
    warmup: int = 5
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        others = ("dual_step", "alpha", "beta", "blur", "warmup", "tolerance")
        require(self, ("iterations", "step_size", "factor", "init_scale"), others)

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Draw images and duals. Raises :class:`.attack.Unsupported` where the change is not a sum of gradients."""
        check(victim, recipe)
        if self.blur:
            only("image", "loo.blur", victim)
        gen, size = generator(seed), max(round(self.factor * recipe.size), 1)
        noise = (self.init_scale * torch.randn(size, *victim.shape, generator=gen)).to(victim.like)
        variables = victim.medium.variables(noise, self.parametrisation)
        for name in DUALS if self.both_kernels else DUALS[:1]:
            variables[name] = (torch.rand(size, victim.classes, generator=gen) - 0.5).to(noise)
        state, x = begin(variables, {}, self._rule), victim.medium.inputs(variables)
        kept = {f"best.{name}": variables[name] for name in DUALS if name in variables}
        return replace(state, memory={**state.memory, **kept, "best.x": x, "best.loss": x.new_tensor(math.inf)})

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One update of images and duals."""
        target, sharpness = undecayed(victim, recipe), self.sharpness(state.step)
        weight = self.alpha * (1 - state.step / self.iterations)

        def evaluate(variables: Mapping[str, Tensor]) -> Evaluation:
            x = victim.medium.inputs(variables)
            duals = {name: variables[name] for name in DUALS if name in variables}
            with activations(soft(sharpness) if sharpness < SHARPEST else None):
                change = combine(victim, recipe, points(victim, recipe, duals), x)
            change = {name: change[name] for name in target}
            objective = DISTANCES[self.distance](change, target) + weight * victim.medium.roughness(x)
            objective = objective + self.beta * victim.medium.excess(x)
            if self.blur:
                objective = objective + self.blur * unblurred(x)
            loss = cosine_distance(change, target).detach().clamp(min=0)
            return Evaluation(objective, loss, x, {"cosine": float(loss)}, duals)

        factor = warmup_cosine(state.step, self.iterations, self.warmup)
        keep = self.sharpness(state.step - 1) >= SHARPEST  # losses of softer networks do not compare
        return descend(state, evaluate, self._rule, total=self.iterations, factor=factor, keep=keep)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the dummies that explained the change best; a dummy's class is the logit that it raises most."""
        x, loss = best(state)
        duals = {name: state.memory[f"best.{name}"] for name in DUALS if name in state.variables}
        influence = shares(victim, recipe, points(victim, recipe, duals), x)
        labels = classes(torch.stack(list(duals.values())).sum(0))
        return reconstruction(victim, x, labels, influence, loss)

    def sharpness(self, step: int) -> float:
        """Return the inverse width of the softplus at one step; 200 means a ReLU."""
        return min(10 + 10 ** (4 * step / self.iterations), SHARPEST) if self.smooth else SHARPEST

    @property
    def _rule(self) -> Adam:
        return Adam(self.step_size, sizes=dict.fromkeys(DUALS, self.dual_step))


def points(victim: Victim, recipe: Recipe, duals: Params) -> list[Point]:
    """Return where gradients are taken and with which duals.

    Under SGD on cross-entropy a dual is the time mean of a sample's ``y - p``, in [-1, 1], times ``travel / n``.
    """
    unit = recipe.travel / recipe.size

    def weighed(dual: Tensor) -> Weigh:
        return lambda logits, rows: unit * (dual[rows] * logits).sum()

    sides = dict(zip(DUALS, (victim.thetaf, victim.theta0), strict=True))
    return [(sides[name], weighed(dual)) for name, dual in duals.items()]
