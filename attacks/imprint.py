"""Imprint: inputs that single units of the first layer hold, read off at once."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .contract.attack import Reconstruction, State, Unsupported, require
from .contract.card import Card, Sight
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain.inversion import undecayed
from .explain.records import learned
from .firstlayer.stored import explained, first_change, stored


def _joins(sight: Sight) -> tuple[bool, str]:
    if sight.stored:
        return True, "single units of the first layer hold training records"
    return False, "no unit of the first layer holds a training record alone"


@dataclass(frozen=True)
class Imprint:
    """Rows of the first layer's change that come from one input each (:mod:`.firstlayer.stored`).

    Exact, for any number of steps of SGD, labels and losses; most of all for bases that somebody made for it: units of
    one direction with rising thresholds (Fowl et al., Robbing the Fed, ICLR 2022), or tuned to rare inputs (Boenisch et
    al., EuroS&P 2023; Feng and Tramer, ICML 2024). Which inputs passed which unit before training must agree.

    Attributes:
        iterations: Without effect: one step holds what was read against the change.
        tolerance: The attack counts as converged when the inputs leave at most this share of the layer's change,
            each unit's explained by those alone that passed it.
    """

    name: ClassVar[str] = "imprint"
    card: ClassVar[Card] = Card(
        goal="Training records that single units of the first layer hold, exactly.",
        knowledge="That training was SGD; no number of records, labels, loss or learning rate.",
        source="memaudit, after Fowl et al., ICLR 2022",
        reads="first layer",
        blind=True,
        rule=_joins,
        place=21,
    )
    deterministic: ClassVar[bool] = True
    iterations: int = 1
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        require(self, ("iterations",), ("tolerance",))

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Read the inputs. Raises :class:`.Unsupported` where no unit holds one alone."""
        if recipe.optimizer != "sgd":
            raise Unsupported(f"{recipe.optimizer} rescales every weight by itself: no row is one record.")
        layer = first_change(victim, undecayed(victim, recipe))
        x = stored(layer)
        if not len(x):
            raise Unsupported(
                "no unit of the first layer holds one training record alone.", "span and simudy look for mixtures."
            )
        found = x.reshape(-1, *victim.shape).to(victim.like)
        return State(0, {"x": found}, {}, {"influence": found.new_zeros(len(found))})

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """See how much of the change the inputs explain, and put those first that explain most."""
        x: Tensor = state.variables["x"]
        layer = first_change(victim, undecayed(victim, recipe))
        influence, left = explained(layer, x.flatten(1).double().cpu())
        order = influence.argsort(descending=True, stable=True)
        memory = {"influence": influence[order].to(x)}
        terms = {"records": float(len(x))}
        return State(state.step + 1, {"x": x[order.to(x.device)]}, {}, memory, left, terms, done=True)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the inputs, those that explain most first, with the classes that training raised most."""
        x: Tensor = state.variables["x"]
        labels = learned(victim, x).cpu()
        return Reconstruction(victim.medium.records(x), x, labels, state.memory["influence"], state.loss)
