"""The benchmark of `patches` on its smallest row: what it records, and that a finished row is not run again."""

import json

import pytest

from benchmarks import vit

from ..conftest import SHARED

PACK = SHARED / "cifar10-test.npz"


@pytest.mark.skipif(not PACK.exists(), reason=f"the data pack {PACK.name} is not here")
def test_one_image_after_twenty_steps_is_read_and_measured_once(tmp_path, capsys):
    pytest.importorskip("torchvision")
    words = ["n1", "--results", str(tmp_path / "vit.json")]
    vit.main(words)
    (row,) = json.loads((tmp_path / "vit.json").read_text())
    assert (row["row"], row["status"], row["doubt"]) == ("n1", "converged", "")
    assert row["ssim"][0] > 0.99 > 0.3 > row["ssim_strangers"]
    vit.main([*words, "--table"])
    told = capsys.readouterr().out
    assert "n1: measured before" in told
    assert "| `n1` | 0.99" in told
    assert len(json.loads((tmp_path / "vit.json").read_text())) == 1


def test_every_row_of_the_results_is_one_that_can_be_run():
    rows = json.loads(vit.RESULTS.read_text())
    assert {row["row"] for row in rows} <= set(vit.ROWS)
    assert vit.table(rows).count("\n") == len(rows) + 1
