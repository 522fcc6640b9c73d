from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from memaudit.audit.scoring.similarity import MAX_PSNR, Mode, mse_matrix, psnr, ssim_matrix, ssim_pairs

MODES: tuple[Mode, ...] = ("audit", "paper")


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def noise(count: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def crop(name: str, size: int, top: int = 60, left: int = 90) -> Tensor:
    picture = np.atleast_3d(getattr(skimage.data, name)())[top : top + size, left : left + size]
    return torch.from_numpy(picture / 255.0).permute(2, 0, 1)


def reference(truth: Tensor, guess: Tensor, mode: Mode, window: int = 7) -> float:
    """The score of one pair by scikit-image."""
    x, y = (image.permute(1, 2, 0).double().numpy() for image in (truth, guess))
    if mode == "paper":
        return float(structural_similarity(x, y, win_size=window, data_range=x.max() - x.min(), channel_axis=2))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    return float(structural_similarity(x.clip(0, 1), y.clip(0, 1), channel_axis=2, **options))


def compare(truth: Tensor, guess: Tensor, mode: Mode) -> None:
    wanted = [[reference(x, y, mode) for y in guess] for x in truth]
    np.testing.assert_allclose(ssim_matrix(truth, guess, mode).numpy(), wanted, atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 11, 17), (1, 12, 11), (3, 64, 48)])
def test_ssim_equals_scikit_image_on_noise(mode: Mode, shape: tuple[int, int, int]) -> None:
    compare(noise(3, *shape), noise(4, *shape, seed=1), mode)


@pytest.mark.parametrize("mode", MODES)
def test_ssim_equals_scikit_image_outside_the_unit_range(mode: Mode) -> None:
    compare(noise(2, 3, 20, 20) * 4 - 2, noise(2, 3, 20, 20, seed=1) * 4 - 2, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [32, 96])
def test_ssim_equals_scikit_image_on_photographs(mode: Mode, size: int) -> None:
    truth = torch.stack([crop(name, size) for name in ("astronaut", "coffee", "chelsea", "rocket")])
    blurred = torch.nn.functional.avg_pool2d(truth, 3, stride=1, padding=1)
    noisy = (truth + 0.1 * (noise(4, 3, size, size) - 0.5)).flip(0)
    compare(truth, torch.cat([blurred, noisy]), mode)


@pytest.mark.parametrize("mode", MODES)
def test_ssim_equals_scikit_image_on_a_grey_photograph(mode: Mode) -> None:
    truth = torch.stack([crop("camera", 40), crop("camera", 40, 200)])
    compare(truth, truth.sqrt(), mode)


@pytest.mark.parametrize(("shape", "window"), [((3, 5, 5), 5), ((1, 6, 9), 5), ((1, 3, 4), 3)])
def test_small_images_use_the_largest_odd_window(shape: tuple[int, int, int], window: int) -> None:
    truth, guess = noise(1, *shape), noise(1, *shape, seed=1)
    assert float(ssim_matrix(truth, guess, "paper")) == pytest.approx(reference(truth[0], guess[0], "paper", window))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 9), (3, 2, 2), (1, 5, 5), (3, 10, 10)])
def test_the_smallest_images_have_scores(mode: Mode, shape: tuple[int, int, int]) -> None:
    truth, guess = noise(2, *shape), noise(3, *shape, seed=1)
    scores = ssim_matrix(truth, guess, mode)
    assert scores.shape == (2, 3)
    assert bool(((scores >= -1) & (scores < 1)).all())
    torch.testing.assert_close(ssim_matrix(truth, truth, mode).diagonal(), torch.ones(2, dtype=torch.float64))


