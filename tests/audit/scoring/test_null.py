from collections.abc import Mapping

import numpy as np
import pytest
from torch import Tensor

from memaudit.audit.scoring.compare import Pool
from memaudit.audit.scoring.image import Image
from memaudit.audit.scoring.kind import Transformed
from memaudit.audit.scoring.null import matched_null, mismatched
from memaudit.audit.scoring.pairing import Method, assign
from memaudit.audit.scoring.similarity import ssim_matrix

from .test_match import KIND, MEDIUM, METHODS, noise


def test_the_weaker_null_is_of_reconstructions_of_other_images_and_of_turned_ones() -> None:
    images = noise(5, 0)
    scores = ssim_matrix(images, images, "audit").numpy()
    values = mismatched(KIND, assign(scores, "hungarian"), images, Pool(images, {}))
    assert (values[:5] >= np.where(np.eye(5, dtype=bool), -1, scores).max(1)).all()
    assert (values[:5] < 0.9).all()
    mirrored = ssim_matrix(images, images.flip(-1), "audit").amax(1).numpy()
    assert any((values[5 * k : 5 * k + 5] >= mirrored).all() for k in range(8))
    assert values.shape == (40,)
    assert values.max() < 0.9


def test_in_the_weaker_null_a_record_chooses_its_way_without_its_own_reconstruction() -> None:
    asked = []

    class Watched(Image):
        def transformed(
            self,
            records: Tensor,
            readings: Mapping[str, Tensor],
            guesses: Tensor,
            turned: bool,
            lacking: int,
            without: Tensor | None,
        ) -> Transformed:
            asked.append((turned, None if without is None else without.tolist()))
            return super().transformed(records, readings, guesses, turned, lacking, without)

    mismatched(Watched(MEDIUM), [(0, 2), (2, 0)], noise(3, 0), Pool(noise(3, 1), {}))
    assert asked == [(False, [2, -1, 0])] + [(False, None)] * 7


@pytest.mark.parametrize(
    ("control", "size", "dummies", "expected"),
    [(12, 4, 4, 12), (13, 4, 4, 12), (15, 4, 2, 6), (3, 4, 4, 3), (3, 4, 2, 2), (4, 4, 9, 4), (7, 4, 4, 4)],
)
def test_the_matched_null_is_made_of_whole_folds(control: int, size: int, dummies: int, expected: int) -> None:
    scores = np.random.default_rng(0).normal(size=(control, dummies))
    assert matched_null(scores, scores + 1, size, "hungarian").shape == (expected,)


@pytest.mark.parametrize("method", METHODS)
def test_the_matched_null_is_the_same_matching_on_each_fold(method: Method) -> None:
    images, control = noise(3, 0), noise(9, 1)
    wanted = []
    for fold in control.split(3):
        scores = ssim_matrix(fold, images, "audit").numpy()
        wanted += [scores[pair] for pair in assign(scores, method)]
    scores = ssim_matrix(control, images, "audit").numpy()
    np.testing.assert_array_equal(matched_null(scores, scores, 3, method), wanted)
