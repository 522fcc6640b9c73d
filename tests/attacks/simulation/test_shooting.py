"""Where training started is found where only its end is known, as far as the records are right."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.simudy import SimuDy
from memaudit.attacks.simulation.adjoints import FullGraph
from memaudit.attacks.simulation.dynamics import batch_plan, simulate
from memaudit.attacks.simulation.shooting import corrected, started

from ...conftest import trained

RECIPE = Recipe(lr=0.1, epochs=5, batch_size=3, size=3)
PLAN = batch_plan(RECIPE, 3, torch.Generator())
FIRST = "1.weight"


@pytest.fixture
def scene():
    """Return a victim whose first layer starts at its end, its images, and the true start."""
    x = torch.randn(3, 3, 2, 2)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Sigmoid(), nn.Linear(8, 3))
    known = trained(network, x, torch.arange(3), RECIPE, PLAN)
    start = known.theta0[FIRST]
    theta0 = {**known.theta0, FIRST: known.thetaf[FIRST]}
    hidden = frozenset({FIRST})
    return replace(known, theta0=theta0, masked=hidden, guessed=hidden), x, start


def test_with_the_right_records_the_true_start_is_found(scene):
    victim, x, start = scene
    memory: dict[str, torch.Tensor] = {}
    errors = []
    for _ in range(40):
        now = started(victim, memory)
        errors.append(float((now.theta0[FIRST] - start).norm()))
        with torch.no_grad():
            final = simulate(now, RECIPE, x, torch.arange(3), PLAN, adjoint=FullGraph())
        memory = corrected(now, final)
    assert errors[-1] < 1e-3 * errors[0]


def test_an_end_that_is_not_finite_corrects_nothing(scene):
    victim, _, _ = scene
    memory = corrected(victim, {FIRST: torch.full((8, 12), torch.inf)})
    assert torch.equal(started(victim, memory).theta0[FIRST], victim.theta0[FIRST])


def test_known_starts_stay(scene):
    victim, _, _ = scene
    plain = replace(victim, guessed=frozenset())
    assert started(plain, {"start.1.weight": torch.zeros(8, 12)}) is plain
    assert corrected(plain, dict(victim.thetaf)) == {}


def test_simudy_corrects_it_once_nothing_is_clipped(scene):
    victim, _, start = scene
    attack = SimuDy(iterations=12, relabel=0)
    state = attack.init(victim, RECIPE, 0)
    key = f"start.{FIRST}"
    seen = []
    for _ in range(12):
        state = attack.step(victim, RECIPE, state)
        seen.append(key in state.memory)
    assert seen == [False] * 6 + [True] * 6
    assert state.memory[key].shape == start.shape
    assert torch.isfinite(attack.finish(victim, RECIPE, state).records).all()
