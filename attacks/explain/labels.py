"""Labels of the dummies; all that an attacker needs is how many samples each class has."""

import math

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from ..contract import attack
from ..contract.params import Params
from ..contract.recipe import Recipe
from ..contract.victim import Victim
from ..layers.inputs import inputs_of, middle
from ..simulation.losses import goal_of


def chances(victim: Victim, labels: Tensor, targets: Tensor | None) -> Tensor:
    """Return (n, k) probabilities of the classes: 0 and 1 of labels (n,), or of logits ``targets`` (n, k)."""
    return one_hot(labels, victim.categories) if targets is None else targets.sigmoid()


def guess(victim: Victim, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Return (size,) labels in random order: the recipe's counts, else balanced as far as the size allows.

    Balanced as in SimuDy, Algorithm 1, line 2. What is left over, or everything where there are fewer samples than
    classes, goes to the classes whose bias training raised most: under cross-entropy a logit's bias grows only if its
    class is in the data. Without a recognisable head it goes to random classes.
    """
    size = recipe.size
    order = torch.randperm(victim.categories, generator=generator)
    change = head_change(victim, victim.delta)
    if recipe.labels is not None:
        labels = torch.repeat_interleave(torch.arange(victim.categories), torch.tensor(recipe.labels))
    elif change is not None and size < victim.categories and bool((change > 0).any()):
        labels = expand(proportional(change.clamp(min=0), size))
    else:
        ranked = order if change is None else change.argsort(descending=True, stable=True)
        labels = ranked.repeat(-(-size // victim.categories))[:size]
    return labels[torch.randperm(size, generator=generator)]


def head_change(victim: Victim, change: Params) -> Tensor | None:
    """Return (k,) how much a parameter change raised each class's logit bias; ``None`` without a recognisable head.

    Read off the last parameter with one entry per class; where that is a weight (k, features), its row sums serve,
    as features after a ReLU are not negative. A single logit counts for class 1 and against class 0.
    """
    head = _head(victim, change)
    head = head.sum(1) if head is not None and head.dim() == 2 else head
    return torch.cat([-head, head]) if head is not None and len(head) == 1 else head


def _head(victim: Victim, change: Params) -> Tensor | None:
    for name, value in reversed(list(change.items())):
        fits = value.shape[:1] == (victim.classes,) and value.dim() <= 2
        if fits and (value.dim() < 2 or isinstance(victim.module.get_submodule(name.rpartition(".")[0]), nn.Linear)):
            return value.detach().cpu()
    return None


def by_features(victim: Victim, recipe: Recipe, change: Params, x: Tensor) -> Tensor:
    """Return (n,) labels of inputs ``x``: those whose row of the head's change looks most like each one's features.

    Under cross-entropy the row of class c changes by ``sum over i of (y_ic - p_ic) features_i``, so that its
    difference from the mean row points to the features of its own inputs. As many inputs get a class as :func:`guess`
    has; without a recognisable head the labels are its guess.

    Args:
        victim: The network; its features are read half-way between before and after training.
        recipe: Says how many inputs each class has, if known.
        change: Of its parameters, decay undone.
        x: (n, ...) inputs.
    """
    guessed = guess(victim, recipe, attack.generator(0))
    linear = [path for path, part in victim.module.named_modules() if isinstance(part, nn.Linear)]
    heads = [path for path in linear if change.get(f"{path}.weight".lstrip("."), x).shape[:1] == (victim.classes,)]
    if not heads or len(guessed) != len(x):
        return guessed
    rows = change[f"{heads[-1]}.weight".lstrip(".")]
    with torch.no_grad():
        features = inputs_of(victim, middle(victim), x, heads[-1:]).get(heads[-1])
    if features is None or features.shape[2] != 1:
        return guessed
    rows = torch.cat([-rows, rows]) if len(rows) == 1 else rows - rows.mean(0)
    features = features.flatten(1)
    alike = normalize(features - features.mean(0), dim=1) @ normalize(rows, dim=1).T
    counts = torch.bincount(guessed, minlength=victim.categories)
    places = expand(counts)
    order, chosen = linear_sum_assignment(-alike[:, places.to(alike.device)].double().cpu().numpy())
    return places[torch.as_tensor(chosen)[torch.as_tensor(order).argsort()]]


def recount(victim: Victim, recipe: Recipe, labels: Tensor, change: Params) -> Tensor:
    """Return ``labels`` with as many samples of each class as would move the logit biases as they did.

    Under SGD on cross-entropy the bias of class c moves by ``travel (n_c / n - p_c)``, with p_c its mean probability
    over training: the loss's gradient by it is ``p_c - y_c``. What the simulation moved it by gives p_c; solving for
    n_c gives ``n_c + n (real - simulated) / travel``, rounded so that the sum stays. One step of a fixed-point
    iteration. Of other losses the change of the bias is as linear in the counts, with another factor.

    Args:
        victim: Its delta is the real change.
        recipe: An SGD recipe with the learning rate of the simulation.
        labels: (n,) class indices that the simulation used.
        change: The simulated change.
    """
    head = _head(victim, victim.delta)
    real, simulated = head_change(victim, victim.delta), head_change(victim, change)
    if head is None or real is None or simulated is None or head.dim() != 1:
        return labels
    counts = torch.bincount(labels, minlength=victim.categories)
    slope = goal_of(recipe).slope(victim.classes)
    wanted = (counts + len(labels) * (real - simulated).double() / (recipe.travel * slope)).clamp(min=0)
    if not 0 < float(wanted.sum()) < math.inf:  # the simulation diverged
        return labels
    return reassign(labels, largest_remainder(wanted, len(labels)))


def reassign(labels: Tensor, counts: Tensor) -> Tensor:
    """Return ``labels`` (n,) with as few of them changed as it takes to have ``counts`` (k,) of each class."""
    labels = labels.clone()
    surplus = torch.bincount(labels, minlength=len(counts)) - counts
    spare = [int(place) for c in range(len(counts)) for place in (labels == c).nonzero()[: max(int(surplus[c]), 0)]]
    missing = expand((-surplus).clamp(min=0))
    labels[torch.tensor(spare, dtype=torch.long)] = missing
    return labels


def expand(counts: Tensor) -> Tensor:
    """Return (sum of counts,) sorted labels with ``counts`` (k,) of each class."""
    return torch.repeat_interleave(torch.arange(len(counts)), counts.long())


def largest_remainder(weights: Tensor, size: int) -> Tensor:
    """Return (k,) whole numbers of sum ``size`` nearest to proportional to ``weights`` (k,), not all zero."""
    shares = weights.double() * size / weights.sum()
    counts = shares.floor()
    rest = size - int(counts.sum())
    counts[(shares - counts).argsort(descending=True, stable=True)[:rest]] += 1
    return counts.long()


def proportional(weights: Tensor, size: int) -> Tensor:
    """Deal ``size`` samples in proportion to ``weights`` (k,), first one to each of the heaviest classes."""
    counts = torch.zeros_like(weights)
    for _ in range(size):
        # The class that is furthest below its share, an empty class before any other (highest averages).
        counts[torch.where(counts == 0, weights * size, weights / (counts + 1)).argmax()] += 1
    return counts.long()


def move(labels: Tensor, slopes: Tensor) -> Tensor:
    """Return ``labels`` (n,) with the one change of a dummy's class that promises the largest fall of the loss.

    Args:
        labels: Class indices.
        slopes: (n, k) derivatives of the loss with respect to one-hot labels.
    """
    gains = slopes - slopes.gather(1, labels[:, None])
    dummy, label = divmod(int(gains.argmin()), slopes.shape[1])
    labels = labels.clone()
    labels[dummy] = label
    return labels
