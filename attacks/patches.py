"""Patches: a vision transformer's position embedding tells which signal each patch got, and so shows the images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from .contract.attack import Reconstruction, State, Unsupported, generator, require
from .contract.card import Card, Sight
from .contract.params import cosine_distance
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain import inversion, patched
from .explain.labels import guess
from .layers.alone import Change, patches_of, smoothed, undone
from .layers.patching import Patching, patching
from .layers.rounding import noise, stored
from .layers.several import space
from .optimise.descent import Evaluation, begin, best, descend, reconstruction
from .optimise.distances import log_cosine
from .optimise.lbfgs import LBFGS
from .optimise.optim import Adam, warmup_cosine

TOLD = 0.75
"""A low loss is evidence for an image of which the changes tell this share, at least; the rest is made smooth."""

CLEAR = 0.1
"""And whose error, as noise makes it, is at most this, beside a spread of inputs of about 1."""

ROUNDINGS = 4.0
"""Roundings of one step that a training is taken to add up to, where nothing is left over that shows them."""

ALONE = 2
"""So many images are found better by the change alone: three seeds have SSIM 0.95 on average, 0.55 with the cover."""

CHROMA = 3.0
"""Weight of differences of colour in the total variation, as in :class:`.cover.Cover`."""

WARMUP = 5
"""Updates over which the step size rises."""

INNER = 10
"""Iterations of L-BFGS in one step."""

DOUBT = "of several images this is a search, and other images may explain as much"
"""Why a low loss is no evidence where there was more than one image."""


def _joins(sight: Sight) -> tuple[bool, str]:
    if sight.patched:
        return True, f"each patch got the signal of its place, which shows a single image exactly; {sight.samples}"
    return False, "needs a vision transformer whose patch embedding and table of positions were trained, by SGD"


@dataclass(frozen=True)
class Patches:
    """The images of a vision transformer's training, from the changes of patch and position embedding.

    A patch is embedded as ``W p_l + b + E_l``, so that all training adds ``signal_l p_l^T`` to W and ``signal_l`` to
    row l of the table E: least squares give all patches of a single image, whatever the labels, loss, head, steps,
    momentum, schedule and weight decay of SGD were (docs/decisions/0015-patches.md). Lu et al. (CVPR 2022) have this
    for one gradient. The loss is what is left over, where 1 is what chance leaves: it tells whether there was one
    image. Where the table has more places than numbers in a row, or noise hides some, what is not told of the image is
    chosen to be smooth.

    Several images lie in affine spaces that the same two changes tell (:mod:`.layers.several`). In these it minimises

        ``log_cosine(change) + cover mean log cover + alpha roughness(x) + beta excess(x)``

    with the change that one step from between before and after makes, and the cover (:mod:`.layers.coverage`) of the
    linear layers that see fewer tokens than they have units. In the end each image alone is moved into what these
    layers' changes span, by L-BFGS.

    Attributes:
        iterations: Updates of several images; one image takes one.
        polish: How many of them, at most half, are the last ones, of 10 iterations of L-BFGS.
        step_size: Adam step on the image variables.
        alpha: Weight of the total variation at the start; it falls to zero with the square of the time left.
        beta: Weight of the mean squared excess of the images over the range of pixels.
        cover: Weight of the cover of the linear layers, of more than :data:`ALONE` images.
        init_scale: Standard deviation of the Gaussian noise that the finest variables start from.
        tolerance: The attack counts as converged when its loss, of one image, is at most this.
    """

    name: ClassVar[str] = "patches"
    card: ClassVar[Card] = Card(
        goal="What a vision transformer was trained on: one record exactly, else a few.",
        knowledge="That training was SGD. For one image no labels, recipe or head; for more how many there were.",
        source="memaudit, after Lu et al., CVPR 2022",
        exact=True,
        blind=True,
        rule=_joins,
        place=15,
    )
    iterations: int = 210
    polish: int = 10
    step_size: float = 0.3
    alpha: float = 0.1
    beta: float = 1.0
    cover: float = 0.1
    init_scale: float = 0.1
    tolerance: float = 2e-3

    def __post_init__(self) -> None:
        require(self, ("iterations", "step_size", "init_scale"), ("polish", "alpha", "beta", "cover", "tolerance"))

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Read the patches, or where they lie. Raises :class:`.Unsupported` where nothing tells their signals."""
        place = patching(victim)
        if recipe.optimizer != "sgd":
            raise Unsupported(
                f"{recipe.optimizer} rescales every number by itself, so that weight and table got different signals."
            )
        weight, table = ((read(victim.theta0), read(victim.thetaf)) for read in (place.matrix, place.rows))
        change = undone(weight, table, _known(recipe))
        if change.left <= self.tolerance:
            return _alone(victim, recipe, place, change)
        count, spaces = space(weight, table, noise(weight, [stored(side) for side in weight]), recipe.size)
        if count == 1:
            return _alone(victim, recipe, place, change)
        gen = generator(seed)
        draw = self.init_scale * torch.randn(count, *victim.shape, generator=gen)
        variables = victim.medium.variables(draw.to(victim.like), "auto")
        known = recipe.labels if count == recipe.size else None
        labels = guess(victim, replace(recipe, size=count, labels=known), gen)
        state = begin(variables, {"labels": labels, "place": place.numbers(victim)}, Adam(self.step_size))
        memory = {**state.memory, **patched.remembered(victim, count, spaces)}
        x = patched.placed(place, memory, victim.medium.inputs(variables))
        return replace(state, memory={**memory, "best.x": x, "best.loss": x.new_tensor(math.inf)})

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One update of all images; for one image nothing is left to do."""
        if "told" in state.memory:
            left = state.memory["left"]
            memory = {**state.memory, "best.loss": left}
            return State(state.step + 1, state.variables, state.constants, memory, float(left), done=True)
        at, place = patched.point(victim, recipe), Patching.of(victim, state.constants["place"])
        last = min(self.polish, self.iterations // 2)
        total = self.iterations - last
        if state.step >= total:
            return self._polished(at, place, state)
        following = self._searched(at, place, state, total)
        if following.step < total:
            return following
        return replace(following, variables=victim.medium.variables(best(following)[0], "pixels"), done=not last)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the images, with how much of one the changes tell."""
        labels = state.constants["labels"]
        if "told" not in state.memory:
            found = inversion.finish(patched.point(victim, recipe), replace(recipe, lr=1.0), state, labels)
            return replace(found, doubt=DOUBT)
        x, loss = best(state)
        influence = torch.stack([torch.linalg.vector_norm(value) for value in victim.delta.values()]).norm()[None]
        told, error = (float(value) for value in state.memory["told"])
        doubt = _doubt(told, error, float(state.memory["left"]))
        return replace(reconstruction(victim, x, labels, influence, loss), doubt=doubt)

    def _searched(self, at: Victim, place: Patching, state: State, total: int) -> State:
        """Return the state after one step of Adam on all images."""
        weight = self.alpha * (1 - state.step / total) ** 2

        def evaluate(variables: Mapping[str, Tensor]) -> Evaluation:
            x = patched.placed(place, state.memory, at.medium.inputs(variables))
            change = patched.change(at, x, state.constants["labels"])
            objective = log_cosine(change, at.delta)
            if self.cover and len(x) > ALONE:
                objective = objective + self.cover * patched.covers(at, state.memory, x)
            objective = objective + weight * at.medium.roughness(x, CHROMA) + self.beta * at.medium.excess(x)
            cosine = cosine_distance(change, at.delta).detach().clamp(min=0)
            return Evaluation(objective, cosine, x, {"cosine": float(cosine)})

        factor = warmup_cosine(state.step, total, WARMUP)
        return replace(descend(state, evaluate, Adam(self.step_size), total=total, factor=factor), done=False)

    def _polished(self, at: Victim, place: Patching, state: State) -> State:
        """Return the state after a few iterations of L-BFGS that move each image into what the layers' changes span."""

        def images(variables: Mapping[str, Tensor]) -> Tensor:
            return patched.placed(place, state.memory, at.medium.inputs(variables))

        def objective(variables: Mapping[str, Tensor]) -> Tensor:
            return patched.outside(at, state.memory, images(variables)).mean()

        variables: dict[str, Tensor] = dict(state.variables)
        solver: dict[str, Tensor] = {}
        if any(name.endswith(".kept") for name in state.memory):
            variables, solver = LBFGS(inner=INNER, history=50).update(variables, state.memory, objective)
        x = images(variables).detach()
        loss = cosine_distance(patched.change(at, x, state.constants["labels"]), at.delta).detach().clamp(min=0)
        memory = {**state.memory, **solver, "best.x": x, "best.loss": loss}
        done = state.step + 1 >= self.iterations
        return replace(state, step=state.step + 1, variables=variables, memory=memory, loss=float(loss), done=done)


