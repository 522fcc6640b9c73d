"""A scan that is killed over and over, runs out of disk, or may not write: its finished work and its numbers stay.

``MEMAUDIT_KILLS=100`` kills so many scans, each resumed to its end.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from ..forked import Forked

SEED = 6
KILLS = 10
RESUMED = int(os.environ.get("MEMAUDIT_KILLS", "2"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TIMES = ("created", "seconds", "peak_memory_bytes")
PLACES = ("command", "content_sha256")

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("MEMAUDIT_")}


def run(words, kill=None, after=0.0, limit=0, meddle=None):
    """Run a command, killed with a signal after some seconds; return its exit code and what it said.

    No file that it writes may have more than ``limit`` bytes; ``meddle`` is called while it runs.
    """
    process = Forked(words, CLEAN, pause=0.05, limit=limit)
    if kill is not None:
        time.sleep(after)
        process.send_signal(kill)
    if meddle is not None:
        meddle()
    done = process.done()
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def words(leak):
    asked = ["--data", leak.data, "--control", leak.control, "--normalise", "0.5;0.25", "--epochs", 10, "--restarts", 2]
    asked += ["--attack", "sme", "--set", "sme.iterations=45", "--attack", "simudy", "--set", "simudy.iterations=40"]
    return ["scan", leak.before, leak.after, *asked, "-q", "--out"]


@pytest.fixture(scope="module")
def undisturbed(words, tmp_path_factory):
    run(["--version"])  # what forks has started: a kill falls into the scan and not behind its end
    folder, began = tmp_path_factory.mktemp("undisturbed") / "run", time.monotonic()
    code, told = run([*words, folder])
    assert code == 1, told
    return numbers(folder), time.monotonic() - began


def numbers(folder):
    """Return what a report says, without what a clock or a meter says, or where it lies."""

    def timeless(value):
        if isinstance(value, dict):
            return {name: timeless(item) for name, item in value.items() if name not in (*TIMES, *PLACES)}
        return [timeless(item) for item in value] if isinstance(value, list) else value

    return timeless(json.loads((folder / "report.json").read_text()))


def errors(told):
    return [line for line in told.splitlines() if not line.startswith("warning: ")]


def check_whole(folder):
    """Check that nothing in a run folder is half-written."""
    assert not [path for path in folder.rglob("*") if path.suffix in (".tmp", ".part")]
    for line in (folder / "events.jsonl").read_text().splitlines():
        json.loads(line)


def test_ten_kills_at_random_moments_change_no_number(words, undisturbed, tmp_path):
    expected, length = undisturbed
    draw, folder, begun = random.Random(SEED), tmp_path / "run", 0
    for number in range(KILLS):
        kill = SIGNALS[number % len(SIGNALS)]
        code, told = run([*words, folder], kill, draw.uniform(0.05, 0.6) * length)
        assert code in (1, 130, -kill), told
        begun += any(folder.glob("jobs/*/state.safetensors"))
        if code == 1:  # it was finished before the kill: the other kills are for another folder
            assert numbers(folder) == expected
            folder = tmp_path / f"run-{number}"
    assert begun
    code, told = run([*words, folder])
    assert code == 1, told
    assert numbers(folder) == expected
    check_whole(folder)


def test_a_scan_that_was_killed_at_any_moment_is_resumed_with_the_same_numbers(leak, tmp_path):
    words = ["scan", leak.before, leak.after, "--data", leak.data, "--normalise", "0.5;0.25", "--lr", 0.02]
    words += ["--epochs", 10, "--attack", "simudy", "--max-iterations", 25, "--power", "off", "-q", "--exit-zero"]
    words += ["--out"]
    run([*words, tmp_path / "first"])  # the next one finds its modules loaded
    began = time.monotonic()
    run([*words, tmp_path / "undisturbed"])
    expected, length = numbers(tmp_path / "undisturbed"), time.monotonic() - began
    draw, begun = random.Random(SEED), 0
    for number in range(RESUMED):
        folder = tmp_path / f"run-{number}"
        code, told = run([*words, folder], signal.SIGKILL, draw.uniform(0.02, 1.0) * length)
        assert code in (0, -signal.SIGKILL), told
        begun += code != 0 and any(folder.glob("jobs/*/state.safetensors"))
        code, told = run([*words, folder])
        assert code == 0, (number, told)
        assert numbers(folder) == expected, number
        check_whole(folder)
        shutil.rmtree(folder)
    print(f"{RESUMED} kills, {begun} of them with states saved; {length:.1f} s undisturbed")


PLANTED = {"lock": "file", "events.jsonl": "file", "report.html": "file", "jobs": "folder", "evidence": "folder"}


@pytest.mark.parametrize("name", PLANTED)
def test_a_link_that_is_planted_while_a_scan_runs_is_not_followed(words, tmp_path, name):
    folder, outside = tmp_path / "run", tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    for file in (outside / "file", outside / "folder" / "simudy-0.png"):
        file.write_text("mine")

    def plant():
        end = time.monotonic() + 60
        while not any(folder.glob("jobs/*/state.safetensors")) and time.monotonic() < end:
            time.sleep(0.01)
        if (folder / name).exists():
            (folder / name).rename(tmp_path / "aside")
        (folder / name).symlink_to(outside / PLANTED[name])

    code, told = run([*words, folder], meddle=plant)
    assert (code, "is a link" in told) in ((2, True), (1, False)), told
    assert code == 1 or len(errors(told)) == 1
    assert code == 2 or name == "lock", "a lock that is held is not opened again"
    found = sorted(path.relative_to(outside).as_posix() for path in outside.rglob("*"))
    assert found == ["file", "folder", "folder/simudy-0.png"]
    assert {path.read_text() for path in outside.rglob("*") if path.is_file()} == {"mine"}


@pytest.fixture
def mounted(tmp_path):
    """Return a function that mounts a small file system, and mounts it anew with other options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(*options):
        done = subprocess.run(["mount", *options, place], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here ({done.stderr.strip()})")
        return place

    yield mount
    subprocess.run(["umount", "-l", place], capture_output=True, check=False)


@pytest.mark.parametrize("size", ["8k", "160k", "480k"])
def test_a_full_disk_is_named_and_what_is_finished_is_kept(words, undisturbed, mounted, size):
    folder = mounted("-t", "tmpfs", "-o", f"size={size}", "tmpfs") / "run"
    code, told = run([*words, folder])
    assert code == 2, told
    assert len(errors(told)) == 1
    assert "cannot be written" in told
    assert "Free some space" in told
    check_whole(folder)
    states = {path: path.read_bytes() for path in folder.glob("jobs/*/state.safetensors")}
    assert bool(states) == (size != "8k")
    mounted("-o", "remount,size=50m")
    code, told = run([*words, folder])
    assert code == 1, told
    assert numbers(folder) == undisturbed[0]
    assert states.keys() <= set(folder.glob("jobs/*/state.safetensors"))


def test_a_file_that_may_not_grow_is_named(words, undisturbed, tmp_path):
    code, told = run([*words, tmp_path / "run"], limit=9000)
    assert code == 2, told
    assert len(errors(told)) == 1
    assert "cannot be written" in told
    check_whole(tmp_path / "run")
    code, told = run([*words, tmp_path / "run"])
    assert code == 1, told
    assert numbers(tmp_path / "run") == undisturbed[0]


def test_a_read_only_folder_is_named_and_left_alone(words, undisturbed, mounted):
    folder = mounted("-t", "tmpfs", "-o", "size=50m", "tmpfs") / "run"
    code, told = run([*words, folder])
    assert code == 1, told
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    mounted("-o", "remount,ro")
    for out in (folder, folder.parent / "new"):
        code, told = run([*words, out])
        assert code == 2, told
        assert len(errors(told)) == 1
        assert "run folder" in told
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
