"""Executors: the same numbers in this process, in others, and on a Ray cluster whose worker is killed."""

import dataclasses
import importlib
import json
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from memaudit.audit.events import Event
from memaudit.audit.exposure.pools import Question
from memaudit.audit.families.ground import Ground
from memaudit.audit.machine.choose import open_executor
from memaudit.audit.machine.executor import LOCAL, ExecutorError, Together, throttled
from memaudit.audit.machine.means import Limits
from memaudit.audit.machine.processes import Processes
from memaudit.audit.report.file import load
from memaudit.audit.request import ScanRequest
from memaudit.audit.run.campaign import PROBE_STEPS, waves
from memaudit.audit.run.options import build
from memaudit.audit.run.planner import Choice
from memaudit.audit.scan.pipeline import scan
from memaudit.audit.tasks.many import scan_many

from .pieces import doubled, dying, failing, stubborn

TIMELESS = {"seconds": 0.0, "peak_memory_bytes": 0}


@pytest.fixture(scope="module")
def request_(leak):
    options = ("sme.iterations=60", "simudy.iterations=600")
    return ScanRequest(
        leak.before, leak.after, data=leak.data, control=leak.control, normalise="0.5;0.25", epochs=10, restarts=2,
        attacks=("sme", "simudy"), options=options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def local(request_, tmp_path_factory):
    torch.set_num_threads(1)
    return scan(dataclasses.replace(request_, out=tmp_path_factory.mktemp("local")))


def numbers(report):
    return [attack.model_copy(update=TIMELESS) for attack in report.attacks], report.search, report.verdict


# What executors share


def choice(name, **more):
    return Choice(name, build([name], [])[0], **more)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ([choice("sme"), choice("loo"), choice("simudy", start_from="sme")], [["sme", "loo"], ["simudy"]]),
        ([choice("sme", runs=False), choice("simudy", start_from="sme")], [["sme", "simudy"]]),
        (
            [choice("spear"), choice("span", optional=True), choice("sme", optional=True)],
            [["spear"], ["span"], ["sme"]],
        ),
        ([choice("spear", runs=False), choice("sme", optional=True)], [["spear", "sme"]]),
        ([choice("span"), choice("sme")], [["span", "sme"]]),
        ([], [[]]),
    ],
)
def test_what_depends_on_an_end_or_may_be_needless_waits(plan, expected):
    assert [[found.name for found in wave] for wave in waves(plan)] == expected


def test_several_pieces_of_work_are_shown_as_one():
    events = []
    together = Together(events.append, done=5, total=20)
    for message, step in (("a", 1), ("b", 2), ("a", 8)):
        together(Event("attack", message, step, 8))
    together(Event("finish", "a"))
    assert [(event.message, event.step, event.total) for event in events] == [
        ("a", 6, 20), ("a; b", 8, 21), ("a; b", 15, 21), ("a", 0, 0),
    ]  # fmt: skip


def test_of_many_steps_few_are_told_and_the_last_one_is():
    told, now = [], [0.0]
    listener = throttled(told.append, lambda: now[0], pause=1.0)
    for step in range(1, 10):
        now[0] += 0.25
        listener(Event("attack", "a", step, 9))
    listener(Event("finish", "a"))
    assert [event.step for event in told] == [1, 5, 9, 0]


@pytest.mark.parametrize("spec", ["slurm", "", "Ray", "rays:1"])
def test_an_unknown_executor_is_refused_before_any_file_is_read(spec):
    with pytest.raises(ExecutorError, match="is not known") as stop:
        scan(ScanRequest("absent.pt", "absent.pt", executor=spec))
    assert stop.value.exit_code == 2


def test_without_ray_there_is_a_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutorError, match="not installed") as stop:
        scan(ScanRequest("absent.pt", "absent.pt", executor="ray"))
    assert "pip install '.[ray]'" in stop.value.hint


def test_on_one_device_local_is_this_process():
    with open_executor("local", torch.device("cpu")) as found:
        assert found is LOCAL


# Processes


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """The current folder is a stranger's, with modules that a new process would import."""
    for name in ("memaudit", "multiprocessing", "torch", "json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"open({str(tmp_path / 'PLANTED')!r}, 'w')\nraise ImportError")
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "PLANTED").exists()


