"""Batch norm in train mode: the batch's own statistics in the network, and the running statistics as a pure state."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..contract.victim import Victim
from .adjoints import Tensors

Seen = dict[str, tuple[Tensor, Tensor, int]]
"""Mean (c,), unbiased variance (c,) and count of the values that reached each batch-norm layer, by its name."""


def layers(module: nn.Module) -> dict[str, _BatchNorm]:
    """Return the batch-norm layers that keep running statistics, by their name in the module."""
    found = ((name, layer) for name, layer in module.named_modules() if isinstance(layer, _BatchNorm))
    return {name: layer for name, layer in found if layer.running_mean is not None}


def statistics(module: nn.Module) -> list[str]:
    """Return the state-dict names of all running means and variances, layer by layer."""
    return [f"{name}.{kind}".lstrip(".") for name in layers(module) for kind in ("running_mean", "running_var")]


@contextmanager
def train_mode(module: nn.Module) -> Iterator[Seen]:
    """Let the batch-norm layers of ``module`` normalise with the batch, and collect what they saw.

    Buffers are not touched; everything else (dropout) stays in eval mode. A layer that is used twice in a forward
    pass is seen as its last use.
    """
    found, seen, undo = layers(module), Seen(), []
    for name, layer in found.items():
        undo.append(layer.register_forward_pre_hook(_watch(name, seen)).remove)
        layer.training, layer.track_running_stats = True, False  # so that the layer leaves its buffers alone
    try:
        yield seen
    finally:
        for remove in undo:
            remove()
        for layer in found.values():
            layer.training, layer.track_running_stats = False, True


@contextmanager
def stretched(module: nn.Module, times: float) -> Iterator[None]:
    """Let the running statistics of ``module`` forget in one step what they forget in so many, at least 1.

    A cumulative average stays what it is: it is that of fewer steps.
    """
    found = [(layer, layer.momentum) for layer in layers(module).values()]
    for layer, share in found:
        layer.momentum = None if share is None else 1 - (1 - share) ** times
    try:
        yield
    finally:
        for layer, share in found:
            layer.momentum = share


def _watch(name: str, seen: Seen):  # type: ignore[no-untyped-def]
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        count = x.numel() // x.shape[1]
        # Of a single value there is no unbiased variance; the layer itself refuses it.
        variance, mean = torch.var_mean(x, dim=[0, *range(2, x.dim())], correction=min(1, count - 1))
        seen[name] = mean, variance, count

    return hook


def as_buffers(seen: Seen) -> dict[str, Tensor]:
    """Return running statistics, by name in the state dict, that normalise as the batch itself did."""
    found: dict[str, Tensor] = {}
    for name, (mean, variance, count) in seen.items():
        found[f"{name}.running_mean".lstrip(".")] = mean
        found[f"{name}.running_var".lstrip(".")] = variance * (count - 1) / count
    return found


def advance(victim: Victim, running: Tensors, seen: Seen, step: int) -> Tensors:
    """Return the running statistics after one batch, in the order of :func:`statistics`.

    Args:
        victim: Its layers' momentum, and the counters before training, are used.
        running: The statistics before.
        seen: What the batch showed; a layer that was not reached keeps its statistics.
        step: Steps taken before this one.
    """
    moved: list[Tensor] = []
    for index, (name, layer) in enumerate(layers(victim.module).items()):
        old = running[2 * index : 2 * index + 2]
        share = layer.momentum
        if share is None:  # a cumulative average
            share = 1 / (int(victim.buffers[f"{name}.num_batches_tracked".lstrip(".")]) + step + 1)
        moved += [torch.lerp(a, b, share) for a, b in zip(old, seen[name][:2], strict=True)] if name in seen else old
    return tuple(moved)
