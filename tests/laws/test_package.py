"""What is built for people to install: the wheel, and the sdist that makes the same one."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from .source import ROOT

pytest.importorskip("build", reason="the extra dev is not installed")
pytestmark = pytest.mark.slow

CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
NAME, VERSION = CONFIG["project"]["name"], CONFIG["project"]["version"]
DATA = (".j2", ".toml")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MEMAUDIT_"))}


def run(*words: str | Path, folder: Path, **more: str) -> str:
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=CLEAN | {"OMP_NUM_THREADS": "1"} | more,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """What a clone would have: nothing that an earlier build left behind reaches the packages."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=ROOT)
    for name in filter(None, listed.split("\0")):
        if os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def built(source: Path, out: Path, kind: str) -> Path:
    """Build one kind with the setuptools that is installed, so that no index is asked."""
    run(sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "-o", out, source, folder=out.parent)
    (file,) = out.iterdir()
    return file


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory) -> Path:
    return built(checkout, tmp_path_factory.mktemp("wheel") / "dist", "wheel")


@pytest.fixture(scope="module")
def sdist(checkout, tmp_path_factory) -> Path:
    return built(checkout, tmp_path_factory.mktemp("sdist") / "dist", "sdist")


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


def test_the_wheel_has_the_packages_and_their_data_and_nothing_else(wheel, checkout):
    assert wheel.name == f"{NAME}-{VERSION}-py3-none-any.whl"
    expected = {"memaudit/py.typed"}
    for package in CONFIG["tool"]["setuptools"]["packages"]:
        folder = checkout.joinpath(*package.split(".")[1:])
        data = DATA if package.startswith("memaudit.reports") else ()
        files = [file for file in folder.iterdir() if file.suffix in (".py", *data)]
        expected |= {f"memaudit/{file.relative_to(checkout).as_posix()}" for file in files}
    found = {name for name in names(wheel) if not name.startswith(f"{NAME}-{VERSION}.dist-info/")}
    assert found == expected
    assert {Path(name).suffix for name in found} == {".py", ".typed", *DATA}


def test_the_sdist_makes_the_same_wheel(wheel, sdist, tmp_path):
    with tarfile.open(sdist) as file:
        file.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert not {"tests", "benchmarks", "docs"} & {path.name for path in source.iterdir()}
    again = built(source, tmp_path / "dist", "wheel")
    assert names(again) == names(wheel)
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(wheel) as other:
        changed = [name for name in one.namelist() if one.read(name) != other.read(name)]
    assert changed == []


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile", "--target", folder)
    run(sys.executable, *pip, wheel, folder=folder)
    return folder


def test_the_installed_wheel_runs_away_from_the_checkout(installed, tmp_path):
    script = installed / "bin" / "memaudit"
    at = {"PYTHONPATH": str(installed)}
    assert run(script, "--version", folder=tmp_path, **at) == f"memaudit {VERSION}\n"
    listed = run(script, "plugins", folder=tmp_path, **at)
    groups = CONFIG["project"]["entry-points"]
    assert [name for group in groups.values() for name in group if name not in listed] == []
    code = (
        "import sys\nfrom importlib.metadata import distribution\n"
        "for entry in distribution(%r).entry_points:\n"
        "    entry.load()\n    print(entry.group, entry.name, sys.modules[entry.module].__file__)"
    ) % NAME
    lines = [line.split(" ", 2) for line in run(sys.executable, "-c", code, folder=tmp_path, **at).splitlines()]
    places = {(group, name): Path(place) for group, name, place in lines}
    assert {(group, name) for group in groups for name in groups[group]} < set(places)
    assert [place for place in places.values() if not place.is_relative_to(installed)] == []
