"""What the files and the installation hold, without any run: the inspect and plugins commands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import nn

from . import options, outputs, plugins
from .checkpoint import Checkpoint, read, read_pair
from .data.base import GROUP as DATA
from .delta import read_delta
from .families.base import GROUP as FAMILIES
from .families.base import Architecture, UnknownArchitecture, detect
from .weights import CheckpointError, digest, load

GROUPS = {"attacks": options.GROUP, "families": FAMILIES, "data": DATA, "reports": outputs.GROUP}

SHOWN = 12
"""So many entries of a list are printed."""


def inspect(before: str, after: str | None, model: str = "auto", image_size: int | None = None) -> dict[str, Any]:
    """Describe one checkpoint or a pair as plain data. Raises :class:`MemauditError` for unreadable files."""
    if after is None:
        first = read(before)
        return {"before": _file(first), "architecture": _architecture(*_detected(first, model, image_size)[::2])}
    pair = read_pair(before, after)
    architecture, module, problem = _detected(pair.after, model, image_size)
    delta = read_delta(pair, architecture, module)
    return {
        "before": _file(pair.before),
        "after": _file(pair.after),
        "architecture": _architecture(architecture, problem),
        "moved": len(pair.moved),
        "tensors": [row.model_dump(mode="json") for row in delta.tensors],
        "delta": {name: fact.model_dump(mode="json") for name, fact in delta.facts.items()},
    }


def check_each(files: Sequence[str]) -> tuple[list[dict[str, Any]], list[CheckpointError]]:
    """Load files by the loader that executes nothing: describe those that it reads, and say why not the others."""
    found, errors = [], []
    for file in files:
        try:
            form, sources, tensors = load(Path(file))
            found.append({"path": file, "format": form, "sha256": digest(sources), "tensors": len(tensors)})
        except CheckpointError as error:
            errors.append(error)
        except OSError as error:
            errors.append(CheckpointError(f"{file} cannot be read: {error.strerror or error}.", "Check the path."))
    return found, errors


def _file(found: Checkpoint) -> dict[str, Any]:
    return {
        "path": found.path,
        "format": found.format,
        "sha256": found.sha256,
        "dtypes": list(found.dtypes),
        "tensors": len(found.tensors),
        "parameters": sum(value.numel() for value in found.tensors.values() if value.is_floating_point()),
    }


def _detected(
    found: Checkpoint, model: str, image_size: int | None
) -> tuple[Architecture | None, nn.Module | None, str]:
    """Return the network, or what is wrong where the user did not name one."""
    try:
        return *detect(found.tensors, model, image_size), ""
    except UnknownArchitecture as error:
        if model != "auto" or image_size is not None:
            raise
        return None, None, str(error)


def _architecture(architecture: Architecture | None, problem: str) -> dict[str, Any]:
    if architecture is None:
        return {"family": None, "name": None, "score": None, "problem": problem}
    return {
        "family": architecture.family,
        "name": architecture.name,
        "score": architecture.score,
        "classes": architecture.classes,
        "shape": list(architecture.shape),
        "assumed": list(architecture.assumed),
    }


def print_inspection(console: Console, found: dict[str, Any]) -> None:
    """Print what :func:`inspect` found."""
    for side in ("before", "after"):
        if side in found:
            file = found[side]
            console.print(f"[bold]{side}[/] {escape(file['path'])}")
            console.print(f"  {file['format']}, {', '.join(file['dtypes'])}, {file['tensors']} tensors, ", end="")
            console.print(f"{file['parameters']:,} parameters, sha256 {file['sha256']}")
    architecture = found["architecture"]
    if architecture["name"] is None:
        console.print(f"[yellow]not recognised:[/] {escape(architecture['problem'])}")
    else:
        shape = " x ".join(str(n) for n in architecture["shape"])
        guess = " (image size assumed: any fits)" if "image_size" in architecture["assumed"] else ""
        console.print(
            f"[bold]architecture[/] {escape(architecture['name'])}, match {architecture['score']:.0%}, ", end=""
        )
        count = architecture["classes"]
        console.print(f"{'one logit' if count == 1 else f'{count} classes'}, images {shape}{guess}")
    if "tensors" in found:
        console.print(f"{found['moved']} of {len(found['tensors'])} tensors moved")
        console.print(_tensor_table(found["tensors"]))
        console.print("[bold]read off the change[/]")
        console.print(_fact_table(found["delta"]))


def _tensor_table(tensors: list[dict[str, Any]]) -> Table:
    table = Table()
    for column in ("tensor", "shape", "dtype", "status"):
        table.add_column(column)
    for column in ("|change|", "|change| / |before|", "SNR"):
        table.add_column(column, justify="right")
    for row in tensors:
        shape = " x ".join(str(n) for n in row["shape"]) or "scalar"
        change = f"{row['change']:.3e}" if row["change"] else "0"
        table.add_row(
            escape(row["name"]),
            shape,
            row["dtype"],
            row["status"],
            change,
            _number(row["relative_change"], ".2e"),
            _number(row["snr"] or None, ".3g"),
        )
    return table


def _fact_table(facts: dict[str, dict[str, Any]]) -> Table:
    table = Table(show_lines=True)
    for column in ("fact", "value"):
        table.add_column(column, overflow="fold")
    table.add_column("sure", justify="right")
    table.add_column("evidence")
    for name, fact in facts.items():
        table.add_row(name, _value(fact), _number(fact["confidence"], ".0%"), escape(fact["evidence"]))
    return table


def _value(fact: dict[str, Any]) -> str:
    """Return the value and, below it, the interval."""
    value = fact["value"]
    if isinstance(value, list):
        shown = ", ".join(str(part) for part in value[:SHOWN]) + (", ..." if len(value) > SHOWN else "")
    else:
        shown = f"{value:.8g}" if isinstance(value, float) else str(value)
    low, high = fact["interval"] or (None, None)
    if low is not None and high is not None and low < high:
        shown += f"\n{low:.7g} to {high:.7g}"
    return escape(shown)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def list_plugins() -> dict[str, list[dict[str, Any]]]:
    """Return every registered plugin by kind; attacks with their options and defaults."""
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, group in GROUPS.items():
        found[kind] = []
        for name in plugins.available(group):
            row: dict[str, Any] = {"name": name}
            try:
                loaded = plugins.load(group, name)
            except plugins.PluginError as error:
                found[kind].append(row | {"problem": str(error)})
                continue
            row["summary"] = (loaded.__doc__ or "").strip().splitlines()[0] if loaded.__doc__ else ""
            if group == options.GROUP:
                row["options"] = [{"name": o, "type": t, "default": d} for o, t, d in options.fields(name)]
            found[kind].append(row)
    return found


def print_plugins(console: Console, found: dict[str, list[dict[str, Any]]]) -> None:
    """Print what :func:`list_plugins` found."""
    for kind, rows in found.items():
        console.print(f"[bold]{kind}[/]")
        for row in rows:
            console.print(f"  [cyan]{escape(row['name'])}[/] {escape(row.get('problem', row.get('summary', '')))}")
            for option in row.get("options", []):
                console.print(
                    f"    --set {row['name']}.{option['name']}={option['default']}  ({option['type']})", markup=False
                )
