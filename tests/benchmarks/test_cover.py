"""The benchmark of `cover` on one small row: what it records, and that a finished row is not run again."""

import json

import pytest

from benchmarks import cover

from ..conftest import SHARED

PACK = SHARED / "cifar10-test.npz"


@pytest.mark.skipif(not PACK.exists(), reason=f"the data pack {PACK.name} is not here")
def test_a_row_is_measured_once_with_its_floor_and_strangers(tmp_path, capsys):
    words = ["wide", "--set", "iterations=3", "--device", "cpu", "--results", str(tmp_path / "cover.json")]
    cover.main(words)
    (row,) = json.loads((tmp_path / "cover.json").read_text())
    assert (row["row"], row["seed"], row["settings"]) == ("wide", 0, {"iterations": 3})
    assert 0 < row["floor"] < row["loss"] < 1
    assert -1 < row["ssim_strangers"] < 1
    assert row["floor"] / 3 < row["rehearsed"][0] < row["rehearsed"][1]
    assert 0 <= row["recovered"] <= 20
    assert row["hardware"]
    cover.main([*words, "--table"])
    told = capsys.readouterr().out
    assert "wide, seed 0: measured before" in told
    assert "| wide | iterations=3 | 0 |" in told
    assert len(json.loads((tmp_path / "cover.json").read_text())) == 1


def test_every_row_of_the_results_is_one_that_can_be_run():
    rows = json.loads(cover.RESULTS.read_text())
    assert {row["row"] for row in rows} <= set(cover.ROWS)
    assert cover.table(rows).count("\n") == len(rows) + 1


def test_options_are_values_or_words():
    assert [cover._value(text) for text in ("3", "0.5", "pixels")] == [3, 0.5, "pixels"]
