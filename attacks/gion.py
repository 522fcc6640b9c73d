"""GION: gradient inversion with an untrained over-parameterised generator for a prior."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from .contract.attack import Reconstruction, State, generator, only, require
from .contract.card import Card
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain import inversion
from .optimise.descent import descend
from .optimise.optim import Adam


@dataclass(frozen=True)
class GION:
    """Gradient inversion over an over-parameterised network (Zhang et al., CI-Net / GION, 2023).

    The images are what an untrained generator makes of fixed inputs; its weights are found by Adam on the gradient's
    sign, so that the cosine distance of the gradients is least. See :mod:`.generator`.

    Attributes:
        iterations: Length of the schedule, in updates of the weights.
        step_size: Adam step on the generator's weights, in hundredths.
        alpha: Weight of the total variation; published: none.
        tolerance: The attack counts as converged when its loss, the cosine distance, is at most this.
    """

    name: ClassVar[str] = "gion"
    card: ClassVar[Card] = Card(
        goal="Individual training images: the gradient's direction is matched by what an untrained generator can draw.",
        knowledge="That training was SGD; labels, given or read off the last layer. No learning rate.",
        source="Zhang et al., 2023",
        on_request="a generator in place of pixels, slow",
        place=180,
    )
    iterations: int = 2000
    step_size: float = 0.1
    alpha: float = 0.0
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        require(self, ("iterations", "step_size"), ("alpha", "tolerance"))

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Draw a generator and its inputs, and read the labels off the head."""
        inversion.check(victim, recipe)
        only("image", "The generator of gion", victim)
        gen = generator(seed)
        noise = torch.randn(recipe.size, *victim.shape, generator=gen).to(victim.like)
        variables = victim.medium.variables(noise, "generator")
        x = victim.medium.inputs(variables)
        labels = inversion.labels_of(victim, recipe, x, gen)
        return inversion.start(victim, recipe, variables, x, labels, self._rule)

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One signed step of the generator's weights."""
        objective = inversion.matching(victim, recipe, victim.medium.inputs, state.constants["labels"], self.alpha)
        return descend(state, objective, self._rule, total=self.iterations)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the images whose gradient came closest in direction."""
        return inversion.finish(victim, recipe, state, state.constants["labels"])

    @property
    def _rule(self) -> Adam:
        return Adam(self.step_size, 0.9, 0.999, signed=True)
