"""Numbers in words, on terminal and page alike."""

import math

import pytest

from memaudit.audit.words import NOTHING, duration, fixed, memory, number


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, NOTHING), (math.inf, NOTHING), (math.nan, NOTHING), (0.0, "0.0 s"), (0.02, "< 0.1 s"), (0.05, "0.1 s"),
        (8.34, "8.3 s"), (250, "4 min 10 s"), (7500, "2 h 5 min"),
    ],
)  # fmt: skip
def test_durations(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("size", "said"), [(None, NOTHING), (0, NOTHING), (512 * 2**20, "512 MiB"), (int(3.1 * 2**30), "3.1 GiB")]
)
def test_memory(size, said):
    assert memory(size) == said


def test_numbers_have_as_many_digits_as_are_asked_for():
    assert (number(0.123456), number(0.123456, 2), number(math.nan)) == ("0.1235", "0.12", NOTHING)
    assert (fixed(0.5), fixed(-0.25, 1), fixed(None)) == ("0.500", "−0.2", NOTHING)
