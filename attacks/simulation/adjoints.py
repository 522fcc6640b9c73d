"""How a chain of steps is differentiated: interchangeable objects around any pure step function.

``run(step, state, inputs)`` folds ``step(state, input) -> state`` over ``inputs``. States and inputs are tuples
of tensors. All adjoints return the same values and the same gradients with respect to every input tensor (and to
the first state); they differ in memory and time. ``step`` must be pure, and must be differentiable when called
with gradients enabled.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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


@runtime_checkable
class Factored(Protocol):
    """A step that knows its parts: a gradient of a loss over samples, and an update."""

    def __call__(self, state: Tensors, item: Tensors) -> Tensors:
        """Return the state after the step."""
        ...

    def split(self, samples: int) -> "Factored":
        """Return the same step, computed this many samples at a time where its loss separates over them."""
        ...

    def pull_back(
        self, state: Tensors, item: Tensors, bars: Tensors, need: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        """Do what :func:`reverse` does, forward over reverse. Raises NotImplementedError where that is not possible."""
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


@dataclass(frozen=True)
class Segmented:
    """Keep the states between segments only; in the backward pass go through one segment, one step, at a time.

    Memory: the kept states, those of one segment, and what one step needs, whatever the number of steps. Time: one
    more evaluation of every step, and another one where a segment is longer than a step. Exact; the
    square root of the number of steps is that of Chen et al., 2016, section 3.

    Attributes:
        length: Steps per segment; 0 for the square root of their number, which keeps the fewest states.
        forward: Differentiate a step forward over reverse where it can (:class:`Factored`), without a double-backward
            graph; a step that cannot is differentiated as otherwise.
        host: Keep the states of a CUDA device in pinned host memory.
        samples: Samples of a step that are computed at a time; 0 for all. Needs ``forward`` and a step that can.
    """

    length: int = 0
    forward: bool = False
    host: bool = False
    samples: int = 0

    def run(self, step: Step, state: Tensors, inputs: Sequence[Tensors]) -> Tensors:
        """Return the state after one step for each of ``inputs``."""
        if self.samples and isinstance(step, Factored):
            step = step.split(self.samples)
        flat = [tensor for item in inputs for tensor in item]
        result: Tensors = _Chain.apply(self, step, len(state), len(inputs), *state, *flat)
        return result

    def span(self, count: int) -> int:
        """Return the steps of a segment in a chain of ``count``."""
        return self.length or max(math.isqrt(count), 1)

    def pull_back(
        self, step: Step, state: Tensors, item: Tensors, bars: Tensors, need: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients with respect to the state and the input of one step, ``None`` where not needed.

        Args:
            step: What is differentiated.
            state: Before the step.
            item: The step's input.
            bars: Gradients with respect to the state after it.
            need: Whether each tensor of ``state`` and ``item`` needs its gradient.
        """
        if self.forward and isinstance(step, Factored):
            with contextlib.suppress(NotImplementedError):  # an operation without a forward derivative
                return step.pull_back(state, item, bars, need)
        return reverse(step, state, item, bars, need)


class Stepwise(Segmented):
    """Keep the states between all steps; rebuild one step's graph at a time in the backward pass."""

    def __init__(self, *, forward: bool = False, host: bool = False) -> None:
        super().__init__(length=1, forward=forward, host=host)


class _Chain(torch.autograd.Function):
    """The chain as one node of the outer graph; tensors are the first state followed by the inputs of each step."""

    @staticmethod
    def forward(ctx: Any, rule: Segmented, step: Step, width: int, count: int, *tensors: Tensor) -> Tensors:
        state, kept = tensors[:width], []
        for number, item in enumerate(_split(tensors[width:], count)):
            if number % rule.span(count) == 0:
                kept.append(_to_host(state) if rule.host else state)
            state = step(state, item)
        ctx.rule, ctx.step, ctx.width, ctx.count, ctx.kept = rule, step, width, count, kept
        ctx.device = tensors[0].device
        ctx.save_for_backward(*tensors[width:])
        return tuple(value.clone() for value in state) if count == 0 else state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *bars: Tensor | None) -> tuple[Any, ...]:
        rule, step, count = ctx.rule, ctx.step, ctx.count
        inputs, need = _split(ctx.saved_tensors, count), ctx.needs_input_grad[4:]
        first, needed = need[: ctx.width], _split(need[ctx.width :], count)
        found: list[tuple[Tensor | None, ...]] = []
        for start in reversed(range(0, count, rule.span(count))):
            states = [tuple(value.to(ctx.device, non_blocking=True) for value in ctx.kept.pop())]
            segment = range(start, min(start + rule.span(count), count))
            for number in segment[:-1]:
                states.append(step(states[-1], inputs[number]))
            for number in reversed(segment):
                wanted = (*(first if number == 0 else [True] * ctx.width), *needed[number])
                both = rule.pull_back(step, states.pop(), inputs[number], bars, wanted)
                bars = both[: ctx.width]
                found.append(both[ctx.width :])
        return (None, None, None, None, *bars, *(bar for item_bars in reversed(found) for bar in item_bars))


def _to_host(state: Tensors) -> Tensors:
    """Return a copy in pinned memory, made without waiting for the device; on the CPU the state itself."""
    if state[0].device.type == "cpu":
        return state
    copies = (torch.empty_like(value, device="cpu", pin_memory=True) for value in state)
    return tuple(copy.copy_(value, non_blocking=True) for copy, value in zip(copies, state, strict=True))


def _split(flat: Sequence[Any], count: int) -> list[tuple[Any, ...]]:
    size = len(flat) // max(count, 1)
    return [tuple(flat[i * size : (i + 1) * size]) for i in range(count)]


def reverse(
    step: Step, state: Tensors, item: Tensors, bars: Tensors, need: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Vector-Jacobian product of one step by autograd: its graph is built, used and dropped here.

    Arguments and result are those of :meth:`Segmented.pull_back`.
    """
    with torch.enable_grad():
        leaves = [value.detach().requires_grad_(wanted) for value, wanted in zip((*state, *item), need, strict=True)]
        after = step(tuple(leaves[: len(state)]), tuple(leaves[len(state) :]))
        outputs = [(out, bar) for out, bar in zip(after, bars, strict=True) if out.requires_grad]
        del after
    return pulled(outputs, leaves)


def pulled(outputs: Sequence[tuple[Tensor, Tensor]], leaves: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """Return the gradients of (output, gradient) pairs with respect to those ``leaves`` that require one."""
    wanted = [value for value in leaves if value.requires_grad]
    grads: list[Tensor | None] = [None] * len(wanted)
    if wanted and outputs:
        outs, out_bars = zip(*outputs, strict=True)
        grads = list(torch.autograd.grad(outs, wanted, out_bars, materialize_grads=True))
    found = iter(grads)
    return tuple(next(found) if value.requires_grad else None for value in leaves)


ADJOINTS: dict[str, Adjoint] = {
    "full": FullGraph(),
    "stepwise": Stepwise(),
    "forward": Stepwise(forward=True),
    "host": Stepwise(forward=True, host=True),
    "segmented": Segmented(forward=True),
    "smallest": Segmented(forward=True, host=True, samples=1),
}
"""The adjoints by the name that an attack's ``adjoint`` option takes, the fastest first, the smallest last."""
