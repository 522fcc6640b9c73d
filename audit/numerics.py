"""How every process of a scan computes: same machine, same numbers."""

import contextlib
from collections.abc import Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextlib.contextmanager
def exact_numerics() -> Iterator[None]:
    """Same machine, same numbers, full precision; attention in the form that can be differentiated twice."""
    torch.set_flush_denormal(True)
    convolutions = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with convolutions, sdpa_kernel(SDPBackend.MATH):
        yield
