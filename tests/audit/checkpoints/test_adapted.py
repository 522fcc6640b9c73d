"""Adapters find their layers in a base, whatever stands before its names, and those that do not fit are told why."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from memaudit.audit.checkpoints.adapted import on_base, start_of
from memaudit.audit.checkpoints.adapter import read_adapter
from memaudit.audit.checkpoints.pair import digests, read, read_pair
from memaudit.audit.checkpoints.weights import CheckpointError

from ...adapters import adapt, config, factors, save, tuned


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))


@pytest.fixture
def files(tmp_path):
    """Return base, adapter before training and after it."""
    made = network()
    base = {name: value.clone() for name, value in made.state_dict().items()}
    adapt(made, ["1", "3"])
    start = factors(made)
    tuned(made, torch.randn(2, 12), torch.arange(2), 0.1, 3)
    return base, start, factors(made), tmp_path


def written(folder, base):
    save_file(base, folder / "base.safetensors")
    return folder / "base.safetensors"


def save_start(folder, base, start):
    save_file(base, save(folder, start) / "model.safetensors")
    return folder


def test_a_and_b_are_tensors_of_the_network_that_was_trained(files):
    base, _, end, folder = files
    pair = read_pair(written(folder, base), save(folder / "adapter", end))
    assert dict(pair.lora) == {"1": 2.0, "3": 2.0}
    assert list(pair.after.tensors) == [
        "1.bias", "1.weight", "1.lora_A.weight", "1.lora_B.weight",
        "3.bias", "3.weight", "3.lora_A.weight", "3.lora_B.weight",
    ]  # fmt: skip
    assert pair.fresh == pair.starts == pair.guessed == {"1.lora_A.weight", "3.lora_A.weight"}
    assert pair.moved == {"1.lora_B.weight", "3.lora_B.weight"}
    assert pair.network.keys() == base.keys()
    for name, value in end.items():
        first, last = pair.before.tensors[name], pair.after.tensors[name]
        assert torch.equal(last, value)
        assert torch.equal(first, value if "lora_A" in name else torch.zeros_like(value))
    assert all(torch.equal(pair.before.tensors[name], value) for name, value in base.items())
    assert pair.after.path.endswith("adapter")


def test_the_start_is_known_where_it_lies_beside_the_base(files):
    base, start, end, folder = files
    whole = save_start(folder / "before", base, start)
    pair = read_pair(whole, save(folder / "after", end))
    assert pair.fresh == pair.guessed == frozenset()
    assert all(torch.equal(pair.before.tensors[name], value) for name, value in start.items())
    assert pair.moved == end.keys()
    other = save_start(folder / "again", base, {**start, "1.lora_A.weight": start["1.lora_A.weight"] + 1})
    again = read_pair(other, folder / "after")
    assert len({again.before.sha256, pair.before.sha256, read(whole).sha256}) == 3
    assert pair.before.sha256 in digests(whole)
    assert pair.after.sha256 in digests(folder / "after")
    with pytest.raises(CheckpointError, match="differ in their layers"):
        read_pair(whole, save(folder / "other", end, config(lora_alpha=16)))


@pytest.mark.parametrize(("ours", "theirs"), [("bert.encoder.", "encoder."), ("a.", "model.a."), ("", "net.")])
def test_prefixes_are_bridged(files, ours, theirs):
    base, _, end, folder = files
    renamed = written(folder, {f"{theirs}{name}": value for name, value in base.items()})
    pair = read_pair(renamed, save(folder / "adapter", {f"{ours}{name}": value for name, value in end.items()}))
    assert len(pair.lora) == 2
    assert len(pair.moved) == 2
    assert all(f"{layer}.weight" in pair.network for layer in pair.lora)


def test_whole_modules_and_biases_moved_too(files):
    base, _, end, folder = files
    more = {
        "3.weight": base["3.weight"] + 0.01,
        "3.bias": base["3.bias"] + 0.01,
        "1.base_layer.bias": base["1.bias"] * 2,
    }
    end = {name: value for name, value in end.items() if name.startswith("1.")}
    pair = read_pair(written(folder, base), save(folder / "adapter", {**end, **more}))
    assert pair.moved == {"1.lora_B.weight", "3.weight", "3.bias", "1.bias"}
    assert pair.fresh == {"1.lora_A.weight"}


def test_a_head_of_other_classes_is_fresh(files):
    base, _, end, folder = files
    more = {"3.weight": torch.randn(5, 16), "3.bias": torch.randn(5)}
    end = {name: value for name, value in end.items() if name.startswith("1.")}
    pair = read_pair(written(folder, base), save(folder / "adapter", {**end, **more}))
    assert pair.fresh == {"1.lora_A.weight", "3.weight", "3.bias"}
    assert pair.starts == {"1.lora_A.weight"}


def test_double_precision_on_either_side(files):
    base, _, end, folder = files
    single = save(folder / "single", end)
    double = save(folder / "double", {name: value.double() for name, value in end.items()})
    bases = [written(folder, base), folder / "wide.safetensors"]
    save_file({name: value.double() for name, value in base.items()}, bases[1])
    for first, second in ((bases[1], single), (bases[0], double)):
        pair = read_pair(first, second)
        sides = (pair.before.tensors, pair.after.tensors)
        assert {value.dtype for side in sides for value in side.values()} == {torch.float64}


def test_what_does_not_fit(files):
    base, start, end, folder = files
    path = written(folder, base)
    strange = {f"other.{name}": value for name, value in end.items() if name.startswith("1.")}
    cases = {
        "no layer of that name": {**end, "5.lora_A.weight": torch.randn(4, 2), "5.lora_B.weight": torch.randn(2, 4)},
        "does not fit": {**end, "1.lora_A.weight": torch.randn(4, 13)},
        "changes nothing": start,
        "only .*holds different|different tensors": {**end, **{f"{n}.x": torch.randn(9, 9) for n in range(20)}},
    }
    for told, tensors in cases.items():
        with pytest.raises(CheckpointError, match=told):
            read_pair(path, save(folder / "x", tensors))
    with pytest.raises(CheckpointError, match="'somebody/base' as it says"):
        read_pair(written(folder, {"a.weight": torch.randn(2, 2)}), save(folder / "y", strange))


def test_an_adapter_is_no_base_and_two_kinds_of_weights_are_ambiguous(files):
    base, start, end, folder = files
    first, second = save(folder / "start", start), save(folder / "end", end)
    with pytest.raises(CheckpointError, match="is an adapter alone"):
        read_pair(first, second)
    save_file(base, second / "model.safetensors")
    with pytest.raises(CheckpointError, match="weights of a network and an adapter"):
        read_pair(written(folder, base), second)
    assert start_of(folder / "base.safetensors") is None
    assert read_pair(folder / "base.safetensors", second / "adapter_model.safetensors").lora


def test_names_that_the_base_has_are_kept(files):
    base, _, end, folder = files
    found = read_adapter(save(folder / "adapter", end))
    assert found is not None
    assert on_base(found, "base", base) == found
