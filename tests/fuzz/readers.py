"""Every reader of files from outside: how a small file for it is made, what it is called, and what reads it."""

import argparse
import datetime
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tomli_w
import torch
from PIL import Image
from safetensors.torch import save_file

from memaudit.attacks.contract.attack import State
from memaudit.audit.checkpoints.folder import look_into
from memaudit.audit.checkpoints.pair import read
from memaudit.audit.cli.catalogue import collected
from memaudit.audit.cli.scan import scan
from memaudit.audit.data.opening import open_source
from memaudit.audit.data.tensor_file import TensorFileSource
from memaudit.audit.data.text import TextSource
from memaudit.audit.families.base import Architecture
from memaudit.audit.families.beside import PREPROCESSOR, read_beside
from memaudit.audit.outputs import check_outputs, read_context, write_each
from memaudit.audit.recipe.artefacts import read_artefacts
from memaudit.audit.recipe.file import load as load_recipe
from memaudit.audit.recipe.normalise import normalisation
from memaudit.audit.recipe.torch_files import from_torch
from memaudit.audit.report.file import load
from memaudit.audit.run.store import Store
from memaudit.audit.settings import read as read_settings
from memaudit.audit.tasks.many import read_pairs
from memaudit.audit.tasks.runs import list_runs
from memaudit.audit.verdict.baseline import load as load_baseline
from memaudit.audit.verdict.verify import verify

from ..audit.report import old


class Reader(NamedTuple):
    """One reader: the name of its file, what makes a sound one, and what reads it; ``tree`` is what the file holds."""

    name: str
    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    tree: Callable[[], Any] | None = None


def state() -> dict[str, Any]:
    """Return what a training script saves."""
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {"model": layer.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "tags": ("a", {"b"})}


def archive(path: Path) -> None:
    """Write what torch.save writes."""
    torch.save(state(), path)


def old_torch(path: Path) -> None:
    """Write what torch.save wrote before version 1.6."""
    torch.save(state(), path, _use_new_zipfile_serialization=False)


def data(path: Path) -> None:
    """Write weights beside what other libraries' data look like, in the format whose bytes are not packed."""
    args = argparse.Namespace(lr=np.float64(0.1), out=Path("runs/a"), started=datetime.datetime(2024, 2, 3))
    found = {"args": args, "curve": defaultdict(list, {"loss": [np.float32(0.5)]}), "order": np.arange(6).reshape(2, 3)}
    torch.save({"mine": {"w": torch.ones(2, 3)}, **found}, path, _use_new_zipfile_serialization=False)


def rounds(path: Path) -> None:
    """Write two arrays by name."""
    np.savez(path, **{"fc.weight": np.ones((2, 3), np.float32), "fc.bias": np.ones(2, np.float32)})


def safetensors(path: Path) -> None:
    """Write two tensors."""
    save_file({"w": torch.ones(2, 3), "b": torch.ones(2, dtype=torch.float16)}, path)


def npz(path: Path) -> None:
    """Write images and labels."""
    np.savez(path, images=np.zeros((2, 8, 8, 3), np.uint8), labels=np.array([0, 1]))


def stored(path: Path) -> None:
    """Write images and labels as torch has them."""
    torch.save({"images": torch.zeros((2, 8, 8, 3), dtype=torch.uint8), "labels": torch.tensor([0, 1])}, path)


def npy(path: Path) -> None:
    """Write images alone."""
    np.save(path, np.zeros((2, 8, 8, 3), np.uint8))


def index(path: Path) -> None:
    """Write a list of shards, and a shard."""
    safetensors(path.with_name("part.safetensors"))
    path.write_text(json.dumps(shards()))


def shards() -> dict[str, Any]:
    """Return a list of shards."""
    return {"metadata": {"total_size": 28}, "weight_map": {"w": "part.safetensors", "b": "part.safetensors"}}


def image(path: Path) -> None:
    """Write a photo whose camera was held upright."""
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(pixels)
    picture.save(path) if path.suffix in (".ppm", ".gif", ".bmp") else picture.save(path, exif=exif)


def saved(path: Path) -> None:
    """Write the state of an attack, where it belongs."""
    job = Store(path.parents[2]).job(path.parent.name)
    x = torch.rand(2, 3)
    job.save(State(3, {"x": x}, {"c": x}, {"best": torch.tensor(0.5)}, 0.5, {"a": 1.0}, False), {"seconds": 1.0})


