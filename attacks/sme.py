"""Surrogate model extension: the change read as one gradient, at a learned point between before and after."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .contract.attack import ALPHA, Reconstruction, State, generator, require
from .contract.card import Card, Sight
from .contract.medium import Parametrisation
from .contract.params import cosine_distance
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain import inversion
from .explain.chord import chord
from .optimise.descent import Evaluation, descend
from .optimise.distances import DISTANCES
from .optimise.optim import Adam, warmup_cosine

MIX = "mix"
"""The variable a: the gradient is taken at ``(1 - a) theta0 + a theta_f``."""

ALPHAS = (0.03, 0.3)
"""Weights of the total variation to choose from: dense nets do best with the first, conv nets with the second."""


def _joins(sight: Sight) -> tuple[bool, str]:
    if sight.left:
        return False, sight.left
    if sight.steps == 1:
        return False, "training was one step: its gradient is known at the point where it was taken"
    partial = f"; partial at best: {sight.covered}" if sight.coverage < 1 else ""
    return True, f"cheap: one learned point stands for the training{partial}"


@dataclass(frozen=True)
class SME:
    """Surrogate model extension (Zhu et al., ICML 2023, section 4), with the objective of :class:`.simudy.SimuDy`.

    Reads the change as ``-travel grad L(w; x)`` with ``w = (1 - a) theta0 + a theta_f`` and minimises
    ``distance(change, theta_f - theta0) + alpha roughness(x) + beta excess(x)`` over the images and the one number
    ``a``. A step costs one gradient however long the training was, which makes this the cheap attack and a start for
    ``simudy``: the images are the same variables. No weight of the total variation suits all networks, but the loss
    shows which one suits this (docs/benchmarks.md), so there is a run with each of :data:`ALPHAS`, from the same noise,
    and the end of the one with the lowest loss is kept. Differs from the published code as ``simudy`` does from its
    own; that one has ``distance="cosine", parametrisation="pixels", step_size=1, mix_step=1e-3, iterations=1000,
    chroma=1, search=False``.

    Attributes:
        iterations: Updates of the images in all runs; too many fit what one gradient cannot explain.
        search: Share them among runs with each of :data:`ALPHAS`; otherwise there is one run with ``alpha``.
        step_size: Adam step on the image variables.
        mix_step: Adam step on ``a``.
        alpha: Weight of the total variation at the start, where it is not searched for; it falls to zero with the
            square of the time left.
        chroma: Weight of differences of colour in it, beside those of brightness, as in :class:`.cover.Cover`.
        beta: Weight of the mean squared excess of the images over the range of pixels.
        distance: ``log_cosine``, ``cosine`` or ``euclidean``.
        parametrisation: ``auto``, ``pyramid``, ``pixels`` or ``generator``; as in :class:`.simudy.SimuDy`.
        init_scale: Standard deviation of the Gaussian noise that the finest variables start from.
        nodes: 1, the learned point; or 3, both ends and the middle with the best weights (:mod:`.explain.chord`).
        warmup: Updates over which the step size rises.
        tolerance: The attack counts as converged when its loss, the cosine distance, is at most this. After a long
            training even the true images leave more than that, and the attack ends as stalled.
    """

    name: ClassVar[str] = "sme"
    card: ClassVar[Card] = Card(
        goal="Individual training records: those of which one gradient between both ends explains the change.",
        knowledge="That training was SGD; labels or their counts, given or inferred. No learning rate.",
        source="Zhu et al., ICML 2023",
        rule=_joins,
        place=30,
    )
    iterations: int = 360
    search: bool = True
    step_size: float = 0.4
    mix_step: float = 5e-3
    alpha: float = 0.1
    chroma: float = 3.0
    beta: float = 1.0
    distance: Literal["log_cosine", "cosine", "euclidean"] = "log_cosine"
    parametrisation: Parametrisation = "auto"
    init_scale: float = 0.1
    nodes: Literal[1, 3] = 1
    warmup: int = 5
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        others = ("mix_step", "alpha", "chroma", "beta", "warmup", "tolerance")
        require(self, ("iterations", "step_size", "init_scale"), others)

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Draw images and labels. Raises :class:`.attack.Unsupported` where the change is not a sum of gradients."""
        inversion.check(victim, recipe)
        gen = generator(seed)
        noise = (self.init_scale * torch.randn(recipe.size, *victim.shape, generator=gen)).to(victim.like)
        variables = victim.medium.variables(noise, self.parametrisation)
        x = victim.medium.inputs(variables)
        variables[MIX] = noise.new_tensor(0.5)
        likely = torch.randn(noise.shape, generator=gen).to(noise)  # as strong as images are
        labels = inversion.labels_of(victim, recipe, likely, gen)
        state = inversion.start(victim, recipe, variables, x, labels, self._rule)
        first = {f"{kind}.{name}": value for name, value in variables.items() for kind in ("first", "kept")}
        tried = {"tried": noise.new_full((self._runs,), math.inf), ALPHA: noise.new_tensor(self.alpha)}
        return replace(state, memory={**state.memory, **first, **tried, f"best.{MIX}": variables[MIX]})

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One update of the images and of the point."""
        run, done, length = self._run(state.step)
        state = self._restarted(state) if run and not done else state
        alpha = ALPHAS[run] if self._runs > 1 else self.alpha
        weight = alpha * (1 - done / length) ** 2

        def evaluate(variables: Mapping[str, Tensor]) -> Evaluation:
            x, mix = victim.medium.inputs(variables), variables[MIX]
            change = self._change(victim, recipe, x, mix, state.constants["labels"])
            objective = DISTANCES[self.distance](change, victim.delta)
            objective = (
                objective + weight * victim.medium.roughness(x, self.chroma) + self.beta * victim.medium.excess(x)
            )
            loss = cosine_distance(change, victim.delta).detach().clamp(min=0)
            known = {**inversion.terms(change, victim.delta), MIX: float(mix.detach())}
            return Evaluation(objective, loss, x, known, {MIX: mix})

        factor = warmup_cosine(done, length, self.warmup)
        moved = descend(replace(state, step=done), evaluate, self._rule, total=length, factor=factor, project=_clamped)
        memory = dict(moved.memory)
        memory["tried"] = memory["tried"].clone()
        memory["tried"][run] = memory["tried"][run].clamp(max=moved.loss)
        if moved.done and int(memory["tried"].argmin()) == run:
            memory |= {f"kept.{name}": value for name, value in moved.variables.items()}
            memory[ALPHA] = memory[ALPHA].new_tensor(alpha)
        over = state.step + 1 >= self.iterations
        variables = {name: memory[f"kept.{name}"] if over else value for name, value in moved.variables.items()}
        return replace(moved, step=state.step + 1, variables=variables, memory=memory, done=over)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the images whose gradient came closest to the change in direction."""
        point = at(victim, state.memory[f"best.{MIX}"])
        return inversion.finish(point, recipe, state, state.constants["labels"])

    def _change(self, victim: Victim, recipe: Recipe, x: Tensor, mix: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the change that training on ``x`` makes, as one gradient or as three see it."""
        if self.nodes == 1:
            return inversion.predict(at(victim, mix), recipe, x, labels)[0]
        return chord(victim, recipe, x, labels)

    @property
    def _rule(self) -> Adam:
        return Adam(self.step_size, sizes={MIX: self.mix_step})

    @property
    def _runs(self) -> int:
        return len(ALPHAS) if self.search and self.iterations >= len(ALPHAS) else 1

    def _run(self, step: int) -> tuple[int, int, int]:
        """Return the number of the run that a step belongs to, the step's place in it, and the run's length."""
        length = self.iterations // self._runs
        run = min(step // length, self._runs - 1)  # the last one takes what does not divide
        done = step - run * length
        return run, done, self.iterations - run * length if run == self._runs - 1 else length

    def _restarted(self, state: State) -> State:
        """Return the state at the start of a run: the first noise, no moments."""
        variables = {name: state.memory[f"first.{name}"] for name in state.variables}
        return replace(state, variables=variables, memory={**state.memory, **self._rule.start(variables)})


def at(victim: Victim, mix: Tensor) -> Victim:
    """Return the victim as if its training had begun at ``(1 - mix) theta0 + mix theta_f``."""
    return replace(victim, theta0={name: torch.lerp(a, victim.thetaf[name], mix) for name, a in victim.theta0.items()})


def _clamped(variables: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**variables, MIX: variables[MIX].clamp(0, 1)}
