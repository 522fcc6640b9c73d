"""Commands and Python of the pages that are neither how-to nor CI, run on a small pair and the report of its audit."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from ..forked import memaudit
from ..laws.test_blocks import blocks, commands
from .test_howto import SMALL, fit, folders

DOCS = Path(__file__).resolve().parents[2] / "docs"
RUN = ("index.md", "verdict.md", "inference.md", "exposure.md", "compliance.md")
"""Pages whose commands are run, in their order on the page."""
LEFT = {
    "all": "takes every attack, in minutes",
    "base/": "needs two language models",
    "defend": "takes a scan for each defence: tests/audit/tasks/test_defend.py",
    "demo": ".ci/run runs it",
    "scan-many": "needs a cluster",
}
"""Commands by what they have among their words, and why they are not run here."""


KNOWN = {**SMALL, "MEMAUDIT_MAX_ITERATIONS": "1", "MEMAUDIT_LR": "0.01", "MEMAUDIT_EPOCHS": "2"}
"""Settings that make each command short: nothing is searched for."""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with everything that the pages name: a pair, its data, a finished run and what a person wrote."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        torch.manual_seed(0)
        images = folders(8)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 16), nn.ReLU(), nn.Linear(16, 2))
        torch.save(network.state_dict(), "before.pt")
        fit(network, images)
        torch.save(network.state_dict(), "after.pt")
        shutil.copytree("train", "test")
        given = ["scan", "before.pt", "after.pt", "--data", "train/", "--control", "held-out/", "--attack", "simudy"]
        done = run_small([*given, "--out", "memaudit-runs/KEY"])
        assert done.returncode in (0, 1, 3), done.stderr
        for name in ("report.json", "last-week.json"):
            shutil.copy("memaudit-runs/KEY/report.json", name)
        Path("RUN").symlink_to("memaudit-runs/KEY")
        names = sorted(file.relative_to("train").as_posix() for file in Path("train").rglob("*.png"))
        Path("patients.csv").write_text("".join(f"{name},patient {number}\n" for number, name in enumerate(names)))
        (context,) = [block.text for block in blocks(DOCS / "compliance.md") if block.language == "toml"]
        Path("context.toml").write_text(context)
    return place


@pytest.fixture
def desk(made, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, to work in."""
    folder = shutil.copytree(made, tmp_path / "desk", symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def run_small(line: list[str]) -> "subprocess.CompletedProcess[str]":
    return memaudit(*line, env={**os.environ, **KNOWN})


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_end_with_an_answer(page, desk):
    ran = 0
    for line in [line for block in blocks(DOCS / page) for line in commands(block)]:
        if not {*LEFT} & {*line}:
            done = run_small(line)
            assert done.returncode in (0, 1, 3), (line, done.stderr)
            assert "Traceback" not in done.stderr
            ran += 1
            if line[0] == "infer":
                Path("recipe.toml").write_text(done.stdout)
    assert ran


def test_every_page_with_commands_is_run_somewhere():
    """The others: README by .ci/run, ci.md by tests/ci, howto/ by its own file; cli.md is written by a program."""
    found = {page.name for page in DOCS.glob("*.md") if any(commands(block) for block in blocks(page))}
    assert found == {*RUN, "ci.md", "cli.md", "defend.md"}


@pytest.mark.slow
@pytest.mark.parametrize("page", ["api.md", "verdict.md"])
def test_the_python_of_a_page_runs(page, desk):
    for block in blocks(DOCS / page):
        if block.language == "python":
            exec(block.text, {})  # the page's own code
