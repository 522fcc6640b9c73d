"""Full precision unless TF32 is asked for, in every process that attacks, and the process's own settings afterwards."""

import dataclasses
from dataclasses import dataclass
from functools import partial

import pytest
import torch

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.simudy import SimuDy
from memaudit.audit.machine.executor import LOCAL
from memaudit.audit.machine.means import Limits
from memaudit.audit.machine.numerics import exact_numerics
from memaudit.audit.machine.processes import Processes
from memaudit.audit.request import ScanRequest
from memaudit.audit.run.store import Store
from memaudit.audit.run.work import Work, attempt
from memaudit.audit.scan.pipeline import scan
from memaudit.audit.scan.place import job_place
from memaudit.audit.scan.scene import load as load_scene


def settings():
    """Precision of matrix products, convolutions and recurrent networks on CUDA devices."""
    cudnn = torch.backends.cudnn
    return [part.fp32_precision for part in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)]


def others():
    cudnn = torch.backends.cudnn
    return cudnn.enabled, cudnn.benchmark, cudnn.deterministic


@pytest.fixture(params=["as torch starts", "TF32 by the new setting", "TF32 by the old settings"])
def process(request):
    """A process whose user chose a precision in one way or another."""
    backends = torch.backends
    before = settings()
    if request.param == "TF32 by the new setting":
        backends.fp32_precision = "tf32"
    if request.param == "TF32 by the old settings":
        backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = True
    yield
    backends.fp32_precision = "none"
    backends.cuda.matmul.allow_tf32 = False
    for part, precision in zip((backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn), before, strict=True):
        part.fp32_precision = precision


@pytest.mark.usefixtures("process")
def test_full_precision_inside_whatever_holds_outside_and_that_again_afterwards():
    before = settings(), others()
    with exact_numerics():
        assert settings() == ["ieee"] * 3
        assert others() == (True, False, True)
        with exact_numerics(tf32=True):
            assert settings() == ["tf32"] * 3
            assert others() == (True, False, True)
        assert settings() == ["ieee"] * 3
    assert (settings(), others()) == before
    with pytest.raises(ZeroDivisionError), exact_numerics(tf32=True):
        raise ZeroDivisionError
    assert (settings(), others()) == before


def test_the_old_settings_can_be_read_afterwards():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with exact_numerics(tf32=True):
        pass
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


@dataclass(frozen=True)
class Telling(SimuDy):
    """Tells in which precision it would have run."""

    def init(self, victim, recipe, seed):
        raise Unsupported(", ".join(settings()))


@pytest.mark.parametrize("executor", [LOCAL, Processes(1, threads=1)], ids=["local", "processes"])
def test_a_piece_of_work_has_its_precision_with_it(executor, leak, tmp_path):
    ground, recipe = load_scene(ScanRequest(leak.before, leak.after, size=4)).ground, Recipe(4, 0.02, 4, 10)
    works = [Work(Telling(), recipe, 0, Store(tmp_path).job("x"), Limits(tf32=tf32)) for tf32 in (False, True)]
    told = executor.map(partial(attempt, ground), works, lambda event: None)
    assert told == ["ieee, ieee, ieee", "tf32, tf32, tf32"]


@pytest.mark.parametrize("tf32", [False, True])
def test_search_first_steps_and_attack_have_the_precision_that_was_asked_for(
    tf32, leak, options, tmp_path, monkeypatch
):
    seen, step, events = [], SimuDy.step, []

    def watched(self, victim, recipe, state):
        seen.append(tuple(settings()))
        return step(self, victim, recipe, state)

    monkeypatch.setattr(SimuDy, "step", watched)
    before = settings()
    asked = ScanRequest(
        leak.before, leak.after, size=4, max_iterations=4, device="cpu", tf32=tf32, out=tmp_path, **options
    )
    report = scan(asked, events.append)
    assert {event.stage for event in events} >= {"search", "plan", "attack"}
    assert set(seen) == {("tf32" if tf32 else "ieee",) * 3}
    assert settings() == before
    assert ("--tf32" in report.command) == tf32
    told = [event.message for event in events if event.stage == "warning" and "--tf32" in event.message]
    assert told == ["--tf32 changes nothing on a CPU."] * tf32


def test_states_in_tf32_are_kept_apart(leak, tmp_path):
    request = ScanRequest(leak.before, leak.after, size=4, out=tmp_path)
    attack, recipe, store = SimuDy(), Recipe(4, 0.02, 4, 10), Store(tmp_path)

    def place(**more):
        scene = load_scene(dataclasses.replace(request, **more))
        return job_place(scene, store)(attack, recipe, seed=0).path

    assert place() == place(max_memory=10**12)
    assert place(tf32=True) == place(tf32=True) != place()
