"""What a text file beside a checkpoint says about a recipe: settings as JSON or YAML, and the log of a trainer."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ..files import read_regular
from .told import Artefact, Told, is_number, settings

MAX_TEXT = 8 * 2**20
"""Largest JSON or YAML file that is read, in bytes."""


def _read_text(file: Path) -> bytes:
    content = read_regular(file, MAX_TEXT)
    if len(content) > MAX_TEXT:
        raise ValueError(f"{file} is too large")
    return content


def from_json(file: Path) -> Artefact:
    """Read settings, as many scripts dump their arguments. Raises :class:`ValueError` and :class:`OSError`."""
    return Artefact(file, [settings(json.loads(_read_text(file)))])


def from_yaml(file: Path) -> Artefact:
    """Read the lines ``key: scalar`` that are not indented; everything else in the file is passed over."""
    lines = (line.partition(" #")[0].rstrip() for line in _read_text(file).decode().splitlines() if len(line) < 200)
    pairs = (match.groups() for line in lines if (match := re.fullmatch(r"([A-Za-z_]\w*):[ \t]+(\S.*)", line)))
    return Artefact(file, [settings({key: _scalar(text) for key, text in pairs})])


def _scalar(text: str) -> bool | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text, re.ASCII):
        return float(text)
    return text.strip("'\"")


def from_trainer_state(file: Path) -> Artefact:
    """Read what the trainer of Hugging Face writes beside every checkpoint."""
    state = json.loads(_read_text(file))
    key = "epoch" if is_number(state.get("epoch")) else "num_train_epochs"
    epochs = _nearly_whole(state.get(key))
    sure: Told = {
        "epochs": (epochs, key),
        "batch_size": (state.get("train_batch_size"), "train_batch_size, before any gradient accumulation"),
        "lr": (_logged_top(state.get("log_history")), "the largest learning_rate in log_history"),
    }
    counts = {"global_step": state.get("global_step"), "epoch": epochs if key == "epoch" else None}
    return Artefact(file, [sure], counts=counts)


def _nearly_whole(value: object) -> int | None:
    """Return the whole number at ``value``: the trainer counts 2.98 epochs where the last batches were left out."""
    if not (is_number(value) and 0 <= value < 10**6):
        return None
    return round(value) if abs(value - round(value)) < 0.05 else None


def _logged_top(log: object) -> float | None:
    """Return the largest learning rate in a log, if the log is too dense to have missed a much larger one."""
    entries = (
        [entry.get("learning_rate") for entry in log if isinstance(entry, Mapping)] if isinstance(log, list) else []
    )
    rates = [entry for entry in entries if is_number(entry)]
    top = max(range(len(rates)), key=rates.__getitem__, default=0)
    return rates[top] if top + 1 < len(rates) and rates[top + 1] >= 0.98 * rates[top] else None
