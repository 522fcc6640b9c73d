"""The benchmark of files: what it records of pairs of two libraries, and that its results are pairs it can write."""

import json

import pytest

from benchmarks import files

WRITTEN_BEFORE = {"lightning_ckpt"}
"""Pairs of a library that the benchmark does not write."""


def test_pairs_are_written_by_their_libraries_and_told(tmp_path, capsys):
    pytest.importorskip("peft")
    results = tmp_path / "files.json"
    results.write_text(json.dumps([{"pair": "peft_vit", "before": "refused", "now": ""}]))
    files.main(["tv_vit_small", "peft_vit", "whole_pickle", "--results", str(results)])
    told = {row["pair"]: (row["before"], row["now"]) for row in json.loads(results.read_text())}
    assert told == {
        "peft_vit": ("refused", "Hugging Face vit, LoRA of rank 4"),
        "tv_vit_small": ("", "torchvision ViT, 2 layers x 64, patches of 8, 4 heads"),
        "whole_pickle": ("", "refused: before holds more than tensors"),
    }
    files.main(["--table", "--results", str(results)])
    assert "| torchvision vit small |  | torchvision ViT, 2 layers" in capsys.readouterr().out


def test_a_library_that_is_not_installed_leaves_its_pair_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setitem(files.PAIRS, "flower_npz", lambda _: files.library("no_such_library_here"))
    files.main(["flower_npz", "--results", str(tmp_path / "files.json")])
    assert not (tmp_path / "files.json").exists()


def test_every_row_of_the_results_is_a_pair():
    rows = json.loads(files.RESULTS.read_text())
    assert {row["pair"] for row in rows} - WRITTEN_BEFORE <= set(files.PAIRS)
