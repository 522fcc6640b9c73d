"""Data of other libraries in torch files: read as mere data; whatever pretends to be such data is refused."""

import argparse
import datetime
import pathlib
import struct
import types
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memaudit.audit.checkpoints import inert
from memaudit.audit.checkpoints.calls import Excess, Foreign
from memaudit.audit.checkpoints.pair import read
from memaudit.audit.checkpoints.program import check_program
from memaudit.audit.checkpoints.weights import CheckpointError, unpack

from .test_program import archive, call, number, numbers, program, tensor, text

NOON = datetime.datetime(2024, 2, 3, 12, 0, 1, tzinfo=datetime.UTC)

DATA = {
    "namespace": (argparse.Namespace(lr=0.1, betas=(0.9, 0.99)), {"lr": 0.1, "betas": (0.9, 0.99)}),
    "nested namespace": (argparse.Namespace(a=argparse.Namespace(b=pathlib.Path("/c/d"))), {"a": {"b": "/c/d"}}),
    "empty namespace": (argparse.Namespace(), {}),
    "simple namespace": (types.SimpleNamespace(a=1), {"a": 1}),
    "path": (pathlib.Path("runs/a.pt"), "runs/a.pt"),
    "windows path": (pathlib.PureWindowsPath("C:/runs/a.pt"), "C:\\runs\\a.pt"),
    "default": (defaultdict(list, {"loss": [1.0, 2.0]}), {"loss": [1.0, 2.0]}),
    "nested default": (defaultdict(dict, {"a": defaultdict(int, {"b": 2})}), {"a": {"b": 2}}),
    "ordered default": (defaultdict(OrderedDict), {}),
    "ordered": (OrderedDict(a=OrderedDict(b=1)), {"a": {"b": 1}}),
    "date": (datetime.date(2024, 2, 3), datetime.date(2024, 2, 3)),
    "time": (NOON, NOON),
    "duration": (datetime.timedelta(hours=3), datetime.timedelta(hours=3)),
    "zone": (datetime.timezone(datetime.timedelta(hours=2)), datetime.timezone(datetime.timedelta(hours=2))),
    "float64": (np.float64(0.75), 0.75),
    "float32": (np.float32(0.5), 0.5),
    "int64": (np.int64(-7), -7),
    "bool": (np.bool_(True), True),
    "text": (np.str_("abc"), "abc"),
    "moment": (np.datetime64("2024-02-03"), None),
}  # fmt: skip


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("what", DATA)
def test_data_are_read(tmp_path: Path, what: str, old: bool) -> None:
    value, expected = DATA[what]
    content = {"model": {"w": torch.ones(3)}, "extra": value, "twice": [value, value]}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not old)
    found = unpack(tmp_path / "a.pt")
    assert isinstance(found, dict)
    assert found["extra"] == expected
    assert found["twice"] == [expected, expected]
    assert type(found["extra"]).__module__ in ("builtins", "collections", "datetime", inert.__name__)
    assert read(tmp_path / "a.pt").tensors.keys() == {"w"}


ARRAYS = [
    np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3).T, np.float32([[1, 2]]), np.array(5), np.zeros((0, 4)),
    np.array([True, False]), np.arange(4, dtype=np.uint8), np.array(["ab", "c"]), np.arange(3, dtype=">f4"),
]  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=repr)
def test_arrays_are_read(tmp_path: Path, array: "np.ndarray[Any, Any]") -> None:
    torch.save({"w": torch.ones(3), "extra": array}, tmp_path / "a.pt")
    found: Any = unpack(tmp_path / "a.pt")
    assert isinstance(found["extra"], inert.Array)
    np.testing.assert_array_equal(np.asarray(found["extra"]), array)
    made = inert.tensor(found["extra"])
    assert (made is None) == (array.dtype.kind == "U" or array.dtype.byteorder == ">")
    assert made is None or made.tolist() == array.tolist()


def test_a_state_dict_of_arrays_is_one_of_tensors(tmp_path: Path) -> None:
    state = {"fc.weight": np.ones((2, 3), np.float32), "fc.bias": np.zeros(2, np.float32)}
    torch.save({"epoch": np.int64(3), "weights": state}, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt").tensors
    assert {name: tuple(value.shape) for name, value in found.items()} == {"fc.weight": (2, 3), "fc.bias": (2,)}


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3), "extra": np.array([{}, None])}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="array of objects"):
        unpack(tmp_path / "a.pt")


# Files that nobody's library wrote

NEW = b"cargparse\nNamespace\n)\x81"
KIND = call("numpy.dtype", text("f4"), b"\x89", b"\x88")
VOID = call("numpy.dtype", text("V900000000"), b"\x89", b"\x88")
BYTES = call("_codecs.encode", text("\0" * 8), text("latin1"))
EMPTY = call("numpy._core.multiarray._reconstruct", b"cnumpy\nndarray\n", number(0) + b"\x85", BYTES)
NEGATIVE = b"J" + struct.pack("<i", -4)
MANY = b"}(" + b"".join(number(n) + b"N" for n in range(20_000)) + b"uq\1"

