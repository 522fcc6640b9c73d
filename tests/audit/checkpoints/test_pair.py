"""Checkpoints of every form that is read, and of every form that must be refused."""

import hashlib
import json
import os
import pickle  # noqa: TID251  # to write the hostile files that memaudit must not open
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from memaudit.audit.checkpoints.pair import Checkpoint, CheckpointError, read, read_pair, shared_prefix

STATE = {"fc1.weight": torch.arange(12.0).view(3, 4), "fc1.bias": torch.ones(3), "steps": torch.tensor([7])}


def network(seed: int = 0, classes: int = 3) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, classes)).state_dict()


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def refused(path: Path, *parts: str) -> CheckpointError:
    """Read ``path`` and expect a refusal in one line that contains all ``parts``."""
    with pytest.raises(CheckpointError) as caught:
        read(path)
    return worded(caught.value, *parts)


def pair_refused(before: Path, after: Path, *parts: str) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        read_pair(before, after)
    return worded(caught.value, *parts)


def worded(error: CheckpointError, *parts: str) -> CheckpointError:
    assert error.hint
    assert len(str(error).splitlines()) == 1
    for part in parts:
        assert part in error.message
    return error


def same(checkpoint: Checkpoint, state: dict[str, Tensor]) -> bool:
    return checkpoint.tensors.keys() == state.keys() and all(
        torch.equal(checkpoint.tensors[name], value) for name, value in state.items()
    )


# Forms that are read


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.th", "a.bin", "a.ckpt", "a.weights", "a"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_of_any_suffix(tmp_path: Path, name: str, zipped: bool) -> None:
    file = saved(tmp_path / name, STATE, _use_new_zipfile_serialization=zipped)
    checkpoint = read(file)
    assert same(checkpoint, STATE)
    assert checkpoint.format == "torch"
    assert checkpoint.path == str(file)
    assert checkpoint.dtypes == ("float32", "int64")
    assert checkpoint.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_safetensors_file_and_folder(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.safetensors")
    file, folder = read(tmp_path / "model.safetensors"), read(tmp_path)
    assert same(file, STATE)
    assert same(folder, STATE)
    assert file.format == folder.format == "safetensors"
    assert file.sha256 == folder.sha256


def test_folder_with_pytorch_bin(tmp_path: Path) -> None:
    saved(tmp_path / "pytorch_model.bin", STATE)
    (tmp_path / "config.json").write_text("{}")
    assert same(read(tmp_path), STATE)


def sharded(folder: Path, **weight_map: str) -> Path:
    """A folder with two shards; ``weight_map`` replaces entries of the index."""
    folder.mkdir(exist_ok=True)
    names = {"fc1.weight": "a.safetensors", "fc1.bias": "b.safetensors", "steps": "b.safetensors"}
    for shard in ("a.safetensors", "b.safetensors"):
        save_file({name: STATE[name] for name, place in names.items() if place == shard}, folder / shard)
    index = {"metadata": {}, "weight_map": names | {name.replace("__", "."): s for name, s in weight_map.items()}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_shards(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m")
    checkpoint = read(folder)
    assert same(checkpoint, STATE)
    assert checkpoint.format == "sharded safetensors"
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("a.safetensors", "b.safetensors", "model.safetensors.index.json")
    ]
    assert checkpoint.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert read(folder / "model.safetensors.index.json").sha256 == checkpoint.sha256


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "best": torch.tensor(0.5)},
        lambda state: {"optimizer": {"state": {0: {"m": torch.ones(2)}}}, "model_state_dict": state},
        lambda state: {"model": {"net": {"module": state}}},
        lambda state: {"ema": state, "step": 1},
        lambda state: {"ema": {name: value + 1 for name, value in state.items()}, "model": state},
        lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {f"_orig_mod.module.model.{name}": value for name, value in state.items()},
        lambda state: {"net": {f"module._orig_mod.{name}": value for name, value in state.items()}},
        lambda state: {**{k: nn.Parameter(v) if v.is_floating_point() else v for k, v in state.items()}, "epoch": 3},
    ],
)
def test_wrappers_and_prefixes(tmp_path: Path, wrap: Callable[[dict[str, Tensor]], Any]) -> None:
    checkpoint = read(saved(tmp_path / "a.pt", wrap(STATE)))
    assert same(checkpoint, STATE)
    assert not any(value.requires_grad for value in checkpoint.tensors.values())


