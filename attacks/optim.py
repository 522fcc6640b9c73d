"""Adam as a pure function of its moments, and the step-size schedule of the attacks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015); the SimuDy authors' decay rates on the images are (0.8, 0.9)."""

    step_size: float
    beta1: float = 0.8
    beta2: float = 0.9
    eps: float = 1e-8

    def start(self, x: Tensor) -> dict[str, Tensor]:
        """Return empty moments for the variable ``x``."""
        return {"mean": x.new_zeros(x.shape), "square": x.new_zeros(x.shape)}

    def update(
        self, x: Tensor, grad: Tensor, memory: Mapping[str, Tensor], step: int, factor: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return ``x`` after one descent step, and the new moments.

        Args:
            x: The variable.
            grad: Gradient of the objective with respect to it, same shape.
            memory: Moments from :meth:`start` or the last call.
            step: Steps taken before this one.
            factor: Schedule value that multiplies the step size, in [0, 1].
        """
        mean = self.beta1 * memory["mean"] + (1 - self.beta1) * grad
        square = self.beta2 * memory["square"] + (1 - self.beta2) * grad * grad
        corrected = mean / (1 - self.beta1 ** (step + 1))
        scale = (square / (1 - self.beta2 ** (step + 1))).sqrt() + self.eps
        return x - self.step_size * factor * corrected / scale, {"mean": mean, "square": square}


def warmup_cosine(step: int, total: int, warmup: int) -> float:
    """Return the schedule value in [0, 1]: a linear rise over ``warmup`` steps times one half cosine over ``total``."""
    return min(1.0, (step + 1) / max(warmup, 1)) * 0.5 * (1 + math.cos(math.pi * min(step / max(total, 1), 1.0)))
