import pytest
import torch
from torch import Tensor

from memaudit.audit.scoring.shifts import REACH, moved, moves

from .test_match import photographs


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 16, 40), (3, 96, 96)])
def test_every_move_within_reach_is_found_whatever_comes_in(shape: tuple[int, int, int]) -> None:
    images = photographs(6, 0, side=max(shape[1:]))[:, : shape[0], : shape[1], : shape[2]]
    rng = torch.Generator().manual_seed(0)
    reach = torch.tensor([shape[1] // REACH, shape[2] // REACH])
    by = (torch.rand(6, 2, generator=rng) * (2 * reach + 1)).long() - reach
    for edge in (False, True):
        dimmer = 0.5 * moved(images, by, edge) + 0.2
        assert torch.equal(moves(images, dimmer), by)


def test_what_comes_in_is_black_or_the_edge() -> None:
    image = torch.arange(9.0).reshape(1, 1, 3, 3) + 1
    by = torch.tensor([[1, -1]])
    assert moved(image, by, edge=False)[0, 0].tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]
    assert moved(image, by, edge=True)[0, 0].tolist() == [[2, 3, 3], [2, 3, 3], [5, 6, 6]]
    assert torch.equal(moved(image, torch.zeros(1, 2).long(), edge=False), image)


@pytest.mark.parametrize("images", [torch.zeros(2, 3, 32, 32), torch.rand(2, 3, 4, 4), torch.empty(0, 3, 32, 32)])
def test_blank_and_tiny_images_stay_where_they_are(images: Tensor) -> None:
    assert torch.equal(moves(images, images), torch.zeros(len(images), 2).long())