def test_a_wrapper_that_contains_itself(tmp_path: Path) -> None:
    loop: dict[str, Any] = {"epoch": 1}
    loop["model"] = loop["state_dict"] = loop
    refused(saved(tmp_path / "a.pt", loop), "a.pt", "no state dict")


def test_prefixes_count_only_where_all_share_them() -> None:
    assert shared_prefix(["module.a", "module.b"]) == "module."
    assert shared_prefix(["module.model.a", "module.model.b"]) == "module.model."
    assert shared_prefix(["module.a", "n_averaged"]) == ""
    assert shared_prefix(["module."]) == ""
    assert shared_prefix([]) == ""


def test_floats_are_promoted_and_integers_kept(tmp_path: Path) -> None:
    state = {"h": torch.ones(2).half(), "b": torch.ones(2).bfloat16(), "i": torch.tensor([3]), "m": torch.ones(1) > 0}
    checkpoint = read(saved(tmp_path / "a.pt", state))
    kinds = [value.dtype for value in checkpoint.tensors.values()]
    assert kinds == [torch.float32, torch.float32, torch.int64, torch.bool]
    assert checkpoint.dtypes == ("bfloat16", "bool", "float16", "int64")


def test_tensors_are_independent_contiguous_copies(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    state = {"a": shared, "tied": shared, "transposed": torch.arange(6.0).view(2, 3).T, "part": torch.arange(9.0)[1:3]}
    tensors = read(saved(tmp_path / "a.pt", state)).tensors
    assert all(value.is_contiguous() and value.storage_offset() == 0 for value in tensors.values())
    assert all(value.data_ptr() % 16 == 0 for value in tensors.values())
    assert tensors["a"].data_ptr() != tensors["tied"].data_ptr()
    assert torch.equal(tensors["transposed"], state["transposed"])


# Files that are refused


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "none.pt", "none.pt")


def test_empty_file(tmp_path: Path) -> None:
    for name in ("a.pt", "a.safetensors"):
        (tmp_path / name).touch()
        refused(tmp_path / name, name, "empty")


def test_empty_folder(tmp_path: Path) -> None:
    refused(tmp_path, str(tmp_path), "no weights")


