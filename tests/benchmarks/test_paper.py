"""The benchmark of the paper's table at toy size: pieces, results, table, and what a bare machine must have."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open

from benchmarks import paper, paper_table, pretrain
from memaudit.audit.run.drive import drive

REPOSITORY = Path(__file__).resolve().parents[2]
MEASURED = ("n", "attack", "seed", "options", "ssim", "ssim_paper", "ssim_strangers", "recovered", "iterations", "loss")


def toy(folder: Path, *words: str) -> int:
    return paper.main(["--toy", "--device", "cpu", "--out", str(folder), *words])


def rows(folder: Path) -> list[dict[str, object]]:
    return paper_table.load(folder / "paper.json")


def measured(folder: Path) -> list[list[object]]:
    return [[row[name] for name in MEASURED] for row in rows(folder)]


def test_pieces_come_to_what_one_run_comes_to(tmp_path):
    assert toy(tmp_path / "whole") == 0
    for words in (["--budget", "0"], ["--steps", "2"], ["--steps", "4"]):
        assert toy(tmp_path / "pieces", *words) == paper.WORK_LEFT
        assert rows(tmp_path / "pieces") == []
    assert toy(tmp_path / "pieces") == 0
    assert measured(tmp_path / "pieces") == measured(tmp_path / "whole")
    assert {row["attack"] for row in rows(tmp_path / "whole")} == set(paper.ATTACKS)
    assert set(paper_table.COLUMNS) == set(paper.ATTACKS)


def test_a_spent_budget_leaves_the_finished_attacks(tmp_path, monkeypatch):
    clock = iter([0.0] * 6 + [100.0] * 100)  # began, row, attack, after it; then past the end
    monkeypatch.setattr(paper, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(paper, "drive", unhurried)
    assert toy(tmp_path, "--budget", "50") == paper.WORK_LEFT
    assert [row["attack"] for row in rows(tmp_path)] == ["simudy"]


def unhurried(*args, budget=None, **more):
    """``drive`` without its deadline, as the clock is the test's."""
    return drive(*args, **more)


def test_a_finished_attack_is_not_run_again_but_another_setting_is(tmp_path, monkeypatch):
    toy(tmp_path, "--attack", "loo")
    before = rows(tmp_path)
    assert toy(tmp_path, "--attack", "loo", "--set", "loo.iterations=2") == 0
    after = rows(tmp_path)
    assert [row["iterations"] for row in before + after] == [6, 2]
    monkeypatch.setattr(paper, "drive", None)
    assert toy(tmp_path, "--attack", "loo", "--set", "loo.iterations=2") == 0
    assert rows(tmp_path) == after


def test_results_name_the_machine_and_the_versions(tmp_path):
    toy(tmp_path, "--attack", "twostep", "--seeds", "2")
    for seed, row in enumerate(rows(tmp_path)):
        assert (row["seed"], row["n"], row["weights"]) == (seed, 4, "toy")
        assert all(row[name] for name in ("hardware", "torch", "python", "memaudit", "peak_memory_bytes"))
        assert row["seconds"] >= 0


def test_the_table_has_ours_beside_the_papers():
    ours = {
        "n": 20, "attack": "simudy", "seed": 0, "weights": paper_table.WEIGHTS, "ssim_paper": 0.5, "ssim": 0.6,
        "ssim_strangers": 0.1, "seconds": 360.0, "peak_memory_bytes": 2e9, "hardware": "a GPU", "torch": "2",
    }  # fmt: skip
    other = ours | {"seed": 1, "ssim_paper": 0.7}
    text = paper_table.table([ours, other])
    line = next(line for line in text.splitlines() if line.startswith("| 20 "))
    assert "0.3140; 1.06 h, 4334 MB | 0.600 / 0.600 / 0.100; 0.10 h, 2000 MB" in line
    assert "2 runs on a GPU, torch 2." in text
    assert "No row has been measured" in paper_table.table([])


def test_a_longer_pretraining_has_a_line_of_its_own():
    row = {
        "n": 20, "attack": "loo", "seed": 0, "weights": "longer-01234567", "ssim_paper": None, "ssim": None,
        "ssim_strangers": None, "seconds": 1.0, "peak_memory_bytes": 1e6, "hardware": "a GPU", "torch": "2",
    }  # fmt: skip
    assert "| 20, longer-01234567 |" in paper_table.table([row])
    assert "- / - / -; 0.00 h, 1 MB" in paper_table.table([row])


def test_the_documentation_shows_the_results(tmp_path):
    docs = Path(shutil.copy(paper_table.DOCS, tmp_path))
    assert paper.main(["--table", "--docs", str(docs)]) == 0
    assert docs.read_text() == paper_table.DOCS.read_text()


def pack(folder: Path) -> Path:
    """A data pack of images of 8 x 8."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        images = rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
        np.savez(folder / f"cifar10-{name}.npz", images=images, labels=np.arange(20) % 10)
    return folder


def test_from_pretraining_to_a_row(tmp_path):
    data, weights = pack(tmp_path / "pack"), tmp_path / "longer.safetensors"
    words = ["--data-pack", str(data), "--device", "cpu"]
    pretrain.main([str(weights), "--epochs", "2", "--batch-size", "10", "--lr", "0.001", *words])
    with safe_open(weights, "pt") as file:
        assert file.metadata()["epochs"] == "2 of 2"
    results = tmp_path / "paper.json"
    chosen = ["--attack", "twostep", "--set", "twostep.iterations=1", "--out", str(tmp_path / "run")]
    assert paper.main(["2", "--weights", str(weights), "--results", str(results), *chosen, *words]) == 0
    (row,) = json.loads(results.read_text())
    assert row["n"] == 2
    assert row["weights"].startswith("longer-")
    assert row["ssim_paper"] is not None


def test_weights_do_not_go_into_the_repository(capsys):
    with pytest.raises(SystemExit):
        pretrain.main([str(REPOSITORY / "weights.safetensors")])
    assert "not committed" in capsys.readouterr().err


def test_needs_no_more_than_torch_and_its_neighbours():
    missing = ("jinja2", "markdown_it", "pydantic", "rich", "skimage", "tomli_w", "typer")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing})); import benchmarks.paper, benchmarks.pretrain"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
