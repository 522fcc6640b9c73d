"""Cover: inputs that span the change of every layer, without labels, recipe, loss or head."""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from .contract.attack import Reconstruction, State, Unsupported, generator, require
from .contract.card import Card, Sight
from .contract.medium import Parametrisation
from .contract.params import Params
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain.inversion import undecayed
from .explain.labels import by_features
from .explain.lookalikes import exchanged
from .explain.rehearsal import rehearsed
from .layers import coverage
from .layers.inputs import Layer, middle
from .layers.seen import Seen, seen_of
from .layers.swaps import swapped
from .layers.telling import likely, telling
from .optimise.descent import Evaluation, begin, best, descend, kept, reconstruction
from .optimise.optim import Adam, warmup_cosine
from .simulation import batchnorm

FLOOR = 1e-4
"""Added to every share before its logarithm is taken."""

ADAPTIVE = 3.0
"""Power of the weights under Adam: the strongest directions carry what its rescaling leaves of the span."""

FASTEST = 3e-3
"""Largest sum of Adam's learning rates: beyond it every number moved by about as much, and no span is left."""

DOUBT = "records of another kind may cover the change as well, so the loss is no evidence for these"
"""Why a low loss of this attack is no evidence."""

CONTRAST = 4.0
"""A change tells right images from wrong where, in a rehearsal, wrong ones leave this many times as much of it."""

OVERFIT = 0.25
"""A loss below this share of what right images leave in a rehearsal is that of images that fit too well."""

STUCK = 4.0
"""A loss above this many times what right images leave in a rehearsal is that of a search that got stuck."""

LOOKS = (0.4, 0.7)
"""Shares of the schedule at which every record is tried as each of its look-alikes."""

MORE = 3
"""One record more is sought for each so many, as some end where they explain little, ..."""

FILLED = 0.5
"""... while all of them fill at most this share of what the roomiest layer can see."""

CHOSEN = 0.7
"""Share of the schedule at which as many as there are, those that explain most, are chosen."""

SPARE = 1.125
"""Directions that are kept for each of the rows that all inputs have."""


def _joins(sight: Sight) -> tuple[bool, str]:
    if sight.deep:
        return True, f"{sight.spanned}; {sight.samples}"
    return False, "needs a convolutional network with more than two layers that have more outputs than positions"


