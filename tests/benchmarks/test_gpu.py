"""The GPU kit at toy size, on a copy of the repository that is installed nowhere; and its pieces as real processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.engine import ENGINES
from benchmarks.paper import ATTACKS

REPOSITORY = Path(__file__).resolve().parents[2]
LEFT_FIRST = "import pathlib, sys; p = pathlib.Path({!r}); sys.exit(0 if p.exists() else p.touch() or 75)"


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The package and its benchmarks, in a folder of another name, and no console script."""
    folder = tmp_path_factory.mktemp("bare") / "checkout"
    folder.mkdir()
    for name in ("attacks", "audit", "reports", "benchmarks", ".links"):
        shutil.copytree(REPOSITORY / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "__init__.py", folder)
    return folder


def kit(checkout: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    script = [str(checkout / "benchmarks" / "gpu.sh"), *map(str, words)]
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    return subprocess.run(script, cwd=checkout.parent, env=environment, capture_output=True, text=True, check=False)


def test_all_of_it_at_toy_size_from_a_copy_that_is_not_installed(copy, tmp_path):
    done = kit(copy, "--toy", "--out", tmp_path / "out", "--state", tmp_path / "state")
    assert done.returncode == 0, done.stderr
    told, engine, paper = (
        json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("gpu", "engine-gpu", "paper")
    )
    assert [(piece["piece"], piece["status"]) for piece in told["pieces"]] == [
        ("engine-conv", "done"),
        ("paper-4", "done"),
    ]
    assert told["hardware"] == engine["hardware"]
    assert told["hardware"]["torch"] == torch.__version__
    assert {(row["engine"], row["samples"], row["steps"]) for row in engine["rows"]} == {(e, 2, 2) for e in ENGINES}
    assert {row["attack"] for row in paper} == set(ATTACKS)
    assert all(row["hardware"] for row in paper)


def test_without_time_no_piece_begins_and_that_is_written(copy, tmp_path):
    done = kit(copy, "--toy", "--state", tmp_path, "--budget", "0")
    assert done.returncode == gpu.LEFT, done.stderr
    assert json.loads((tmp_path / "gpu.json").read_text())["pieces"] == []
    assert not (tmp_path / "paper.json").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--toy", "--state", "x", "paper-5"], "no piece 'paper-5': choose from engine-conv, paper-4, engine, paper"),
        (["--device", "cpu", "--data", "nowhere", "paper-20"], "nowhere/cifar10-test.npz is not there"),
        pytest.param(
            ["engine"], "no CUDA device here", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA")
        ),
    ],
)
def test_bad_input_is_one_sentence(capsys, words, told):
    try:
        code = gpu.main(words)
    except SystemExit as stop:
        code = stop.code
    assert code == gpu.BAD
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_what_would_measure_another_installation_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "ROOT", REPOSITORY / "elsewhere")
    assert gpu.main(["--toy"]) == gpu.BAD
    assert "call benchmarks/gpu.sh" in capsys.readouterr().err


def test_the_pieces_are_those_that_the_page_names():
    found = gpu.pieces(gpu.parsed(["--device", "cuda"]))
    assert found["engine-resnet18"][1:5] == ["--case", "resnet18", "20", "8"]
    assert [name for name in found if name.startswith("paper")][::9] == ["paper-20", "paper-120"]
    assert found["cover"][:3] == ["benchmarks.cover", "n20", "n30"]
    assert gpu.chosen(["paper-30", "engine"], list(found)) == [
        "paper-30",
        "engine-conv",
        "engine-mlp",
        "engine-resnet18",
    ]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run pieces that are programs of one line; return the exit code and what is written."""

    def run(programs: dict[str, str], limit: float = gpu.LIMIT) -> tuple[int, list[tuple[str, str]]]:
        for name, program in programs.items():
            (tmp_path / f"{name}.py").write_text(program)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        code = gpu.Kit({name: [name] for name in programs}, tmp_path / "gpu.json", {}, limit=limit).run(list(programs))
        told = json.loads((tmp_path / "gpu.json").read_text())["pieces"]
        return code, [(piece["piece"], piece["status"]) for piece in told]

    return run


def test_a_row_with_work_left_goes_on_and_a_failure_does_not_stop_the_others(run, tmp_path):
    row = LEFT_FIRST.format(str(tmp_path / "flag"))
    assert run({"row": row, "other": ""}) == (0, [("row", "left"), ("row", "done"), ("other", "done")])
    assert run({"broken": "1 / 0", "other": ""}) == (gpu.FAILED, [("broken", "failed"), ("other", "done")])


def test_a_piece_that_does_not_end_is_interrupted_and_given_one_more_chance(run):
    assert run({"long": "import time; time.sleep(600)", "other": ""}, limit=4.0) == (
        gpu.FAILED,
        [("long", "cut"), ("long", "failed"), ("other", "done")],
    )


def test_what_is_measured_already_comes_along(tmp_path, monkeypatch):
    known = tmp_path / "results" / "paper.json"
    known.parent.mkdir()
    known.write_text("[]\n")
    monkeypatch.setattr(gpu, "RESULTS", known.parent)
    words = ["--device", "cpu", "--out", str(tmp_path / "out"), "--state", str(tmp_path / "state"), "--budget", "0"]
    assert gpu.main([*words, "engine-conv"]) == gpu.LEFT
    assert (tmp_path / "out" / "paper.json").read_text() == "[]\n"


def test_needs_no_more_than_torch_and_its_neighbours():
    missing = ("jinja2", "markdown_it", "matplotlib", "pydantic", "rich", "skimage", "tomli_w", "typer")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing})); import benchmarks.engine, benchmarks.gpu"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
