"""Bad input: exit code 2, one clear line on stderr, no traceback, nothing half-written."""

import json
import pickle  # noqa: TID251 - to make what must not be loaded
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from memaudit.audit.cli.main import main


class Payload:
    """Touches a file when it is unpickled by a careless loader."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def state(seed: int = 0, k: int = 4, width: int = 8, d: int = 48) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(d, width), nn.ReLU(), nn.Linear(width, k)).state_dict()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a good pair and one file of every kind of badness, as the working directory."""
    monkeypatch.chdir(tmp_path)
    good = state()
    save_file(good, "a.safetensors")
    save_file(state(1), "b.safetensors")
    torch.save(good, "a.pt")
    torch.save({"state_dict": good, "evil": Payload(tmp_path / "marker")}, "evil.pt")
    torch.save(nn.Linear(2, 2), "module.pt")
    Path("raw.pt").write_bytes(pickle.dumps({"w": Payload(tmp_path / "marker")}))
    Path("cut.safetensors").write_bytes(Path("a.safetensors").read_bytes()[:300])
    Path("cut.pt").write_bytes(Path("a.pt").read_bytes()[:700])
    Path("empty.pt").write_bytes(b"")
    Path("text.pt").write_text("hello, I am a recipe for soup\n" * 9)
    Path("lfs.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    Path("nothing").mkdir()
    torch.save({"epoch": 3, "note": "no tensors"}, "plain.pt")
    save_file({**good, "1.weight": torch.full((8, 48), float("nan"))}, "nan.safetensors")
    body = {name: value for name, value in good.items() if name.startswith("1.")}
    save_file({**state(1, k=5), **body}, "head.safetensors")
    torch.save({"generator": good, "critic": state(1)}, "several.pt")
    Path("a.gguf").write_bytes(b"GGUF" + bytes(99))
    Path("fsdp").mkdir()
    Path("fsdp/.metadata").write_bytes(b"hello")
    save_file(state(1, width=9), "wide.safetensors")
    save_file({f"x{name}": value for name, value in state(1).items()}, "names.safetensors")
    save_file({"odd.kernel": torch.randn(3, 3, 3)}, "odd.safetensors")
    save_file({"odd.kernel": torch.randn(3, 3, 3)}, "odd2.safetensors")
    Path("sharded").mkdir()
    Path("sharded/model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "../a.safetensors"}}))
    Path("model.py").write_text("def build():\n    raise RuntimeError('no')\n\nNUMBER = 3\n")
    images()
    return tmp_path


def images() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 4, 4, 3), dtype=np.uint8)
    np.savez("data.npz", images=pixels[:3])
    np.savez("control.npz", images=pixels[3:])
    np.savez("object.npz", images=np.array([{"a": 1}], dtype=object))
    np.savez("normal.npz", images=np.float32(pixels) / 50 - 2)
    Path("pictures").mkdir()
    Image.fromarray(pixels[0]).save("pictures/a.png")
    Path("pictures/b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    Path("report.json").write_text("{}")
    Path("nested.json").write_text("[" * 100_000)
    Path("torchshards").mkdir()
    Path("torchshards/pytorch_model.bin.index.json").write_text("{}")
    Path("old.json").write_text('{"schema_version": "9.0"}')


PAIR = "scan a.safetensors b.safetensors"
BAD = {
    "missing file": ("scan nowhere.pt b.safetensors", "nowhere.pt"),
    "missing after": ("scan a.safetensors nowhere.pt", "nowhere.pt"),
    "code in a checkpoint": ("scan evil.pt b.safetensors", "evil.pt"),
    "raw pickle with code": ("scan raw.pt b.safetensors", "raw.pt"),
    "pickled module": ("scan module.pt b.safetensors", "module.pt"),
    "truncated safetensors": ("scan cut.safetensors b.safetensors", "cut.safetensors"),
    "truncated zip": ("scan cut.pt b.safetensors", "cut.pt"),
    "empty file": ("scan empty.pt b.safetensors", "empty.pt"),
    "text file": ("scan text.pt b.safetensors", "text.pt"),
    "git-lfs pointer": ("scan lfs.safetensors b.safetensors", "lfs.safetensors"),
    "empty folder": ("scan nothing b.safetensors", "nothing"),
    "no tensors": ("scan plain.pt b.safetensors", "plain.pt"),
    "not a number": ("scan nan.safetensors b.safetensors", "1.weight"),
    "identical": ("scan a.safetensors a.pt", "a.pt"),
    "same file twice": ("scan a.pt a.pt", "a.pt"),
    "names differ": ("scan a.safetensors names.safetensors", "x3"),
    "shapes differ": ("scan a.safetensors wide.safetensors", "1.bias"),
    "only the head differs": ("scan a.safetensors head.safetensors", "head"),
    "several networks in a file": ("scan several.pt b.safetensors", "critic"),
    "weights for inference": ("scan a.gguf b.safetensors", "GGUF"),
    "a distributed checkpoint": ("scan a.pt fsdp", "dcp_to_torch"),
    "shard outside the folder": ("scan sharded b.safetensors", "../a.safetensors"),
    "unknown architecture": ("scan odd.safetensors odd2.safetensors", "--model"),
    "unknown torchvision model": (f"{PAIR} --model torchvision:resnet81", "resnet18"),
    "no such model file": (f"{PAIR} --model none.py:build", "none.py"),
    "no such function": (f"{PAIR} --model model.py:make", "build"),
    "factory raises": (f"{PAIR} --model model.py:build", "model.py"),
    "not a factory": (f"{PAIR} --model model.py:NUMBER", "NUMBER"),
    "image size against the network": (f"{PAIR} --image-size 99", "99"),
    "unknown normalisation": (f"{PAIR} --normalise cifar11", "cifar11"),
    "normalisation of two channels": (f"{PAIR} --normalise 0.5,0.5;0.5,0.5", "channels"),
    "negative learning rate": (f"{PAIR} --lr -0.1", "--lr"),
    "learning rate no number": (f"{PAIR} --lr fast", "--lr"),
    "zero size": (f"{PAIR} --size 0", "--size"),
    "momentum one": (f"{PAIR} --momentum 1.0", "--momentum"),
    "zero epochs": (f"{PAIR} --epochs 0", "--epochs"),
    "zero batch": (f"{PAIR} --batch-size 0", "--batch-size"),
    "negative time": (f"{PAIR} --max-time -5", "--max-time"),
    "no memory": (f"{PAIR} --max-memory 0", "--max-memory"),
    "memory in no unit": (f"{PAIR} --max-memory 4XB", "--max-memory"),
    "seed too large": (f"{PAIR} --seed 99999999999999999999999", "--seed"),
    "size too large": (f"{PAIR} --size 99999999999999999999", "--size"),
    "epochs too many": (f"{PAIR} --epochs 1000000000000000000", "--epochs"),
    "option too large": (f"{PAIR} --set simudy.iterations=1{'0' * 400}", "iterations"),
    "tolerance that clears all": (f"{PAIR} --set simudy.tolerance=2", "tolerance"),
    "unknown matching": (f"{PAIR} --matching best", "best"),
    "empty data": (["scan", "a.safetensors", "b.safetensors", "--data", ""], "data"),
    "output where nothing can be written": (f"{PAIR} -o html=a.pt/x.html", "a.pt"),
    "nested report": ("gate nested.json", "nested.json"),
    "inspect with a wrong model": ("inspect a.safetensors --model none.py:f", "none.py"),
    "inspect with a wrong size": ("inspect a.safetensors --image-size 99", "99"),
    "index of pytorch shards": ("inspect torchshards/pytorch_model.bin.index.json", "shards"),
    "nesterov alone": (f"{PAIR} --nesterov", "--momentum"),
    "size no number": (f"{PAIR} --size many", "--size"),
    "labels that do not fit": (f"{PAIR} --labels 0:1,9:1", "--labels"),
    "labels of no data": (f"{PAIR} --labels data", "--data"),
    "unknown optimizer": (f"{PAIR} --optimizer lamb", "lamb"),
    "momentum of adam": (f"{PAIR} --optimizer adam --momentum 0.9", "--momentum"),
    "unknown schedule": (f"{PAIR} --schedule step", "step"),
    "negative warm-up": (f"{PAIR} --warmup -1", "--warmup"),
    "negative clip": (f"{PAIR} --clip -1", "--clip"),
    "unknown batch norm mode": (f"{PAIR} --batch-norm on", "on"),
    "no such recipe": (f"{PAIR} --recipe none.toml", "none.toml"),
    "recipe that is none": (f"{PAIR} --recipe text.pt", "text.pt"),
    "recipe is a folder": (f"{PAIR} --recipe nothing", "nothing"),
    "infer from a missing file": ("infer nowhere.pt b.safetensors", "nowhere.pt"),
    "unknown attack": (f"{PAIR} --attack simudi", "simudy"),
    "unknown attack option": (f"{PAIR} --set simudy.alfa=1", "alpha"),
    "unknown device": (f"{PAIR} --device tpu", "tpu"),
    "absent device": (f"{PAIR} --device cuda:77", "cuda:77"),
    "no such data": (f"{PAIR} --data nowhere", "nowhere"),
    "objects in data": (f"{PAIR} --data object.npz", "object.npz"),
    "normalised data": (f"{PAIR} --data normal.npz", "normal.npz"),
    "broken picture": (f"{PAIR} --data pictures", "b.png"),
    "empty data folder": (f"{PAIR} --data nothing", "nothing"),
    "control is the data": (f"{PAIR} --data data.npz --control data.npz", "control"),
    "unknown data set": (f"{PAIR} --data torchvision:CIFAR11:.", "CIFAR10"),
    "unknown metric": (f"{PAIR} --fail-if ssim_maks>0.4", "ssim_max"),
    "malformed gate": (f"{PAIR} --fail-if ssim_max", "ssim_max"),
    "unknown format": (f"{PAIR} -o htm=x.html", "html"),
    "output without path": (f"{PAIR} -o html", "FORMAT=PATH"),
    "output is a folder": (f"{PAIR} -o html=nothing", "nothing"),
    "run folder is a file": (f"{PAIR} --out a.pt", "a.pt"),
    "unknown option": (f"{PAIR} --colour", "--colour"),
    "unknown command": ("scam a b", "scam"),
    "no such report": ("report nowhere", "nowhere"),
    "not a report": ("gate report.json", "report.json"),
    "newer report": ("gate old.json", "9.0"),
    "inspect missing": ("inspect nowhere.pt", "nowhere.pt"),
    "inspect evil": ("inspect evil.pt", "evil.pt"),
}


@pytest.mark.parametrize(("line", "named"), BAD.values(), ids=BAD)
def test_bad_input(folder, monkeypatch, capfd, line, named):
    before = {path for path in folder.rglob("*") if "memaudit-runs" not in path.parts}
    words = line if isinstance(line, list) else line.split()
    if words[0] == "scan" and "--out" not in words:
        words += ["--out", "run"]
    monkeypatch.setattr(sys, "argv", ["memaudit", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capfd.readouterr()
    assert stop.value.code == 2, err
    assert out == ""
    assert named in err
    progress = ("warning:", "Reading:", "Searching", "Attacking")
    complaints = [text for text in err.splitlines() if text and not text.startswith(progress)]
    assert len(complaints) == 1, err
    assert complaints[0].startswith("error: ")
    assert complaints[0].endswith((".", "?", ")"))
    assert "Traceback" not in err
    assert "This is a bug" not in err
    left = {path.name for path in set(folder.rglob("*")) - before}
    assert left <= {"run", "events.jsonl", "__pycache__"} | {name for name in left if name.endswith(".pyc")}
    assert not (folder / "marker").exists()
