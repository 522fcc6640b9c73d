import math

import pytest
import torch

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.images.generator import FIXED, UNIT, generate, generator_variables
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.attacks.images.variables import PARAMETRISATIONS, compose
from memaudit.attacks.optimise.optim import Adam
from memaudit.attacks.simudy import SimuDy

from ...conftest import trained
from ..test_gion import smooth_images
from ..test_inverting_gradients import network

SCALE = Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 1, 28, 28), (3, 3, 9, 14), (2, 3, 2, 2), (1, 1, 1, 20)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_have_the_shape_and_the_range_of_pixels(shape, dtype):
    scale = SCALE if shape[1] == 3 else Normalisation()
    x = generate(generator_variables(torch.randn(shape, dtype=dtype), scale))
    assert (x.shape, x.dtype) == (shape, dtype)
    pixels = scale.to_pixels(x)
    assert -1e-6 < float(pixels.min()) < float(pixels.max()) < 1 + 1e-6
    assert float(pixels.std()) > 0.01


def test_the_noise_seeds_every_draw_and_nothing_else_does():
    noise = torch.randn(2, 3, 8, 8)
    one, same, other = (generator_variables(value, SCALE) for value in (noise, noise.clone(), torch.randn(2, 3, 8, 8)))
    torch.manual_seed(5)
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["generator.first"], other["generator.first"])
    assert not torch.equal(one["generator.z"], other["generator.z"])


@pytest.mark.parametrize("n", [1, 20, 100])
def test_it_is_over_parameterised(n):
    variables = generator_variables(torch.randn(n, 3, 32, 32), SCALE)
    weights = sum(value.numel() for name, value in variables.items() if name.split(".")[1] not in FIXED)
    assert weights > 4 * n * 32 * 32


def test_inputs_and_normalisation_never_move():
    variables = generator_variables(torch.randn(2, 3, 8, 8), SCALE)
    leaves = {name: value.clone().requires_grad_() for name, value in variables.items()}
    grads = torch.autograd.grad(generate(leaves).square().sum(), list(leaves.values()))
    named = dict(zip(leaves, grads, strict=True))
    moved, _ = Adam(0.1).update(variables, named, Adam(0.1).start(variables), 0, 1.0)
    fixed = {f"generator.{name}" for name in FIXED}
    assert all(torch.equal(moved[name], variables[name]) == (name in fixed) for name in moved)


def test_a_step_moves_a_weight_by_hundredths():
    variables = generator_variables(torch.randn(1, 3, 32, 32), SCALE)
    convolution = variables["generator.conv0"] * UNIT
    assert float(convolution.abs().max()) <= 1 / math.sqrt(32 * 9)
    assert float(variables["generator.conv0.gain"][0] * UNIT) == pytest.approx(1)


def test_it_is_one_of_the_parametrisations():
    variables = PARAMETRISATIONS["generator"](torch.randn(2, 3, 8, 8), SCALE)
    assert torch.equal(compose({**variables, "log_lr": torch.zeros(())}), generate(variables))


def test_simudy_fits_it():
    recipe, x = Recipe(2, 0.1, 2, 3), smooth_images(2, 8)
    victim = trained(network(), x, torch.tensor([0, 2]), recipe, torch.arange(2).repeat(3, 1))
    attack = SimuDy(iterations=60, parametrisation="generator")
    state, losses = attack.init(victim, recipe, 0), []
    while not state.done:
        state = attack.step(victim, recipe, state)
        losses.append(state.loss)
    assert min(losses) < 0.3 * losses[0]
    assert float(attack.finish(victim, recipe, state).influence.min()) > 0
