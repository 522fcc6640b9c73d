import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from memaudit.audit.scoring import chance
from memaudit.audit.scoring.compare import CHARGE, Pool, compare, passes
from memaudit.audit.scoring.similarity import ssim_matrix

from .numbers_kind import Numbers
from .test_match import KIND, noise
from .test_transforms import smooth


def test_the_higher_similarity_counts_and_says_whose_it_is() -> None:
    images = smooth(4, 0)
    seen = torch.stack([images[0], images[1].flip(-1), images[2].flip(0), images[3]])
    heard: list[int] = []
    found = compare(KIND, Pool(images, {}), seen, True, heard.append)
    plain = ssim_matrix(images, seen, "audit").numpy()
    assert (found.scores >= plain).all()
    np.testing.assert_array_equal(found.better, found.scores > plain)
    assert found.scores.diagonal().tolist() == pytest.approx([1, 1 - CHARGE, 1 - CHARGE, 1])
    assert found.similarity.diagonal().tolist() == pytest.approx([1, 1, 1, 1])
    assert [found.name(row, row) for row in range(4)] == ["", "mirrored", "red and blue exchanged", ""]
    assert torch.equal(found.shown(1, 1), seen[1])
    assert torch.equal(found.shown(0, 0), images[0])
    assert sum(heard) == passes(KIND) * 4 * 4


def test_a_kind_without_ways_is_compared_as_it_is() -> None:
    records = torch.rand(3, 5)
    found = compare(Numbers(None), Pool(records, {}), records, True)
    assert not found.better.any()
    assert found.names == ("", "", "")
    assert passes(Numbers(None)) == 1


@pytest.mark.parametrize("both", [True, False])
def test_chance_stays_what_held_out_records_say(both: bool) -> None:
    """Of images of strangers, five in a hundred have a p-value up to 5 %: with readings of all, or only of theirs."""

    def crops(images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {
            "centre crop": interpolate(images[..., 4:-4], (32, 32)),
            "resized": interpolate(images[..., 2:-2, 2:-2], (32, 32), mode="bilinear", align_corners=False),
        }

    p = []
    for seed in range(16):
        guesses, strangers, control = smooth(6, 3 * seed), smooth(12, 3 * seed + 1), smooth(60, 3 * seed + 2)
        pools = Pool(strangers, crops(strangers)), Pool(control, crops(control) if both else {}, 0 if both else 2)
        observed, null = (compare(KIND, pool, guesses, True).scores.max(1) for pool in pools)
        p.append(chance.p_values(observed, null))
    found = np.concatenate(p)
    assert 0.01 <= (found <= 0.05).mean() <= 0.09
    assert 0.4 <= (found <= 0.5).mean() <= 0.6


def test_nothing_is_compared_with_no_reconstruction() -> None:
    assert compare(KIND, Pool(noise(2, 0), {}), noise(0, 1), True).scores.shape == (2, 0)
