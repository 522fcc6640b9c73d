"""Adam as a pure function of its moments, and the step-size schedule of the attacks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015); the SimuDy authors' decay rates on the images are (0.8, 0.9)."""

    step_size: float
    beta1: float = 0.8
    beta2: float = 0.9
    eps: float = 1e-8

    def start(self, variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return empty moments for named variables."""
        return {f"{kind}.{name}": torch.zeros_like(x) for kind in ("mean", "square") for name, x in variables.items()}

    def update(
        self,
        variables: Mapping[str, Tensor],
        grads: Mapping[str, Tensor],
        memory: Mapping[str, Tensor],
        step: int,
        factor: float,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the variables after one descent step, and the new moments.

        Args:
            variables: Any tensors by name.
            grads: Gradients of the objective with respect to them, same names and shapes.
            memory: Moments from :meth:`start` or the last call; may hold more.
            step: Steps taken before this one.
            factor: Schedule value that multiplies the step size, in [0, 1].
        """
        moved: dict[str, Tensor] = {}
        moments: dict[str, Tensor] = {}
        for name, x in variables.items():
            grad = grads[name]
            mean = self.beta1 * memory[f"mean.{name}"] + (1 - self.beta1) * grad
            square = self.beta2 * memory[f"square.{name}"] + (1 - self.beta2) * grad * grad
            corrected = mean / (1 - self.beta1 ** (step + 1))
            scale = (square / (1 - self.beta2 ** (step + 1))).sqrt() + self.eps
            moved[name] = x - self.step_size * factor * corrected / scale
            moments |= {f"mean.{name}": mean, f"square.{name}": square}
        return moved, moments


def warmup_cosine(step: int, total: int, warmup: int) -> float:
    """Return the schedule value in [0, 1]: a linear rise over ``warmup`` steps times one half cosine over ``total``."""
    return min(1.0, (step + 1) / max(warmup, 1)) * 0.5 * (1 + math.cos(math.pi * min(step / max(total, 1), 1.0)))
