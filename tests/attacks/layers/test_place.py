"""Where on the way a network is looked at."""

import pytest

from memaudit.attacks.layers.place import ASIDE, FARTHEST, FLAT, HALF_WAY, beside, moved


@pytest.mark.parametrize("least", [0.0, 0.1, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("bend", [2.0, 4.0, 8.0, 16.0])
def test_it_is_found_from_half_way(least, bend):
    def left(place):
        return bend / 2 * (place - least) ** 2

    place = HALF_WAY
    for turn in range(20):
        place = moved(place, left(place), left(beside(place)), turn / 20)
    assert abs(place - least) < max(2 * FLAT / bend, 1.5 * ASIDE), "the slope there is flat"


def test_a_move_is_short_and_stays_on_the_way():
    assert moved(0.5, 0.0, -1e6, 0) == pytest.approx(0.5 + FARTHEST if beside(0.5) > 0.5 else 0.5 - FARTHEST)
    assert moved(0.05, 0.0, 1e6, 0.5) == 0
    assert moved(0.95, 0.0, 1e6, 0.5) == 1
    assert moved(0.4, 0.3, 0.3, 0) == 0.4


def test_where_the_way_is_flat_it_stays():
    aside = beside(0.4) - 0.4
    assert moved(0.4, 1.0, 1.0 + 0.9 * FLAT * aside, 0) == moved(0.4, 1.0, 1.0 - 0.9 * FLAT * aside, 0) == 0.4
    assert moved(0.4, 1.0, 1.0 + 1.1 * FLAT * aside, 0) < 0.4 < moved(0.4, 1.0, 1.0 - 1.1 * FLAT * aside, 0)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_what_it_is_compared_with_lies_on_the_way(place):
    assert 0 <= beside(place) <= 1
    assert beside(place) != place