@dataclass(frozen=True)
class Cover:
    """The change of every layer spans its inputs: find inputs that cover it (docs/decisions/0012-cover.md).

    Under SGD the change of each layer is a sum of signals times the layer's own inputs (for one dense gradient:
    Dimitrov et al., 2024, theorem 3.1), whatever the labels, loss, head, batches and learning rates were. Minimises,
    over the layers that tell images apart,

        ``mean log cover / 2 + member mean log outside + alpha roughness(x) + beta excess(x)``

    with the cover of :mod:`.layers.coverage`, all images at once, and the share of a single image's rows that lies
    outside of what the change spans, where that is not everything. The network is evaluated half-way between before
    and after.

    Attributes:
        iterations: Updates of the images.
        step_size: Adam step on the image variables.
        alpha: Weight of the total variation at the start; it falls to zero with the square of the time left.
        chroma: Weight of differences of colour in it, beside those of brightness: images have less of them, and the
            change hardly shows them.
        beta: Weight of the mean squared excess of the images over the range of pixels.
        member: Weight of the single images' term.
        parametrisation: ``auto``, ``pyramid``, ``pixels`` or ``generator``; as in :class:`.simudy.SimuDy`.
        init_scale: Standard deviation of the Gaussian noise that the finest variables start from.
        warmup: Updates over which the step size rises.
        tolerance: Unused as evidence: images of other kinds can cover a change too, so that this attack never ends as
            converged, and a gate on what was found is decided by others.
    """

    name: ClassVar[str] = "cover"
    card: ClassVar[Card] = Card(
        goal="Individual training records: those that span the change of every layer.",
        knowledge="How many records there were, roughly. No labels, no recipe, no head.",
        source="memaudit, after Dimitrov et al., NeurIPS 2024",
        blind=True,
        rule=_joins,
        place=25,
    )
    iterations: int = 600
    step_size: float = 0.3
    alpha: float = 3.0
    chroma: float = 3.0
    beta: float = 1.0
    member: float = 0.05
    parametrisation: Parametrisation = "auto"
    init_scale: float = 0.1
    warmup: int = 5
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        require(
            self,
            ("iterations", "step_size", "init_scale"),
            ("alpha", "beta", "chroma", "member", "warmup", "tolerance"),
        )

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Choose layers and draw the images. Raises :class:`.Unsupported` where no change tells images apart."""
        _check(recipe)
        found = telling(victim, undecayed(victim, recipe), recipe.size, _power(recipe), SPARE)
        if not found:
            raise Unsupported(
                f"no layer's change tells {recipe.size} records apart: other images cover it as well.",
                "simudy needs no such layer.",
            )
        count = recipe.size + self._more(recipe.size, [layer for layer, _ in found])
        noise = (self.init_scale * torch.randn(count, *victim.shape, generator=generator(seed))).to(victim.like)
        variables = victim.medium.variables(noise, self.parametrisation)
        spans = {layer.key: span for layer, span in found}
        known = {f"{key}.weighted": span.weighted for key, span in spans.items()}
        if self.member and recipe.optimizer == "sgd":
            known |= {f"{key}.kept": span.kept for key, span in spans.items() if span.bounded}
        first = {"best.x": victim.medium.inputs(variables), "best.loss": noise.new_tensor(math.inf)}
        first["rehearsed"] = noise.new_tensor(_rehearsed(victim, recipe, known))
        state = begin(variables, {}, Adam(self.step_size))
        return replace(state, memory={**state.memory, **known, **first})

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One update of all images."""
        state = self._looked(victim, recipe, self._chosen(victim, recipe, state))
        weight = self.alpha * (1 - state.step / self.iterations) ** 2
        point = middle(victim)

        def evaluate(variables: Mapping[str, Tensor]) -> Evaluation:
            x = victim.medium.inputs(variables)
            seen = _rows(victim, recipe, point, x, state.memory)
            weighted = {key: state.memory[f"{key}.weighted"] for key in seen}
            covers = torch.stack([coverage.cover(rows, weighted[key]) for key, rows in seen.items()])
            objective = (covers + FLOOR).log().mean() / 2 + self._alone(seen, state)
            objective = (
                objective + weight * victim.medium.roughness(x, self.chroma) + self.beta * victim.medium.excess(x)
            )
            terms = {"layers": float(len(covers)), "worst": float(covers.detach().max())}
            return Evaluation(objective, covers.detach().mean(), x, terms)

        factor = warmup_cosine(state.step, self.iterations, self.warmup)
        return descend(state, evaluate, Adam(self.step_size), total=self.iterations, factor=factor)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the images that covered most, with labels read off the head's change where it has one."""
        x, loss = best(state)
        x, influence = _foremost(victim, recipe, state, x)[1:]
        labels = by_features(victim, recipe, undecayed(victim, recipe), x)
        doubt = DOUBT + _compared(loss, *state.memory.get("rehearsed", x.new_zeros(2)).tolist())
        return replace(reconstruction(victim, x, labels, influence, loss), doubt=doubt)

    def _more(self, size: int, layers: list[Layer]) -> int:
        """Return how many more records than ``size`` are sought."""
        if self.parametrisation == "generator":  # it makes all at once
            return 0
        room = max(int(FILLED * layer.width / layer.positions) for layer in layers)
        return max(min(size // MORE, room - size), 0)

    def _chosen(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Return the state with the records alone that explain most, as many as there are, once it is time for that."""
        if state.step != round(CHOSEN * self.iterations) or len(state.memory["best.x"]) <= recipe.size:
            return state
        order, x, _ = _foremost(victim, recipe, state, victim.medium.inputs(state.variables))
        memory = {**state.memory, "best.x": x, "best.loss": x.new_tensor(math.inf)}  # fewer leave more
        return kept(replace(state, memory=memory), order)

    def _looked(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Return the state with those records exchanged for look-alikes that cover more."""
        if state.step not in [round(share * self.iterations) for share in LOOKS]:
            return state
        with torch.no_grad():
            rows = _rows(victim, recipe, middle(victim), victim.medium.inputs(state.variables), state.memory)
        coarsest = _coarsest(rows)
        if not coarsest:
            return state
        stride = max(victim.shape[-1] // math.isqrt(rows[coarsest[0]].positions), 1)
        for number in range(len(victim.medium.lookalikes(state.variables, stride))):
            chosen = _costs(victim, recipe, state, stride, number) < 0
            state = exchanged(victim.medium, state, stride, number, chosen)
        return state

    def _alone(self, seen: Mapping[str, Seen], state: State) -> Tensor:
        """Return the term of the single images (a scalar), zero where no layer's span is less than everything."""
        kept = {key: state.memory[f"{key}.kept"] for key in seen if f"{key}.kept" in state.memory}
        parts = [(coverage.outside(seen[key], span) + FLOOR).log() for key, span in kept.items()]
        return self.member * torch.stack(parts).mean() if parts else next(iter(seen.values())).source.new_zeros(())


def _power(recipe: Recipe) -> float:
    return 1.0 if recipe.optimizer == "sgd" else ADAPTIVE


@torch.no_grad()
def _rehearsed(victim: Victim, recipe: Recipe, memory: Mapping[str, Tensor]) -> tuple[float, float]:
    """Return the mean cover that right images leave, and wrong ones, in a training on made-up images; 0 for unknown."""
    right, wrong = likely(victim, 2 * recipe.size).chunk(2)
    mock = rehearsed(victim, recipe, right)
    if mock is None:
        return 0.0, 0.0
    found = telling(mock, mock.delta, recipe.size, _power(recipe), SPARE)
    spans = {f"{layer.key}.weighted": span.weighted for layer, span in found}
    spans = {name: span for name, span in spans.items() if name in memory}
    if not spans:
        return 0.0, 0.0

    def left(x: Tensor) -> float:
        rows = _rows(victim, recipe, middle(mock), x, spans)
        return sum(float(coverage.cover(rows[key], spans[f"{key}.weighted"])) for key in rows) / len(rows)

    return left(right), left(wrong)


def _compared(loss: float, right: float, wrong: float) -> str:
    """Return what a loss says beside those of a rehearsal, as the rest of a clause; empty where it is as expected."""
    if not right:
        return ""
    if wrong < CONTRAST * right:
        return f"; in a rehearsal right ones left {right:.2g} of the change and wrong ones no more than {wrong:.2g}"
    how = "less" if loss < OVERFIT * right else "more" if loss > STUCK * right else ""
    said = f"; they leave {loss:.2g} of the change, far {how} than the {right:.2g} of right ones in a rehearsal"
    return said if how else ""


def _check(recipe: Recipe) -> None:
    """Refuse an optimiser that leaves no span. Raises :class:`.Unsupported`."""
    if recipe.optimizer != "sgd" and (math.isnan(recipe.lr) or recipe.travel > FASTEST):
        raise Unsupported(
            f"{recipe.optimizer} moved every number by up to {recipe.travel:.2g}, which leaves no span of the inputs.",
            f"Up to a sum of learning rates of {FASTEST:g} its strongest directions still show it.",
        )


def _rows(victim: Victim, recipe: Recipe, node: Params, x: Tensor, memory: Mapping[str, Tensor]) -> dict[str, Seen]:
    """Return what the chosen layers see of inputs ``x`` (n, ...), by their key."""
    keys = [name.removesuffix(".weighted") for name in memory if name.endswith(".weighted")]
    parted = {key: key.rsplit(":", 1) for key in keys}
    places = {key: (path, int(group)) for key, (path, group) in parted.items()}
    training = recipe.batch_norm == "train"
    with batchnorm.train_mode(victim.module) if training else nullcontext():
        seen = seen_of(victim, node, x, places.values())
    return {key: seen[place] for key, place in places.items()}


@torch.no_grad()
def _foremost(victim: Victim, recipe: Recipe, state: State, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return which of inputs ``x`` (m, ...) explain most, at most as many as there are records, in their order.

    With these, and with how much of the changes each of them explains among all.
    """
    seen = _rows(victim, recipe, middle(victim), x, state.memory)
    shares = [coverage.shares(rows, state.memory[f"{key}.weighted"]) for key, rows in seen.items()]
    influence = torch.stack(shares).square().mean(0).sqrt()
    order = influence.argsort(descending=True, stable=True)[: recipe.size].sort().values
    return order, x[order], influence[order]


def _coarsest(rows: Mapping[str, Seen]) -> list[str]:
    """Return the layers that see the fewest positions, more than one: what they see hardly shows where it was."""
    seen = {key: part.positions for key, part in rows.items() if part.positions > 1}
    return [key for key, positions in seen.items() if positions == min(seen.values())]


@torch.no_grad()
def _costs(victim: Victim, recipe: Recipe, state: State, stride: int, number: int) -> Tensor:
    """Return (n,) how much the mean logarithm of the coarsest covers rises where one record is its look-alike."""
    other = {**state.variables, **victim.medium.lookalikes(state.variables, stride)[number]}
    sides = [victim.medium.inputs(variables) for variables in (state.variables, other)]
    own, moved = (_rows(victim, recipe, middle(victim), x, state.memory) for x in sides)
    found = [swapped(own[key], moved[key], state.memory[f"{key}.weighted"]) for key in _coarsest(own)]
    return torch.stack([(covers + FLOOR).log() - (whole + FLOOR).log() for whole, covers in found]).mean(0)
