"""How a chain of steps is differentiated: interchangeable objects around any pure step function.

``run(step, state, inputs)`` folds ``step(state, input) -> state`` over ``inputs``. States and inputs are tuples
of tensors. All adjoints return the same values and the same gradients with respect to every input tensor (and to
the first state); they differ in memory and time. ``step`` must be pure, and must be differentiable when called
with gradients enabled.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Tensors = tuple[Tensor, ...]
Step = Callable[[Tensors, Tensors], Tensors]


class Adjoint(Protocol):
    """A rule for differentiating a chain of steps."""

    def run(self, step: Step, state: Tensors, inputs: Sequence[Tensors]) -> Tensors:
        """Return the state after one step for each of ``inputs``."""
        ...


class FullGraph:
    """Let autograd keep the graph of all steps (SimuDy, Algorithm 1 as published).

    Fastest where it fits; memory grows with the number of steps times parameters and activations.
    """

    def run(self, step: Step, state: Tensors, inputs: Sequence[Tensors]) -> Tensors:
        """Return the state after one step for each of ``inputs``."""
        for item in inputs:
            state = step(state, item)
        return state


class Stepwise:
    """Keep only the states between steps; rebuild one step's graph at a time in the backward pass.

    Memory: one state a step (one parameter copy for plain SGD) plus the graph of a single step, whatever the number
    of steps. Time: one more evaluation of every step. Exact (design notes, section 13.1).
    """

    def run(self, step: Step, state: Tensors, inputs: Sequence[Tensors]) -> Tensors:
        """Return the state after one step for each of ``inputs``."""
        flat = [tensor for item in inputs for tensor in item]
        result: Tensors = _Chain.apply(step, len(state), len(inputs), *state, *flat)
        return result


class _Chain(torch.autograd.Function):
    """The chain as one node of the outer graph; tensors are the first state followed by the inputs of each step."""

    @staticmethod
    def forward(ctx: Any, step: Step, width: int, count: int, *tensors: Tensor) -> Tensors:
        state = tensors[:width]
        trajectory = []
        for item in _split(tensors[width:], count):
            trajectory.append(state)
            state = step(state, item)
        ctx.step, ctx.width, ctx.trajectory = step, width, trajectory
        ctx.save_for_backward(*tensors[width:])
        return tuple(value.clone() for value in state) if count == 0 else state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *bars: Tensor) -> tuple[Any, ...]:
        inputs = _split(ctx.saved_tensors, len(ctx.trajectory))
        needed = _split(ctx.needs_input_grad[3 + ctx.width :], len(ctx.trajectory))
        input_bars: list[tuple[Tensor | None, ...]] = []
        for item, need in zip(reversed(inputs), reversed(needed), strict=True):
            first = not ctx.trajectory[1:]
            need_state = ctx.needs_input_grad[3] if first else True
            bars, item_bars = _pull_back(ctx.step, ctx.trajectory.pop(), item, bars, need_state, need)
            input_bars.append(item_bars)
        return (None, None, None, *bars, *(bar for item_bars in reversed(input_bars) for bar in item_bars))


def _split(flat: Sequence[Any], count: int) -> list[tuple[Any, ...]]:
    size = len(flat) // max(count, 1)
    return [tuple(flat[i * size : (i + 1) * size]) for i in range(count)]


def _pull_back(
    step: Step, state: Tensors, item: Tensors, bars: Tensors, need_state: bool, need: Sequence[bool]
) -> tuple[Tensors, tuple[Tensor | None, ...]]:
    """Vector-Jacobian product of one step: its graph is built, used and dropped here."""
    with torch.enable_grad():
        state = tuple(value.detach().requires_grad_(need_state) for value in state)
        item = tuple(value.detach().requires_grad_(wanted) for value, wanted in zip(item, need, strict=True))
        wanted = [value for value in (*state, *item) if value.requires_grad]
        outputs = [(out, bar) for out, bar in zip(step(state, item), bars, strict=True) if out.requires_grad]
    grads: list[Tensor | None] = [None] * len(wanted)
    if wanted and outputs:
        outs, out_bars = zip(*outputs, strict=True)
        grads = list(torch.autograd.grad(outs, wanted, out_bars, materialize_grads=True))
    found = iter(grads)
    all_bars = tuple(next(found) if value.requires_grad else None for value in (*state, *item))
    return all_bars[: len(state)], all_bars[len(state) :]  # type: ignore[return-value]


ADJOINTS: dict[str, Adjoint] = {"full": FullGraph(), "stepwise": Stepwise()}
"""The adjoints by the name that an attack's ``adjoint`` option takes."""


def saved_bytes(step: Step, state: Tensors, item: Tensors) -> int:
    """Return how many bytes autograd keeps for the graph of one step, each storage counted once."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = step(state, item)
    del result
    return sum(storages.values())


def choose(step: Step, state: Tensors, inputs: Sequence[Tensors], limit: int) -> str:
    """Return the fastest adjoint whose predicted memory is within ``limit`` bytes: ``full``, else ``stepwise``."""
    if not inputs or len(inputs) * saved_bytes(step, state, inputs[0]) <= limit:
        return "full"
    return "stepwise"
