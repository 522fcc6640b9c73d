"""What is attacked: a network before and after training, and what records its inputs stand for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.func import functional_call

from .medium import Medium
from .params import Params


@dataclass(frozen=True)
class Entry:
    """Where the batch enters a network whose own input is something else, such as the numbers of tokens.

    Attributes:
        path: Name of a module.
        front: (1, ...) what the network itself is fed meanwhile.
        behind: The batch replaces what the module returns, and ``front`` is repeated for every sample of it. Otherwise
            it replaces what the module is given, and what lies before only runs, once.
    """

    path: str
    front: Tensor
    behind: bool = True

    @contextmanager
    def opened(self, network: nn.Module, x: Tensor) -> Iterator[Tensor]:
        """Let a batch (b, ...) enter inside the ``with`` block; give what ``network`` is to be fed."""
        module = network.get_submodule(self.path)
        if self.behind:
            hook = module.register_forward_hook(lambda *_: x)
        else:
            hook = module.register_forward_pre_hook(lambda *_: (x,))
        try:
            yield self.front.expand(len(x), *self.front.shape[1:]) if self.behind else self.front
        finally:
            hook.remove()


@dataclass(frozen=True)
class Victim:
    """A network before and after training, and all that an attacker knows about it.

    Attributes:
        module: The architecture without weights (its own tensors may live on the meta device), in eval mode.
        theta0: Trainable parameters before training; those that did not move are in ``buffers``.
        thetaf: The same names after training.
        buffers: Frozen parameters and buffers (batch-norm statistics), as before training.
        shape: Of one input, such as (c, h, w) of an image.
        classes: Number of logits k; one for a binary classifier with the logistic loss.
        medium: What records the inputs stand for.
        running: Batch-norm running statistics after training, by name; empty where none moved.
        masked: Names of ``theta0`` whose change is mostly rounding noise, or unknown: simulated, but not compared.
        guessed: Those of ``masked`` whose start is unknown: in ``theta0`` they have their end.
        entry: Where the inputs enter; ``None`` where they are what the network itself is fed.
    """

    module: nn.Module
    theta0: Params
    thetaf: Params
    buffers: Params
    shape: tuple[int, ...]
    classes: int
    medium: Medium
    running: Params = field(default_factory=dict)
    masked: frozenset[str] = frozenset()
    guessed: frozenset[str] = frozenset()
    entry: Entry | None = None
    delta: Params = field(init=False)
    """``thetaf - theta0`` without what is masked: what every attack explains."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", self.change(self.thetaf))

    @property
    def like(self) -> Tensor:
        """Any parameter: its device and dtype are those of all tensors of this victim."""
        return next(iter(self.theta0.values()))

    @property
    def categories(self) -> int:
        """How many values a label takes: k, and two where there is one logit."""
        return max(self.classes, 2)

    def logits(self, params: Params, x: Tensor) -> Tensor:
        """Return logits (b, k) of inputs ``x`` (b, *shape) under trainable parameters ``params``.

        Also of a network that squeezes its only logit away.
        """
        if self.entry is None:
            return self._called(params, x)
        with self.entry.opened(self.module, x) as fed:
            return self._called(params, fed)

    def _called(self, params: Params, fed: Tensor) -> Tensor:
        result: Tensor = functional_call(self.module, {**self.buffers, **params}, (fed,))
        return result.reshape(-1, 1) if result.ndim < 2 else result

    def change(self, final: Params) -> dict[str, Tensor]:
        """Return ``final - theta0`` for every parameter that is compared; ``final`` may hold more."""
        return {name: final[name] - value for name, value in self.theta0.items() if name not in self.masked}