HOSTILE = {
    "attributes that are a list": NEW + b"]b",
    "attributes that are a tensor": NEW + tensor([4], [1]) + b"b",
    "attributes in two parts": NEW + b"N}\x86b",
    "a call with arguments": call("argparse.Namespace", text("a")),
    "a method": b"cargparse\nNamespace.__setattr__\n)R",
    "another of argparse": call("argparse.FileType", text("w")),
    "the parser": call("argparse.ArgumentParser"),
    "a hidden call in attributes": NEW + b"}" + text("a") + call("os.system", text("true")) + b"sb",
    "a state of a path": call("pathlib.PosixPath", text("a")) + b"}b",
    "a path of paths of numbers": call("pathlib.PosixPath", number(3)),
    "a method of paths": call("pathlib.Path.unlink", text("a")),
    "a path that grows": text("a" * 100) + b"q\0" + b"cpathlib\nPosixPath\n(h\0h\0tRq\0" * 40,
    "bytes that are made": call("builtins.bytes", number(10**9)),
    "a default that is called": call("builtins.list", b"]"),
    "a default of something": call("collections.defaultdict", number(3)),
    "a default that is code": call("collections.defaultdict", b"cos\nsystem\n"),
    "a number of objects": call("numpy._core.multiarray.scalar", KIND, b"}"),
    "a number of another type": call("numpy._core.multiarray.scalar", text("f4"), BYTES),
    "an array without its class": call("numpy._core.multiarray._reconstruct", b"cos\nsystem\n", b")", BYTES),
    "an array of its class alone": b"cnumpy\nndarray\n(" + number(10**9) + b"tR",
    "an array of objects": EMPTY + b"(" + number(1) + number(1) + b"\x85" + KIND + b"\x89]tb",
    "an array of negative size": EMPTY + b"(" + number(1) + NEGATIVE + b"\x85" + KIND + b"\x89" + BYTES + b"tb",
    "an array told by a dictionary": EMPTY + b"}b",
    "a type of objects": call("numpy.dtype", b"cos\nsystem\n", b"\x89", b"\x88"),
    "a type told by a dictionary": KIND + b"}b",
    "loading of arrays": call("numpy.load", text("a.npy")),
    "a file of numbers": call("numpy.fromfile", text("/etc/passwd")),
    "a time of tensors": call("datetime.datetime", tensor([4], [1])),
    "a time of a list": call("datetime.timedelta", b"]"),
    "attributes copied without end": MANY + (NEW + b"h\1b") * 20_000,
    "attributes of an ordered one copied": MANY + b"ccollections\nOrderedDict\n)Rh\1b" * 20_000,
}  # fmt: skip


LATE = ("attributes that are a list", "attributes that are a tensor", "attributes in two parts")
"""What is refused only when it is loaded."""


@pytest.mark.parametrize("what", HOSTILE)
def test_what_pretends_to_be_data_is_refused(tmp_path: Path, what: str) -> None:
    if what not in LATE:
        with pytest.raises((Excess, Foreign)):
            check_program(program(b"(" + HOSTILE[what] + b"t"), 2000)
    good = b"}" + text("w") + tensor([4], [1]) + b"s"
    assert unpack(archive(tmp_path / "good.pt", b"(" + good + b"t"))
    with pytest.raises(CheckpointError) as refused:
        unpack(archive(tmp_path / "a.pt", b"(" + good + HOSTILE[what] + b"t"))
    assert str(refused.value).isprintable()
    assert "damaged" not in refused.value.message or what in LATE


@pytest.mark.parametrize(
    "body",
    [
        EMPTY + b"(" + number(1) + numbers([10**9]) + KIND + b"\x89" + BYTES + b"tb",
        EMPTY + b"(" + number(1) + numbers([2]) + VOID + b"\x89" + BYTES + b"tb",
        EMPTY,
    ],
)  # fmt: skip
def test_arrays_that_claim_more_are_no_tensors(tmp_path: Path, body: bytes) -> None:
    found: Any = unpack(archive(tmp_path / "a.pt", b"}" + text("w") + body + b"s"))
    assert inert.tensor(found["w"]) is None or found["w"].data == b""
    with pytest.raises(CheckpointError):
        read(tmp_path / "a.pt")


def test_what_is_refused_is_named_and_what_is_data_is_not(tmp_path: Path) -> None:
    content = {"args": argparse.Namespace(lr=1), "loss": torch.nn.MSELoss(), "model": {"w": torch.ones(2)}}
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="MSELoss") as caught:
        unpack(tmp_path / "a.pt")
    assert "Namespace" not in caught.value.message


def test_the_classes_themselves_are_never_allowed(tmp_path: Path) -> None:
    """Nothing is left allowed to torch.load afterwards, and the names stand for our own types."""
    before = torch.serialization.get_safe_globals()
    torch.save({"args": argparse.Namespace(lr=1), "model": {"w": torch.ones(2)}}, tmp_path / "a.pt")
    found: Any = unpack(tmp_path / "a.pt")
    assert type(found["args"]) is inert.Fields
    assert set(torch.serialization.get_safe_globals()) == set(before)
