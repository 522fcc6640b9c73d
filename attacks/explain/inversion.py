"""What the gradient-inversion attacks share: the change of the parameters read as one gradient.

After one step of SGD the change is ``-lr`` times the gradient of the batch, exactly. After several it is, to first
order, ``-travel`` times the gradient of all samples at ``theta0`` (:attr:`.recipe.Recipe.travel`), if every batch
counts alike.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from ..contract.attack import Reconstruction, State, Unsupported
from ..contract.params import Params, cosine_distance, norm
from ..contract.recipe import Recipe
from ..contract.victim import Victim
from ..optimise.descent import Evaluate, Evaluation, begin, best, reconstruction
from ..optimise.optim import Named, Rule
from ..simulation import batchnorm
from ..simulation.dynamics import influence
from ..simulation.losses import goal_of
from ..simulation.trainstep import clipped, gradient
from .labels import guess, head_change, recount


def predict(victim: Victim, recipe: Recipe, x: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], batchnorm.Seen]:
    """Return the change that a single step on all of ``x`` makes, differentiable, and what its batch norm saw.

    Args:
        victim: The network and its starting point.
        recipe: An SGD recipe; the step goes as far as all of its steps.
        x: (n, ...) inputs.
        labels: (n,) class indices or (n, k) class probabilities; k is 2 for a single logit.

    Raises:
        Unsupported: Batch norm in train mode cannot take so few values.
    """
    training = recipe.batch_norm == "train"
    with batchnorm.train_mode(victim.module) if training else nullcontext(batchnorm.Seen()) as seen:
        try:
            goal = goal_of(recipe)
            grads = gradient(victim, tuple(victim.theta0.values()), x, labels.to(x.device), goal=goal)
        except ValueError as error:
            raise Unsupported(
                f"Batch norm in train mode cannot take a batch of {len(x)} ({error}).", "Give another --size."
            ) from None
    named = dict(zip(victim.theta0, clipped(grads, recipe.clip or math.inf), strict=True))
    travel, decay = recipe.travel, recipe.weight_decay
    change = {name: -travel * (named[name] + decay * victim.theta0[name]) for name in victim.delta}
    return change, seen


def terms(change: Params, delta: Params) -> dict[str, float]:
    """Return how a predicted change compares with the real one: in direction and in length."""
    with torch.no_grad():
        return {"cosine": float(cosine_distance(change, delta)), "change_ratio": float(norm(change) / norm(delta))}


def check(victim: Victim, recipe: Recipe) -> None:
    """Refuse a change that is not a gradient.

    Raises:
        Unsupported: With the reason.
    """
    if recipe.optimizer != "sgd":
        raise Unsupported(
            f"The change under {recipe.optimizer} is not a gradient: every parameter moves by about the learning rate.",
            "simudy simulates this optimiser.",
        )
    if not victim.delta or not float(norm(victim.delta)):
        raise Unsupported("No parameter changed by more than rounding.", "Give checkpoints from a longer training.")


def start(victim: Victim, recipe: Recipe, variables: Named, x: Tensor, labels: Tensor, rule: Rule) -> State:
    """Return the state before the first step, with the inputs ``x`` of its variables as the best so far."""
    with torch.no_grad():
        predict(victim, recipe, x, labels)  # refuses what the network cannot take
    state = begin(variables, {"labels": labels}, rule)
    return replace(state, memory={**state.memory, "best.x": x, "best.loss": x.new_tensor(math.inf)})


def matching(
    victim: Victim, recipe: Recipe, inputs: Callable[[Named], Tensor], labels: Tensor, alpha: float
) -> Evaluate:
    """Return the objective ``cosine distance of the gradients + alpha roughness(x)`` (Geiping et al., 2020, eq. 4).

    ``inputs`` makes ``x`` of the variables.
    """

    def evaluate(variables: Named) -> Evaluation:
        x = inputs(variables)
        change, _ = predict(victim, recipe, x, labels)
        cosine, roughness = cosine_distance(change, victim.delta), victim.medium.roughness(x)
        known = {**terms(change, victim.delta), "roughness": float(roughness.detach())}
        return Evaluation(cosine + alpha * roughness, cosine.detach().clamp(min=0), x, known)

    return evaluate


def finish(victim: Victim, recipe: Recipe, state: State, labels: Tensor) -> Reconstruction:
    """Return the best iterate, each record with the norm of its loss gradient."""
    x, loss = best(state)
    once = Recipe(len(x), recipe.lr, len(x), 1, batch_norm=recipe.batch_norm)
    return reconstruction(victim, x, labels, influence(victim, once, x, labels, torch.arange(len(x))[None]), loss)


def labels_of(victim: Victim, recipe: Recipe, x: Tensor, generator: torch.Generator) -> Tensor:
    """Return (n,) labels: those that the recipe counts, else what the change of the head shows.

    With fewer samples than classes the biases that rose show them (:func:`.labels.guess`); otherwise their amounts
    do, if the network thinks of the first inputs ``x`` as of the real ones (:func:`.labels.recount`).
    """
    labels = guess(victim, recipe, generator)
    if recipe.labels is not None or recipe.size < victim.categories:
        return labels
    with torch.no_grad():
        return recount(victim, recipe, labels, predict(victim, recipe, x, labels)[0])


def only_label(victim: Victim, recipe: Recipe) -> int:
    """Return the label of a single training record: the class whose logit moved unlike all others (Zhao et al., 2020).

    The gradient by a row of the head is ``(p_c - y_c) h`` with ``h`` the features, so that the row of the label has
    the other sign than the rest, whatever the sign of the features.

    Raises:
        Unsupported: There is no layer with one row per class.
    """
    change = head_change(victim, undecayed(victim, recipe))
    if change is None:
        raise Unsupported("The network has no layer with one row per class to read the labels from.", "dlg needs none.")
    fell = int((change > 0).sum()) == len(change) - 1 > 1
    return int(change.argmin() if fell else change.argmax())


def distinct_labels(victim: Victim, recipe: Recipe) -> Tensor | None:
    """Return (n,) labels if no class can have two samples, else ``None`` (Yin et al., 2021, section 3.2).

    Where features are not negative, a row of the head has an entry with a negative gradient only if its class is in
    the data. As many such rows as samples: one sample each.
    """
    for value in reversed(list(undecayed(victim, recipe).values())):
        if value.shape[0:1] == (victim.classes,) and value.dim() == 2:
            present = (value.amax(1) > 0).nonzero().flatten().cpu()
            return present if len(present) == recipe.size and victim.classes > 1 else None
    return None


def undecayed(victim: Victim, recipe: Recipe) -> dict[str, Tensor]:
    """Return the change without what weight decay did to first order: a multiple of the gradient."""
    decay = recipe.travel * recipe.weight_decay if recipe.weight_decay else 0.0
    return {name: value + decay * victim.theta0[name] for name, value in victim.delta.items()}