def stated() -> dict[str, Any]:
    """Return what the header of a state says."""
    extra = {"seconds": 1.0, "peak_bytes": 3, "curve": [[1, 0.5]], "diverged": False}
    return {"step": 3, "loss": 0.5, "terms": {"a": 1.0}, "done": False, "extra": extra}


def load_state(path: Path) -> None:
    """Read a state as a resumed scan does."""
    store = Store(path.parents[2])
    with store.held():
        store.foreign()
        store.job(path.parent.name).load(torch.zeros(()))


def configured() -> dict[str, Any]:
    """Return a configuration."""
    return {
        "data": "train", "epochs": 5, "lr": 0.1, "attack": ["sme"], "set": ["sme.iterations=4"], "max-time": "90s",
        "output": ["html=a.html"], "nesterov": True, "fail-on": "high", "model": "auto", "size": "auto", "out": "run",
    }  # fmt: skip


def listed() -> dict[str, Any]:
    """Return a list of pairs."""
    pairs = {"one": {"before": "a.pt", "after": "b.pt"}, "two": {"before": "a.pt", "after": "b.pt", "epochs": 3}}
    return {"defaults": {"data": "train", "normalise": "half"}, "pairs": pairs}


def recipe() -> dict[str, Any]:
    """Return a recipe."""
    said = {"optimizer": "sgd", "lr": 0.1, "size": 4, "epochs": 3, "labels": [2, 2]}
    return {"recipe": {**said, "momentum": 0.9, "nesterov": True, "schedule": "cosine", "warmup": 2}}


def accepted() -> dict[str, Any]:
    """Return a baseline."""
    item = {"fingerprint": "0" * 64, "rule": "MA001", "severity": "high", "records": ["0" * 64], "reason": "known"}
    listed = [{**item, "attack": "simudy", "expires": datetime.date(2030, 1, 1)}]
    return {"version": 1, "model": "a.pt", "salt": "00", "accepted": listed}


def context() -> dict[str, Any]:
    """Return facts for a document."""
    return {"controller": {"name": "A", "contact": "b"}, "data": {"subjects": 5, "kinds": ["photos"]}}


def trainer() -> dict[str, Any]:
    """Return what the trainer of Hugging Face writes."""
    log = [{"learning_rate": 0.1}, {"learning_rate": 0.099, "step": 2}]
    return {"epoch": 2.98, "global_step": 30, "train_batch_size": 8, "log_history": log, "num_train_epochs": 3}


def processor() -> dict[str, Any]:
    """Return what an image processor of Hugging Face writes."""
    said: dict[str, Any] = {
        "do_normalize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "rescale_offset": False,
    }
    return {**said, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "size": {"height": 8}}


def arguments() -> dict[str, Any]:
    """Return the arguments of a script."""
    return {"lr": 0.1, "batch_size": 8, "epochs": 3, "momentum": 0.9, "weight_decay": 1e-4, "optimizer": "sgd"}


def event() -> dict[str, Any]:
    """Return a line of a run's log."""
    return {"stage": "attack", "message": "sme", "step": 1, "total": 3, "values": {"loss": 0.5}, "plan": []}


def formats(path: Path) -> None:
    """Read a report and write it in every format for people and machines."""
    report, folder = load(path), path.parent
    wanted = {"html": "r.html", "md": "r.md", "sarif": "r.sarif", "junit": "r.xml", "json": "again.json"}
    outputs = check_outputs([(name, str(folder / "made" / file)) for name, file in wanted.items()])
    write_each(report, folder, outputs, look=_look())
    verify(path)


def _look() -> Any:
    from memaudit.audit.outputs import Look

    return Look()


def options() -> Any:
    """Return the options of a scan."""
    return collected({"scan": scan})


def toml(tree: Callable[[], Any]) -> Callable[[Path], Any]:
    """Return what writes a tree as TOML."""
    return lambda path: path.write_text(tomli_w.dumps(tree()))


def text(tree: Callable[[], Any]) -> Callable[[Path], Any]:
    """Return what writes a tree as JSON."""
    return lambda path: path.write_text(json.dumps(tree()))