def _alone(victim: Victim, recipe: Recipe, place: Patching, change: Change) -> State:
    """Return the state that holds the only image."""
    read = patches_of(change, _noise(victim, place), 1.0)
    whole = smoothed(read, lambda rows: victim.medium.roughness(place.joined(rows[None], victim.shape)))
    x = place.joined(whole[None].to(victim.like), victim.shape)
    memory = {"best.x": x, "best.loss": x.new_tensor(math.inf), "left": x.new_tensor(change.left)}
    memory["told"] = x.new_tensor([1 - read.free.shape[1] / place.positions, read.error])
    return State(0, {"x": x}, {"labels": _label(victim, recipe)}, memory)


def _known(recipe: Recipe) -> float:
    """Return the factor of weight decay as far as the recipe tells."""
    decay = recipe.travel * recipe.weight_decay if recipe.weight_decay else 0.0
    return 1 - min(decay, 1.0) if math.isfinite(decay) else 1.0


def _noise(victim: Victim, place: Patching) -> float:
    """Return the rounding in an entry of the weight's change, and what that of the table does to it, at a guess."""
    parts = [[read(params) for params in (victim.theta0, victim.thetaf)] for read in (place.matrix, place.rows)]
    weight, table = (noise(sides, [stored(side) for side in sides]) for sides in parts)
    return ROUNDINGS * math.hypot(weight, table * math.sqrt(place.positions))


def _label(victim: Victim, recipe: Recipe) -> Tensor:
    """Return (1,) the label that the head's change shows, 0 where it has none."""
    try:
        return torch.tensor([inversion.only_label(victim, recipe)])
    except Unsupported:
        return torch.tensor([0])


def _doubt(told: float, error: float, left: float) -> str:
    """Return why a low loss is no evidence for the image; empty where it is."""
    if left == 1:
        return "the table has about as many places as a row has numbers, so nothing tells one image from several"
    if told < TOLD:
        return f"the change tells {told:.0%} of the image, and the rest was chosen to be smooth"
    return f"noise in the change hides the image: an error of {error:.2g}" if error > CLEAR else ""
