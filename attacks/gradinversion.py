"""GradInversion: match the gradient and batch norm's statistics, with several seeds that hold each other."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .contract.attack import Reconstruction, State, generator, require
from .contract.card import Card
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain import inversion
from .optimise.descent import Evaluation, descend
from .optimise.distances import euclidean
from .optimise.optim import Adam, Named, warmup_cosine
from .simulation import batchnorm

FIRST_LAYER = 10.0
"""Weight of the first batch norm's statistics against the others (Yin et al., 2021; DeepInversion's code)."""

Statistics = dict[str, tuple[Tensor, Tensor]]
"""Mean (c,) and unbiased variance (c,) of what reached each batch-norm layer, by its name."""


@dataclass(frozen=True)
class GradInversion:
    """GradInversion (Yin et al., CVPR 2021, eq. 4-11).

    Minimises the squared distance of the gradients, relative to the gradient's norm, with priors on the images, for
    ``seeds`` starts at once. Batch norm's statistics are matched only where training left them in the second file;
    those before training show nothing about the data. Late in the run every start is drawn to the consensus: the pixel
    median of all, matched image by image. Differs from the paper in that matching, where it registers images of 224
    pixels, and in weights for distances that are free of scale.

    Attributes:
        iterations: Length of the schedule, in updates of the images; published: 20,000.
        step_size: Adam step on the normalised images.
        seeds: Starts that are optimised together.
        alpha: Weight of the total variation at the start; it falls linearly to zero.
        ridge: Weight of the mean square of the normalised images.
        gamma: Weight of the distance from the observed batch-norm statistics.
        group: Weight of the mean squared distance from the consensus.
        gather: Share of the run after which the consensus counts.
        langevin: Noise that each update adds, in units of the step size.
        init_scale: Standard deviation of the Gaussian noise that the normalised images start from.
        warmup: Updates over which the step size rises.
        tolerance: The attack counts as converged when its loss, the relative squared distance, is at most this.
    """

    name: ClassVar[str] = "gradinversion"
    card: ClassVar[Card] = Card(
        goal="Individual training records: from the gradient and the batch-norm statistics in the second file.",
        access="Both checkpoints, with all parameters and running statistics (white box).",
        knowledge="The learning rate, given or inferred; labels, given or read off the last layer.",
        source="Yin et al., CVPR 2021",
        on_request="made for one step; inverting_gradients is the default for it",
        place=170,
    )
    iterations: int = 1000
    step_size: float = 0.1
    seeds: int = 3
    alpha: float = 0.1
    ridge: float = 1e-3
    gamma: float = 0.1
    group: float = 0.01
    gather: float = 0.5
    langevin: float = 0.2
    init_scale: float = 1.0
    warmup: int = 50
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        others = ("alpha", "ridge", "gamma", "group", "gather", "langevin", "warmup", "tolerance")
        require(self, ("iterations", "step_size", "seeds", "init_scale"), others)

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Draw the images of every start, and read the labels off the head."""
        inversion.check(victim, recipe)
        gen = generator(seed)
        x = (self.init_scale * torch.randn(self.seeds, recipe.size, *victim.shape, generator=gen)).to(victim.like)
        distinct = inversion.distinct_labels(victim, recipe) if recipe.labels is None else None
        labels = inversion.labels_of(victim, recipe, x[0], gen) if distinct is None else distinct
        state = inversion.start(victim, recipe, {"x": x[0]}, x[0], labels, self._rule)
        variables = {"x": x}
        constants = {**state.constants, "seed": torch.tensor(seed % 2**31)}
        memory = {**state.memory, **self._rule.start(variables)}
        return replace(state, variables=variables, constants=constants, memory=memory)

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Update all starts, shake them, and move them into the range of pixels."""
        labels = state.constants["labels"]
        wanted = observed(victim, recipe)
        gathered = state.step >= self.gather * self.iterations
        fading = 1 - state.step / self.iterations
        factor = warmup_cosine(state.step, self.iterations, self.warmup)

        def evaluate(variables: Named) -> Evaluation:
            starts = variables["x"]
            found = [inversion.predict(victim, recipe, x, labels) for x in starts]
            distances = torch.stack([euclidean(change, victim.delta) for change, _ in found])
            best = int(distances.argmin())
            roughness = victim.medium.roughness(starts.flatten(0, 1))
            objective = distances.mean() + fading * self.alpha * roughness + self.ridge * starts.square().mean()
            if wanted:
                errors = torch.stack([statistics_error(seen, wanted) for _, seen in found])
                objective = objective + self.gamma * errors.mean()
            if gathered and self.seeds > 1:
                objective = objective + self.group * spread(starts, best, labels)
            terms = inversion.terms(found[best][0], victim.delta) | {"roughness": float(roughness.detach())}
            return Evaluation(objective, distances[best].detach(), starts[best], terms)

        def project(moved: dict[str, Tensor]) -> dict[str, Tensor]:
            gen = generator(int(state.constants["seed"]) * 2**32 + state.step)
            noise = torch.randn(moved["x"].shape, generator=gen).to(moved["x"])
            x = moved["x"] + self.langevin * self.step_size * factor * noise
            return {"x": victim.medium.within(x.flatten(0, 1)).view_as(x)}

        return descend(state, evaluate, self._rule, total=self.iterations, factor=factor, project=project)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the images, of any start and step, whose gradient came closest."""
        return inversion.finish(victim, recipe, state, state.constants["labels"])

    @property
    def _rule(self) -> Adam:
        return Adam(self.step_size, 0.9, 0.999)


