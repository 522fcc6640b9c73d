"""The benchmark of long trainings on its shortest row: what it records, and that a finished row is not run again."""

import json

import pytest

from benchmarks import longopt

from ..conftest import SHARED

PACK = SHARED / "cifar10-train.npz"


@pytest.mark.skipif(not PACK.exists(), reason=f"the data pack {PACK.name} is not here")
def test_a_long_training_is_measured_once(tmp_path, capsys):
    words = ["mlp", "adam", "softmax", "scratch", "200", "--results", str(tmp_path / "longopt.json")]
    longopt.main(words)
    (row,) = json.loads((tmp_path / "longopt.json").read_text())
    assert (row["row"], row["said"], row["verdict"]) == ("mlp adam softmax scratch 200", "adam", "right")
    longopt.main(words)
    assert "{'right': 1}" in capsys.readouterr().out.splitlines()[-1]
    assert json.loads((tmp_path / "longopt.json").read_text()) == [row]


def test_every_row_of_the_results_can_be_run():
    assert {row["row"] for row in json.loads(longopt.RESULTS.read_text())} <= set(longopt.ROWS)
