"""Inverting gradients: match the direction of the gradient, with a prior on images."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from .contract.attack import Reconstruction, State, generator, require
from .contract.card import Card, Sight
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain import inversion
from .optimise.descent import descend
from .optimise.optim import Adam, stepped


def _joins(sight: Sight) -> tuple[bool, str]:
    if sight.steps > 1:
        return False, f"explains one gradient, and training had {sight.steps} steps"
    if sight.coverage < 1:
        return False, f"infeasible: {sight.covered}"
    return True, "training was one step: the change is the gradient"


@dataclass(frozen=True)
class InvertingGradients:
    """Inverting gradients (Geiping et al., NeurIPS 2020, eq. 4).

    Minimises ``cosine distance of the gradients + alpha TV(x)`` by Adam on the gradient's sign; the images are kept in
    the range of pixels; the step size falls to a tenth at 3/8, 5/8 and 7/8 of the run. Differs from the published code
    in a weight of the total variation that fades, and in a shorter run.

    Attributes:
        iterations: Length of the schedule, in updates of the images; published: 4,800 and 24,000.
        step_size: Adam step on the normalised images.
        alpha: Weight of the total variation at the start; it falls linearly to zero. Published: 1e-6 to 1e-1.
        init_scale: Standard deviation of the Gaussian noise that the normalised images start from.
        tolerance: The attack counts as converged when its loss, the cosine distance, is at most this.
    """

    name: ClassVar[str] = "inverting_gradients"
    card: ClassVar[Card] = Card(
        goal="Individual training records: those whose gradient has the direction of the change, as after one step.",
        knowledge="That training was SGD; labels, given or read off the last layer. No learning rate.",
        source="Geiping et al., NeurIPS 2020",
        rule=_joins,
        place=50,
    )
    iterations: int = 2400
    step_size: float = 0.1
    alpha: float = 1e-3
    init_scale: float = 1.0
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        require(self, ("iterations", "step_size", "init_scale"), ("alpha", "tolerance"))

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Draw images, and read the labels off the head."""
        inversion.check(victim, recipe)
        gen = generator(seed)
        x = (self.init_scale * torch.randn(recipe.size, *victim.shape, generator=gen)).to(victim.like)
        labels = inversion.labels_of(victim, recipe, x, gen)
        return inversion.start(victim, recipe, {"x": x}, x, labels, self._rule)

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One signed step of the images into the range of pixels."""
        weight = self.alpha * (1 - state.step / self.iterations)
        return descend(
            state,
            inversion.matching(victim, recipe, lambda variables: variables["x"], state.constants["labels"], weight),
            self._rule,
            total=self.iterations,
            factor=stepped(state.step, self.iterations),
            project=lambda moved: {"x": victim.medium.within(moved["x"])},
        )

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the images whose gradient came closest in direction."""
        return inversion.finish(victim, recipe, state, state.constants["labels"])

    @property
    def _rule(self) -> Adam:
        return Adam(self.step_size, 0.9, 0.999, signed=True)
