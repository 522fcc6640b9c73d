"""The Containerfile, read and not built: its files, its user, its command, and that nothing secret is in it."""

import re
import shlex
import tomllib

import pytest
from typer.main import get_command

import memaudit
from memaudit.audit.cli.main import app

from .source import ROOT

TEXT = (ROOT / "Containerfile").read_text()
LINES = [line for line in re.sub(r"\\\n\s*", "", TEXT).splitlines() if line and not line.startswith("#")]
STEPS = [tuple(line.split(maxsplit=1)) for line in LINES]
IGNORED = (ROOT / ".containerignore").read_text().split("\n")


def of(kind: str) -> list[str]:
    return [rest for word, rest in STEPS if word == kind]


def copied() -> list[str]:
    return [source for words in of("COPY") for source in words.split()[:-1]]


def test_each_step_is_one_that_builders_know():
    assert {word for word, _ in STEPS} <= {
        "FROM",
        "ARG",
        "RUN",
        "COPY",
        "LABEL",
        "USER",
        "WORKDIR",
        "ENTRYPOINT",
        "CMD",
    }
    assert STEPS[0][0] == "FROM"
    assert [word for word, _ in STEPS[-2:]] == ["ENTRYPOINT", "CMD"]


def test_what_is_copied_is_there_and_is_the_whole_package():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert [name for name in copied() if not (ROOT / name).exists()] == []
    parts = {name.split(".")[1] for name in config["tool"]["setuptools"]["packages"] if "." in name}
    read = {"pyproject.toml", config["project"]["readme"], *config["project"]["license-files"]}
    assert set(copied()) == parts | read | {"__init__.py", "__main__.py", "py.typed"}


def test_only_what_is_copied_reaches_the_builder():
    assert "*" in IGNORED
    assert [line[1:] for line in IGNORED if line.startswith("!")] == copied()


def test_it_does_not_run_as_root():
    (user,) = of("USER")
    assert user not in ("root", "0")
    assert f"useradd --create-home --uid 1000 {user}" in TEXT
    assert [word for word, _ in STEPS].index("USER") > max(i for i, (word, _) in enumerate(STEPS) if word == "RUN")


def test_it_runs_a_command_that_there_is():
    (entry,), (command,) = of("ENTRYPOINT"), of("CMD")
    assert entry == '["memaudit"]'
    (name,) = re.findall(r'"(.*?)"', command)
    assert name in get_command(app).commands


def test_no_secret_and_no_other_address_is_in_it():
    assert not re.search(r"(?i)secret|token|password|api_?key|//\S+@", TEXT)
    assert re.findall(r"https?://\S+", TEXT) == ["https://download.pytorch.org/whl/cpu"]


@pytest.mark.parametrize("name", ["torch", "torchvision"])
def test_the_pinned_pair_is_one_that_the_package_takes(name):
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (least,) = [text.split(">=")[1] for text in config["project"]["dependencies"] if text.startswith(f"{name}>=")]
    (pinned,) = [text.split("=")[1] for text in of("ARG") if text.startswith(f"{name.upper()}=")]
    assert [*map(int, pinned.split("."))] >= [*map(int, least.split("."))]
    assert any(f'"{name}==${name.upper()}"' in run for run in of("RUN"))


def test_torch_and_torchvision_are_of_one_release():
    """Torchvision 0.N belongs to torch 2.(N - 15)."""
    torch, vision = (
        re.search(rf"^ARG {name}=\d+\.(\d+)\.\d+$", TEXT, re.MULTILINE) for name in ("TORCH", "TORCHVISION")
    )
    assert int(vision[1]) - int(torch[1]) == 15


def test_the_labels_say_what_it_is():
    labels = dict(word.split("=", 1) for word in shlex.split(of("LABEL")[0]))
    assert labels["org.opencontainers.image.version"] == memaudit.__version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert {name.rpartition(".")[2] for name in labels} == {"title", "description", "version", "licenses"}
