"""The state dict in a torch file, under whatever keys; several are asked about, averages lose."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from memaudit.audit.checkpoints.nested import at, state_dicts
from memaudit.audit.checkpoints.pair import CheckpointError, read, read_pair
from memaudit.audit.checkpoints.weights import examine

STATE = {"a.weight": torch.ones(30, 10), "a.bias": torch.ones(30), "steps": torch.tensor(3)}
OTHER = {"a.weight": torch.zeros(30, 10), "a.bias": torch.zeros(30)}
ADAM = {"state": {0: {"step": torch.ones(1), "exp_avg": torch.ones(30, 10)}}, "param_groups": [{"lr": 0.1}]}


CLEAR: dict[str, tuple[Any, str]] = {
    "itself": (STATE, ""),
    "any key": ({"model_state": STATE, "epoch": 3}, "model_state"),
    "deep": ({"trainer": {"fold 1": {"weights_": STATE}}, "args": {"lr": 1}}, "trainer/fold 1/weights_"),
    "in a list": ({"models": [STATE], "scores": [0.1]}, "models/0"),
    "in a tuple": ((STATE, 3), "0"),
    "in a namespace": ({"run": argparse.Namespace(net=STATE)}, "run/net"),
    "beside an optimizer": ({"weights_": STATE, "optimizer": ADAM, "optim_g": {"m": torch.ones(40, 40)}}, "weights_"),
    "beside states of random numbers": ({"w": STATE, "rng_state": {"cpu": torch.ones(900)}}, "w"),
    "beside callbacks": ({"w": STATE, "callbacks": {"ema": {"w": torch.ones(40)}}}, "w"),
    "beside facts": ({"w": STATE, "data": {"mean": torch.ones(3)}, "class_weights": torch.ones(3)}, "w"),
    "an average": ({"w": STATE, "w_ema": OTHER}, "w"),
    "an average before": ({"ema": OTHER, "generator": STATE}, "generator"),
    "an average within": ({"a": {"ema_model": OTHER, "net": STATE}}, "a/net"),
    "a teacher": ({"student": STATE, "teacher": OTHER}, "student"),
    "only an average": ({"ema_state_dict": STATE, "epoch": 3}, "ema_state_dict"),
    "the usual key first": ({"best": OTHER, "state_dict": STATE}, "state_dict"),
    "the usual keys in order": ({"weights": OTHER, "model": {"net": STATE}}, "model/net"),
}


@pytest.mark.parametrize("what", CLEAR)
def test_a_state_dict_is_found(tmp_path: Path, what: str) -> None:
    content, path = CLEAR[what]
    torch.save(content, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt").tensors
    assert found.keys() == STATE.keys()
    assert torch.equal(found["a.weight"], STATE["a.weight"])
    if what != "in a namespace":
        assert list(state_dicts(content)) == [path]
        assert at(content, path) == {name: STATE[name] for name in STATE}
    assert examine(tmp_path / "a.pt")[2].keys() == STATE.keys()


SEVERAL = {
    "two networks": ({"generator": STATE, "discriminator": OTHER}, ("'generator'", "'discriminator'")),
    "two folds": ({"folds": [STATE, OTHER]}, ("'folds/0'", "'folds/1'")),
    "two averages": ({"ema_1": STATE, "ema_2": OTHER}, ("'ema_1'", "'ema_2'")),
    "outside and inside": ({**STATE, "inner": OTHER}, ("'the file itself'", "'inner'")),
    "four": ({key: STATE | {"x": torch.ones(9)} for key in "abcd"}, ("'a', 'b', 'c' and 1 more",)),
}


@pytest.mark.parametrize("what", SEVERAL)
def test_several_are_named_and_one_can_be_chosen(tmp_path: Path, what: str) -> None:
    content, names = SEVERAL[what]
    content = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="several networks") as caught:
        read(tmp_path / "a.pt")
    assert all(name in caught.value.message for name in names)
    assert examine(tmp_path / "a.pt")[2]
    path = list(state_dicts(content))[-1]
    assert read(tmp_path / "a.pt", path).tensors.keys() == state_dicts(content)[path].keys()


def test_a_path_that_is_none(tmp_path: Path) -> None:
    torch.save({"generator": STATE, "discriminator": OTHER}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="several networks: 'generator', 'discriminator'") as caught:
        read(tmp_path / "a.pt", "critic")
    assert caught.value.hint == "Say with --key PATH which one to audit."


def test_a_pair_needs_the_path_in_one_file_at_least(tmp_path: Path) -> None:
    after = {key: value + 1 for key, value in STATE.items()}
    torch.save(STATE, tmp_path / "plain.pt")
    torch.save({"ema": OTHER, "net": {"x": after}}, tmp_path / "two.pt")
    found = read_pair(tmp_path / "plain.pt", tmp_path / "two.pt", "net/x")
    assert (found.before.key, found.after.key, found.moved) == ("", "net/x", OTHER.keys())
    torch.save({"net": {"x": after}}, tmp_path / "one.pt")
    assert read(tmp_path / "one.pt").key == "net/x"
    with pytest.raises(CheckpointError, match=r"--key nets: no file has a state dict there; .*one.pt: net/x"):
        read_pair(tmp_path / "plain.pt", tmp_path / "one.pt", "nets")


@pytest.mark.parametrize(
    "content", [None, 3, [], {}, {"a": 1}, {"a": torch.ones(())}, {1: torch.ones(3)}, [torch.ones(2)]]
)
def test_nothing_is_found_where_nothing_is(content: object) -> None:
    assert state_dicts(content) == {}


def test_cycles_and_depth_are_harmless() -> None:
    loop: dict[str, Any] = {"w": STATE}
    loop["again"] = [loop]
    assert list(state_dicts(loop)) == ["w"]
    deep: Any = STATE
    for _ in range(100_000):
        deep = {"a": deep}
    assert state_dicts(deep) == {}
    while isinstance(deep, dict) and "a" in deep:  # taken apart one by one: Python would recurse
        deep = deep["a"]
