"""Look-alikes: moved and mirrored images, exchanged with their moments."""

import pytest
import torch

from memaudit.attacks.contract.attack import State
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain.lookalikes import exchanged
from memaudit.attacks.images.medium import Images

from ...notes import read


def state_of(variables: dict[str, torch.Tensor]) -> State:
    moments = {f"{kind}.{name}": value + 1 for kind in ("mean", "square") for name, value in variables.items()}
    return State(3, variables, {}, {**moments, "best.loss": torch.zeros(())}, 0.5)


@pytest.mark.parametrize("kind", ["pyramid", "pixels"])
def test_look_alikes_of_images_are_mirrored_and_moved_ones(kind):
    medium = Images()
    variables = medium.variables(torch.randn(2, 3, 16, 16), kind)
    variables = {name: torch.randn_like(value) for name, value in variables.items()}
    x = medium.inputs(variables)
    mirrored, down, up, right, left = (medium.inputs(found) for found in medium.lookalikes(variables, 4))
    assert torch.allclose(mirrored, x.flip(-1))
    assert torch.allclose(down[:, :, 4:], x[:, :, :-4])
    assert torch.allclose(up[:, :, :-4], x[:, :, 4:])
    assert torch.allclose(right[..., 4:], x[..., :-4])
    assert torch.allclose(left[..., :-4], x[..., 4:])
    assert len(medium.lookalikes(variables, 2)) == (1 if kind == "pyramid" else 5)  # its coarsest scale is of 4 pixels


def test_exchanges_the_chosen_images_with_their_moments():
    medium, chosen = Images(), torch.tensor([False, True])
    start = state_of(medium.variables(torch.randn(2, 3, 8, 8), "pyramid"))
    once = exchanged(medium, start, 2, 0, chosen)
    x, y = medium.inputs(start.variables), medium.inputs(once.variables)
    assert torch.equal(y[0], x[0])
    assert torch.allclose(y[1], x[1].flip(-1))
    assert torch.equal(once.memory["mean.scale2"][1], start.memory["mean.scale2"][1].flip(-1))
    assert (once.step, once.loss) == (3, 0.5)
    again = exchanged(medium, once, 2, 0, chosen)
    assert all(torch.equal(value, start.variables[name]) for name, value in again.variables.items())
    assert all(torch.equal(value, start.memory[name]) for name, value in again.memory.items())


def test_a_generator_and_a_kind_without_look_alikes_have_none():
    drawn = Images().variables(torch.randn(2, 3, 8, 8), "generator")
    assert Images().lookalikes(drawn, 2) == []
    medium = read(torch.tensor([[0, 1, 2], [3, 4, 5]]), torch.tensor([0, 1]), Recipe(2, 0.1, 2, 3)).medium
    assert medium.lookalikes({"shift": torch.randn(2, 3)}, 1) == []
