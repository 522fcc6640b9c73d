from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from memaudit.attacks.contract.attack import Reconstruction
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.audit.data.base import DataError, TrainingSet
from memaudit.audit.scoring.compare import Pool, compare
from memaudit.audit.scoring.image import Image
from memaudit.audit.scoring.kind import KindError, Told, unheard
from memaudit.audit.scoring.match import Match, match
from memaudit.audit.scoring.pairing import Method
from memaudit.audit.scoring.similarity import ssim_matrix

METHODS: tuple[Method, ...] = ("hungarian", "greedy")
MEDIUM = Images(Normalisation((0.5, 0.4, 0.3), (0.2, 0.2, 0.25)))
KIND = Image(MEDIUM)


def noise(count: int, seed: int, side: int = 12) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def training_set(images: Tensor) -> TrainingSet:
    count = len(images)
    names = tuple(f"{index}.png" for index in range(count))
    return TrainingSet(images, torch.full((count,), -1), names, (), "digest", False)


def reconstruction(images: Tensor) -> Reconstruction:
    count = len(images)
    normalised = MEDIUM.encode(images)
    return Reconstruction(images, normalised, torch.zeros(count).long(), torch.zeros(count), 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_permuted_copy_is_found(method: Method) -> None:
    images = noise(5, 0)
    order = torch.tensor([3, 1, 4, 0, 2])
    matches = match(reconstruction(images[order]), training_set(images), KIND, method=method).matches
    assert [found.sample for found in matches] == list(range(5))
    assert [int(order[found.dummy]) for found in matches] == list(range(5))
    for found in matches:
        assert found.similarity == pytest.approx(1)
        assert found.details["ssim_paper"] == pytest.approx(1)
        assert found.details["psnr"] == 100
        assert found.details["mse"] == 0
        assert found.nearest == found.similarity
        assert found.rank is None
        assert found.p_value <= found.q_value <= 0.01
        assert found.recovered


@pytest.mark.parametrize(("samples", "dummies"), [(3, 6), (6, 3)])
def test_counts_that_differ(samples: int, dummies: int) -> None:
    matches = match(reconstruction(noise(dummies, 1)), training_set(noise(samples, 0)), KIND).matches
    assert len(matches) == 3
    assert [found.sample for found in matches] == sorted({found.sample for found in matches})
    assert len({found.dummy for found in matches}) == 3


def test_scores_are_those_of_the_pair() -> None:
    truth, guess = noise(3, 0), (noise(3, 0) + 0.2 * noise(3, 1)).clamp(0, 1)
    for found in match(reconstruction(guess), training_set(truth), KIND).matches:
        x, y = truth[found.sample, None], guess[found.dummy, None]
        assert found.similarity == pytest.approx(float(ssim_matrix(x, y, "audit")))
        paper = ssim_matrix(MEDIUM.encode(x), MEDIUM.encode(y), "paper")
        assert found.details["ssim_paper"] == pytest.approx(float(paper))
        assert found.details["mse"] == pytest.approx(float((x - y).square().mean()))
        assert found.details["psnr"] == pytest.approx(-10 * np.log10(found.details["mse"]))


def test_the_papers_score_sees_what_was_not_clamped() -> None:
    images = noise(2, 0)
    claim = reconstruction(images)
    stretched = replace(claim, inputs=2 * claim.inputs)
    before, after = (match(claim, training_set(images), KIND).matches[0] for claim in (claim, stretched))
    assert after.similarity == before.similarity
    assert after.details["ssim_paper"] < before.details["ssim_paper"]


def photographs(count: int, seed: int, side: int = 12) -> Tensor:
    """Return smooth random images: as those of nature, alike in parts."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, side, mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("held_out", [0, 60])
def test_recovered_needs_the_threshold_and_more_than_chance(held_out: int) -> None:
    truth, strangers = photographs(6, 0), photographs(6, 9)
    mixed = torch.stack(
        [
            image + share * (noise(1, 7)[0] - image)
            for image, share in zip(truth, (0, 0.2, 0.4, 0.6, 0.8, 1), strict=True)
        ]
    )
    control = training_set(photographs(held_out, 5)) if held_out else None
    matches = match(reconstruction(mixed), training_set(truth), KIND, control).matches
    assert {found.recovered for found in matches} == {True, False}
    assert all(
        found.recovered is (found.similarity >= KIND.about.threshold and found.q_value <= 0.01) for found in matches
    )
    nothing = match(reconstruction(strangers), training_set(truth), KIND, control).matches
    assert not any(found.recovered for found in nothing)


@pytest.mark.parametrize("held_out", [0, 40])
def test_where_all_images_are_nearly_the_same_a_high_ssim_says_nothing(held_out: int) -> None:
    common = noise(1, 0)
    alike = (common + 0.01 * noise(44, 1)).clamp(0, 1)
    control = training_set(alike[2:42]) if held_out else None
    matches = match(reconstruction(alike[42:]), training_set(alike[:2]), KIND, control).matches
    assert all(found.similarity > 0.9 for found in matches)
    assert not any(found.recovered for found in matches)


def test_with_a_control_set_a_true_copy_stands_out() -> None:
    truth, control = noise(4, 0), noise(200, 1)
    for found in match(reconstruction(truth), training_set(truth), KIND, training_set(control)).matches:
        assert found.recovered
        assert found.p_value < 1 / 201
        assert found.rank == 1


def test_the_level_decides() -> None:
    truth, control = photographs(4, 0), training_set(photographs(30, 5))
    claim = reconstruction(truth + 0.3 * (noise(4, 1) - truth))
    kept = [
        [pair for pair in match(claim, training_set(truth), KIND, control, level=level).matches if pair.recovered]
        for level in (0.5, 1e-9)
    ]
    assert len(kept[0]) > len(kept[1]) == 0
    assert all(pair.q_value <= 0.5 for pair in kept[0])


def test_ranks_count_the_more_similar_images_of_the_pool() -> None:
    truth, control = noise(3, 0), noise(5, 1)
    guesses = torch.stack([truth[0], control[0], truth[2]])
    found = match(reconstruction(guesses), training_set(truth), KIND, training_set(control))
    assert [pair.rank == 1 for pair in found.matches] == [True, False, True]
    scores = compare(KIND, Pool(torch.cat([truth, control]), {}), guesses, turned=True).scores[:, 1]
    assert found.matches[1].rank == 1 + int((scores > scores[1]).sum())


def test_the_null_of_a_control_set_is_the_best_of_each_image_in_whatever_way() -> None:
    images, strangers, control = noise(3, 0), noise(4, 2), noise(9, 1)
    found = match(reconstruction(images), training_set(strangers), KIND, training_set(control))
    for values, records in ((found.null.values, control), (found.observed, strangers)):
        plain = ssim_matrix(records, images, "audit").amax(1).numpy()
        assert (values >= plain).all()
        assert (values > plain).any()
        np.testing.assert_array_equal(values, compare(KIND, Pool(records, {}), images, turned=True).scores.max(1))


def test_copies_of_a_training_image_make_the_weaker_null_strict() -> None:
    truth = torch.cat([noise(5, 0), noise(1, 0)])
    matches = match(reconstruction(truth), training_set(truth), KIND).matches
    assert all(found.similarity > 0.99 and not found.recovered for found in matches)
    held_out = match(reconstruction(truth), training_set(truth), KIND, training_set(noise(40, 3))).matches
    assert all(found.recovered for found in held_out)


def test_a_single_image_without_others_has_nothing_to_be_held_against() -> None:
    image = noise(1, 0)
    found = match(reconstruction(image), training_set(image), KIND)
    assert (found.null.kind, found.null.values.shape) == ("mismatched", (0,))
    assert not found.matches[0].recovered
    held_out = training_set(noise(30, 1))
    assert match(reconstruction(image), training_set(image), KIND, held_out).matches[0].recovered


def test_images_that_no_reconstruction_is_paired_with_are_comparisons_too() -> None:
    """One prototype fits every image a little: none of them is a leak."""
    prototype = photographs(1, 0)
    truth = (prototype + 0.25 * (photographs(12, 1) - 0.5)).clamp(0, 1)
    found = match(reconstruction(prototype), training_set(truth), KIND)
    assert max(pair.similarity for pair in found.matches) >= KIND.about.threshold
    assert not any(pair.recovered for pair in found.matches)


@pytest.mark.parametrize(("dummies", "expected"), [(6, (6, 3)), (40, None)])
def test_the_images_nearest_to_reconstructions(dummies: int, expected: tuple[int, int] | None) -> None:
    truth, control = noise(3, 0), noise(30, 1)
    guesses = torch.cat([truth, control[:3]]) if expected else noise(dummies, 2)
    nearest = match(reconstruction(guesses), training_set(truth), KIND, training_set(control)).nearest
    assert nearest is not None
    assert nearest == expected or (expected is None and nearest[0] <= 33 and nearest[1] <= 3)
    assert match(reconstruction(guesses), training_set(truth), KIND).nearest is None


@pytest.mark.parametrize("shared", [1, 3])
def test_a_control_set_with_training_images_is_refused(shared: int) -> None:
    truth = noise(4, 0)
    control = torch.cat([noise(6, 1), truth[:shared].clone()])
    with pytest.raises(DataError, match=f"^{shared} of the {6 + shared} control images are training images") as caught:
        match(reconstruction(truth), training_set(truth), KIND, training_set(control))
    assert "held out" in caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("role", ["training", "control"])
def test_shapes_that_differ_are_refused(role: str) -> None:
    fits, other = training_set(noise(2, 0)), training_set(noise(2, 1, side=9))
    truth, control = (other, None) if role == "training" else (fits, other)
    with pytest.raises(
        DataError, match=rf"The {role} images have shape \(3, 9, 9\), the reconstructions \(3, 12, 12\)"
    ):
        match(reconstruction(noise(2, 2)), truth, KIND, control)


def test_a_diverged_reconstruction_is_matched_but_not_recovered() -> None:
    truth = noise(2, 0)
    matches = match(reconstruction(torch.full_like(truth, float("nan"))), training_set(truth), KIND).matches
    assert len(matches) == 2
    assert not any(found.recovered for found in matches)
    assert all(
        np.isfinite([found.similarity, found.details["ssim_paper"], found.details["psnr"], found.details["mse"]]).all()
        for found in matches
    )


@pytest.mark.parametrize("number", [float("nan"), 100.0, -1.1])
@pytest.mark.parametrize("call", [1, 2])
def test_a_similarity_that_is_none_is_refused(number: float, call: int) -> None:
    """A number beside [-1, 1], from a stranger's kind, could be hidden by a comparison or stand out from all."""

    class Odd(Image):
        calls = 0

        def matrix(self, truth: Tensor, guess: Tensor, told: Told = unheard) -> Tensor:
            Odd.calls += 1
            found = super().matrix(truth, guess, told)
            return torch.where(torch.eye(*found.shape) > 0, number, found) if Odd.calls == call else found

    with pytest.raises(KindError, match="SSIM of some images"):
        match(reconstruction(noise(3, 0)), training_set(noise(3, 1)), Odd(MEDIUM), control=training_set(noise(3, 2)))


def test_matches_are_plain_values() -> None:
    (found,) = match(reconstruction(noise(1, 0)), training_set(noise(1, 0)), KIND).matches
    kinds = [int, int, float, dict, float, float, float, type(None), bool, str]
    assert isinstance(found, Match)
    assert [type(value) for value in vars(found).values()] == kinds
    assert {name: type(value) for name, value in found.details.items()} == dict.fromkeys(
        ("ssim_paper", "psnr", "mse"), float
    )