def observed(victim: Victim, recipe: Recipe) -> Statistics:
    """Return what batch norm saw in training, solved for from the running statistics; empty if none moved.

    Of several steps, their average, in which later ones count more.
    """
    if recipe.batch_norm == "eval":
        return {}
    found: Statistics = {}
    for name, layer in batchnorm.layers(victim.module).items():
        mean, variance = (f"{name}.{kind}".lstrip(".") for kind in ("running_mean", "running_var"))
        if mean in victim.running and variance in victim.running:
            share = _replaced(victim, layer.momentum, recipe.steps, f"{name}.num_batches_tracked".lstrip("."))
            found[name] = _solved(victim, mean, share), _solved(victim, variance, share)
    return found


def _replaced(victim: Victim, momentum: float | None, steps: int, counter: str) -> float:
    """Return which share of a running statistic stems from training; without momentum it is a plain average."""
    return steps / (int(victim.buffers[counter]) + steps) if momentum is None else 1 - (1 - momentum) ** steps


def _solved(victim: Victim, name: str, share: float) -> Tensor:
    before = victim.buffers[name]
    return before + (victim.running[name] - before) / share


def statistics_error(seen: batchnorm.Seen, wanted: Statistics) -> Tensor:
    """Return how far batch norm's inputs are from what was observed: relative errors, a mean over layers (a scalar)."""
    weights = [FIRST_LAYER] + [1.0] * (len(wanted) - 1)
    errors = []
    for weight, (name, (mean, variance)) in zip(weights, wanted.items(), strict=True):
        spread = variance.clamp(min=0).sqrt()
        off = [(seen[name][0] - mean, spread), (seen[name][1] - variance, variance)]
        errors += [weight * torch.linalg.vector_norm(error) / torch.linalg.vector_norm(scale) for error, scale in off]
    return torch.stack(errors).sum() / sum(weights)


def spread(starts: Tensor, reference: int, labels: Tensor) -> Tensor:
    """Return the mean squared distance of all starts (s, n, c, h, w) from their consensus (a scalar).

    Images of one class may stand in any order, so each start is first matched with the reference; the consensus is
    the pixel median.
    """
    matched = torch.stack([start[matching(start, starts[reference], labels)] for start in starts])
    return (matched - matched.detach().median(0).values).square().mean()


def matching(x: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
    """Return (n,) which image of ``x`` is most like each image of ``reference`` with the same label, one to one."""
    cost = torch.cdist(reference.detach().flatten(1), x.detach().flatten(1)).cpu()
    cost = cost.masked_fill(labels[:, None] != labels, float(cost.max()) * len(x) + 1)
    return torch.from_numpy(linear_sum_assignment(cost.double().numpy())[1]).to(x.device)
