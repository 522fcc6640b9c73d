import json
import math
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from memaudit import MemauditError
from memaudit.audit.machine import memory as meter
from memaudit.audit.machine.memory import available, ceiling, check_memory, group_room, in_use, room
from memaudit.audit.request import ScanRequest, parse_memory

from ...conftest import SCRIPT, elsewhere

CPU = torch.device("cpu")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's account of a process is Linux's")


def group(folder, limit: str, used: int, inactive: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")


def test_a_control_group_and_those_above_it_limit(tmp_path):
    assert group_room(tmp_path, "a/b") == math.inf
    group(tmp_path / "a" / "b", "max", 10)
    assert group_room(tmp_path, "a/b") == math.inf
    group(tmp_path / "a", "1000", 700, inactive=50)
    assert group_room(tmp_path, "a/b") == 350
    group(tmp_path / "a" / "b", "400", 300)
    assert group_room(tmp_path, "a/b") == 100
    assert group_room(tmp_path, "") == math.inf


def test_a_control_group_of_the_first_version_limits(tmp_path):
    group(tmp_path / "a", "max", 10)
    for name, value in (("limit", 1000), ("usage", 700)):
        (tmp_path / "a" / f"memory.{name}_in_bytes").write_text(f"{value}\n")
    assert group_room(tmp_path, "a") == 300


def held():
    before = in_use(CPU)
    held = torch.ones(50_000_000)
    assert in_use(CPU) - before > 0.9 * held.nbytes
    assert available(CPU) > 0


def test_what_is_held_is_in_use():
    elsewhere(held)


def test_the_room_is_what_the_limit_leaves_and_never_more_than_there_is(monkeypatch):
    assert room(CPU, 1) == 0
    with monkeypatch.context() as still:  # the kernel's account moves by itself
        still.setattr(meter, "in_use", lambda device: 500_000_000)
        assert room(CPU, 501_000_000) == 1_000_000
    assert room(CPU, 2**60) <= available(CPU) * 1.1
    assert room(CPU, None) == math.inf, "without a limit, plans do not depend on what is free at the moment"


def beyond():
    with ceiling(CPU, in_use(CPU) + 100_000_000):
        held = torch.ones(5_000_000)
        with pytest.raises(RuntimeError, match="memory"):
            torch.ones(50_000_000)
    assert len(held) + len(torch.ones(50_000_000)) == 55_000_000, "afterwards there is no ceiling"


@linux
def test_what_would_go_beyond_the_ceiling_is_not_allocated():
    elsewhere(beyond)


def several():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with ceiling(CPU, in_use(CPU) + 100_000_000), ceiling(CPU, 2**70), pytest.raises(RuntimeError, match="memory"):
        torch.ones(50_000_000)
    one, two = ceiling(CPU, 2**40), ceiling(CPU, 2**41)  # as in two threads
    for step in (one.__enter__, two.__enter__):
        step()
    for leave in (one.__exit__, two.__exit__):
        leave(None, None, None)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@linux
def test_the_lowest_of_several_ceilings_holds_and_none_is_left():
    elsewhere(several)


@linux
def test_a_limit_that_the_process_has_already_is_kept():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    own = in_use(CPU) + 2**40
    resource.setrlimit(resource.RLIMIT_DATA, (own, before[1]))
    try:
        with ceiling(CPU, 2**50):
            assert resource.getrlimit(resource.RLIMIT_DATA)[0] == own
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] == own
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def test_a_limit_that_is_spent_before_any_work_is_refused():
    check_memory(CPU, None)
    check_memory(CPU, 2**50)
    with pytest.raises(MemauditError, match=r"--max-memory 1000 is too little: the process takes \d+ MB"):
        check_memory(CPU, 1000)


def watched(words):
    """Run a command line; return its exit code and the most memory of its own that it ever had."""
    process, most = subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"}), 0
    while process.poll() is None:
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        most = max(most, int(found[1]) * 1024 if found else 0)
        time.sleep(0.005)
    return process.returncode, most


@linux
def test_a_scan_stays_under_its_limit_and_does_its_work_all_the_same(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 1000), nn.ReLU(), nn.Linear(1000, 10))
    images = torch.randn(12, 3, 32, 32)
    save_file(network.state_dict(), tmp_path / "before.safetensors")
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    for _ in range(24):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), torch.arange(12) % 10).backward()
        optimizer.step()
    save_file(network.state_dict(), tmp_path / "after.safetensors")
    asked = ["--size", 12, "--epochs", 24, "--lr", 0.01, "--attack", "simudy", "--max-iterations", 3, "-q"]
    words = [SCRIPT, "scan", tmp_path / "before.safetensors", tmp_path / "after.safetensors", *asked]

    def peak(name, *more):
        _, found = watched([str(word) for word in (*words, "--out", tmp_path / name, *more)])
        (row,) = json.loads((tmp_path / name / "report.json").read_text())["attacks"]
        assert row["iterations"] == 3, row
        return found

    free = peak("free")
    limit = 0.85 * free
    assert peak("limited", "--max-memory", int(limit)) <= 1.05 * limit


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_room_of_a_device():
    device = torch.device("cuda")
    held = torch.ones(1000, 1000, device=device)
    assert in_use(device) >= held.nbytes
    assert 0 < room(device, in_use(device) + 1000) <= 1000


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 10**9), ("1.5 gib", 3 * 2**29), ("800mb", 8 * 10**8), ("123", 123), ("2KB", 2000)],
)
def test_sizes(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["much", "4XB", "-4GB", "GB", "4 4", "inf", "1e9"])
def test_what_is_no_size(text):
    with pytest.raises(MemauditError, match="--max-memory"):
        parse_memory(text)


def test_the_command_line_repeats_the_size():
    assert ScanRequest("a", "b", max_memory=parse_memory("4GB")).command().endswith("--max-memory 4000000000")
