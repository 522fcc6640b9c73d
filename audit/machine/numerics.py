"""How every process of a scan computes: same machine, same numbers."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextlib.contextmanager
def exact_numerics(tf32: bool = False) -> Iterator[None]:
    """Same machine, same numbers, full precision; attention in the form that can be differentiated twice.

    Args:
        tf32: Whether matrix products and convolutions on a CUDA device may round their factors to TF32 after all.
    """
    torch.set_flush_denormal(True)
    cudnn: Any = torch.backends.cudnn
    precision = "tf32" if tf32 else "ieee"
    with contextlib.ExitStack() as held:
        held.enter_context(_set(cudnn, enabled=True, benchmark=False, deterministic=True))
        for part in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn):  # never allow_tf32: torch refuses a mixture
            held.enter_context(_set(part, fp32_precision=precision))
        held.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield


@contextlib.contextmanager
def _set(owner: Any, **values: Any) -> Iterator[None]:
    """Give attributes other values for a while."""
    before = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
