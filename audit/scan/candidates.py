"""Candidate recipes, and which of them explains the change best."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...attacks.contract.attack import State
from ...attacks.contract.recipe import Optimizer, Recipe

CREDIBLE = 0.05
"""A fit over many steps counts where it explains the change to this cosine distance. Elsewhere (wrong labels, unknown
shuffling) it makes up for what it cannot explain with a longer training, and the fit over few steps is nearer."""

STRIDE = 10**0.5
"""Ratio of neighbouring learning rates on the coarse grid."""

MARGIN = 0.9
"""A batch size other than the first must have less than this share of its loss to be preferred."""


@dataclass(frozen=True)
class Candidate:
    """One recipe that was tried.

    Attributes:
        recipe: The whole training; its learning rate is the fitted one where it was fitted.
        rung: Round of the search, from 0.
        number: Its place in the order in which they were tried.
        loss: Relative squared error of the simulated change at the end of its schedule; infinite if it diverged or
            the budget ended it before.
        cosine: Cosine distance of the two changes then, the paper's early loss.
        change_ratio: Norm of the simulated change over the real one then.
        steps: Attack steps taken.
        status: How those steps ended.
        labels: Samples of each class at the end.
        state: Where the probe ended.
    """

    recipe: Recipe
    rung: int
    number: int
    loss: float
    cosine: float
    change_ratio: float
    steps: int
    status: str
    labels: tuple[int, ...] = ()
    state: State | None = field(default=None, compare=False, repr=False)

    @property
    def family(self) -> tuple[str, int, int]:
        """What a curve of the search has in common: all but the learning rate."""
        return self.recipe.optimizer, self.recipe.batch_size, self.recipe.epochs

    @property
    def complete(self) -> bool:
        """Whether its loss counts."""
        return math.isfinite(self.loss)


@dataclass(frozen=True)
class Axes:
    """What is unknown beside the learning rate; the first of each is the likeliest.

    Attributes:
        optimizers: Update rules to try.
        shapes: (batch size, epochs) to try.
        travel: Where the change itself shows the sum of learning rates (Adam), that; else ``None``.
        shrink: Factor by which weight decay shrank the weights; 1 for none. Each candidate gets the decay that does.
    """

    optimizers: tuple[Optimizer, ...]
    shapes: tuple[tuple[int, int], ...]
    travel: float | None = None
    shrink: float = 1.0

    def fits(self, candidate: Candidate) -> bool:
        """Return whether a probe can show the learning rate better than the change itself."""
        return candidate.recipe.optimizer == "sgd" or self.travel is None

    def settled(self, candidate: Candidate) -> Candidate:
        """Return a candidate at the travel that the change itself shows."""
        recipe = candidate.recipe
        lr = recipe.lr * (self.travel or recipe.travel) / recipe.travel
        return dataclasses.replace(candidate, recipe=dataclasses.replace(recipe, lr=lr))


def best(candidates: Sequence[Candidate | None]) -> Candidate | None:
    """Return the complete candidate with the lowest loss, ``None`` if none is complete."""
    complete = [candidate for candidate in candidates if candidate and candidate.complete]
    return min(complete, key=lambda candidate: candidate.loss) if complete else None


def promoted(candidates: Sequence[Candidate], axes: Axes) -> list[Candidate]:
    """Return the best of each optimiser with the first shape, and the best of all where another shape beats them."""
    heads = [
        head
        for optimizer in axes.optimizers
        if (head := best([c for c in candidates if c.family == (optimizer, *axes.shapes[0])]))
    ]
    leader = best(candidates)
    if leader and (not heads or leader.loss < MARGIN * min(head.loss for head in heads)):
        heads.append(leader)
    return heads


def preferred(candidates: Sequence[Candidate], axes: Axes) -> Candidate | None:
    """Return the best candidate; the first batch size where another is hardly better."""
    leader = best(candidates)
    first = best([c for c in candidates if c.family[1:] == axes.shapes[0]])
    if leader and first and leader.family[0] == first.family[0] and leader.loss > MARGIN * first.loss:
        return first
    return leader


def edges(chosen: Candidate, tried: Sequence[Candidate]) -> tuple[bool, bool]:
    """Return whether nothing smaller was tried to its end on the coarse grid than the travel found, and nothing larger.

    The best travel may then lie beyond it on that side.
    """
    optimizer, travel = chosen.recipe.optimizer, chosen.recipe.travel
    grid = [c.recipe.travel for c in tried if c.rung == 0 and c.complete and c.recipe.optimizer == optimizer]
    return travel <= min(grid, default=0.0), travel >= max(grid, default=math.inf)


def interval(chosen: Candidate, tried: Sequence[Candidate]) -> tuple[float, float]:
    """Return the learning rates between which the right one is expected.

    At least a quarter off, or as far as the fits differ; where none was fitted, up to the neighbours on the coarse
    grid; at an edge of that, ten times as far as what was tried.
    """
    fits = [c.recipe.travel for c in tried if c.rung and c.complete and c.family == chosen.family]
    ratios = [max(fit, chosen.recipe.travel) / min(fit, chosen.recipe.travel) for fit in fits]
    off = max([1.25, *ratios]) if chosen.rung else STRIDE
    low, high = (off * (STRIDE**2 if edge else 1.0) for edge in edges(chosen, tried))
    return chosen.recipe.lr / low, chosen.recipe.lr * high
