import pytest
import torch

from memaudit.attacks.images.variables import PARAMETRISATIONS, compose


@pytest.mark.parametrize(
    "shape", [(2, 3, 32, 32), (2, 1, 28, 28), (1, 3, 9, 14), (1, 1, 1, 784), (2, 4, 8, 8), (1, 3, 2, 2)]
)
@pytest.mark.parametrize("name", ["pyramid", "pixels"])
def test_any_image_is_reachable_and_shapes_agree(name, shape):
    variables = {k: v.double().requires_grad_() for k, v in PARAMETRISATIONS[name](torch.randn(shape)).items()}
    images = compose(variables)
    assert images.shape == shape
    finest = next(iter(variables.values()))
    jacobian = torch.autograd.functional.jacobian(
        lambda x: compose({**variables, next(iter(variables)): x})[0, :, 0, 0], finest
    )
    c = shape[1]
    assert torch.linalg.matrix_rank(jacobian[:, 0, :, 0, 0]) == c


def test_pixels_are_themselves():
    noise = torch.randn(2, 3, 4, 4)
    assert torch.equal(compose(PARAMETRISATIONS["pixels"](noise)), noise)


def test_scales_halve_down_to_four_pixels():
    variables = PARAMETRISATIONS["pyramid"](torch.randn(2, 3, 32, 28))
    assert [tuple(value.shape[2:]) for value in variables.values()] == [(32, 28), (16, 14), (8, 7), (4, 4)]
    assert all(float(value.abs().max()) == 0 for name, value in variables.items() if name != "scale1")


def test_a_coarse_variable_moves_a_block_of_pixels():
    variables = PARAMETRISATIONS["pyramid"](torch.zeros(1, 1, 8, 8))
    variables["scale2"] = variables["scale2"].clone()
    variables["scale2"][0, 0, 1, 2] = 1.0
    moved = compose(variables)[0, 0].nonzero()
    assert moved.tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]]


def test_grey_is_the_easiest_colour():
    grey, red, green = (compose({"scale1": torch.eye(3).view(3, 3, 1, 1)})).flatten(1)
    assert torch.allclose(grey, grey[0].expand(3))
    assert torch.allclose(grey.norm(), torch.tensor(1.0))
    assert float(red.norm()) == pytest.approx(0.3)
    assert float(green.norm()) == pytest.approx(0.15)
