"""Limits of time, memory and precision: what holds, and what of it travels."""

import pickle  # noqa: TID251  # deadlines travel to workers; no checkpoint is involved
import sys
import time

import pytest
import torch

from memaudit.audit.machine.clock import NEVER, Deadline
from memaudit.audit.machine.means import Limits, Means
from memaudit.audit.machine.memory import in_use

from ...conftest import elsewhere

CPU = torch.device("cpu")


def test_time_can_only_get_shorter():
    means = Means(limits=Limits(Deadline(95.0), Deadline(100.0), memory=1e9, tf32=True))
    search = means.until(Deadline(15.0), Deadline(15.0))
    assert (search.limits.deadline, search.limits.end) == (Deadline(15.0), Deadline(15.0))
    assert (search.limits.memory, search.limits.tf32) == (1e9, True)
    assert means.until(Deadline(50.0)).limits == Limits(Deadline(50.0), Deadline(100.0), 1e9, True)
    assert means.until(Deadline(500.0), Deadline(500.0)) == means
    assert means.until(NEVER) == means
    assert means.limits.deadline == Deadline(95.0), "the caller's own are as they were"


def test_limits_travel(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 7e5)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    limits = Limits(Deadline.after(50.0), Deadline.after(100.0), memory=1e9, tf32=True)
    found = pickle.loads(pickle.dumps(limits))
    assert found.deadline.left == pytest.approx(50.0)
    assert found.end.left == pytest.approx(100.0)
    assert (found.memory, found.tf32) == (1e9, True)


@pytest.mark.parametrize("tf32", [False, True])
def test_precision_is_kept_in_the_block_only(tf32):
    before = torch.backends.cuda.matmul.fp32_precision
    with Limits(tf32=tf32).kept(CPU):
        assert torch.backends.cuda.matmul.fp32_precision == ("tf32" if tf32 else "ieee")
    assert torch.backends.cuda.matmul.fp32_precision == before


def limited():
    with Limits(memory=in_use(CPU) + 100_000_000).kept(CPU), pytest.raises(RuntimeError, match="memory"):
        torch.ones(50_000_000)
    assert len(torch.ones(50_000_000)) == 50_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's account of a process is Linux's")
def test_memory_is_limited_in_the_block_only():
    elsewhere(limited)