def yaml(path: Path) -> None:
    """Write settings as lines."""
    path.write_text("".join(f"{key}: {value}\n" for key, value in arguments().items()))


def settings(path: Path) -> None:
    """Read what is configured in a folder."""
    read_settings(options(), path.parent, {})


def beside(path: Path) -> None:
    """Read what lies beside a checkpoint."""
    read_artefacts(path.with_name("before.pt"), path.with_name("after.pt"))


def prepared(path: Path) -> None:
    """Read the normalisation of images beside a configuration."""
    path.with_name("config.json").write_text("{}")
    normalisation(None, Architecture("hf", "vit", {}, 2, (3, 8, 8)), read_beside(str(path.parent)))


def sentences(path: Path) -> None:
    """Write labels and sentences as the name of the file has them."""
    rows = [(1, "The boy, ran."), (0, 'She "saw" a cat.'), (1, "Café 猫")]
    forms = {
        ".tsv": [f"{label}\t{text}" for label, text in rows],
        ".csv": ["label,text", *(f'{label},"{text.replace(chr(34), chr(34) * 2)}"' for label, text in rows)],
        ".jsonl": [json.dumps({"label": label, "text": text}) for label, text in rows],
    }
    path.write_text("\n".join(forms[path.suffix]))


def texts(path: Path) -> None:
    """Read a file of sentences as data."""
    TextSource().open(f"text:{path}")


def tensors(path: Path) -> None:
    """Read a file of tensors as data."""
    TensorFileSource().open(str(path))


def pictures(path: Path) -> None:
    """Read the folder of a picture as data, whatever its size and then for a network."""
    for shape in (None, (3, 8, 8)):
        open_source(str(path.parent), shape)


def runs(path: Path) -> None:
    """Look for run folders, and into one."""
    list_runs(path.parents[1])
    Store(path.parent).foreign()


def each(path: Path) -> None:
    """Look at every file of a folder."""
    for file in look_into(path.parent).checkpoints:
        read(file)


KINDS: dict[str, Reader] = {
    "archive": Reader("a.pt", archive, read),
    "old": Reader("a.pt", old_torch, read),
    "data": Reader("a.pt", data, read),
    "rounds": Reader("a.npz", rounds, read),
    "optimizer": Reader("a.pt", archive, from_torch),
    "each": Reader("a.bin", archive, each),
    "safetensors": Reader("a.safetensors", safetensors, read),
    "index": Reader("a.index.json", index, read, shards),
    "npz": Reader("a.npz", npz, tensors),
    "npy": Reader("a.npy", npy, tensors),
    "tensors": Reader("a.pt", stored, tensors),
    **{end: Reader(f"train/a.{end}", image, pictures) for end in ("png", "jpg", "ppm", "gif", "tif", "bmp", "webp")},
    **{end: Reader(f"a.{end}", sentences, texts) for end in ("tsv", "csv", "jsonl")},
    "state": Reader("run/jobs/abc/state.safetensors", saved, load_state),
    "said": Reader("run/jobs/abc/state.safetensors", saved, load_state, stated),
    "memaudit.toml": Reader("memaudit.toml", toml(configured), settings, configured),
    "pyproject.toml": Reader(
        "pyproject.toml", toml(lambda: {"tool": {"memaudit": configured()}}), settings,
        lambda: {"tool": {"memaudit": configured()}},
    ),
    "pairs": Reader("a.toml", toml(listed), lambda p: read_pairs(p, options(), p.parent / "out"), listed),
    "recipe": Reader("a.toml", toml(recipe), load_recipe, recipe),
    "baseline": Reader("a.toml", toml(accepted), load_baseline, accepted),
    "context": Reader("a.toml", toml(context), read_context, context),
    "trainer": Reader("trainer_state.json", text(trainer), beside, trainer),
    "arguments": Reader("args.json", text(arguments), beside, arguments),
    "processor": Reader(PREPROCESSOR, text(processor), prepared, processor),
    "hparams": Reader("hparams.yaml", yaml, beside),
    "report": Reader("a.json", text(old.demo), load, old.demo),
    "formats": Reader("a.json", text(old.demo), formats, old.demo),
    "events": Reader("run/events.jsonl", text(event), runs, event),
}  # fmt: skip
"""The readers, by what they read."""
