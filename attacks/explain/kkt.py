"""Reading records off the final parameters alone: where training ends, they are a sum of gradients.

Under the logistic loss or cross-entropy a homogeneous network converges in direction to a stationary point of margin
maximisation; under weight decay any network converges to one of its loss. Either way
``theta_f = sum_i w_i grad Phi(theta_f; x_i)`` with one weight per record (Haim et al., 2022, eq. 4; Buzaglo et al.,
2023, sections 4 and 5). How training started is forgotten, so that ``theta0`` is not used.

Everything here is free of scale: the residual is relative to ``|theta_f|^2``, multipliers are in units in which the
first ones, drawn at random, would explain it if the shares of the dummies were orthogonal, and step sizes are relative
to the curvature that this gives: each dummy's pixels ``1 / (m d)``, each multiplier ``1 / m``. So one default serves
networks of any size.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..contract.attack import Reconstruction, State, generator, require
from ..contract.params import Params, norm, subtract
from ..contract.recipe import Recipe
from ..contract.victim import Victim
from ..optimise.descent import Evaluation, begin, best, descend, reconstruction
from ..optimise.optim import Momentum
from ..simulation.activations import activations, smooth_backward
from ..simulation.losses import margins
from .labels import expand, guess, largest_remainder
from .multipliers import Point, combine, shares

MULTIPLIERS = "multipliers"
"""The variable that holds the dual variables."""

HINGE = 5.0
"""Weight of the hinge that keeps multipliers above their least value (Haim et al., 2022, appendix)."""

PACE, RECOVERY = "pace", 1.01
"""Share of the step size that is taken, and by how much it recovers with each step."""

EXPLODED = 2.0
"""Times the lowest loss so far at which the steps were too long: the curvature differs much between networks."""


@dataclass(frozen=True)
class Stationarity(ABC):
    """What the attacks on stationarity share; :class:`.haim.Haim` explains the fields."""

    iterations: int = 1000
    step_size: float = 0.02
    multiplier_step: float = 0.03
    momentum: float = 0.9
    factor: float = 2.0
    init_scale: float = 0.1
    least: float = 0.1
    sharpness: float = 10.0
    beta: float = 1.0
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        positive = ("iterations", "step_size", "factor", "init_scale", "sharpness")
        require(self, positive, ("multiplier_step", "least", "beta", "tolerance"))
        if not 0 <= self.momentum < 1:
            raise ValueError("momentum must be at least 0 and less than 1")

    @abstractmethod
    def check(self, victim: Victim) -> None:
        """Raise :class:`.attack.Unsupported` where the attack does not apply."""

    def draw(self, victim: Victim, size: int, gen: torch.Generator) -> Tensor:
        """Return the first multipliers of ``size`` dummies, on the CPU."""
        return torch.rand(size, generator=gen)

    def weigh(self, logits: Tensor, multipliers: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar whose gradient explains the parameters: multipliers times margins, summed."""
        return (multipliers * margins(logits, labels)).sum()

    def pressed(self, multipliers: Tensor) -> Tensor:
        """Return the penalty on multipliers below the least value (a scalar)."""
        return HINGE * (self.least - multipliers).relu().square().mean()

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Draw inputs, multipliers and labels. Raises :class:`.attack.Unsupported` with the reason."""
        self.check(victim)
        gen, size = generator(seed), max(round(self.factor * recipe.size), 1)
        noise = torch.randn(size, *victim.shape, generator=gen).to(victim.like)
        labels = spread(victim, recipe, size, gen)
        variables = {"x": self.init_scale * noise, MULTIPLIERS: self.draw(victim, size, gen).to(victim.like)}
        point = self._point(victim, variables[MULTIPLIERS], labels.to(noise.device))
        rms = shares(victim, recipe, [point], noise).square().mean().sqrt().clamp(min=1e-30)
        state = untried(begin(variables, {"labels": labels}, self._rule(noise)))
        unit = norm(victim.thetaf) / (size**0.5 * rms)
        return replace(state, memory={**state.memory, "unit": unit, PACE: torch.ones_like(unit)})

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One update of inputs and multipliers."""
        state = calmed(state)
        labels = state.constants["labels"].to(victim.like.device)
        unit, pace = state.memory["unit"], state.memory[PACE]

        def evaluate(variables: Mapping[str, Tensor]) -> Evaluation:
            x, multipliers = variables["x"], variables[MULTIPLIERS]
            with activations(smooth_backward(self.sharpness)):
                total = combine(victim, recipe, [self._point(victim, unit * multipliers, labels)], x)
            loss = residual(total, victim.thetaf)
            objective = loss + self.beta * victim.medium.excess(x) + self.pressed(multipliers)
            return Evaluation(objective, loss.detach(), x, kept={MULTIPLIERS: multipliers})

        state = descend(state, evaluate, self._rule(state.variables["x"]), total=self.iterations, factor=float(pace))
        return replace(state, memory={**state.memory, PACE: (RECOVERY * pace).clamp(max=1.0)})

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the dummies that explained the parameters best."""
        (x, loss), multipliers = best(state), state.memory[f"best.{MULTIPLIERS}"]
        labels = self.read(multipliers, state.constants["labels"])
        point = self._point(victim, state.memory["unit"] * multipliers, labels.to(x.device))
        return reconstruction(victim, x, labels, shares(victim, recipe, [point], x), loss)

    def read(self, multipliers: Tensor, labels: Tensor) -> Tensor:
        """Return the (m,) labels of the dummies."""
        return labels

    def _point(self, victim: Victim, multipliers: Tensor, labels: Tensor) -> Point:
        """Return the end of training, and what of the logits there is differentiated."""
        return victim.thetaf, lambda logits, rows: self.weigh(logits, multipliers[rows], labels[rows])

    def _rule(self, x: Tensor) -> Momentum:
        return Momentum(self.step_size * x.numel(), self.momentum, {MULTIPLIERS: self.multiplier_step * len(x)})


def untried(state: State) -> State:
    """Return a first state that counts as the best so far, with an infinite loss: a budget may end before a step."""
    kept = {f"best.{name}": value for name, value in state.variables.items()}
    infinite = state.variables["x"].new_tensor(torch.inf)
    return replace(state, memory={**state.memory, **kept, "best.loss": infinite})


def calmed(state: State) -> State:
    """Return the state, or its best iterate at rest and half the pace, where the loss exploded."""
    memory = dict(state.memory)
    if state.loss <= EXPLODED * float(memory["best.loss"]):
        return state
    memory |= {name: torch.zeros_like(value) for name, value in memory.items() if name.startswith("mean.")}
    memory[PACE] = memory[PACE] / 2
    return replace(state, variables={name: memory[f"best.{name}"] for name in state.variables}, memory=memory)


def residual(total: Params, target: Params) -> Tensor:
    """Return ``|target - total|^2 / |target|^2`` (a scalar)."""
    return (norm(subtract(target, total)) / norm(target)) ** 2


def spread(victim: Victim, recipe: Recipe, size: int, gen: torch.Generator) -> Tensor:
    """Return (size,) labels in random order: in proportion to the recipe's counts, else as :func:`.labels.guess`."""
    if recipe.labels is None:
        return guess(victim, replace(recipe, size=size), gen)
    labels = expand(largest_remainder(torch.tensor(recipe.labels), size))
    return labels[torch.randperm(size, generator=gen)]
