"""The row space of the training data, read off the change of the first layer that the data enter.

Under SGD, with momentum or not, in any number of steps and batches, the weight of a linear layer whose inputs x_i
stay constant changes by a combination of them: ``Wf - alpha W0 = D X`` with D (width, n) the summed signals and
``alpha`` the factor by which weight decay shrank the weight. So the rows of the change span the data, its rank is n
(docs/decisions/0007-span.md; Dimitrov et al., 2024, theorem 3.1, for one gradient), and the bias, which sees the same
signals, changes by D 1.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..contract.attack import Unsupported, generator
from ..contract.recipe import Recipe
from ..contract.victim import Victim

LIVE = 1e-6
"""Rows and columns of the change shorter than this share of the longest belong to dead units and blank inputs."""

GAP = 20.0
"""Neighbouring singular values must differ by this factor for the rank to count as read off."""

EDGE = 1.5
"""Singular values above this multiple of what rounding alone gives are data."""

ROUNDS = 20
"""Most rounds of estimating the weight decay and the row space from each other."""

HALVES = (torch.bfloat16, torch.float16)
"""Stored types whose rounding is worth a look; wider ones are told by the gap."""


@dataclass(frozen=True)
class Layer:
    """The first trained linear layer that constant inputs enter.

    Attributes:
        path: Name of the module.
        features: Its inputs are not the network's own but features of a part of the network that did not change.
        bias: Whether it has one.
    """

    path: str
    features: bool
    bias: bool

    def name(self, kind: str) -> str:
        """Return the name of the parameter ``kind`` (``weight`` or ``bias``) of this layer."""
        return f"{self.path}.{kind}" if self.path else kind


@dataclass(frozen=True)
class Subspace:
    """The row space of the training data, in float64 on the device of the victim.

    Attributes:
        layer: Where it was read.
        rows: (r, d) orthonormal; every training input is a combination of them.
        values: (r,) singular values of ``change``, descending.
        count: Number of training samples n, where the spectrum tells it; else 0.
        gap: The first singular value left out over the last one kept; 0 where none is left out.
        change: (width, d) change of the weight, weight decay undone.
        bias_change: (width,) that of the bias, or ``None``.
        shrink: The factor alpha of weight decay, 1 for none.
    """

    layer: Layer
    rows: Tensor
    values: Tensor
    count: int
    gap: float
    change: Tensor
    bias_change: Tensor | None
    shrink: float


def subspace(victim: Victim, recipe: Recipe) -> Subspace:
    """Return the row space of the data. Raises :class:`Unsupported` with the reason where it cannot be told."""
    if recipe.optimizer != "sgd":
        raise Unsupported(
            f"{recipe.optimizer} rescales every weight by itself, so the change of the first layer has full rank and "
            "does not show the row space of the data.",
            "Only SGD, with momentum or not, leaves it; simudy needs no such structure.",
        )
    layer = first_layer(victim)
    before, after = (side[layer.name("weight")].double() for side in (victim.theta0, victim.thetaf))
    if min(before.shape) < 2:
        raise Unsupported(
            "the first linear layer has one output or input: its change has rank one whatever the data.",
            "simudy needs no such structure.",
        )
    shrink, values, vectors, rank, exact = _spectrum(before, after)
    change = after - shrink * before
    if rank >= _most(change, victim.classes):
        raise Unsupported(
            f"the change of the first linear layer has rank {rank}, the most that its live units and inputs allow: "
            "there may have been more samples than that.",
            "simudy needs no such structure.",
        )
    rows = (vectors[:, :rank].T @ change) / values[:rank, None]
    rows = torch.linalg.qr(rows.T).Q.T
    bias = None
    if layer.bias and layer.name("bias") in victim.theta0:
        name = layer.name("bias")
        first, last = victim.theta0[name].double(), victim.thetaf[name].double()
        bias = _bias_change(first, last, shrink, vectors[:, :rank])
    rest = float(values[rank] / values[rank - 1]) if rank < len(values) else 0.0
    return Subspace(layer, rows, values[:rank], rank if exact else 0, rest, change, bias, shrink)


def _bias_change(before: Tensor, after: Tensor, shrink: float, basis: Tensor) -> Tensor:
    """Return (width,) the change of the bias, decayed as the weight was or, as many leave biases out, not at all.

    It lies in the span of the signals, the columns of ``basis`` (width, r); what does not, tells. Of an undecayed bias
    exactly so only for little decay, as the weight then has forgotten a part of early steps and the bias has not.
    """
    changes = [after - factor * before for factor in (shrink, 1.0)]
    outside = [
        float((change - basis @ (basis.T @ change)).norm() / change.norm().clamp(min=1e-300)) for change in changes
    ]
    return changes[outside.index(min(outside))]


def _most(change: Tensor, classes: int) -> int:
    """Return the rank that any number of samples leaves: of live units and inputs; a softmax's signals add up to 0."""
    units, inputs = (torch.linalg.vector_norm(change, dim=dim) for dim in (1, 0))
    live = [int((lengths > LIVE * lengths.max()).sum()) for lengths in (units, inputs)]
    head = len(change) == classes > 1
    return min(live[0] - head, live[1])


