"""Deep leakage from gradients: find the images and labels whose gradient is the one that was seen."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .contract.attack import Reconstruction, State, generator, require
from .contract.card import Card
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain import inversion
from .optimise.distances import euclidean
from .optimise.lbfgs import LBFGS
from .optimise.optim import Named

SCALE = 1e3
"""Multiplies the objective: torch's L-BFGS takes changes below 1e-10 for rounding; a squared distance gets there."""


@dataclass(frozen=True)
class DLG:
    """Deep leakage from gradients (Zhu et al., NeurIPS 2019, Algorithm 1).

    Minimises the squared distance of the gradients over images and soft labels together, by L-BFGS. Differs from the
    published code in a line search, without which most runs diverge, in a start near zero, and in a distance that is
    relative to the gradient's norm. For networks with smooth activations; through ReLUs it mostly fails.

    Attributes:
        iterations: Calls of the optimiser, of 20 iterations of L-BFGS each.
        step_size: First step of every line search.
        history: Pairs of steps and gradient changes that L-BFGS remembers.
        init_scale: Standard deviation of the Gaussian noise that the normalised images start from.
        tolerance: The attack counts as converged when its loss, the relative squared distance, is at most this.
    """

    name: ClassVar[str] = "dlg"
    card: ClassVar[Card] = Card(
        goal="Individual training records: those whose gradient equals the change, as after one step.",
        knowledge="The learning rate, given or inferred; labels are found along with the records.",
        source="Zhu et al., NeurIPS 2019",
        on_request="needs smooth activations and one step; inverting_gradients does both",
        place=150,
    )
    iterations: int = 100
    step_size: float = 1.0
    history: int = 100
    init_scale: float = 0.1
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        require(self, ("iterations", "step_size", "history", "init_scale"), ("tolerance",))

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Draw images and the logits of their labels (Algorithm 1, line 2)."""
        inversion.check(victim, recipe)
        gen = generator(seed)
        x = self.init_scale * torch.randn(recipe.size, *victim.shape, generator=gen)
        variables = {"x": x.to(victim.like), **self._unknown(victim, recipe, gen)}
        memory = {f"best.{name}": value for name, value in variables.items()}
        state = State(0, variables, self._known(victim, recipe), {**memory, "best.loss": x.new_tensor(math.inf)})
        with torch.no_grad():
            self._change(victim, recipe, state, variables)  # refuses what the network cannot take
        return state

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Take 20 iterations of L-BFGS (Algorithm 1, lines 3-7)."""

        def objective(variables: Named) -> Tensor:
            return SCALE * euclidean(self._change(victim, recipe, state, variables), victim.delta)

        with torch.no_grad():
            change = self._change(victim, recipe, state, state.variables)
            loss = euclidean(change, victim.delta)
        moved, moments = LBFGS(self.step_size, history=self.history).update(state.variables, state.memory, objective)
        memory = {name: value for name, value in state.memory.items() if name.startswith("best.")} | moments
        if bool(loss < memory["best.loss"]):
            memory |= {f"best.{name}": value for name, value in state.variables.items()} | {"best.loss": loss}
        step, terms = state.step + 1, inversion.terms(change, victim.delta)
        return State(step, moved, state.constants, memory, float(loss), terms, step >= self.iterations)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the images, and the likeliest labels, whose gradient came closest."""
        best = {name: state.memory[f"best.{name}"] for name in state.variables}
        labels = self._labels(state, best)
        return inversion.finish(victim, recipe, state, labels.argmax(1).cpu() if labels.dim() == 2 else labels)

    def _change(self, victim: Victim, recipe: Recipe, state: State, variables: Named) -> dict[str, Tensor]:
        return inversion.predict(victim, recipe, variables["x"], self._labels(state, variables))[0]

    def _unknown(self, victim: Victim, recipe: Recipe, gen: torch.Generator) -> dict[str, Tensor]:
        """Return the further variables: what is not known of the labels."""
        return {"y": torch.randn(recipe.size, victim.categories, generator=gen).to(victim.like)}

    def _known(self, victim: Victim, recipe: Recipe) -> dict[str, Tensor]:
        """Return the constants: what is known of the labels."""
        return {}

    def _labels(self, state: State, variables: Named) -> Tensor:
        """Return (n,) class indices or (n, k) probabilities."""
        return variables["y"].softmax(1)
