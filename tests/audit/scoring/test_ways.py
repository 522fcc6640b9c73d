import pytest
import torch

from memaudit.audit.scoring.ways import FIRST_AS_LAST, LAST_AS_FIRST, MIRRORED, SWAPPED, ways

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_the_first_way_is_none_and_every_other_changes_the_image_in_its_own_way() -> None:
    found = ways((3, 8, 8), (), turned=True)
    assert found[0].name == ""
    made = [way.make(IMAGES) for way in found]
    assert torch.equal(made[0], IMAGES)
    assert all(version.shape == IMAGES.shape for version in made)
    assert len({version.numpy().tobytes() for version in map(torch.Tensor.contiguous, made)}) == len(found)
    assert len({way.name for way in found}) == len(found)


def test_ways_do_what_they_are_called() -> None:
    made = {way.name: way.make(IMAGES) for way in ways((3, 8, 8), (), turned=True)}
    assert torch.equal(made[MIRRORED], IMAGES.flip(-1))
    assert torch.equal(made["mirrored top to bottom"], IMAGES.flip(-2))
    assert torch.equal(made["turned left"], IMAGES.rot90(1, (2, 3)))
    assert torch.equal(made[SWAPPED], IMAGES[:, [2, 1, 0]])
    flat = IMAGES.permute(0, 2, 3, 1).flatten(1)
    assert torch.equal(made[LAST_AS_FIRST].flatten(1), flat)
    back = {way.name: way for way in ways((3, 8, 8), (), turned=True)}[FIRST_AS_LAST].make(made[LAST_AS_FIRST])
    assert torch.equal(back, IMAGES)


@pytest.mark.parametrize(("shape", "count"), [((1, 8, 8), 8), ((1, 8, 12), 4)])
def test_grey_images_are_only_mirrored_and_turned_in_ways_that_keep_their_shape(
    shape: tuple[int, int, int], count: int
) -> None:
    assert len(ways(shape, (), turned=True)) == count
    assert [way.name for way in ways(shape, (), turned=False)] == [""]


def test_where_turned_reconstructions_stand_for_chance_nothing_is_turned() -> None:
    names = [way.name for way in ways((3, 8, 8), ("centre crop",), turned=False)]
    assert "centre crop" in names
    assert not any("turned" in name or "mirrored" in name for name in names)


def test_a_set_that_lacks_readings_has_as_many_ways() -> None:
    with_readings = ways((3, 8, 8), ("centre crop", "stretched"), turned=True)
    without = ways((3, 8, 8), (), turned=True, lacking=2)
    assert len(with_readings) == len(without)
    assert all(way.make(IMAGES).shape == IMAGES.shape for way in without)
