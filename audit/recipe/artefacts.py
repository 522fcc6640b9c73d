"""What training files that lie in or beside a checkpoint say about the recipe; nothing in them is ever executed.

Every such file is hostile until read: one that is damaged, too large, a link, or holds more than plain data says
nothing. ``training_args.bin`` is a pickle that needs code and stays closed.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..report.facts import Fact
from .fields import FIELDS, of_optimizer
from .text_files import from_json, from_trainer_state, from_yaml
from .told import COUNTS, OTHER, STEPS, Artefact, Told, sound, whole
from .torch_files import from_torch

_COUNTERS = {"optimizer step": "steps", "global_step": "steps", "epoch": "epochs"}

_BESIDE: dict[str, Callable[[Path], Artefact]] = {
    **dict.fromkeys(("optimizer.pt", "optimizer.bin", "optimizer.pth"), from_torch),
    "trainer_state.json": from_trainer_state,
    **dict.fromkeys(("hparams.yaml", "hparams.yml"), from_yaml),
    **dict.fromkeys(("training_args.json", "args.json", "hparams.json"), from_json),
}
"""Readers of the files in a checkpoint's folder, the most trustworthy first."""


def read_artefacts(before: str | Path, after: str | Path) -> dict[str, Fact]:
    """Return by recipe field, and ``steps``, what the training files in or beside ``after`` say.

    Those of ``before`` only show where counters stood. An artefact that cannot be read safely says nothing.
    """
    found = _artefacts(Path(after))
    shared = {artefact.path for artefact in found}
    earlier = [artefact for artefact in _artefacts(Path(before)) if artefact.path not in shared]
    ranked = [(a.path, told) for a in found for told in (_counted(a, earlier), *a.sure)]
    facts: dict[str, Fact] = {}
    for path, told in [*ranked, *((a.path, a.weak) for a in found)]:
        for name, (raw, where) in told.items():
            value = sound(name, raw)
            if value is not None and name not in facts:
                option = FIELDS[name].option if name in FIELDS else ""
                facts[name] = Fact(value=value, source="given", option=option, evidence=f"{path}: {where}")
    return _consistent(facts)


def _artefacts(path: Path) -> list[Artefact]:
    """Return what the files in and beside ``path`` say, the most trustworthy first."""
    readers: list[tuple[Path, Callable[[Path], Artefact]]] = []
    if path.suffix != ".safetensors":
        readers.append((path, from_torch))
    with suppress(OSError):
        folder = path if path.is_dir() else path.parent
        readers += [(folder / name, reader) for name, reader in _BESIDE.items() if not (folder / name).is_symlink()]
    found = []
    for file, reader in readers:
        with suppress(Exception):  # hostile bytes may fail in any way
            if file.is_file():
                found.append(reader(file))
    return found


def _counted(artefact: Artefact, earlier: Sequence[Artefact]) -> Told:
    """Return steps and epochs from an artefact's counters, less where they stood before if they went on from there."""
    told: Told = {}
    for key, name in _COUNTERS.items():
        end = whole(artefact.counts.get(key), STEPS)
        starts = ((whole(a.counts.get(key), COUNTS), a.path) for a in earlier)
        start, path = next(((start, path) for start, path in starts if start is not None), (None, None))
        if end is not None and start is not None and start < end:
            told.setdefault(name, (end - start, f"{key}, {end} less {start} in {path}"))
        elif end is not None and name == "steps":  # epochs alone may count from 0 or from 1
            told.setdefault(name, (end, key))
    return told


def _consistent(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Leave out what belongs to another optimizer or contradicts the rest."""
    value = {name: fact.value for name, fact in facts.items()}
    drop = set[str]()
    if value.get("optimizer") == OTHER:
        drop |= {"optimizer", "lr", "weight_decay"} | of_optimizer("sgd") | of_optimizer("adam")
    elif "optimizer" in value:
        drop |= of_optimizer("adam" if value["optimizer"] == "sgd" else "sgd")
    if not value.get("momentum"):
        drop.add("dampening")
    if value.get("nesterov") and (value.get("dampening") or not value.get("momentum")):
        drop.add("nesterov")
    return {name: fact for name, fact in facts.items() if name not in drop}
