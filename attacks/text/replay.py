"""What other sentences would have done to the rows that are watched: training replayed along a known course.

The course is that of a simulated training on the present sentences, bent so that it ends where the real one did. Along
it, gradients of sentences are taken at a few nodes, each sentence by itself; those of the steps between are
interpolated, summed over each step's batch, and given to the real optimiser. So what a change of one sentence does is
known after a few gradients of that sentence, and many changes are tried at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..contract.params import Params, cosine_distance
from ..contract.recipe import Recipe
from ..contract.victim import Victim
from ..simulation.adjoints import Tensors
from ..simulation.dynamics import chain
from ..simulation.updates import slots, update
from .medium import sentences_of
from .watch import Watch, used

EARLY = 1.5
"""Nodes lie denser at the start of training, where most changes: this is the power of their spacing."""

_HELD = 2**22
"""Numbers that are updated at once."""


@dataclass(frozen=True)
class Course:
    """A simulated training, bent to end where the real one did.

    Attributes:
        nodes: Some of its steps.
        params: The parameters before each of these.
        loss: Cosine distance of the change that it caused, before it was bent, from the real one.
    """

    nodes: tuple[int, ...]
    params: tuple[Params, ...]
    loss: float


def simulated(victim: Victim, recipe: Recipe, ids: Tensor, labels: Tensor, plan: Tensor, count: int) -> Course:
    """Train on sentences (n, L) of classes (n,) by ``plan`` (S, b), and return the course at up to ``count`` nodes."""
    steps = len(plan)
    shares = [k / max(count - 1, 1) for k in range(count)]
    nodes = tuple(dict.fromkeys(round((steps - 1) * share**EARLY) for share in shares))
    short = ids[:, : used(ids, sentences_of(victim).pad)].to(victim.like)
    step, state, inputs = chain(victim, recipe, short, labels, plan)
    kept: list[tuple[Tensor, ...]] = []
    with torch.no_grad():
        for number, item in enumerate(inputs):
            if number in nodes:
                kept.append(state[: len(victim.theta0)])
            state = step(state, item)
        final = dict(zip(victim.theta0, state, strict=False))
        loss = float(cosine_distance(victim.change(final), victim.delta).clamp(min=0))
        missed = [victim.thetaf[name] - value for name, value in final.items()]
        bent = [
            {name: value + number / steps * rest for name, value, rest in zip(victim.theta0, part, missed, strict=True)}
            for number, part in zip(nodes, kept, strict=True)
        ]
    return Course(nodes, tuple(bent), loss)


@dataclass(frozen=True)
class Replay:
    """Training replayed along a course.

    Attributes:
        watch: What is watched.
        recipe: How the network was trained.
        plan: (S, b) which sentences each step took, -1 for none.
        course: Where gradients are taken.
    """

    watch: Watch
    recipe: Recipe
    plan: Tensor
    course: Course

    def signals(self, ids: Tensor, labels: Tensor) -> Tensor:
        """Return (K, b, L, D) signals of sentences (b, L) of classes (b,) at the nodes."""
        return torch.stack([self.watch.signals(params, ids, labels) for params in self.course.params])

    def gradients(self, ids: Tensor, labels: Tensor) -> Tensor:
        """Return (K, b, F) gradients of sentences (b, L) of classes (b,) at the nodes."""
        return torch.stack([self.watch.gradients(part, ids) for part in self.signals(ids, labels)])

    @cached_property
    def target(self) -> Tensor:
        """(F,) the real change."""
        return self.watch.of(self.watch.victim.delta)

    @cached_property
    def before(self) -> Tensor:
        """(F,) what is watched as it was before training."""
        return self.watch.of(self.watch.victim.theta0)

    @cached_property
    def weights(self) -> Tensor:
        """(S, n) share of each sentence in each step's loss."""
        count = int(self.plan.max()) + 1
        found = torch.zeros(len(self.plan), count + 1)
        found.scatter_(1, torch.where(self.plan < 0, count, self.plan), 1.0)
        return (found[:, :count] / found[:, :count].sum(1, keepdim=True)).to(self.watch.victim.like)

    def at(self, values: Tensor, step: int) -> Tensor:
        """Return values (...) at one step, of those (K, ...) at the nodes."""
        nodes = self.course.nodes
        after = next(k for k, node in enumerate(nodes) if node >= step or k == len(nodes) - 1)
        if nodes[after] <= step:
            return values[after]
        share = (step - nodes[after - 1]) / (nodes[after] - nodes[after - 1])
        return torch.lerp(values[after - 1], values[after], share)

    def trained(self, before: Tensor, gradients: Iterable[Tensor]) -> Tensor:
        """Return how far the optimiser moves numbers (...), given their gradient at every step."""
        theta: Tensors = (before,)
        memory = tuple(torch.zeros_like(before) for _ in range(slots(self.recipe)))
        for step, gradient in enumerate(gradients):
            theta, memory = update(self.recipe, theta, memory, (gradient,), step)
        return theta[0] - before

    def distances(self, own: Tensor, others: Tensor, which: Sequence[Sequence[tuple[int, int]]]) -> Tensor:
        """Return (c,) cosine distances from the real change of those that sets of sentences would cause.

        Args:
            own: (K, n, F) gradients of the present sentences.
            others: (K, b, F) of sentences that may take their place.
            which: For each set, which of the present ones give way to which others.
        """
        count = max(_HELD // len(self.target), 1)
        parts = [self._distances(own, others, which[start : start + count]) for start in range(0, len(which), count)]
        return torch.cat([own.new_zeros(0), *parts])

    def _distances(self, own: Tensor, others: Tensor, which: Sequence[Sequence[tuple[int, int]]]) -> Tensor:
        changes = torch.tensor([(row, *pair) for row, pairs in enumerate(which) for pair in pairs]).view(-1, 3).long()
        rows, present, other = changes.to(own.device).T

        def gradient(step: int) -> Tensor:
            weights = self.weights[step]
            now, new = self.at(own, step), self.at(others, step)
            total = (weights @ now).expand(len(which), -1).clone()
            return total.index_add_(0, rows, weights[present][:, None] * (new[other] - now[present]))

        change = self.trained(self.before.expand(len(which), -1), map(gradient, range(len(self.plan))))
        size = torch.linalg.vector_norm(change, dim=1) * torch.linalg.vector_norm(self.target)
        cosine: Tensor = change @ self.target / size.clamp_min(1e-30)
        return 1 - cosine

    def promises(self, ids: Tensor, signals: Tensor) -> Tensor:
        """Return (n, L, V) by how much each token's own row fits better where it takes the place of another.

        The other's row loses the signal of the place, and its own gains it; what the token changes elsewhere is left
        out.

        Args:
            ids: (n, L) the present sentences.
            signals: (K, n, L, D) what comes back to their embeddings.
        """
        gradients = torch.stack([self.watch.gradients(part, ids) for part in signals])
        rows = [self.watch.words(self.weights[k] @ self.at(gradients, k)) for k in range(len(self.plan))]
        before, target = self.watch.words(self.before), self.watch.words(self.target)

        def errors(some: slice | int, found: Iterable[Tensor]) -> Tensor:
            return (self.trained(before[some], found) - target[some]).square().sum(-1)

        present = errors(slice(None), rows)
        gains = signals.new_zeros(*ids.shape, len(before))
        for row, place in (ids != self.watch.medium.pad).nonzero().tolist():
            token = int(ids[row, place])
            own = [self.weights[k, row] * self.at(signals[:, row, place], k) for k in range(len(rows))]
            more = errors(slice(None), (part + one for part, one in zip(rows, own, strict=True)))
            less = errors(token, (part[token] - one for part, one in zip(rows, own, strict=True)))
            gains[row, place] = present - more + present[token] - less
            gains[row, place, token] = 0
        return gains
