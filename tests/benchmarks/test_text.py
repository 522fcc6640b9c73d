"""The benchmark of `tokens` on its smallest row: what it records, and that a finished row is not run again."""

import json

import pytest

from benchmarks import text

from ..conftest import SHARED

PACK = SHARED / "cola.tsv"


@pytest.mark.skipif(not PACK.exists(), reason=f"the data pack {PACK.name} is not here")
def test_one_sentence_after_one_step_is_read_word_for_word_and_measured_once(tmp_path, capsys):
    words = ["n1-step", "--results", str(tmp_path / "text.json")]
    text.main(words)
    (row,) = json.loads((tmp_path / "text.json").read_text())
    assert (row["row"], row["seed"], row["exact"], row["rouge_1"]) == ("n1-step", 0, 1.0, 1.0)
    assert (row["tokens_precision"], row["tokens_recall"]) == (1.0, 1.0)
    assert row["rouge_l_strangers"] < 0.5
    assert row["left"] < 0.01
    text.main([*words, "--table"])
    told = capsys.readouterr().out
    assert "n1-step, seed 0: measured before" in told
    assert "| n1-step | 0 | 1.000 |" in told
    assert len(json.loads((tmp_path / "text.json").read_text())) == 1


def test_every_row_of_the_results_is_one_that_can_be_run():
    rows = json.loads(text.RESULTS.read_text())
    assert {row["row"] for row in rows} <= set(text.ROWS)
    assert text.table(rows).count("\n") == len(rows) + 1
