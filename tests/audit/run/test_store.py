import json

import pytest
import torch

from memaudit.attacks.contract.attack import State
from memaudit.audit.events import Event
from memaudit.audit.run.store import Store, StoreError, key


def state():
    x = torch.randn(2, 3)
    return State(3, {"x": x}, {"labels": torch.tensor([1, 0])}, {"best_x": x}, 0.5, {"a": 1.0}, True)


def test_key_depends_on_every_part_and_on_nothing_else():
    assert key("a", {"x": 1, "y": 2}) == key("a", {"y": 2, "x": 1})
    assert len({key("a"), key("b"), key("a", None), key(["a"]), key("a", 1)}) == 5


def test_round_trip_with_shared_tensors(tmp_path):
    job, saved = Store(tmp_path).job("k"), state()
    job.save(saved, {"curve": [[1, 0.5]]})
    loaded, extra = job.load(torch.zeros(()))
    assert (loaded.step, loaded.loss, loaded.terms, loaded.done) == (3, 0.5, {"a": 1.0}, True)
    assert torch.equal(loaded.variables["x"], saved.variables["x"])
    assert torch.equal(loaded.memory["best_x"], saved.variables["x"])
    assert extra == {"curve": [[1, 0.5]]}
    assert not list(tmp_path.rglob("*.tmp"))


def test_absent_is_none(tmp_path):
    assert Store(tmp_path).job("k").load(torch.zeros(())) is None


def test_a_damaged_state_is_named(tmp_path):
    job = Store(tmp_path).job("k")
    job.save(state(), {})
    job.path.write_bytes(job.path.read_bytes()[:40])
    with pytest.raises(StoreError, match=r"state\.safetensors is damaged"):
        job.load(torch.zeros(()))


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(StoreError, match="cannot be created"):
        Store(tmp_path / "run")


def test_events_are_appended_as_json_lines(tmp_path):
    store = Store(tmp_path)
    store.log(Event("load", "checkpoints"))
    store.log(Event("report", "x.html"))
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["load", "report"]
