"""What the optimising attacks share: one update of the variables, the best iterate, and reading it off at the end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..contract.attack import Reconstruction, State
from ..contract.victim import Victim
from .optim import MOMENTS, Rule


@dataclass(frozen=True)
class Evaluation:
    """What one look at the variables gives.

    Attributes:
        objective: What is minimised, a scalar that depends on the variables.
        loss: Attacker-visible dissimilarity, a scalar comparable between steps; the lowest one wins.
        x: (m, ...) inputs that the variables stand for.
        terms: Diagnostics for display; ``cosine`` and ``change_ratio`` serve the search for an unknown recipe.
        kept: Further tensors to keep with the best iterate, by name, such as multipliers.
    """

    objective: Tensor
    loss: Tensor
    x: Tensor
    terms: Mapping[str, float] = field(default_factory=dict)
    kept: Mapping[str, Tensor] = field(default_factory=dict)


Evaluate = Callable[[Mapping[str, Tensor]], Evaluation]
Project = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def begin(variables: Mapping[str, Tensor], constants: Mapping[str, Tensor], rule: Rule) -> State:
    """Return the state before the first step.

    Args:
        variables: What is optimised.
        constants: Whole numbers on the CPU, such as ``labels``.
        rule: The optimiser, whose moments the state carries.
    """
    return State(0, dict(variables), dict(constants), rule.start(variables))


def descend(
    state: State,
    evaluate: Evaluate,
    rule: Rule,
    *,
    total: int,
    factor: float = 1.0,
    project: Project | None = None,
    keep: bool = True,
) -> State:
    """Return the state after one update; ``state`` itself is untouched.

    Args:
        state: From :func:`begin` or the last call.
        evaluate: The attack's objective, a function of the variables alone.
        rule: The optimiser.
        total: Steps of the schedule; the state is done after them.
        factor: Schedule value that multiplies the step size.
        project: Maps the updated variables back to what is allowed.
        keep: Whether the best iterate so far may stay; otherwise this one replaces it, as while the loss changes its
            meaning from step to step.
    """
    variables = {name: value.detach().requires_grad_() for name, value in state.variables.items()}
    found = evaluate(variables)
    grads = torch.autograd.grad(found.objective, list(variables.values()), materialize_grads=True)
    with torch.no_grad():
        memory = dict(state.memory)
        if not keep or "best.loss" not in memory or bool(found.loss < memory["best.loss"]):
            kept = {"loss": found.loss, "x": found.x, **found.kept}
            memory |= {f"best.{name}": value.detach().clone() for name, value in kept.items()}
        named = dict(zip(variables, grads, strict=True))
        moved, moments = rule.update(state.variables, named, memory, state.step, factor)
        moved = project(moved) if project else moved
    step = state.step + 1
    return State(step, moved, state.constants, memory | moments, float(found.loss), dict(found.terms), step >= total)


def kept(state: State, chosen: Tensor) -> State:
    """Return a state that holds the chosen records alone; the best iterate so far stays what it was.

    Args:
        state: Its variables are (n, ...) each, moved by :class:`.optim.Adam`.
        chosen: (k,) which records stay, in their new order.
    """
    variables = {name: value[chosen.to(value.device)] for name, value in state.variables.items()}
    memory = dict(state.memory)
    for moment in (f"{kind}.{name}" for kind in MOMENTS for name in variables):
        memory[moment] = memory[moment][chosen.to(memory[moment].device)]
    return replace(state, variables=variables, memory=memory)


def best(state: State) -> tuple[Tensor, float]:
    """Return the inputs (m, ...) of the best iterate and its loss. Raises ValueError before the first step."""
    if "best.x" not in state.memory:
        raise ValueError("no step was taken")
    return state.memory["best.x"], float(state.memory["best.loss"])


def reconstruction(victim: Victim, x: Tensor, labels: Tensor, influence: Tensor, loss: float) -> Reconstruction:
    """Return inputs ``x`` (m, ...) as what an attack claims."""
    records = victim.medium.records(x)
    return Reconstruction(records=records, inputs=x, labels=labels, influence=influence, loss=loss)
