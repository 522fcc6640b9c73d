"""Improved deep leakage from gradients: the label of a single image follows from the gradient's signs."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .contract.attack import State, Unsupported
from .contract.card import Card
from .contract.recipe import Recipe
from .contract.victim import Victim
from .dlg import DLG
from .explain import inversion
from .explain.labels import guess
from .optimise.optim import Named


@dataclass(frozen=True)
class IDLG(DLG):
    """Improved deep leakage from gradients (Zhao et al., 2020): the label in closed form, the image as in ``dlg``.

    For a single training image. A label that the recipe knows is taken as it is.

    Attributes:
        iterations: Calls of the optimiser, of 20 iterations of L-BFGS each.
        step_size: First step of every line search.
        history: Pairs of steps and gradient changes that L-BFGS remembers.
        init_scale: Standard deviation of the Gaussian noise that the normalised image starts from.
        tolerance: The attack counts as converged when its loss, the relative squared distance, is at most this.
    """

    name: ClassVar[str] = "idlg"
    card: ClassVar[Card] = Card(
        goal="A single training record: the one whose gradient equals the change, as after one step.",
        knowledge="The learning rate, given or inferred; the label follows from the gradient's signs.",
        source="Zhao et al., 2020",
        on_request="needs smooth activations and one step; inverting_gradients does both",
        place=160,
    )

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Read off the label and draw an image."""
        if recipe.size > 1:
            raise Unsupported(
                f"The gradient's signs tell the label of one image, and there are {recipe.size}.",
                "dlg and inverting_gradients take more.",
            )
        return super().init(victim, recipe, seed)

    def _unknown(self, victim: Victim, recipe: Recipe, gen: torch.Generator) -> dict[str, Tensor]:
        return {}

    def _known(self, victim: Victim, recipe: Recipe) -> dict[str, Tensor]:
        if recipe.labels is not None:
            return {"labels": guess(victim, recipe, torch.Generator())}
        return {"labels": torch.tensor([inversion.only_label(victim, recipe)])}

    def _labels(self, state: State, variables: Named) -> Tensor:
        return state.constants["labels"]
