"""L-BFGS as a pure function of tensors: :class:`torch.optim.LBFGS` whose memory lives in the caller's state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .optim import Named

LISTS = ("old_dirs", "old_stps", "ro")
"""What torch keeps as lists of tensors of one shape."""

NUMBERS = ("n_iter", "t", "H_diag")
"""What torch keeps as numbers or tensors of one number, and reads again."""


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS with a line search for the strong Wolfe conditions (Liu and Nocedal, 1989).

    Attributes:
        step_size: First step of every line search.
        inner: Iterations that one call takes.
        history: Most pairs of steps and gradient changes that are remembered.
    """

    step_size: float = 1.0
    inner: int = 20
    history: int = 100

    def update(
        self, variables: Named, memory: Named, objective: Callable[[Named], Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the variables after ``inner`` iterations and the new memory; the arguments are left untouched.

        Args:
            variables: Any tensors by name.
            memory: Empty, or what the last call returned; may hold more.
            objective: A scalar function of the variables. Its changes count only above 1e-10.
        """
        leaves = {name: value.detach().clone().requires_grad_() for name, value in sorted(variables.items())}
        first, *_ = values = list(leaves.values())
        optimizer = torch.optim.LBFGS(
            values,
            lr=self.step_size,
            max_iter=self.inner,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            history_size=self.history,
            line_search_fn="strong_wolfe",
        )
        optimizer.state[first].update(_unpacked(memory))

        def closure() -> float:
            loss = objective(leaves)
            for leaf, grad in zip(values, torch.autograd.grad(loss, values, materialize_grads=True), strict=True):
                leaf.grad = grad.contiguous()  # torch flattens it by view
            return loss.item()

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        return {name: leaf.detach() for name, leaf in leaves.items()}, _packed(optimizer.state[first], first)


def _packed(state: Mapping[str, Any], like: Tensor) -> dict[str, Tensor]:
    packed = {name: torch.stack(state[name]) for name in LISTS if state.get(name)}
    packed |= {name: state[name] for name in ("d", "prev_flat_grad") if name in state}
    # In double precision, which holds every number of torch's exactly.
    packed |= {name: like.new_tensor(float(state[name]), dtype=torch.float64) for name in NUMBERS if name in state}
    return {f"lbfgs.{name}": value for name, value in packed.items()}


def _unpacked(memory: Named) -> dict[str, Any]:
    kept = {name.removeprefix("lbfgs."): value for name, value in memory.items() if name.startswith("lbfgs.")}
    state: dict[str, Any] = {name: value.clone() for name, value in kept.items()}
    if "d" in kept:
        state |= {name: list(kept[name]) if name in kept else [] for name in LISTS}
    return state | {name: float(kept[name]) for name in NUMBERS if name in kept}
