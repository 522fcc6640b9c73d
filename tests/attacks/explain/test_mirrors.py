"""Look-alikes: which records are suspect, and that turning twice changes nothing."""

import torch

from memaudit.attacks.contract.attack import State
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain.mirrors import SUSPECT, shares, turned
from memaudit.attacks.images.medium import Images

from ...notes import read


def state_of(variables: dict[str, torch.Tensor]) -> State:
    moments = {f"{kind}.{name}": value + 1 for kind in ("mean", "square") for name, value in variables.items()}
    return State(3, variables, {}, {**moments, "best.loss": torch.zeros(())}, 0.5)


def test_one_that_costs_little_is_suspect():
    found = shares(torch.tensor([0.8, 1.0, 0.3, 1.2, -0.1]))
    assert (found < SUSPECT).tolist() == [False, False, True, False, True]
    assert shares(torch.zeros(3)).tolist() == [0, 0, 0]


def test_turns_the_chosen_images_with_their_moments_and_back():
    medium, chosen = Images(), torch.tensor([False, True])
    start = state_of(medium.variables(torch.randn(2, 3, 8, 8), "pyramid"))
    once = turned(medium, start, chosen)
    x, y = medium.inputs(start.variables), medium.inputs(once.variables)
    assert torch.equal(y[0], x[0])
    assert torch.allclose(y[1], x[1].flip(-1))
    assert torch.equal(once.memory["mean.scale2"][1], start.memory["mean.scale2"][1].flip(-1))
    assert (once.step, once.loss) == (3, 0.5)
    again = turned(medium, once, chosen)
    assert all(torch.equal(value, start.variables[name]) for name, value in again.variables.items())
    assert all(torch.equal(value, start.memory[name]) for name, value in again.memory.items())


def test_a_generator_and_a_kind_without_look_alikes_stay_as_they_are():
    drawn = Images().variables(torch.randn(2, 3, 8, 8), "generator")
    chosen = torch.tensor([True, True])
    assert all(torch.equal(v, drawn[name]) for name, v in Images().mirrored(drawn, chosen).items())
    medium = read(torch.tensor([[0, 1, 2], [3, 4, 5]]), torch.tensor([0, 1]), Recipe(2, 0.1, 2, 3)).medium
    assert turned(medium, state_of({"shift": torch.randn(2, 3)}), chosen).variables["shift"].shape == (2, 3)
