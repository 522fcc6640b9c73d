"""Pickles that ask for memory, time or the stack of the process: the costs are known before they are loaded."""

import struct
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import pytest
import torch

from memaudit.audit.checkpoints.calls import Excess, Foreign
from memaudit.audit.checkpoints.pair import read
from memaudit.audit.checkpoints.program import check_program
from memaudit.audit.checkpoints.weights import CheckpointError, load, unpack


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    if 0 <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(digits)]) + digits


def numbers(values: list[int]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(count: int, kind: str = "FloatStorage", key: str = "0") -> bytes:
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(count) + b"tQ"


def tensor(shape: list[int], strides: list[int], count: int = 4, offset: int = 0) -> bytes:
    place = storage(count) + number(offset) + numbers(shape) + numbers(strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + place + b"\x89ccollections\nOrderedDict\n)RtR"


def call(name: str, *arguments: bytes) -> bytes:
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n(".encode() + b"".join(arguments) + b"tR"


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def archive(path: Path, body: bytes, stored: bytes = bytes(16)) -> Path:
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("archive/data.pkl", program(body))
        content.writestr("archive/byteorder", "little")
        content.writestr("archive/version", "3\n")
        content.writestr("archive/data/0", stored)
    return path


HUGE = {
    "an array of bytes": call("builtins.bytearray", number(3 * 10**9)),
    "an array by way of another": call(
        "torch._tensor._rebuild_from_type_v2",
        b"cbuiltins\nbytearray\n", b"ctorch\nTensor\n", number(3 * 10**9) + b"\x85", b"}",
    ),
    "a tensor class": call("torch.FloatTensor", number(10**9)),
    "a storage": storage(10**9),
    "a tensor beyond its storage": tensor([10**9], [1]),
    "a tensor far apart": tensor([2, 1], [10**9, 1]),
    "a tensor that begins beyond": tensor([1], [1], offset=10**9),
    "a quantised tensor": call(
        "torch._utils._rebuild_qtensor", storage(4, "QInt8Storage"), number(0), numbers([10**9]), numbers([0]),
        b"(", b"ctorch\nper_tensor_affine\n", b"G" + bytes(8), number(0), b"t", b"\x89", b"N",
    ),
    "a key nested a million deep": b"}" + b")" + b"\x85" * 10**6 + b"Ns",
    "a key nested a little too deep": b"}" + b")" + b"\x85" * 200 + b"Ns",
    "a key that doubles forty times": b"}" + b")" + b"q\0h\0\x86" * 40 + b"Ns",
    "a list of such keys": call("builtins.set", b"]" + b")" + b"q\0h\0\x86" * 40 + b"a"),
    "keys that hash alike": b"}" + number(2**61 - 1) + b"Ns",
    "65 dimensions": tensor([1] * 65, [1] * 65),
    "negative sizes": tensor([1], [1]).replace(numbers([1]), b"(" + b"J" + struct.pack("<i", -5) + b"t", 1),
    "many empty sets": b"(" + b"\x8f" * 10**7 + b"t",
    "a set of the elements of a tensor": call("builtins.set", tensor([10**9], [0])),
    "a slow encoding": call("_codecs.encode", text("a" * 100), text("idna")),
}  # fmt: skip


@pytest.mark.parametrize("what", HUGE)
def test_what_costs_too_much_is_refused_before_it_is_made(tmp_path, what):
    with pytest.raises((Excess, Foreign)):
        check_program(program(HUGE[what]), 2000 + len(HUGE[what]) // 100)
    file = archive(tmp_path / "a.pt", b"}" + text("w") + tensor([4], [1]) + b"s" + HUGE[what])
    with pytest.raises(CheckpointError) as caught:
        unpack(file)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500 + len(str(file))


def test_a_storage_is_no_larger_than_what_is_stored_for_it(tmp_path):
    with pytest.raises(CheckpointError, match="claims larger tensors"):
        unpack(archive(tmp_path / "a.pt", tensor([5], [1], count=5)))


def test_an_old_file_is_followed_as_well(tmp_path):
    torch.save({"w": torch.arange(3.0)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert load(tmp_path / "a.pt")[2]["w"].tolist() == [0, 1, 2]
    content = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "b.pt").write_bytes(content.replace(b"K\x03", b"M\xff\xff"))
    with pytest.raises(CheckpointError, match="claims larger tensors"):
        unpack(tmp_path / "b.pt")


@pytest.mark.parametrize("old", [False, True])
def test_all_that_torch_saves_of_plain_values_is_read(tmp_path, old):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    content = {
        "model": network.state_dict(), "optimizer": optimizer.state_dict(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "types": [torch.ones(2, dtype=kind) for kind in (torch.float16, torch.bfloat16, torch.int8, torch.bool)],

        "view": torch.arange(12.0).view(3, 4).T[1:], "empty": torch.zeros(0, 5), "scalar": torch.tensor(2),
        "bytes": b"abc", "array": bytearray(b"abc"), "set": {1, "a"}, "complex": 1 + 2j, "shape": torch.Size([2, 3]),
        "counter": Counter("hello"), "order": OrderedDict(a=1), "device": torch.device("cpu"), "big": 2**70,
        "nested": {"a": [1, (2, ("b", 3.5))]}, "pair": (1, 2), (0, "key"): None, "type": torch.float32, "negative": -3,
    }  # fmt: skip
    tagged = torch.ones(2)
    tagged.tag = "mine"
    if not old:  # torch itself does not read them back from the old format
        content["new"] = torch.ones(2).to(torch.float8_e5m2)
        content["unsigned"] = torch.ones(2, dtype=torch.uint16)
    torch.save(content | {"tagged": tagged}, tmp_path / "a.pt", _use_new_zipfile_serialization=not old)
    found = unpack(tmp_path / "a.pt")
    assert found.keys() == content.keys() | {"tagged"}
    assert found["nested"] == content["nested"]
    assert found["view"].equal(content["view"])


def test_many_views_of_one_storage_are_not_copied(tmp_path):
    body = b"}(" + b"".join(text(f"{n}.w") + tensor([2**20], [1], 2**20) for n in range(100)) + b"u"
    file = archive(tmp_path / "a.pt", body, bytes(2**22))
    with pytest.raises(CheckpointError, match="of its own"):
        read(file)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (torch.zeros(2**20, 0, 2**20), "holds nothing"),
        (torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "float4_e2m1fn_x2"),
    ],
)
def test_tensors_that_are_no_weights_are_refused_by_kind(tmp_path, value, word):
    torch.save({"w": torch.ones(2), "odd": value}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=word):
        read(tmp_path / "a.pt")
