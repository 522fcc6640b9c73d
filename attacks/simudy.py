"""SimuDy: optimise dummy data until training simulated on them lands on the real final parameters."""

import math
import os
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .adjoints import ADJOINTS, choose
from .base import Recipe, Reconstruction, State, Unsupported, Victim, generator
from .distances import DISTANCES, euclidean
from .dynamics import batch_plan, chain, influence, simulate
from .images import PARAMETRISATIONS, compose
from .labels import guess
from .optim import Adam, warmup_cosine
from .params import Params, cosine_distance, norm, subtract
from .priors import total_variation

MAX_TOLERANCE = 0.1
"""Cosine distance above which the paper calls a run stuck: no option may call that converged."""


@dataclass(frozen=True)
class SimuDy:
    """Simulation of training dynamics (Tian et al., ICLR 2025, Algorithm 1), with the settings that we measured best.

    Minimises ``distance(simulate(x) - theta0, thetaf - theta0) + alpha TV(x)`` over the dummy images ``x``. Differs
    from the published code in the logarithm of the cosine, a step size forty times larger, a TV weight that falls to
    zero, one schedule over the whole run, a clip that is annealed away, and all real epochs simulated
    (docs/attacks.md says why). ``distance="cosine", step_size=0.01, alpha=2e-3`` are the published ones.

    Attributes:
        iterations: Length of the schedule, in updates of the dummies.
        step_size: Adam step on the normalised images.
        alpha: Weight of the total variation at the start; it falls linearly to zero.
        distance: ``log_cosine``, ``cosine`` or ``euclidean``.
        clip: Largest gradient norm of a simulated step at the start; doubles seven times over the first half of the
            run and is then lifted; 0 for none.
        epochs: Simulated epochs; 0 for as many as the recipe has.
        parametrisation: ``pyramid`` (scales and opponent colours) or ``pixels``; see :mod:`memaudit.attacks.images`.
        init_scale: Standard deviation of the Gaussian noise that the finest variables start from.
        warmup: Updates over which the step size rises.
        adjoint: ``full``, ``stepwise``, or ``auto`` (full where its predicted memory is within half of the device's).
        tolerance: The attack counts as converged when its loss is at most this; at most 0.1, the paper's mark of a
            good run. Stricter by default, because with 0.06 a narrow network can still hide everything.
    """

    name: ClassVar[str] = "simudy"
    iterations: int = 200
    step_size: float = 0.4
    alpha: float = 3e-2
    distance: Literal["log_cosine", "cosine", "euclidean"] = "log_cosine"
    clip: float = 20.0
    epochs: int = 0
    parametrisation: Literal["pyramid", "pixels"] = "pyramid"
    init_scale: float = 0.1
    warmup: int = 5
    adjoint: Literal["auto", "full", "stepwise"] = "auto"
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        for name in ("alpha", "clip", "epochs", "warmup", "tolerance"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("iterations", "step_size", "init_scale"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
        if self.tolerance > MAX_TOLERANCE:
            raise ValueError(f"tolerance must be at most {MAX_TOLERANCE}")

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Draw images, labels and batches (Algorithm 1, lines 1-3). Raises :class:`Unsupported` for one logit."""
        if victim.classes < 2:
            raise Unsupported(
                "simudy needs a classifier with at least two logits; this network has one.",
                "Binary classifiers with a single logit are not supported yet.",
            )
        recipe = self._simulated(recipe)
        gen = generator(seed)
        noise = (self.init_scale * torch.randn(recipe.size, *victim.shape, generator=gen)).to(victim.like)
        variables = PARAMETRISATIONS[self.parametrisation](noise)
        x = compose(variables)
        labels = guess(victim, recipe.size, gen)
        plan = batch_plan(recipe, recipe.size, gen)
        adjoint = self._adjoint(victim, recipe, x, labels, plan)
        constants = {"labels": labels, "plan": plan, "adjoint": torch.tensor(list(ADJOINTS).index(adjoint))}
        memory = {**self._adam.start(variables), "best_x": x, "best_loss": x.new_tensor(math.inf)}
        return State(0, variables, constants, memory)

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One update of the images (Algorithm 1, lines 4-15)."""
        recipe = self._simulated(recipe)
        variables = {name: value.detach().requires_grad_() for name, value in state.variables.items()}
        x = compose(variables)
        change = self._change(victim, recipe, x, state)
        variation = total_variation(x)
        weight = self.alpha * (1 - state.step / self.iterations)
        objective = DISTANCES[self.distance](change, victim.delta) + weight * variation
        grads = dict(zip(variables, torch.autograd.grad(objective, list(variables.values())), strict=True))
        with torch.no_grad():
            return self._advance(victim, state, x, grads, change, variation)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the iterate whose simulated change came closest, by the loss that an attacker sees."""
        recipe = self._simulated(recipe)
        x, labels = state.memory["best_x"], state.constants["labels"]
        return Reconstruction(
            images=victim.normalisation.to_pixels(x).clamp(0, 1),
            normalised=x,
            labels=labels,
            influence=influence(victim, recipe, x, labels, state.constants["plan"]),
            loss=float(state.memory["best_loss"]),
        )

    @property
    def _adam(self) -> Adam:
        return Adam(self.step_size)

    def _simulated(self, recipe: Recipe) -> Recipe:
        return replace(recipe, epochs=self.epochs) if self.epochs else recipe

    def clip_at(self, step: int) -> float:
        """Return the largest gradient norm of a simulated step at one step of the attack."""
        done = 2 * step / self.iterations
        return self.clip * 2 ** int(8 * done) if self.clip and done < 1 else math.inf

    def _adjoint(self, victim: Victim, recipe: Recipe, x: Tensor, labels: Tensor, plan: Tensor) -> str:
        if self.adjoint != "auto":
            return self.adjoint
        return choose(*chain(victim, recipe, x.detach().requires_grad_(), labels, plan), limit=_memory(x.device) // 2)

    def _change(self, victim: Victim, recipe: Recipe, x: Tensor, state: State) -> Params:
        labels, plan = state.constants["labels"], state.constants["plan"]
        adjoint = list(ADJOINTS.values())[int(state.constants["adjoint"])]
        final = simulate(victim, recipe, x, labels, plan, adjoint=adjoint, clip=self.clip_at(state.step))
        return subtract(final, victim.theta0)

    def _advance(
        self, victim: Victim, state: State, x: Tensor, grads: Params, change: Params, variation: Tensor
    ) -> State:
        memory, step = dict(state.memory), state.step
        cosine = cosine_distance(change, victim.delta)
        loss = euclidean(change, victim.delta) if self.distance == "euclidean" else cosine
        clipped = self.clip_at(step - 1) < math.inf  # a loss under the clip does not compare with later ones
        if clipped or bool(loss < memory["best_loss"]):
            memory |= {"best_x": x.detach(), "best_loss": loss}
        factor = warmup_cosine(step, self.iterations, self.warmup)
        moved, moments = self._adam.update(state.variables, grads, memory, step, factor)
        ratio = norm(change) / norm(victim.delta)
        terms = {"cosine": float(cosine), "total_variation": float(variation), "change_ratio": float(ratio)}
        done = step + 1 >= self.iterations
        return State(step + 1, moved, state.constants, memory | moments, float(loss), terms, done)


def _memory(device: torch.device) -> int:
    """Return the physical memory of a device in bytes: a property of the machine, not of the moment."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
