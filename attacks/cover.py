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
from .explain.rehearsal import compared, rehearsed
from .layers import coverage, place
from .layers.coverage import POWERS
from .layers.inputs import Layer, middle
from .layers.searches import HALVED, better, covers, more, searches
from .layers.seen import Seen, coarsest, seen_of
from .layers.swaps import swapped
from .layers.telling import likely, spanning, telling
from .optimise.descent import Evaluation, begin, best, descend, kept, reconstruction
from .optimise.optim import Adam, warmup_cosine
from .simulation import batchnorm

FLOOR = 1e-4
"""Added to every share before its logarithm is taken."""

DOUBT = "records of another kind may cover the change as well, so the loss is no evidence for these"
"""Why a low loss of this attack is no evidence."""

LOOKS = (0.4, 0.7)
"""Shares of the schedule at which every record is tried as each of its look-alikes, where one search is left."""

MOVED = 0.1
"""Share of the schedule after which the place of evaluation moves, each time."""

PLACES = (0.1, 0.3, 0.5)
"""Places at which a rehearsal is looked at; the one counts where right records leave least."""

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
    outside of what the change spans, where that is not everything. The network is evaluated on the way from before to
    after, at first half-way and then where the images leave least (:mod:`.layers.place`). Where layers are narrow,
    several searches run side by side (:mod:`.layers.searches`).

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
        spanning(recipe)
        found = telling(victim, undecayed(victim, recipe), recipe.size, POWERS[recipe.optimizer], SPARE)
        if not found:
            raise Unsupported(
                f"no layer's change tells {recipe.size} records apart: other images cover it as well.",
                "simudy needs no such layer.",
            )
        count = self._count(recipe, [layer for layer, _ in found], math.prod(victim.shape))
        noise = (self.init_scale * torch.randn(count, *victim.shape, generator=generator(seed))).to(victim.like)
        variables = victim.medium.variables(noise, self.parametrisation)
        spans = {layer.key: span for layer, span in found}
        known = {f"{key}.weighted": span.weighted for key, span in spans.items()}
        if self.member and recipe.optimizer == "sgd":
            known |= {f"{key}.kept": span.kept for key, span in spans.items() if span.bounded}
        first = {"best.loss": math.inf, "place": place.HALF_WAY, "rehearsed": _rehearsed(victim, recipe, known)}
        known |= {name: noise.new_tensor(value) for name, value in first.items()}
        known["best.x"] = victim.medium.inputs(variables)
        state = begin(variables, {}, Adam(self.step_size))
        return replace(state, memory={**state.memory, **known})

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One update of all images."""
        state = self._looked(victim, recipe, self._chosen(victim, recipe, self._halved(victim, recipe, state)))
        weight = self.alpha * (1 - state.step / self.iterations) ** 2

        def evaluate(variables: Mapping[str, Tensor]) -> Evaluation:
            x = victim.medium.inputs(variables)
            seen = _seen(victim, recipe, state, x)
            shares = covers(seen, state.memory, recipe.size)
            left = (shares + FLOOR).log().mean(1)
            objective = left.mean() / 2 + self._alone(seen, state)
            objective = objective + weight * victim.medium.roughness(x, self.chroma)
            objective = objective + self.beta * victim.medium.excess(x)
            least = int(left.detach().nan_to_num(math.inf).argmin())
            own = shares.detach()[least]
            terms = {"layers": float(len(own)), "worst": float(own.max()), "left": float(left.detach().nanmean())}
            return Evaluation(objective, own.mean(), x.chunk(len(left))[least], terms)

        factor, total = warmup_cosine(state.step, self.iterations, self.warmup), self.iterations
        keep = not self._moves(recipe, state.step - 1)  # the loss at another place does not compare
        following = descend(state, evaluate, Adam(self.step_size), total=total, factor=factor, keep=keep)
        return self._moved(victim, recipe, state, following)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the images that covered most, with labels read off the head's change where it has one."""
        x, loss = best(state)
        x, influence = _foremost(victim, recipe, state, x)[1:]
        labels = by_features(victim, recipe, undecayed(victim, recipe), x)
        doubt = DOUBT + compared(loss, *state.memory.get("rehearsed", x.new_zeros(2)).tolist())
        return replace(reconstruction(victim, x, labels, influence, loss), doubt=doubt)

    def _count(self, recipe: Recipe, layers: list[Layer], numbers: int) -> int:
        """Return how many records, of so many numbers each, all searches begin with."""
        if self.parametrisation == "generator":  # it makes all at once
            return recipe.size
        number = searches(recipe.size, layers, numbers) if recipe.batch_norm == "eval" else 1  # else all depend on all
        return number * recipe.size if number > 1 else recipe.size + more(recipe.size, layers)

    def _halved(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Return the state with the better half of several searches, once it is time for that."""
        x = victim.medium.inputs(state.variables)
        number = len(x) // recipe.size
        if number < 2 or state.step not in [round(share * self.iterations) for share in HALVED]:
            return state
        with torch.no_grad():
            shares = covers(_seen(victim, recipe, state, x), state.memory, recipe.size)
        return kept(state, better((shares + FLOOR).log().mean(1), recipe.size))

    def _chosen(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Return the state with the records alone that explain most, as many as there are, once it is time for that."""
        if state.step != round(CHOSEN * self.iterations) or len(state.memory["best.x"]) <= recipe.size:
            return state
        order, x, _ = _foremost(victim, recipe, state, victim.medium.inputs(state.variables))
        memory = {**state.memory, "best.x": x, "best.loss": x.new_tensor(math.inf)}  # fewer leave more
        return kept(replace(state, memory=memory), order)

    def _moves(self, recipe: Recipe, step: int) -> bool:
        """Return whether the place moves after an update.

        Not where each batch has its own statistics: these depend on all images, and the slope is no good guide.
        """
        now = 0 < step < self.iterations - 1 and step % max(round(MOVED * self.iterations), 1) == 0
        return now and recipe.batch_norm == "eval"

    def _moved(self, victim: Victim, recipe: Recipe, state: State, following: State) -> State:
        """Return the state that follows, its place moved, now and then, to where the images of before leave less."""
        if not self._moves(recipe, state.step):
            return following
        old, x = _place(state), victim.medium.inputs(state.variables)
        with torch.no_grad():
            seen = _rows(victim, recipe, middle(victim, place.beside(old)), x, state.memory)
            there = (covers(seen, state.memory, recipe.size) + FLOOR).log().mean(1).nanmean()
        new = place.moved(old, following.terms["left"], float(there), state.step / self.iterations)
        return replace(following, memory={**following.memory, "place": there.new_tensor(new)})

    def _looked(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Return the state with those records exchanged for look-alikes that cover more."""
        alone = len(victim.medium.inputs(state.variables)) < 2 * recipe.size
        if not alone or state.step not in [round(share * self.iterations) for share in LOOKS]:
            return state
        with torch.no_grad():
            rows = _seen(victim, recipe, state, victim.medium.inputs(state.variables))
        fewest = coarsest(rows)
        if not fewest:
            return state
        stride = max(victim.shape[-1] // math.isqrt(rows[fewest[0]].positions), 1)
        for number in range(len(victim.medium.lookalikes(state.variables, stride))):
            chosen = _costs(victim, recipe, state, stride, number) < 0
            state = exchanged(victim.medium, state, stride, number, chosen)
        return state

    def _alone(self, seen: Mapping[str, Seen], state: State) -> Tensor:
        """Return the term of the single images (a scalar), zero where no layer's span is less than everything."""
        kept = {key: state.memory[f"{key}.kept"] for key in seen if f"{key}.kept" in state.memory}
        parts = [(coverage.outside(seen[key], span) + FLOOR).log() for key, span in kept.items()]
        return self.member * torch.stack(parts).mean() if parts else next(iter(seen.values())).source.new_zeros(())


@torch.no_grad()
def _rehearsed(victim: Victim, recipe: Recipe, memory: Mapping[str, Tensor]) -> tuple[float, float]:
    """Return the mean cover that right images leave, and wrong ones, in a training on made-up images; 0 for unknown."""
    right, wrong = likely(victim, 2 * recipe.size).chunk(2)
    mock = rehearsed(victim, recipe, right)
    if mock is None:
        return 0.0, 0.0
    found = telling(mock, mock.delta, recipe.size, POWERS[recipe.optimizer], SPARE)
    spans = {f"{layer.key}.weighted": span.weighted for layer, span in found}
    spans = {name: span for name, span in spans.items() if name in memory}
    if not spans:
        return 0.0, 0.0

    def left(x: Tensor, share: float) -> float:
        return float(covers(_rows(victim, recipe, middle(mock, share), x, spans), spans, recipe.size).mean())

    places = (place.HALF_WAY,) if recipe.batch_norm == "train" else PLACES
    least, share = min((left(right, share), share) for share in places)
    return least, left(wrong, share)


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
    seen = _seen(victim, recipe, state, x)
    shares = [coverage.shares(rows, state.memory[f"{key}.weighted"]) for key, rows in seen.items()]
    influence = torch.stack(shares).square().mean(0).sqrt()
    order = influence.argsort(descending=True, stable=True)[: recipe.size].sort().values
    return order, x[order], influence[order]


def _seen(victim: Victim, recipe: Recipe, state: State, x: Tensor) -> dict[str, Seen]:
    """Return what the chosen layers see of inputs ``x`` (n, ...) at a state's place, by their key."""
    return _rows(victim, recipe, middle(victim, _place(state)), x, state.memory)


def _place(state: State) -> float:
    return float(state.memory.get("place", place.HALF_WAY))


@torch.no_grad()
def _costs(victim: Victim, recipe: Recipe, state: State, stride: int, number: int) -> Tensor:
    """Return (n,) how much the mean logarithm of the coarsest covers rises where one record is its look-alike."""
    other = {**state.variables, **victim.medium.lookalikes(state.variables, stride)[number]}
    sides = [victim.medium.inputs(variables) for variables in (state.variables, other)]
    own, moved = (_seen(victim, recipe, state, x) for x in sides)
    found = [swapped(own[key], moved[key], state.memory[f"{key}.weighted"]) for key in coarsest(own)]
    return torch.stack([(covered + FLOOR).log() - (whole + FLOOR).log() for whole, covered in found]).mean(0)
