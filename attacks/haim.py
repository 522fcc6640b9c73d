"""Haim et al.: images as the support vectors of a binary classifier, from its final parameters alone."""

from dataclasses import dataclass
from typing import ClassVar

from .contract.attack import Unsupported
from .contract.card import WEIGHTS, Card
from .contract.victim import Victim
from .explain.kkt import Stationarity


@dataclass(frozen=True)
class Haim(Stationarity):
    """Margin-maximisation attack on a binary classifier (Haim et al., NeurIPS 2022, sections 4 and 5).

    Minimises ``|theta_f - sum_i lambda_i y_i grad Phi(theta_f; x_i)|^2 / |theta_f|^2`` over dummy images and
    multipliers, with hinges on the range of pixels and on the multipliers. ``Phi`` is the logit, or the difference of
    two. Holds for ReLU networks without biases after the first layer, trained from small weights far beyond zero
    training error, or with weight decay; where training moved a network but little from its start, hardly anything
    of ``theta_f`` is explained and the loss stays near 1. Only images on the margin can appear.

    The paper's 50,000 iterations and its settings, which come from a search over hundreds of runs scored against the
    training data, are in docs/attacks.md; these settings are measured on small networks, and need some thousand.

    Attributes:
        iterations: Length of the schedule, in updates of the dummies.
        step_size: Of gradient descent on the images, relative to their curvature.
        multiplier_step: The same on the multipliers.
        momentum: Of both.
        factor: Dummies for each training image; the paper has 2.
        init_scale: Standard deviation of the Gaussian noise that the images start from.
        least: Multipliers below this are pushed up; the first ones are uniform in [0, 1].
        sharpness: Slope of the sigmoid that stands for the derivative of a ReLU.
        beta: Weight of the mean squared excess of the images over the range of pixels.
        tolerance: The attack counts as converged when its loss is at most this.
    """

    name: ClassVar[str] = "haim"
    card: ClassVar[Card] = Card(
        goal="Individual training records on the margin of a binary classifier, from the trained model alone.",
        knowledge="The architecture and roughly the number of training records; no recipe.",
        source="Haim et al., NeurIPS 2022",
        access=WEIGHTS,
        reads="weights",
        on_request="explains the trained weights alone, which reveal less than the change",
        place=110,
    )

    def check(self, victim: Victim) -> None:
        """Refuse more than two classes."""
        if victim.categories > 2:
            raise Unsupported(
                f"haim explains a binary classifier by its margin; this network has {victim.classes} classes.",
                "buzaglo takes the margin over the runner-up instead.",
            )
