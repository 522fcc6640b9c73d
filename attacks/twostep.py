"""The two-point baseline of the SimuDy paper: gradients at both ends of training."""

from dataclasses import dataclass
from typing import ClassVar

from .contract.card import Card
from .contract.params import Params
from .contract.victim import Victim
from .onestep import OneStep


@dataclass(frozen=True)
class TwoStep(OneStep):
    """What the SimuDy authors compare with as "Loo" (Tian et al., ICLR 2025, appendix C.4; their published code).

    As :class:`.onestep.OneStep` with one more weight per dummy, for its gradient before training:
    ``theta0 - theta_f = sum_i w_i grad loss(theta_f; x_i) + v_i grad loss(theta0; x_i)``. Not the attack of Loo et al.
    (:class:`.loo.Loo`), whose weights are trained with the images, one for each logit, and need no labels.

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

    name: ClassVar[str] = "twostep"
    card: ClassVar[Card] = Card(
        goal="Individual training records: a published baseline that weighs gradients at both ends of training.",
        knowledge="The number of training records; neither learning rate nor labels.",
        source="Tian et al., ICLR 2025, appendix C.4",
        on_request="a weaker form of loo, there to compare with the SimuDy paper",
        place=140,
    )

    def sides(self, victim: Victim) -> tuple[Params, ...]:
        """Return the parameters after and before training."""
        return victim.thetaf, victim.theta0
