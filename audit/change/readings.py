"""A checkpoint pair and all that is measured in it, each measurement made once and only if it is asked for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from ... import MemauditError
from ...attacks.contract.victim import Victim
from ...attacks.firstlayer.subspace import first_layer
from ...attacks.layers.spectrum import Spectrum, spectrum
from ..checkpoints.pair import CheckpointPair
from ..families.base import Architecture, tensor_names
from .lowrank import may_be_merged
from .movement import Signal, signals
from .optimizer import (
    SURELY,
    UNLIKE,
    UNSETTLED,
    Decay,
    HeadSum,
    Sizes,
    agreed,
    head_decay,
    head_sum,
    sizes,
    still_decay,
)

STATISTICS = ("running_mean", "running_var")
"""Last parts of the names of batch norm's running statistics, which are not parameters."""

MERGED = 0.3
"""Log-odds of an optimiser that the sizes of a merged adapter's change give at most, either way."""

FEWEST = 3
"""Units and inputs, at least, of a layer whose rank shows anything."""


@dataclass(frozen=True)
class Readings:
    """A pair and what was measured in it; every measurement is made once, when it is first asked for.

    Attributes:
        pair: The checkpoints before and after training.
        architecture: The network, if it was recognised.
        make: Puts the pair into that network, on the CPU.
    """

    pair: CheckpointPair
    architecture: Architecture | None
    make: Callable[[], Victim] | None

    @cached_property
    def signals(self) -> list[Signal]:
        """All floating tensors whose start is known."""
        return [signal for signal in signals(self.pair) if signal.name not in self.pair.fresh]

    @cached_property
    def parameters(self) -> list[Signal]:
        """The floating tensors that are not running statistics."""
        return [signal for signal in self.signals if not signal.name.endswith(STATISTICS)]

    @cached_property
    def sizes(self) -> Sizes | None:
        """How alike the changes are."""
        return sizes(self.parameters)

    @cached_property
    def head(self) -> HeadSum | None:
        """How well the rows of the classifier head cancel."""
        return head_sum(self.parameters, self.architecture.classes if self.architecture else None)

    @cached_property
    def decays(self) -> list[Decay]:
        """Measurements of weight decay that do not need the first layer's rank."""
        return [decay for decay in (head_decay(self.head), still_decay(self.parameters)) if decay]

    @cached_property
    def suspicion(self) -> float | None:
        """Log-odds of Adam against SGD before the first layer is looked at; ``None`` if all weights are in rounding."""
        if self.sizes is None or self.head is None:
            return self.sizes.odds if self.sizes else None
        if self.head.holds or (self.head.sure and not self.head.broken):
            return self.sizes.odds + self.head.odds
        alike = self.sizes.spread <= UNLIKE
        sizes = max(self.sizes.odds, UNSETTLED) if alike else self.sizes.odds
        return sizes + (SURELY if alike and self.head.apart else self.head.odds)

    @cached_property
    def merged(self) -> bool:
        """Whether the change may be that of an adapter merged into the weights."""
        return not self.pair.lora and may_be_merged(self.parameters)

    @cached_property
    def odds(self) -> float | None:
        """The same with the first layer: a low rank speaks for SGD, a rank of one for neither.

        Of a merged adapter, only a head whose rows cancel tells.
        """
        if self.suspicion is None:
            return None
        if self.merged:
            holds = self.head is not None and self.head.holds
            return self.suspicion if holds else max(min(self.suspicion, MERGED), -MERGED)
        low = self.spectrum is not None and 2 <= self.spectrum.edge.rank <= self.spectrum.live / 2
        return self.suspicion - 2.0 * low

    @property
    def is_sgd(self) -> bool:
        """Whether SGD is likely enough to read more from it."""
        return self.odds is not None and self.odds < -1.4

    @cached_property
    def first(self) -> Signal | None:
        """The weight of the linear layer that raw images feed."""
        name = _first_linear(self)
        return next((s for s in self.parameters if s.name == name and s.before.ndim == 2), None)

    @cached_property
    def spectrum(self) -> Spectrum | None:
        """What the first layer's change shows, where its rank ends at rounding; not read if Adam is all but certain."""
        first = self.first
        if self.suspicion is None or self.suspicion > 3 or first is None or not first.fine or first.status != "moved":
            return None
        if min(first.before.shape) < FEWEST:
            return None
        name = f"{first.name.removesuffix('weight')}bias"
        biases = [s for s in self.parameters if s.name == name and s.before.shape == first.before.shape[:1]]
        known = min(self.decays, key=lambda decay: decay.spread, default=None)
        try:
            found = spectrum(
                (first.before, first.after),
                first.noise,
                (biases[0].before, biases[0].after) if biases else None,
                known=known.factor if known else 1.0,
                balanced=self.architecture is not None and len(first.before) == self.architecture.classes,
                sketch=True,
            )
        except RuntimeError:  # a decomposition that does not converge, e.g. of huge values
            return None
        return found if found.edge.kind == "sharp" else None

    @cached_property
    def victim(self) -> Victim | None:
        """The pair in its network, ``None`` without one, or where it does not work in it."""
        try:
            return self.make() if self.make else None
        except MemauditError:
            return None

    @cached_property
    def decay(self) -> Decay | None:
        """Weight decay from all measurements."""
        found = list(self.decays)
        read = self.spectrum
        if read is not None and self.is_sgd and read.factor > 0 and math.isfinite(read.spread):
            words = f"once that factor is undone, the change of the first layer has rank {read.edge.rank}"
            found.append(Decay(read.factor, read.spread, 0.95, words))
        return agreed(found)


def _first_linear(found: Readings) -> str | None:
    """Return the name of the weight of the linear layer that sees all numbers of an image, ``None`` if there is none.

    The layout of a perceptron shows it without the network; any other network is run.
    """
    if found.architecture is None:
        return None
    if found.architecture.family == "mlp":
        return f"{found.architecture.layout['layers'][0]}.weight".lstrip(".")
    numbers = math.prod(found.architecture.shape)
    if found.victim is None or not any(
        isinstance(part, nn.Linear) and part.in_features == numbers for part in found.victim.module.modules()
    ):
        return None
    try:
        name = first_layer(found.victim).name("weight")
    except Exception:  # there is none, or a third-party network fails on noise: then nothing is read off it
        return None
    if found.victim.theta0[name].shape[1] != numbers:
        return None
    return tensor_names(found.victim.module, found.pair.before.tensors).get(name, name)
