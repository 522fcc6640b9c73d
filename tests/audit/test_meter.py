import math

import pytest
import torch

from memaudit import MemauditError
from memaudit.audit.meter import available, group_room, in_use, room
from memaudit.audit.request import ScanRequest, parse_memory

CPU = torch.device("cpu")


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


def test_what_is_held_is_in_use():
    before = in_use(CPU)
    held = torch.ones(50_000_000)
    assert in_use(CPU) - before > 0.9 * held.nbytes
    assert available(CPU) > 0


def test_the_room_is_what_the_limit_leaves_and_never_more_than_there_is():
    assert room(CPU, 1) == 0
    assert 0 < room(CPU, in_use(CPU) + 1_000_000) <= 1_000_000
    assert room(CPU, 2**60) <= available(CPU) * 1.1
    assert room(CPU, None) == math.inf, "without a limit, plans do not depend on what is free at the moment"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_room_of_a_device():
    device = torch.device("cuda")
    held = torch.ones(1000, 1000, device=device)
    assert in_use(device) >= held.nbytes
    assert 0 < room(device, in_use(device) + 1000) <= 1000


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 10**9), ("1.5 gib", 3 * 2**29), ("800mb", 8 * 10**8), ("123", 123), ("2KB", 2000), (None, None)],
)
def test_sizes(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["much", "4XB", "-4GB", "GB", "4 4", "inf", "1e9"])
def test_what_is_no_size(text):
    with pytest.raises(MemauditError, match="--max-memory"):
        parse_memory(text)


def test_the_command_line_repeats_the_size():
    assert ScanRequest("a", "b", max_memory=parse_memory("4GB")).command().endswith("--max-memory 4000000000")