def test_a_small_gaussian_window_by_hand() -> None:
    truth, guess = noise(1, 1, 3, 3), noise(1, 1, 3, 3, seed=1)
    taps = torch.exp(-torch.tensor([1.0, 0, 1], dtype=torch.float64) / 4.5)
    weights = taps[:, None] * taps / taps.sum() ** 2
    x, y = truth[0, 0], guess[0, 0]
    mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
    var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
    covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
    wanted = (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
    wanted /= (mean_x**2 + mean_y**2 + 1e-4) * (var_x + var_y + 9e-4)
    torch.testing.assert_close(ssim_matrix(truth, guess, "audit")[0, 0], wanted)


@pytest.mark.parametrize("mode", MODES)
def test_identity_scores_one(mode: Mode) -> None:
    images = torch.stack([crop("astronaut", 32), crop("coffee", 32), torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
    scores = ssim_matrix(images, images, mode)
    torch.testing.assert_close(scores.diagonal(), torch.ones(4, dtype=torch.float64))
    assert scores.dtype == torch.float64


def test_only_the_audit_mode_is_symmetric() -> None:
    truth, guess = noise(2, 3, 16, 16), 0.3 * noise(2, 3, 16, 16, seed=1)
    for mode, symmetric in (("audit", True), ("paper", False)):
        there, back = ssim_matrix(truth, guess, mode), ssim_matrix(guess, truth, mode).T
        assert torch.allclose(there, back, atol=1e-12) is symmetric


def test_a_constant_true_image_has_a_span_of_one_in_paper_mode() -> None:
    truth, guess = torch.full((1, 3, 8, 8), 0.5), noise(1, 3, 8, 8)
    x, y = (image.permute(1, 2, 0).double().numpy() for image in (truth[0], guess[0]))
    wanted = structural_similarity(x, y, data_range=1.0, channel_axis=2)
    assert float(ssim_matrix(truth, guess, "paper")) == pytest.approx(wanted)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_pixels_that_are_not_finite_give_finite_scores(value: float) -> None:
    truth, guess = noise(2, 3, 12, 12), noise(2, 3, 12, 12, seed=1)
    guess[1, 0, 5, 5] = value
    for mode in MODES:
        scores = ssim_matrix(truth, guess, mode)
        assert bool(scores.isfinite().all())
        assert bool((scores[:, 0] != -1).all())
    assert ssim_matrix(truth, guess, "paper")[:, 1].tolist() == [-1, -1]
    assert bool(mse_matrix(truth, guess).isfinite().all())


@pytest.mark.parametrize("mode", MODES)
def test_slices_do_not_change_the_scores(mode: Mode) -> None:
    truth, guess = noise(2, 3, 64, 64), noise(50, 3, 64, 64, seed=1)  # 50 exceed one slice
    whole = ssim_matrix(truth, guess, mode)
    torch.testing.assert_close(torch.cat([ssim_matrix(truth, one, mode) for one in guess.split(1)], 1), whole)


@pytest.mark.parametrize("score", [lambda x, y: ssim_matrix(x, y, "audit"), mse_matrix])
def test_empty_sets_and_shapes_that_differ(score: Any) -> None:
    assert score(noise(0, 3, 8, 8), noise(2, 3, 8, 8)).shape == (0, 2)
    assert score(noise(2, 3, 8, 8), noise(0, 3, 8, 8)).shape == (2, 0)
    with pytest.raises(ValueError, match=r"\(3, 8, 8\) compared with \(1, 8, 8\)"):
        score(noise(1, 3, 8, 8), noise(1, 1, 8, 8))


def test_gradients_and_inputs_are_left_alone() -> None:
    guess = noise(2, 3, 12, 12).requires_grad_()
    before = guess.detach().clone()
    assert not ssim_matrix(noise(2, 3, 12, 12), guess, "audit").requires_grad
    assert torch.equal(guess, before)


def test_mse_and_psnr_equal_scikit_image() -> None:
    truth = torch.stack([crop("astronaut", 32), crop("coffee", 32)])
    guess = torch.cat([truth.flip(0), noise(3, 3, 32, 32) * 2 - 0.5])
    error = mse_matrix(truth, guess)
    for i, x in enumerate(truth):
        for j, y in enumerate(guess.clamp(0, 1)):
            assert float(error[i, j]) == pytest.approx(float(((x - y) ** 2).mean()))
            if error[i, j] > 0:
                wanted = peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=1.0)
                assert float(psnr(error)[i, j]) == pytest.approx(wanted)
    assert float(psnr(error)[0, 1]) == MAX_PSNR


def test_psnr_ends_at_the_cap() -> None:
    assert psnr(torch.tensor([0, 1e-12, 1e-10, 1e-2, 1.0], dtype=torch.float64)).tolist() == pytest.approx(
        [100, 100, 100, 20, 0]
    )


class Counting(TorchDispatchMode):
    """Counts the operations that torch does."""

    operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", MODES)
def test_pairs_are_scored_many_at_a_time_at_the_papers_size(mode: Mode) -> None:
    truth, guess = noise(120, 3, 32, 32).float(), noise(120, 3, 32, 32, seed=1).float()
    with Counting() as whole:
        ssim_matrix(truth, guess, mode)
    with Counting() as part:
        ssim_matrix(truth[:60], guess, mode)
    assert whole.operations < 2 * len(truth) * len(guess), "a pair alone takes some sixty operations"
    assert whole.operations < 2.1 * part.operations, "twice the images, twice the work"


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 5, 9), (3, 200, 200)])
def test_pairs_are_the_diagonal_of_the_matrix(shape: tuple[int, int, int]) -> None:
    one, two = noise(5, *shape), noise(5, *shape, seed=1) * 2 - 0.5
    np.testing.assert_allclose(ssim_pairs(one, two), ssim_matrix(one, two, "audit").diagonal(), atol=1e-12)
    np.testing.assert_allclose(ssim_pairs(one, two), ssim_pairs(two, one), atol=1e-12)


def test_pairs_of_nothing_and_of_different_counts() -> None:
    assert ssim_pairs(noise(0, 3, 8, 8), noise(0, 3, 8, 8)).shape == (0,)
    with pytest.raises(ValueError, match="compared with"):
        ssim_pairs(noise(2, 3, 8, 8), noise(3, 3, 8, 8))
