"""How a run begins: from noise, from the end of another one, or from its own saved state."""

from dataclasses import dataclass, field, replace
from typing import Any

from ...attacks.contract.attack import ALPHA, Attack, Starting, State
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from .store import Job


@dataclass
class Session:
    """The mutable part of a run: what accumulates beside the attack's own state."""

    state: State
    seconds: float = 0.0
    peak_bytes: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    diverged: bool = False
    resumed: bool = False

    @property
    def over(self) -> bool:
        """Whether no step is left to take."""
        return self.state.done or self.diverged

    def extra(self) -> dict[str, Any]:
        """Return the plain data to be saved beside the state."""
        return {
            "seconds": self.seconds,
            "peak_bytes": self.peak_bytes,
            "curve": [point for point in self.curve if point[0] <= self.state.step],
            "diverged": self.diverged,
        }


def opened(attack: Attack, victim: Victim, recipe: Recipe, seed: int, job: Job | None, start: State | None) -> Session:
    """Return a run to continue with: as ``job`` has it, else fresh, with what ``start`` has learned."""
    saved = job.load(victim.like) if job else None
    if saved is None:
        state = attack.init(victim, recipe, seed)
        if start is None:
            return Session(state)
        if isinstance(attack, Starting):
            return Session(attack.started(victim, recipe, state, start))
        return Session(_taken_over(state, start))
    state, extra = saved
    return Session(state, resumed=state.step > 0, **extra)


def _taken_over(state: State, start: State) -> State:
    """Return a fresh state with what another one has learned; what both do not have, in one shape, stays fresh."""
    variables = {**state.variables, **{name: start.variables[name] for name in shared(state, start)}}
    labels = {name: value for name, value in start.constants.items() if name.endswith("labels")}
    prior = {name: start.memory[name] for name in (ALPHA,) if name in start.memory and name in state.memory}
    memory = {**state.memory, **prior}
    return replace(state, variables=variables, constants={**state.constants, **labels}, memory=memory)


def shared(state: State, start: State) -> set[str]:
    """Return the variables that one state can take over from another: those of the same name and shape."""
    shapes = {name: value.shape for name, value in start.variables.items()}
    return {name for name, value in state.variables.items() if shapes.get(name) == value.shape}