def test_processes_import_nothing_from_the_current_folder_and_return_results_in_order(hostile, monkeypatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    events = []
    found = Processes(1, threads=1).map(doubled, [3, 4], events.append)
    assert [(float(values.sum()), threads) for values, threads in found] == [(6e3, 1), (8e3, 1)]
    assert [event.message for event in events] == ["3", "4"]
    assert "PYTHONSAFEPATH" not in os.environ


def test_what_a_dead_process_did_is_taken_up_again(tmp_path):
    (tmp_path / "once").touch()
    assert Processes(1, threads=1).map(dying, [tmp_path], lambda event: None) == ["done"]


def test_what_kills_every_process_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("memaudit.audit.machine.processes.RETRIES", 1)
    for number in range(3):
        (tmp_path / str(number)).touch()
    with pytest.raises(ExecutorError, match="died too often"):
        Processes(1, threads=1).map(dying, [tmp_path], lambda event: None)


def test_an_error_that_cannot_travel_is_told_all_the_same():
    with pytest.raises(RuntimeError, match="Stubborn: this and"):
        Processes(1, threads=1).map(stubborn, [0], lambda event: None)


def test_an_error_in_one_process_ends_the_others(tmp_path):
    with pytest.raises(ExecutorError, match="cannot be done"):
        Processes(2, threads=1).map(failing, [(tmp_path, False), (tmp_path, True)], lambda event: None)
    assert not (tmp_path / "awake").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "asleep").read_text()), 0)


def test_processes_give_the_numbers_of_this_one(request_, tmp_path, monkeypatch):
    asked = dataclasses.replace(request_, lr=0.02, attacks=("sme",), options=("sme.iterations=60",))
    local = scan(dataclasses.replace(asked, out=tmp_path / "local"))
    monkeypatch.setattr("memaudit.audit.scan.workplace.open_executor", lambda *_: nullcontext(Processes(2, threads=1)))
    assert numbers(scan(dataclasses.replace(asked, out=tmp_path / "processes"))) == numbers(local)


# Ray


@pytest.fixture(scope="module")
def cluster():
    """Two raylets on this machine with different resources."""
    ray = pytest.importorskip("ray", reason="ray is not installed (the extra ray)")
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.add_node(num_cpus=2, resources={"second": 1})
    found.wait_for_nodes()
    yield found
    ray.shutdown()
    found.shutdown()


def workers(word="ray::_carry"):
    """Return the processes below this one that work on a task."""
    parents, names = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(entry.name)] = (entry / "cmdline").read_text()
        except OSError:
            continue

    def mine(process):
        return process == os.getpid() or (process in parents and mine(parents[process]))

    return [process for process, name in names.items() if word in name and mine(process)]


def begun(folder):
    """Return the steps of saved attacks that are well on their way."""
    steps = []
    for path in folder.glob("jobs/*/state.safetensors"):
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
        steps += [state["step"]] if state["step"] > PROBE_STEPS and not state["done"] else []
    return steps


def test_a_cluster_whose_worker_is_killed_gives_the_numbers_of_a_local_run(
    request_, local, cluster, tmp_path, monkeypatch
):
    ray = sys.modules["ray"]
    events, killed, over, kept, put = [], [], threading.Event(), [], ray.put
    monkeypatch.setattr(ray, "put", lambda value: kept.append(value) or put(value))

    def kill():
        """Kill one worker as soon as an attack has a state to go on from."""
        while not killed and not over.wait(0.05):
            if begun(tmp_path) and (at_work := workers()):
                os.kill(at_work[0], signal.SIGKILL)
                killed.append(at_work[0])

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        found = scan(dataclasses.replace(request_, out=tmp_path, executor=f"ray:{cluster.address}"), events.append)
    finally:
        over.set()
        killer.join()
    assert killed
    assert numbers(found) == numbers(local)
    assert [type(value) for value in kept] == [Ground, Question, Limits], "one for the search and all attacks"
    assert any("seed 0" in event.message and "seed 1" in event.message for event in events)  # both in one display


def test_a_cluster_is_sent_all_that_a_function_carries_and_imports_nothing_from_the_current_folder(cluster, hostile):
    def scaled(factor, item, listener, offset=0):
        return factor * item + offset

    def imported(item, listener):
        return list(importlib.import_module("sys").path)

    with open_executor(f"ray:{cluster.address}", torch.device("cpu")) as runner:
        assert runner.map(partial(scaled, 2, offset=1), [3, 4], lambda event: None) == [7, 9]
        (found,) = runner.map(imported, [0], lambda event: None)
    assert os.getcwd() not in found


def test_a_scan_in_another_thread_leaves_the_cluster_when_it_is_over(request_, cluster, tmp_path):
    asked = dataclasses.replace(request_, lr=0.02, attacks=("sme",), options=("sme.iterations=45",), restarts=1)
    asked = dataclasses.replace(asked, out=tmp_path, executor=f"ray:{cluster.address}")
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(scan, asked).result().attacks[0].status != "unsupported"
    assert not sys.modules["ray"].is_initialized()


def test_pairs_are_audited_on_a_cluster(request_, cluster, tmp_path):
    asked = dataclasses.replace(request_, lr=0.02, attacks=("sme",), options=("sme.iterations=45",), power="off")
    pairs = {name: dataclasses.replace(asked, out=tmp_path / name, seed=seed) for seed, name in enumerate("ab")}
    found = scan_many(pairs, tmp_path, f"ray:{cluster.address}")
    assert [result.name for result in found.results] == ["a", "b"]
    here = scan(dataclasses.replace(pairs["b"], out=tmp_path / "here"))
    assert numbers(load(tmp_path / "b")) == numbers(here)
