"""One policy for errors: what ends an attack, what ends a scan, and the words for it."""

import pytest
import torch

from memaudit import MemauditError
from memaudit.attacks.contract.attack import Unsupported
from memaudit.audit.machine.executor import ExecutorError
from memaudit.audit.run.drive import Interrupted
from memaudit.audit.run.failure import failure, in_words
from memaudit.audit.run.store import StoreError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Unsupported("spear treats no images.", "Try simudy."), "spear treats no images. Try simudy."),
        (torch.OutOfMemoryError("CUDA out of memory"), "It ran out of memory or reached the --max-memory limit."),
        (MemoryError(), "It ran out of memory or reached the --max-memory limit."),
        (RuntimeError("could not create a primitive"), "It ran out of memory or reached the --max-memory limit."),
        (IndexError("tuple index\nout of range."), "It failed (IndexError: tuple index)."),
        (RuntimeError(""), "It failed (RuntimeError)."),
        (AssertionError("a \x1b[31mred\x1b[0m word"), "It failed (AssertionError: a \\x1b[31mred\\x1b[0m word)."),
    ],
)
def test_what_is_the_fault_of_one_attack_is_told_in_words(error, words):
    assert str(failure(error)) == str(in_words(error)) == words


@pytest.mark.parametrize(
    "error",
    [
        Interrupted("Interrupted."), StoreError("The state cannot be written."), ExecutorError("Ray is gone."),
        MemauditError("Anything else on purpose."), OSError(28, "No space left on device"), PermissionError("no"),
    ],
)  # fmt: skip
def test_what_is_not_ends_the_scan_as_it_is(error):
    with pytest.raises(type(error)) as stop:
        failure(error)
    assert stop.value is error


def test_an_error_on_purpose_keeps_its_message_and_hint():
    error = StoreError("The state cannot be written.", "Free some space.")
    assert in_words(error) is error