def first_layer(victim: Victim) -> Layer:
    """Return the first trained linear layer with constant inputs. Raises :class:`Unsupported` if there is none.

    Found by running the network on noise: the layer's input must not depend on any trained parameter.
    """
    found: list[tuple[str, nn.Linear, Tensor]] = []
    paths = {module: path for path, module in victim.module.named_modules()}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        if isinstance(module, nn.Linear):
            found.append((paths[module], module, inputs[0]))

    x = torch.randn(2, *victim.shape, generator=generator(0)).to(victim.like)
    leaves = {name: value.detach().requires_grad_() for name, value in victim.theta0.items()}
    hooks = [module.register_forward_hook(note) for module in paths]
    try:
        with torch.enable_grad():
            victim.logits(leaves, x)
    finally:
        for hook in hooks:
            hook.remove()
    for path, module, given in found:
        name = f"{path}.weight" if path else "weight"
        if name in victim.theta0:
            return _checked(victim, path, module, given, x)
    raise Unsupported(
        "the network has no trained linear layer.", "The row space of the data shows only in such a layer."
    )


def _checked(victim: Victim, path: str, module: nn.Linear, given: Tensor, x: Tensor) -> Layer:
    if given.requires_grad:
        raise Unsupported(
            f"the inputs of the first linear layer ({path}) change during training, as layers before it are trained.",
            "It must be fed by the input itself or by a part of the network that is frozen.",
        )
    if victim.running:
        raise Unsupported(
            f"the inputs of {path} change during training, as batch norm before it is in train mode.",
            "It must be fed by the input itself or by a part of the network that is frozen.",
        )
    if given.dim() != 2:
        raise Unsupported(
            f"{path} sees {given.dim() - 1}-dimensional inputs, not one vector per sample.",
            "The row space of the data shows only where every sample is one vector.",
        )
    features = given.shape[1] != x[0].numel() or not torch.equal(given.flatten(), x.flatten())
    return Layer(path, features, module.bias is not None)


def _spectrum(before: Tensor, after: Tensor) -> tuple[float, Tensor, Tensor, int, bool]:
    """Return the decay factor, singular values, left singular vectors and rank of ``after - factor * before``.

    And whether the rank is that of a clear gap. Factor and row space are estimated from each other: outside the row
    space of the data, the weight has only shrunk. All from three Gram matrices (width, width) in float64.
    """
    cross = before @ (after - before).T
    own, moved = before @ before.T, (after - before) @ (after - before).T
    excess, floor = 0.0, _rounding(before, after)  # excess: how much below one the factor is
    for number in range(ROUNDS):
        gram = moved + excess * (cross + cross.T) + excess**2 * own
        squares, vectors = torch.linalg.eigh(gram)
        values, vectors = squares.clamp(min=0).sqrt().flip(0), vectors.flip(1)
        rank, exact = _rank(values, before.shape, floor)
        if number == ROUNDS - 1:
            break
        # Under much decay no gap stands out at first; the widest one then serves to undo most of it.
        following = _excess(before, after, vectors[:, : rank or _widest(values, before.shape)], excess)
        if abs(following - excess) <= 1e-11:
            break
        excess = following
    if rank == 0:
        raise Unsupported(
            "the change of the first linear layer shows no row space of the data: its singular values have no gap.",
            "There are more training samples than the layer can tell, or its weights are rounded too coarsely.",
        )
    return 1.0 - excess, values, vectors, rank, exact


def _excess(before: Tensor, after: Tensor, vectors: Tensor, excess: float) -> float:
    """Return how much the weight shrank outside the row space that ``vectors`` (width, r) give."""
    change = after - before + excess * before
    rows = torch.linalg.qr(change.T @ vectors).Q
    rest, whole = before - (before @ rows) @ rows.T, after - before
    rest_norm = float(rest.square().sum())
    found = -float((whole * rest).sum()) / rest_norm if rest_norm else 0.0
    noise = float(torch.finfo(torch.float32).eps) / math.sqrt(rest.numel())
    return found if found > 100 * noise else 0.0


def _rank(values: Tensor, shape: torch.Size, floor: float) -> tuple[int, bool]:
    """Return how many singular values are data, and whether a gap tells it exactly; (0, False) if none stands out."""
    most = min(shape) - 1
    edge = EDGE * floor * (math.sqrt(shape[0]) + math.sqrt(shape[1]))
    smallest = max(edge, float(values[0]) * 1e-8)
    above = int((values > smallest).sum())
    padded = values.clamp(min=smallest / GAP)
    ratios = padded[:-1] / padded[1:]
    place = int(ratios[:most].argmax())
    if float(ratios[place]) >= GAP:
        return place + 1, True
    return (above, False) if floor and 0 < above <= most else (0, False)


def _widest(values: Tensor, shape: torch.Size) -> int:
    """Return after how many singular values the next one is smallest in proportion."""
    ratios = values[:-1] / values[1:].clamp(min=float(values[0]) * 1e-8)
    return int(ratios[: min(shape) - 1].argmax()) + 1


def _rounding(before: Tensor, after: Tensor) -> float:
    """Return the standard deviation of an entry's rounding where both weights are stored in a half type, else 0."""
    for dtype in HALVES:
        if all(torch.equal(value, value.to(dtype).to(value)) for value in (before, after)):
            scale = float(torch.maximum(before.abs(), after.abs()).square().mean().sqrt())
            return scale * torch.finfo(dtype).eps / math.sqrt(12)
    return 0.0