def test_ambiguous_folder(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    save_file(STATE, tmp_path / "b.safetensors")
    refused(tmp_path, "'a.safetensors'", "'b.safetensors'")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_git_lfs_pointer(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "git lfs pull" in refused(tmp_path / name, name, "git-LFS").hint


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "notes.txt"])
def test_text(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not weights at all, " * 20)
    refused(tmp_path / name, name)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.index.json"])
def test_random_bytes(tmp_path: Path, name: str) -> None:
    for seed in range(20):
        (tmp_path / name).write_bytes(np.random.default_rng(seed).bytes(300))
        refused(tmp_path / name, name)


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_truncated_anywhere(tmp_path: Path, form: str) -> None:
    file = tmp_path / ("a.safetensors" if form == "safetensors" else "a.pt")
    if form == "safetensors":
        save_file(STATE, file)
    else:
        torch.save(STATE, file, _use_new_zipfile_serialization=form == "zip")
    whole = file.read_bytes()
    for count in [*range(1, 40, 3), *range(40, len(whole), len(whole) // 40), len(whole) - 1]:
        file.write_bytes(whole[:count])
        refused(file, file.name)


def test_safetensors_header_larger_than_the_file(tmp_path: Path) -> None:
    for size in (2**63, 10**9, 200):
        (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", size) + b'{"a":')
        refused(tmp_path / "a.safetensors", "a.safetensors", "damaged")


def test_safetensors_header_that_points_outside(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    refused(tmp_path / "a.safetensors", "a.safetensors", "damaged")


def test_archive_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("archive/readme.txt", "hello")
    refused(tmp_path / "a.pt", "a.pt", "torch.save")


def test_archive_that_swells(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr("archive/data/0", bytes(10**6))
    refused(tmp_path / "a.pt", "a.pt", "unpacks")


@pytest.mark.parametrize(
    "content", [{}, {"epoch": 3, "args": {"lr": 0.1}}, [1, 2], torch.ones(3), {"x": torch.ones(())}]
)
def test_no_state_dict(tmp_path: Path, content: Any) -> None:
    refused(saved(tmp_path / "a.pt", content), "a.pt", "no state dict")


class Payload:
    """What an attacker would pickle."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_named_and_never_run(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "marker"
    content = {"state_dict": STATE, "extra": Payload(marker)}
    file = saved(tmp_path / "a.pt", content, _use_new_zipfile_serialization=zipped)
    assert "safetensors" in refused(file, "a.pt", "system").hint
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_bare_pickle_is_never_run(tmp_path: Path, protocol: int) -> None:
    marker, file = tmp_path / "marker", tmp_path / "a.pt"
    file.write_bytes(pickle.dumps(Payload(marker), protocol=protocol))
    error = refused(file, "a.pt")
    assert "weights_only" not in str(error)
    assert not marker.exists()


def test_the_payload_is_live(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


def test_whole_module(tmp_path: Path) -> None:
    refused(saved(tmp_path / "a.pt", nn.Linear(2, 3)), "a.pt", "torch.nn.modules.linear.Linear")


def test_torchscript(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(nn.Linear(2, 3)).save(str(tmp_path / "a.pt"))
    refused(tmp_path / "a.pt", "a.pt", "TorchScript")


@pytest.mark.parametrize("shard", ["../b.safetensors", "/etc/passwd", "sub/../../b.safetensors", "link.safetensors"])
def test_shard_outside_the_folder(tmp_path: Path, shard: str) -> None:
    folder = sharded(tmp_path / "m", fc1__bias=shard)
    save_file(STATE, tmp_path / "b.safetensors")
    (folder / "link.safetensors").symlink_to(tmp_path / "b.safetensors")
    refused(folder, repr(shard), "outside")


def test_shard_missing(tmp_path: Path) -> None:
    refused(sharded(tmp_path / "m", fc1__bias="c.safetensors"), "'c.safetensors'", "missing")


def test_shard_without_its_tensor(tmp_path: Path) -> None:
    refused(sharded(tmp_path / "m", fc9="a.safetensors"), "'fc9'", "a.safetensors")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}', "[" * 100000])
def test_index_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    refused(tmp_path, "model.safetensors.index.json")


# Tensors that are refused


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.ones(3, dtype=torch.complex64), "complex"),
        (torch.ones(3, device="meta"), "meta"),
        (torch.zeros(1).expand(10**9, 10**3), "larger"),
        (torch.tensor([1.0, float("nan")]), "NaN"),
        (torch.tensor([1.0, -float("inf")]), "infinite"),
    ],
)
def test_unusable_tensors(tmp_path: Path, tensor: Tensor, kind: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        file = saved(tmp_path / "a.pt", {**STATE, "odd\nname": tensor})
    refused(file, "a.pt", r"'odd\nname'", kind)


# Pairs


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return saved(tmp_path / "before.pt", network())


def test_pair(tmp_path: Path, before: Path) -> None:
    state = network()
    state["3.bias"] = state["3.bias"] + 1
    state["2.running_mean"] = state["2.running_mean"] + 1
    state["2.num_batches_tracked"] = state["2.num_batches_tracked"] + 1
    pair = read_pair(before, saved(tmp_path / "after.pt", {"state_dict": state}))
    assert pair.moved == {"3.bias", "2.running_mean"}
    assert list(pair.before.tensors) == list(pair.after.tensors) == list(network())


def test_pair_across_formats_and_prefixes(tmp_path: Path, before: Path) -> None:
    save_file({f"module.{name}": value.clone() for name, value in network(1).items()}, tmp_path / "after.safetensors")
    assert "1.weight" in read_pair(before, tmp_path / "after.safetensors").moved


def test_pair_is_double_if_either_is(tmp_path: Path, before: Path) -> None:
    state = {name: value.double() if value.is_floating_point() else value for name, value in network(1).items()}
    for pair in (read_pair(before, after := saved(tmp_path / "after.pt", state)), read_pair(after, before)):
        for side in (pair.before, pair.after):
            assert {value.dtype for value in side.tensors.values()} == {torch.float64, torch.int64}


def test_counters_on_one_side_only(tmp_path: Path, before: Path) -> None:
    state = {name: value for name, value in network(1).items() if not name.endswith("num_batches_tracked")}
    for pair in (read_pair(before, after := saved(tmp_path / "after.pt", state)), read_pair(after, before)):
        assert pair.before.tensors.keys() == pair.after.tensors.keys() == state.keys()


def test_identical(tmp_path: Path, before: Path) -> None:
    pair_refused(before, before, "before.pt", "no tensor moved")
    pair_refused(before, saved(tmp_path / "copy.pt", {"model": network()}), "copy.pt", "no tensor moved")


def test_names_differ(tmp_path: Path, before: Path) -> None:
    state = {name.replace("1.", "first."): value for name, value in network(1).items()} | {"x": STATE["steps"]}
    after = saved(tmp_path / "after.pt", {**state, "y": STATE["steps"]})
    pair_refused(before, after, "'1.weight'", "'first.weight'", "and 1 more", "before.pt", "after.pt")


def test_shapes_differ(tmp_path: Path, before: Path) -> None:
    state = network(1) | {"1.weight": torch.ones(5, 6)}
    pair_refused(before, saved(tmp_path / "after.pt", state), "'1.weight'", "(5, 4)", "(5, 6)")


def test_kinds_differ(tmp_path: Path, before: Path) -> None:
    state = network(1) | {"3.bias": torch.ones(3, dtype=torch.int64)}
    pair_refused(before, saved(tmp_path / "after.pt", state), "'3.bias'", "float32", "int64")


@pytest.mark.parametrize("form", ["torch", "safetensors"])
def test_only_the_head_differs(tmp_path: Path, before: Path, form: str) -> None:
    state, after = network(1, classes=7), tmp_path / f"after.{form}"
    (torch.save if form == "torch" else save_file)(state, after)
    pair = read_pair(before, after)
    assert pair.fresh == {"3.weight", "3.bias"}
    assert set(pair.dropped) == {"3.weight", "3.bias"}
    assert pair.before.tensors.keys() == pair.after.tensors.keys() == state.keys()
    assert all(torch.equal(pair.before.tensors[name], state[name]) for name in pair.fresh)
    assert pair.moved == {"1.weight", "1.bias"}
    assert pair.before.stored == pair.after.stored


def test_a_new_head_on_a_network_that_did_not_move(tmp_path: Path, before: Path) -> None:
    state = network() | {"3.weight": torch.ones(7, 5), "3.bias": torch.ones(7)}
    error = pair_refused(before, saved(tmp_path / "after.pt", state), "head '3' alone", "start is unknown")
    assert "new head, as it was initialised" in error.hint


def test_a_head_that_is_most_of_the_network(tmp_path: Path, before: Path) -> None:
    after = saved(tmp_path / "after.pt", network(1, classes=300))
    assert "head" in pair_refused(before, after, "head '3'", "3 against 300 classes").hint


def test_only_integers_differ(tmp_path: Path, before: Path) -> None:
    pair = read_pair(before, saved(tmp_path / "after.pt", network(1) | {"steps": torch.tensor([7])}))
    assert (pair.fresh, pair.dropped) == (frozenset(), ())
    assert torch.equal(pair.before.tensors["steps"], torch.tensor([7]))
    pair = read_pair(saved(tmp_path / "b.pt", network() | {"ids": torch.arange(3)}), tmp_path / "after.pt")
    assert pair.dropped == ("ids",)


def test_the_count_of_an_averaged_model_is_no_weight(tmp_path):
    network = nn.Linear(3, 2)
    averaged = torch.optim.swa_utils.AveragedModel(network)
    torch.save(averaged.state_dict(), tmp_path / "swa.pt")
    assert set(read(tmp_path / "swa.pt").tensors) == {"weight", "bias"}


@pytest.mark.parametrize("place", [".", "pytorch_model.bin.index.json"])
def test_pytorch_shards(tmp_path: Path, place: str) -> None:
    names = {"fc1.weight": "pytorch_model-1.bin", "fc1.bias": "pytorch_model-2.bin", "steps": "pytorch_model-2.bin"}
    for shard in set(names.values()):
        saved(tmp_path / shard, {name: value for name, value in STATE.items() if names[name] == shard})
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    checkpoint = read(tmp_path / place)
    assert same(checkpoint, STATE)
    assert checkpoint.format == "sharded torch"
    saved(tmp_path / "pytorch_model-2.bin", {"fc1.bias": STATE["fc1.bias"]})
    refused(tmp_path, "pytorch_model-2.bin", "lacks 'steps'")


def test_code_in_a_pytorch_shard_is_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    saved(tmp_path / "a.bin", {"w": STATE["steps"], "evil": Payload(marker)})
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"w": "a.bin"}}))
    refused(tmp_path, "a.bin", "system")
    assert not marker.exists()
