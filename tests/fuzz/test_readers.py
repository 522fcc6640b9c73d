"""Files that were changed at random: every reader reads them, or refuses them by an error of ours on one line.

A short run each time, always the same; ``MEMAUDIT_FUZZ=1000`` makes that many of each kind, ``MEMAUDIT_FUZZ_FROM`` is
the seed, and ``MEMAUDIT_FUZZ_LOG`` names a file that the counts are added to. What fails is made small by hypothesis,
and becomes a test beside the reader.
"""

import json
import os
import signal
import struct
from collections import Counter
from contextlib import contextmanager, suppress

import pytest
import tomli_w
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from memaudit import MemauditError
from memaudit.audit.data.base import DataError
from memaudit.audit.printable import printable

from .mutations import changed, reshaped
from .readers import KINDS
from .watch import watched

ROUNDS, FIRST = (int(os.environ.get(f"MEMAUDIT_FUZZ{name}", number)) for name, number in (("", "12"), ("_FROM", "0")))
LOG = os.environ.get("MEMAUDIT_FUZZ_LOG")
SECONDS = 20
"""No file of a few kilobytes takes longer."""


@contextmanager
def limited():
    def stop(*_):
        raise AssertionError(f"it took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def mutant(kind, whole, draw):
    """Return a changed file: every other one has another tree of values, where the file holds one."""
    tree = KINDS[kind].tree
    if tree and draw.randrange(2):
        with suppress(TypeError, ValueError, AttributeError):  # a value that the format cannot say
            return written(kind, reshaped(tree(), draw), whole)
    return changed(whole, draw)


def written(kind, tree, whole):
    if KINDS[kind].name.endswith(".toml"):
        return tomli_w.dumps(tree).encode("utf-8", "surrogatepass")
    text = json.dumps(tree)
    if kind != "said":
        return text.encode()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    header["__metadata__"]["state"] = text
    made = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(made)) + made + whole[8 + size :]


def refused(read, file, label):
    """Read a file; return what was said about it in words of ours, if anything."""
    try:
        with limited():
            read(file)
    except MemauditError as error:
        said = printable(str(error), 10**6)
        assert "Unexpected" not in said, label
        assert said.isprintable(), label
        assert len(said) < 3000, label
        return said
    except Exception as error:
        raise AssertionError(f"{label}: {type(error).__name__}: {str(error)[:300]}") from error
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_changed_at_random_is_read_or_refused_in_one_line(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    reader, place = KINDS[kind], tmp_path / "place"
    file = place / reader.name
    file.parent.mkdir(parents=True)
    torch.manual_seed(0)
    reader.make(file)
    whole, counts = file.read_bytes(), Counter()
    reader.read(file)

    @seed(FIRST)
    @settings(max_examples=ROUNDS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def once(draw):
        file.write_bytes(mutant(kind, whole, draw))
        with watched() as seen:
            said = refused(reader.read, file, kind)
        assert not seen.outside(place)
        assert not seen.programs
        assert not seen.network
        counts["refused" if said else "read"] += 1

    once()
    if LOG:
        with open(LOG, "a") as log:
            log.write(f"{kind} {FIRST} {ROUNDS} {dict(counts)}\n")


def test_the_readers_refuse_by_errors_of_ours():
    assert issubclass(DataError, MemauditError)


def test_the_watch_sees_writes_programs_and_the_network(tmp_path):
    import socket
    import subprocess

    with watched() as seen:
        place = os.open(tmp_path, os.O_RDONLY)
        os.close(os.open("below", os.O_WRONLY | os.O_CREAT, dir_fd=place))
        os.close(place)
        (tmp_path / "folder").mkdir()
        subprocess.run(["true"], check=True)
        socket.socket().close()
    assert {os.path.basename(path) for path in seen.paths} == {"below", "folder"}
    assert not seen.outside(tmp_path)
    assert seen.outside(tmp_path / "folder") == [str(tmp_path / "below")]
    assert [line.split()[0] for line in seen.programs][:1] == ["subprocess.Popen"]
    assert seen.network
