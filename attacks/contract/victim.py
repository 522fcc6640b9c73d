"""What is attacked: a network before and after training, and the units of its inputs."""

from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.func import functional_call

from .params import Params


@dataclass(frozen=True)
class Normalisation:
    """Per-channel affine map between pixels in [0, 1] and what the network sees; the only place where units change.

    Attributes:
        mean: One number per channel, or a single number for any count of channels.
        std: As ``mean``; positive.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def _columns(self, like: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, 1, 1)
        return like.new_tensor(self.mean).view(shape), like.new_tensor(self.std).view(shape)

    def to_pixels(self, x: Tensor) -> Tensor:
        """Map network inputs (n, c, h, w) to pixels (n, c, h, w), not clamped."""
        mean, std = self._columns(x)
        return x * std + mean

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """Map pixels (n, c, h, w) in [0, 1] to network inputs (n, c, h, w)."""
        mean, std = self._columns(pixels)
        return (pixels - mean) / std


@dataclass(frozen=True)
class Victim:
    """A network before and after training, and all that an attacker knows of it.

    Attributes:
        module: The architecture without weights (its own tensors may live on the meta device), in eval mode.
        theta0: Trainable parameters before training; those that did not move are in ``buffers``.
        thetaf: The same names after training.
        buffers: Frozen parameters and buffers (batch-norm statistics), as before training.
        running: Batch-norm running statistics after training, by name; empty where none moved.
        masked: Names of ``theta0`` whose change is mostly rounding noise: simulated, but not compared.
        shape: (c, h, w) of one input image.
        classes: Number of logits k; one for a binary classifier with the logistic loss.
        normalisation: Pixels to network inputs.
    """

    module: nn.Module
    theta0: Params
    thetaf: Params
    buffers: Params
    shape: tuple[int, int, int]
    classes: int
    normalisation: Normalisation = Normalisation()
    running: Params = field(default_factory=dict)
    masked: frozenset[str] = frozenset()
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
        """Return logits (b, k) of normalised images ``x`` (b, c, h, w) under trainable parameters ``params``.

        Also of a network that squeezes its only logit away.
        """
        result: Tensor = functional_call(self.module, {**self.buffers, **params}, (x,))
        return result.reshape(-1, 1) if result.ndim < 2 else result

    def change(self, final: Params) -> dict[str, Tensor]:
        """Return ``final - theta0`` for every parameter that is compared; ``final`` may hold more."""
        return {name: final[name] - value for name, value in self.theta0.items() if name not in self.masked}
