"""The state of an attack in the row space of the first layer: exact directions are held once they are certified.

Its variable ``w`` (n, r) stands for the inputs ``w diag(scale) R``. In its memory, with U (width, r) an orthonormal
basis of the layer's signals: ``basis`` is U, ``scale`` (r,) the units of ``w``, ``offset`` (r,) what the bias shows,
``before`` and ``after`` (width, r) the layer's weight at both ends of training, ``exact`` (r, k) the directions that
are held; the constant ``owners`` (k,) names the input that each belongs to (Dimitrov et al., 2024, section 4; for
parameter changes docs/decisions/0007-span.md).
"""

from dataclasses import replace

import torch
from torch import Tensor

from ..contract.attack import State, generator
from ..contract.victim import Victim
from .certificate import AGREEMENT, agreement, certified
from .reduced import highest, likely_labels, reduced
from .subspace import Layer

MIXTURES = 64
"""Further guesses at the missing inputs, once most are known exactly."""


def coordinates_of(w: Tensor, state: State) -> Tensor:
    """Return the coordinates (n, r) of ``w`` made to fulfil what is known exactly.

    Input j has no component along the exact direction of another one, and ``W offset = 1``.
    """
    exact, offset = (state.memory[name].to(w) for name in ("exact", "offset"))
    inverse = torch.linalg.pinv(exact)
    strange = torch.ones(len(w), exact.shape[1]).to(w)
    strange[state.constants["owners"], torch.arange(exact.shape[1])] = 0
    w = w - ((w @ exact) * strange) @ inverse
    if len(offset):
        free = offset - inverse.T @ (exact.T @ offset)
        reach = free @ offset
        if float(reach) > 1e-6 * float(offset @ offset):
            w = w + (1 - w @ offset)[:, None] * free / reach
    return w * state.memory["scale"]


def held(victim: Victim, layer: Layer, state: State) -> State:
    """Return the state that holds the exact directions its inputs lead to; done when that is all of them."""
    known = state.memory
    with torch.no_grad():
        w = coordinates_of(state.variables["w"], state).double() / known["scale"]
        points = torch.cat([w, _mixtures(w, state)])
        found = certified(
            known["basis"], highest(victim, layer, points * known["scale"], known["before"], known["after"])
        )
        if found.q.shape[1] < known["exact"].shape[1]:
            return state
        w, owners = _settled(w, points, found.owners)
        labels, q = state.constants["labels"].clone(), found.q[:, : len(owners)]
        exact = q * (w[owners] * q.T).sum(1).sign()
    network = reduced(victim, layer, known["before"], known["after"])
    labels[owners] = likely_labels(network, (w * known["scale"])[owners], (known["basis"] @ exact).T, known["before"])
    constants = {**state.constants, "owners": owners, "labels": labels}
    memory = {**known, "exact": exact}
    state = replace(state, variables={"w": w.to(state.variables["w"])}, constants=constants, memory=memory)
    if exact.shape[1] < len(known["scale"]) or len(w) != len(known["scale"]) or not len(known["offset"]):
        w = coordinates_of(state.variables["w"], state) / known["scale"]
        return replace(state, variables={"w": w})
    return _solved(victim, layer, state, found.residual)


def _released(state: State) -> State:
    """Return the state that holds no direction: together they contradict each other."""
    constants = {**state.constants, "owners": state.constants["owners"][:0]}
    return replace(state, constants=constants, memory={**state.memory, "exact": state.memory["exact"][:, :0]})


def _mixtures(w: Tensor, state: State) -> Tensor:
    """Return random mixtures of the inputs that own no exact direction yet, where those are few: further guesses.

    Affine ones: they lie where the missing inputs must lie, in the complement of all exact directions and where the
    equation of the bias holds.
    """
    owners = state.constants["owners"]
    free = [row for row in range(len(w)) if row not in set(owners.tolist())]
    if 2 * len(free) > len(w) or len(free) < 2:
        return w[:0]
    draws = torch.randn(MIXTURES, len(free), generator=generator(state.step)).to(w)
    return (draws + (1 - draws.sum(1, keepdim=True)) / len(free)) @ w[free]


def _settled(w: Tensor, points: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``w`` (n, r) in which inputs without a direction become the mixtures that found one, and the owners.

    At most n of them: mixtures may find more directions than there are inputs left, the surest of which come first.
    """
    own = set(owners.tolist())
    free = [row for row in range(len(w)) if row not in own]
    w, settled = w.clone(), []
    for owner in owners.tolist():
        if owner >= len(w):
            if not free:
                break
            w[free[0]] = points[owner]
            owner = free.pop(0)
        settled.append(owner)
    return w, torch.tensor(settled, dtype=torch.long)


def _solved(victim: Victim, layer: Layer, state: State, residual: float) -> State:
    """Return the state whose inputs follow from a complete set of exact directions, if they agree with it.

    D = U Q diag(a) with D 1 = the change of the bias, and W is the inverse of Q diag(a).
    """
    known, q, owners = state.memory, state.memory["exact"], state.constants["owners"]
    w = torch.empty_like(q)
    w[owners] = torch.linalg.inv(q * torch.linalg.solve(q, known["offset"]))
    solution = w * known["scale"]
    active = highest(victim, layer, solution[owners], known["before"], known["after"])
    if agreement(known["basis"], q, active) < AGREEMENT:
        return _released(state)
    x = solution.to(state.variables["w"])
    memory = {**known, "best.x": x, "best.loss": x.new_tensor(residual)}
    terms = {**state.terms, "exact": float(len(w))}
    return replace(state, variables={"w": w.to(x)}, memory=memory, loss=residual, terms=terms, done=True)
