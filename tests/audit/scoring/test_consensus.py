import math

import pytest
import torch

from memaudit.attacks.contract.attack import Reconstruction
from memaudit.attacks.images.medium import Images
from memaudit.audit.scoring.consensus import CONFIDENT, align, consensus
from memaudit.audit.scoring.image import Image
from memaudit.audit.scoring.similarity import ssim_matrix

KIND = Image(Images())


def noise(count, seed, side=16):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def photographs(count, seed=0):
    """Smooth images that differ from each other."""
    coarse = noise(count, seed, 4)
    return torch.nn.functional.interpolate(coarse, size=16, mode="bilinear")


def run(images, loss=0.1, labels=None, twins=None):
    labels = torch.zeros(len(images), dtype=torch.long) if labels is None else torch.tensor(labels)
    return Reconstruction(images, 2 * images, labels, torch.arange(1.0, len(images) + 1), loss, twins)


def test_permuted_seeds_are_aligned_to_the_one_with_the_lowest_loss():
    images, order, other = photographs(5), [3, 1, 4, 0, 2], [4, 3, 2, 1, 0]
    found = consensus(KIND, [run(images[order], 0.3), run(images, 0.1), run(images[other], 0.2)])
    assert found.reference == 1
    assert found.reconstruction.loss == 0.1
    assert torch.equal(found.reconstruction.records, images)
    assert torch.equal(found.reconstruction.inputs, 2 * images)
    assert torch.allclose(found.confidence, torch.ones(5, dtype=torch.float64))
    assert found.confident.all()


def test_the_median_drops_what_one_seed_got_wrong():
    images = photographs(4)
    wrong = images.clone()
    wrong[2] = noise(1, 9)[0]
    found = consensus(KIND, [run(images), run(images.flip(0)), run(wrong)])
    assert torch.equal(found.reconstruction.records, images)
    expected = (1 + 2 * float(ssim_matrix(images[2:3], wrong[2:3], "audit"))) / 3
    assert float(found.confidence[2]) == pytest.approx(expected)
    assert found.confidence[2] < found.confidence[[0, 1, 3]].min()


@pytest.mark.parametrize(("count", "expected"), [(2, 0.4), (3, 0.5), (4, 0.6)])
def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two(count, expected):
    values = [0.3, 0.5, 0.9, 0.7][:count]
    pattern = photographs(1)[0]
    images = [torch.stack([0.1 * pattern + value]) for value in values]
    found = consensus(KIND, [run(image) for image in images])
    assert torch.allclose(found.reconstruction.records, 0.1 * pattern + expected)


def test_it_is_nearer_to_the_truth_than_any_seed_and_its_confidence_tells_how_near():
    truth = photographs(6)
    spread = torch.linspace(0.02, 0.5, 6).view(-1, 1, 1, 1)
    seeds = [(truth + spread * (noise(6, seed) - 0.5)).clamp(0, 1) for seed in range(1, 6)]
    found = consensus(KIND, [run(seed) for seed in seeds])
    near = ssim_matrix(truth, found.reconstruction.records, "audit").diagonal()
    alone = torch.stack([ssim_matrix(truth, seed, "audit").diagonal() for seed in seeds])
    assert (near > alone.mean(0)).all()
    assert torch.equal(found.confidence.argsort(descending=True), torch.arange(6))


def test_fewer_images_in_one_seed_leave_the_others_alone_with_less_confidence():
    images = photographs(4)
    found = consensus(KIND, [run(images, 0.1), run(images[[2, 0]], 0.2)])
    assert torch.equal(found.reconstruction.records, images)
    assert found.confidence.tolist() == pytest.approx([1, 0, 1, 0])
    assert found.confident.tolist() == [True, False, True, False]
    more = consensus(KIND, [run(images, 0.2), run(images[[2, 0]], 0.1)])
    assert torch.equal(more.reconstruction.records, images[[2, 0]])


def test_labels_by_vote_and_the_best_seed_decides_a_tie():
    images = photographs(3)
    found = consensus(KIND, [run(images, 0.3, [1, 1, 5]), run(images, 0.2, [2, 1, 5]), run(images, 0.1, [2, 3, 4])])
    assert found.reconstruction.labels.tolist() == [2, 1, 5]
    tie = consensus(KIND, [run(images, 0.3, [1, 1, 5]), run(images, 0.1, [2, 3, 4])])
    assert tie.reconstruction.labels.tolist() == [2, 3, 4]


def test_influence_and_twins_are_those_of_the_reference():
    images, twins = photographs(3), torch.tensor([False, True, False])
    best = run(images, 0.1, twins=twins)
    found = consensus(KIND, [run(images.flip(0), 0.3), best]).reconstruction
    assert torch.equal(found.influence, best.influence)
    assert torch.equal(found.twins, twins)


def test_unlike_seeds_give_no_confidence():
    found = consensus(KIND, [run(noise(5, seed)) for seed in range(3)])
    assert found.confidence.max() < 0.3
    assert not found.confident.any()


def test_blank_images_agree_by_chance_and_are_not_confident():
    found = consensus(KIND, [run(0.5 + 1e-3 * noise(5, seed)) for seed in range(2)])
    assert found.confidence.min() > CONFIDENT
    assert found.chance > 0.9
    assert not found.confident.any()


def test_a_single_image_has_nothing_to_be_held_against():
    image = photographs(1)
    found = consensus(KIND, [run(image), run(image)])
    assert found.chance is None
    assert found.confident.tolist() == [True]


def test_alignment_does_not_mind_brightness_contrast_and_colour():
    images = photographs(8)
    order = torch.randperm(8)
    cast = 0.3 * images[order] + torch.tensor([0.5, 0.1, 0.3]).view(3, 1, 1)
    assert torch.equal(order[align(KIND, images, cast)], torch.arange(8))


def test_a_blank_reference_keeps_its_place():
    images = photographs(3)
    images[0] = images[1] = 0.5
    found = consensus(KIND, [run(images, 0.1), run(images, 0.2)])
    assert torch.equal(found.reconstruction.records, images)


def test_what_is_no_number_counts_for_nothing():
    images = photographs(2)
    found = consensus(KIND, [run(images, 0.5), run(images, math.nan)])
    assert found.reference == 0
    broken = consensus(KIND, [run(images, 0.1), run(torch.full_like(images, math.nan), 0.2), run(images, 0.3)])
    assert bool(torch.isfinite(broken.confidence).all())


@pytest.mark.parametrize("runs", [[], [run(photographs(2))], [run(photographs(2)), run(noise(2, 0, 8))]])
def test_one_seed_or_two_shapes_are_no_consensus(runs):
    with pytest.raises(ValueError, match="seeds"):
        consensus(KIND, runs)
