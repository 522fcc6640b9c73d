import pytest
import torch

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.simulation.updates import slots, update

from ...conftest import optimizer_of, scheduler_of

RECIPES = {
    "sgd": Recipe(2, 0.1, 2, 50),
    "momentum": Recipe(2, 0.1, 2, 50, momentum=0.9, weight_decay=0.1),
    "dampening": Recipe(2, 0.1, 2, 50, momentum=0.9, dampening=0.5, schedule="linear"),
    "nesterov": Recipe(2, 0.1, 2, 50, momentum=0.9, nesterov=True, weight_decay=0.1, warmup=5),
    "adam": Recipe(2, 0.1, 2, 50, optimizer="adam", weight_decay=0.1, schedule="cosine", warmup=3),
    "adam of other constants": Recipe(2, 0.1, 2, 50, optimizer="adam", beta1=0.5, beta2=0.7, eps=0.1),
    "adam without memory": Recipe(2, 0.1, 2, 50, optimizer="adam", beta1=0.0, beta2=0.0),
    "adamw": Recipe(2, 0.1, 2, 50, optimizer="adamw", weight_decay=0.1, schedule="linear"),
}


def gradients(dtype) -> list[tuple[torch.Tensor, ...]]:
    """Of two tensors over 50 steps, from tiny to huge; one entry never has any."""
    drawn = torch.randn(50, 7, dtype=dtype) * 10 ** torch.linspace(-6, 3, 7, dtype=dtype)
    drawn[:, 3] = 0
    return [(row[:4].view(2, 2), row[4:]) for row in drawn]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_update_equals_torch(recipe, dtype):
    theta = torch.randn(2, 2, dtype=dtype), torch.randn(3, dtype=dtype)
    parameters = [value.clone().requires_grad_() for value in theta]
    optimizer = optimizer_of(parameters, recipe)
    scheduler = scheduler_of(optimizer, recipe)
    memory = tuple(torch.zeros_like(value) for _ in range(slots(recipe)) for value in theta)
    for step, grads in enumerate(gradients(dtype)):
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad.clone()
        optimizer.step()
        scheduler.step()
        theta, memory = update(recipe, theta, memory, grads, step)
    assert len(memory) == slots(recipe) * len(theta)
    for found, parameter in zip(theta, parameters, strict=True):
        rtol = 1e-11 if dtype == torch.float64 else 2e-5
        assert torch.allclose(found, parameter.detach(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_inputs_are_not_touched(recipe):
    theta = torch.randn(2, 2), torch.randn(3)
    memory = tuple(torch.rand_like(value) for _ in range(slots(recipe)) for value in theta)
    grads = torch.randn(2, 2), torch.randn(3)
    before = [value.clone() for value in theta + memory + grads]
    update(recipe, theta, memory, grads, 3)
    assert all(torch.equal(a, b) for a, b in zip(before, theta + memory + grads, strict=True))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_learning_rate_that_is_differentiated_changes_no_value(recipe):
    theta, grads = (torch.randn(4, dtype=torch.float64),), (torch.randn(4, dtype=torch.float64),)
    memory = tuple(torch.rand_like(theta[0]) for _ in range(slots(recipe)))
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    plain, _ = update(recipe, theta, memory, grads, 3)
    scaled, _ = update(recipe, theta, memory, grads, 3, scale)
    assert torch.allclose(plain[0], scaled[0], rtol=1e-12)
    # Every update is linear in its learning rate.
    (slope,) = torch.autograd.grad(scaled[0].sum(), scale)
    assert torch.isclose(slope, (plain[0] - theta[0]).sum())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_derivative_is_finite_without_a_gradient(optimizer, dtype):
    recipe, grad = Recipe(2, 0.1, 2, 50, optimizer=optimizer), torch.zeros(3, dtype=dtype, requires_grad=True)
    theta, memory = (torch.ones(3, dtype=dtype),), (torch.zeros(3, dtype=dtype),) * 2
    for step in range(3):
        theta, memory = update(recipe, theta, memory, (grad,), step)
    assert torch.equal(theta[0].detach(), torch.ones(3, dtype=dtype))
    assert bool(torch.autograd.grad(theta[0].sum(), grad)[0].isfinite().all())
