"""Buzaglo et al.: images as the support vectors of any classifier, or as what weight decay balances."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .contract.card import WEIGHTS, Card
from .contract.victim import Victim
from .explain.kkt import Stationarity
from .explain.multipliers import classes


@dataclass(frozen=True)
class Buzaglo(Stationarity):
    """Stationarity attack with several classes or any loss (Buzaglo et al., NeurIPS 2023, sections 4 and 5).

    Minimises ``|theta_f - sum_i lambda_i grad Psi(theta_f; x_i)|^2 / |theta_f|^2`` over dummy images and multipliers.
    With ``loss="margin"``, ``Psi`` is the logit of a dummy's class minus the highest other one, and multipliers are not
    negative. With ``loss="any"`` every logit has its own multiplier of free sign, which is exact wherever training with
    weight decay came to rest, whatever its loss; no labels are needed. Holds as :class:`.haim.Haim` does; with weight
    decay neither small first weights nor missing biases are needed.

    Attributes:
        loss: ``margin`` for classifiers, ``any`` for every loss.
        iterations: Length of the schedule, in updates of the dummies; the paper has 50,000.
        step_size: Of gradient descent on the images, relative to their curvature.
        multiplier_step: The same on the multipliers.
        momentum: Of both.
        factor: Dummies for each training image; the paper has 2.
        init_scale: Standard deviation of the Gaussian noise that the images start from.
        least: Multipliers of margins below this are pushed up; the first ones are uniform in [0, 1].
        sharpness: Slope of the sigmoid that stands for the derivative of a ReLU.
        beta: Weight of the mean squared excess of the images over the range of pixels.
        tolerance: The attack counts as converged when its loss is at most this.
    """

    name: ClassVar[str] = "buzaglo"
    card: ClassVar[Card] = Card(
        goal="Individual training records that hold the trained model at rest, from that model alone.",
        knowledge="The architecture and roughly the number of training records; no recipe.",
        source="Buzaglo et al., NeurIPS 2023",
        access=WEIGHTS,
        reads="weights",
        on_request="explains the trained weights alone, which reveal less than the change",
        place=120,
    )
    loss: Literal["margin", "any"] = "margin"

    def check(self, victim: Victim) -> None:
        """Any network will do."""

    def draw(self, victim: Victim, size: int, gen: torch.Generator) -> Tensor:
        """As :meth:`.kkt.Stationarity.draw`; (size, k) of both signs for any loss."""
        if self.loss == "margin":
            return super().draw(victim, size, gen)
        return torch.randn(size, victim.classes, generator=gen)

    def weigh(self, logits: Tensor, multipliers: Tensor, labels: Tensor) -> Tensor:
        """As :meth:`.kkt.Stationarity.weigh`; multipliers times logits, summed, for any loss."""
        return super().weigh(logits, multipliers, labels) if self.loss == "margin" else (multipliers * logits).sum()

    def pressed(self, multipliers: Tensor) -> Tensor:
        """As :meth:`.kkt.Stationarity.pressed`; nothing for any loss."""
        return super().pressed(multipliers) if self.loss == "margin" else multipliers.new_zeros(())

    def read(self, multipliers: Tensor, labels: Tensor) -> Tensor:
        """As :meth:`.kkt.Stationarity.read`; for any loss the class whose logit is pushed up most."""
        return labels if self.loss == "margin" else classes(multipliers)
