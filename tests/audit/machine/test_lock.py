"""Two processes on one run folder: the second is told who is there; the kernel frees the folder when the first dies."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from memaudit.audit.machine.lock import LockError, locked
from memaudit.audit.request import ScanRequest
from memaudit.audit.run.store import Store
from memaudit.audit.scan.pipeline import scan

HOLD = (
    "import sys, time; from pathlib import Path; from memaudit.audit.machine.lock import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_process_is_told_who_holds_the_folder(holder, tmp_path):
    with pytest.raises(LockError, match=f"Process {holder.pid} on .* is at work") as stop, locked(tmp_path):
        pass
    assert stop.value.exit_code == 2


def test_a_killed_holder_leaves_no_lock(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()


def test_the_lock_ends_with_the_block(tmp_path):
    for _ in range(2):
        with locked(tmp_path), pytest.raises(LockError), locked(tmp_path):
            pass


def test_what_a_killed_process_left_half_written_is_cleared_away(tmp_path):
    store = Store(tmp_path)
    job = tmp_path / "jobs" / "k"
    job.mkdir(parents=True)
    for path in (job / ".memaudit-0123456789ab.part", tmp_path / ".memaudit-0123456789ab.part"):
        path.write_text("half")
    (tmp_path / "mine.tmp").write_text("the user's own")
    with store.held():
        assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["lock", "mine.tmp"]


def test_a_scan_keeps_out_of_a_folder_that_another_process_holds(holder, leak, tmp_path):
    with pytest.raises(LockError, match="is at work in the run folder"):
        scan(ScanRequest(leak.before, leak.after, lr=0.02, size=4, out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_worked_on_all_the_same(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path):
        assert (tmp_path / "lock").exists()


def test_a_lock_that_is_a_folder_is_named(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(LockError, match="cannot be locked"), locked(tmp_path):
        pass
