"""Where on the way a network is looked at."""

import pytest

from memaudit.attacks.layers.place import FARTHEST, HALF_WAY, beside, moved


@pytest.mark.parametrize("least", [0.0, 0.1, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("bend", [2.0, 4.0, 8.0, 16.0])
def test_it_is_found_from_half_way(least, bend):
    def left(place):
        return bend / 2 * (place - least) ** 2

    place = HALF_WAY
    for turn in range(20):
        place = moved(place, left(place), left(beside(place)), turn / 20)
    assert place == pytest.approx(least, abs=0.1 if bend == 2 else 0.03)


def test_a_move_is_short_and_stays_on_the_way():
    assert moved(0.5, 0.0, -1e6, 0) == pytest.approx(0.5 + FARTHEST if beside(0.5) > 0.5 else 0.5 - FARTHEST)
    assert moved(0.05, 0.0, 1e6, 0.5) == 0
    assert moved(0.95, 0.0, 1e6, 0.5) == 1
    assert moved(0.4, 0.3, 0.3, 0) == 0.4


@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_what_it_is_compared_with_lies_on_the_way(place):
    assert 0 <= beside(place) <= 1
    assert beside(place) != place
