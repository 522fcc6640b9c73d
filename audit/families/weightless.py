"""Networks of libraries, built without weights, and computed so that they can be differentiated twice."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from ...attacks.contract.params import Params

_STRANGE = 8
"""Shapes that a checkpoint may lack of its own network: of a head that was replaced, and of the first layer."""


class Unlike(Exception):
    """A network that is being built has other shapes than the checkpoint."""


class _Empty(TorchFunctionMode):
    """Memory that is not initialised is not allocated either; constants, such as an index, are computed.

    Args:
        shapes: Those of a checkpoint; building ends with :class:`Unlike` at the ninth other one. None for any.
    """

    def __init__(self, shapes: Collection[tuple[int, ...]] | None = None) -> None:
        super().__init__()
        self.shapes = shapes
        self.strange: set[tuple[int, ...]] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is not torch.empty:
            return func(*args, **given)
        made = func(*args, **{**given, "device": "meta"})
        if self.shapes is not None and tuple(made.shape) not in self.shapes:
            self.strange.add(tuple(made.shape))
            if len(self.strange) > _STRANGE:
                raise Unlike
        return made


def sketch(make: Callable[[], nn.Module], tensors: Params) -> nn.Module | None:
    """Return what ``make`` builds, on the meta device, to compare names and shapes: it need not compute.

    None as soon as its shapes are seen to be others than those of ``tensors``.
    """
    try:
        with _Empty({tuple(value.shape) for value in tensors.values()}):
            return make()
    except Unlike:
        return None


def weightless(make: Callable[[], nn.Module]) -> nn.Module:
    """Return what ``make`` builds, in eval mode, with its state dict on the meta device.

    Buffers that are no part of the state dict are computed as ever: no checkpoint holds them. Where a network computes
    them from its weights' device, it is built with weights, which are then dropped.
    """
    with _Empty():
        module = make()
    if any(value.is_meta for part in module.modules() for _, value in constants(part)):
        module = make()
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None and not value.is_meta:
                part._parameters[name] = nn.Parameter(value.to("meta"), value.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None and name not in part._non_persistent_buffers_set:
                part._buffers[name] = buffer.to("meta")
    return module.eval()


def constants(part: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the buffers of a module, without those of its parts, that no state dict holds."""
    for name in part._non_persistent_buffers_set:
        value = part._buffers[name]
        if value is not None:
            yield name, value


class Smooth(nn.Module):
    """A library's network without what has no second derivative; what it returns are the logits.

    Args:
        net: Takes images (b, c, h, w); returns logits (b, k), or an object that has them as ``logits``.
        filed: Names of tensors in files, by those in ``net``, where the library saves them under other ones.
    """

    def __init__(self, net: nn.Module, filed: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.net = net.eval()
        self.filed = {f"net.{name}": other for name, other in (filed or {}).items()}
        for part in list(net.modules()):
            if getattr(part, "inplace", False) is True:
                part.inplace = False  # type: ignore[assignment]  # an activation's own switch
            for name, child in part.named_children():
                if isinstance(child, nn.Hardsigmoid):
                    part.add_module(name, Gate())

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, k) of images (b, c, h, w)."""
        self._follow(x)
        with _plain_attention():
            result = self.net(x)
        logits: Tensor = result if isinstance(result, Tensor) else result.logits
        return logits

    def _follow(self, x: Tensor) -> None:
        """Move constants, which no state dict holds, to where the images are."""
        for part in self.net.modules():
            for name, value in list(constants(part)):
                part._buffers[name] = value.to(x) if value.is_floating_point() else value.to(x.device)


class Gate(nn.Module):
    """The hard sigmoid: torch's own has no second derivative."""

    def forward(self, x: Tensor) -> Tensor:
        """Return min(max(x + 3, 0), 6) / 6."""
        return nn.functional.relu6(x + 3) / 6


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Let attention be computed from matrix products: the fused forms have no second derivative."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
