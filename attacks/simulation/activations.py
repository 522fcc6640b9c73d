"""ReLUs whose derivative is smooth, for an attack's own copy of the network; the victim's training is never changed.

Gradient matching differentiates a network's gradient by its inputs. Through exact ReLUs that derivative misses how
the inputs switch units on and off. Haim et al. (2022, appendix) keep the forward pass and smooth the derivative; Loo
et al. (2024) replace the forward pass by a softplus.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import relu, relu_, softplus
from torch.overrides import TorchFunctionMode

RELUS = frozenset({torch.relu, torch.relu_, relu, relu_, Tensor.relu, Tensor.relu_})
"""What a network may call for a ReLU."""

Activation = Callable[[Tensor], Tensor]


def smooth_backward(alpha: float) -> Activation:
    """Return the exact ReLU whose derivative is ``sigmoid(alpha x)`` (Haim et al., 2022, appendix B)."""

    def activation(x: Tensor) -> Tensor:
        smooth = softplus(x, beta=alpha, threshold=30.0)
        return torch.relu(x).detach() + (smooth - smooth.detach())

    return activation


def eased(width: float) -> Activation:
    """Return the exact ReLU whose derivative rises smoothly, over ``width`` standard deviations of what enters it."""

    def activation(x: Tensor) -> Tensor:
        beta = 1 / (width * float(x.detach().std()) + 1e-30)
        smooth = softplus(x * beta, threshold=30.0) / beta
        return torch.relu(x).detach() + (smooth - smooth.detach())

    return activation


def soft(beta: float) -> Activation:
    """Return ``log(1 + exp(beta x)) / beta`` (Loo et al., 2024, appendix)."""
    return lambda x: softplus(x, beta=beta, threshold=30.0)


class _Replaced(TorchFunctionMode):
    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func not in RELUS:
            return func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunction():
            return self.activation(args[0])


@contextlib.contextmanager
def activations(activation: Activation | None) -> Iterator[None]:
    """Compute every ReLU of the networks that run inside as ``activation``; ``None`` leaves them exact.

    Covers modules, functions and methods alike. Not the units that are written as ``clamp`` or ``maximum``.
    """
    if activation is None:
        yield
        return
    with _Replaced(activation):
        yield
