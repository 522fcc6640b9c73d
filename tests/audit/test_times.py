"""Stretches of time: read as people type them, and written so."""

import pytest

from memaudit.audit.times import seconds, written


@pytest.mark.parametrize(
    ("text", "value"),
    [("90s", 90), ("15m", 900), ("2h", 7200), ("1h30m", 5400), ("90", 90), (90, 90), (0.5, 0.5), ("1.5h", 5400),
     ("1 h 30 min", 5400), ("2 Hours", 7200), ("1d", 86400), ("20min", 1200), ("1m30", 90), ("0", 0)],
)  # fmt: skip
def test_a_time_is_read_as_people_type_it(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", " ", "15x", "m", "-5", "1e3", "inf", "nan", "30m1h", "1:30", "٣s", True, -1.0])
def test_what_is_no_time_is_told_by_example(text):
    with pytest.raises(ValueError, match="is not a time; write it as 90s, 15m, 2h or 1h30m"):
        seconds(text)


@pytest.mark.parametrize(
    ("value", "text"), [(90.0, "1m30s"), (180, "3m"), (5400.0, "1h30m"), (0.5, "0.5s"), (86400, "24h"), (0, "0s")]
)
def test_what_is_written_is_read_again(value, text):
    assert written(value) == text
    assert seconds(text) == value
