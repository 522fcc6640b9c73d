import pytest
import torch

from memaudit.attacks.optimise.lbfgs import LBFGS


def valley(variables):
    x, y = variables["x"], variables["y"]
    return (1 - x).square().sum() + 100 * (y - x.square()).square().sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_calls_in_a_row_are_torchs_own_optimiser_bit_for_bit(dtype):
    start = {"x": -torch.ones(3, dtype=dtype), "y": 0.3 * torch.ones(3, dtype=dtype)}
    live = [value.clone().requires_grad_() for value in start.values()]
    whole = torch.optim.LBFGS(
        live, max_iter=4, history_size=5, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        whole.zero_grad()
        loss = valley(dict(zip(start, live, strict=True)))
        loss.backward()
        return loss

    rule, variables, memory = LBFGS(inner=4, history=5), start, {}
    for _ in range(6):
        whole.step(closure)
        variables, memory = rule.update(variables, memory, valley)
        assert all(torch.equal(a, b) for a, b in zip(variables.values(), live, strict=True))
    assert len(memory["lbfgs.ro"]) == 5


def test_arguments_are_left_untouched():
    rule = LBFGS(inner=3)
    variables, memory = rule.update({"x": torch.zeros(2), "y": torch.ones(2)}, {}, valley)
    copies = {name: value.clone() for name, value in {**variables, **memory}.items()}
    rule.update(variables, memory, valley)
    assert all(torch.equal(copies[name], value) for name, value in {**variables, **memory}.items())


def test_a_minimum_is_left_alone():
    there = {"x": torch.ones(2), "y": torch.ones(2)}
    variables, memory = LBFGS().update(there, {}, valley)
    again, _ = LBFGS().update(variables, memory, valley)
    assert all(torch.equal(again[name], value) for name, value in there.items())


def test_a_variable_that_does_not_matter_stays():
    variables, _ = LBFGS().update({"x": torch.zeros(2), "z": torch.ones(3)}, {}, lambda v: (v["x"] - 2).square().sum())
    assert torch.allclose(variables["x"], torch.full((2,), 2.0))
    assert torch.equal(variables["z"], torch.ones(3))


def test_gradients_in_any_layout():
    goal = torch.arange(6.0).view(2, 3)
    found, _ = LBFGS().update({"x": torch.zeros(3, 2)}, {}, lambda v: (v["x"].T.contiguous() - goal).square().sum())
    assert torch.allclose(found["x"], goal.T, atol=1e-4)
