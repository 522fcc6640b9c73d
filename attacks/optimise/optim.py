"""Optimisers as pure functions of their moments, and the step-size schedules of the attacks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

Named = Mapping[str, Tensor]


class Rule(Protocol):
    """An optimiser whose moments live in the caller's state."""

    def start(self, variables: Named) -> dict[str, Tensor]:
        """Return empty moments for named variables."""
        ...

    def update(
        self, variables: Named, grads: Named, memory: Named, step: int, factor: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the variables after one descent step, and the new moments.

        Args:
            variables: Any tensors by name.
            grads: Gradients of the objective with respect to them, same names and shapes.
            memory: Moments from :meth:`start` or the last call; may hold more.
            step: Steps taken before this one.
            factor: Schedule value that multiplies the step size, in [0, 1].
        """
        ...


MOMENTS = ("mean", "square")
"""First parts of the names of Adam's moments, the first and the second."""


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015); the SimuDy authors' decay rates on the images are (0.8, 0.9).

    Attributes:
        step_size: Of every variable that ``sizes`` does not name.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: Added to the denominator.
        signed: Use the sign of the gradient (Geiping et al., 2020).
        sizes: Step sizes of single variables by name.
    """

    step_size: float
    beta1: float = 0.8
    beta2: float = 0.9
    eps: float = 1e-8
    signed: bool = False
    sizes: Mapping[str, float] = field(default_factory=dict)

    def start(self, variables: Named) -> dict[str, Tensor]:
        """As :meth:`Rule.start`."""
        return {f"{kind}.{name}": torch.zeros_like(x) for kind in MOMENTS for name, x in variables.items()}

    def update(
        self, variables: Named, grads: Named, memory: Named, step: int, factor: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As :meth:`Rule.update`."""
        moved: dict[str, Tensor] = {}
        moments: dict[str, Tensor] = {}
        for name, x in variables.items():
            grad = grads[name].sign() if self.signed else grads[name]
            mean = self.beta1 * memory[f"mean.{name}"] + (1 - self.beta1) * grad
            square = self.beta2 * memory[f"square.{name}"] + (1 - self.beta2) * grad * grad
            corrected = mean / (1 - self.beta1 ** (step + 1))
            scale = (square / (1 - self.beta2 ** (step + 1))).sqrt() + self.eps
            moved[name] = x - self.sizes.get(name, self.step_size) * factor * corrected / scale
            moments |= {f"mean.{name}": mean, f"square.{name}": square}
        return moved, moments


@dataclass(frozen=True)
class Momentum:
    """Gradient descent with heavy-ball momentum, as :class:`torch.optim.SGD`.

    Attributes:
        step_size: Of every variable that ``sizes`` does not name.
        momentum: In [0, 1).
        sizes: Step sizes of single variables by name.
    """

    step_size: float
    momentum: float = 0.9
    sizes: Mapping[str, float] = field(default_factory=dict)

    def start(self, variables: Named) -> dict[str, Tensor]:
        """As :meth:`Rule.start`."""
        return {f"mean.{name}": torch.zeros_like(x) for name, x in variables.items()}

    def update(
        self, variables: Named, grads: Named, memory: Named, step: int, factor: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As :meth:`Rule.update`."""
        moments = {f"mean.{name}": self.momentum * memory[f"mean.{name}"] + grads[name] for name in variables}
        moved = {
            name: x - self.sizes.get(name, self.step_size) * factor * moments[f"mean.{name}"]
            for name, x in variables.items()
        }
        return moved, moments


@dataclass(frozen=True)
class Split:
    """One optimiser per variable.

    Attributes:
        rules: By the name of the variable.
    """

    rules: Mapping[str, Rule]

    def start(self, variables: Named) -> dict[str, Tensor]:
        """As :meth:`Rule.start`."""
        parts = [self.rules[name].start({name: x}) for name, x in variables.items()]
        return {name: moment for part in parts for name, moment in part.items()}

    def update(
        self, variables: Named, grads: Named, memory: Named, step: int, factor: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As :meth:`Rule.update`."""
        moved: dict[str, Tensor] = {}
        moments: dict[str, Tensor] = {}
        for name, x in variables.items():
            after, moment = self.rules[name].update({name: x}, grads, memory, step, factor)
            moved |= after
            moments |= moment
        return moved, moments


def warmup_cosine(step: int, total: int, warmup: int) -> float:
    """Return the schedule value in [0, 1]: a linear rise over ``warmup`` steps times one half cosine over ``total``."""
    return min(1.0, (step + 1) / max(warmup, 1)) * 0.5 * (1 + math.cos(math.pi * min(step / max(total, 1), 1.0)))


def stepped(step: int, total: int) -> float:
    """Return the schedule value in [0, 1]: a tenth at 3/8, 5/8 and 7/8 of ``total`` each (Geiping et al., 2020)."""
    return 0.1 ** sum(step >= share * total for share in (3 / 8, 5 / 8, 7 / 8))
