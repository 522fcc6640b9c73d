"""What the files and the installation hold, without any run: the inspect and plugins commands."""

from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import options, outputs, plugins
from .checkpoint import Checkpoint, CheckpointPair, read, read_pair
from .data.base import GROUP as DATA
from .families.base import GROUP as FAMILIES
from .families.base import UnknownArchitecture, detect

GROUPS = {"attacks": options.GROUP, "families": FAMILIES, "data": DATA, "reports": outputs.GROUP}


def inspect(before: str, after: str | None, model: str = "auto", image_size: int | None = None) -> dict[str, Any]:
    """Describe one checkpoint or a pair as plain data. Raises :class:`MemauditError` for unreadable files."""
    if after is None:
        first = read(before)
        return {"before": _file(first), "architecture": _architecture(first, model, image_size)}
    pair = read_pair(before, after)
    return {
        "before": _file(pair.before),
        "after": _file(pair.after),
        "architecture": _architecture(pair.after, model, image_size),
        "moved": len(pair.moved),
        "tensors": _tensors(pair),
    }


def _file(found: Checkpoint) -> dict[str, Any]:
    return {
        "path": found.path,
        "format": found.format,
        "sha256": found.sha256,
        "dtypes": list(found.dtypes),
        "tensors": len(found.tensors),
        "parameters": sum(value.numel() for value in found.tensors.values() if value.is_floating_point()),
    }


def _architecture(found: Checkpoint, model: str, image_size: int | None) -> dict[str, Any]:
    try:
        architecture, _ = detect(found.tensors, model, image_size)
    except UnknownArchitecture as error:
        if model != "auto" or image_size is not None:
            raise
        return {"family": None, "name": None, "score": None, "problem": str(error)}
    return {
        "family": architecture.family,
        "name": architecture.name,
        "score": architecture.score,
        "classes": architecture.classes,
        "shape": list(architecture.shape),
        "assumed": list(architecture.assumed),
    }


def _tensors(pair: CheckpointPair) -> list[dict[str, Any]]:
    rows = []
    for name, start in pair.before.tensors.items():
        change = pair.after.tensors[name].double() - start.double()
        length = float(torch.linalg.vector_norm(change))
        before = float(torch.linalg.vector_norm(start.double()))
        rows.append(
            {
                "name": name,
                "shape": list(start.shape),
                "dtype": str(start.dtype).removeprefix("torch."),
                "change": length,
                "relative_change": length / before if before else None,
            }
        )
    return rows


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
        console.print(f"{architecture['classes']} classes, images {shape}{guess}")
    if "tensors" in found:
        console.print(f"{found['moved']} of {len(found['tensors'])} tensors moved")
        console.print(_table(found["tensors"]))


def _table(tensors: list[dict[str, Any]]) -> Table:
    table = Table()
    for column, side in (
        ("tensor", "left"),
        ("shape", "left"),
        ("|change|", "right"),
        ("|change| / |before|", "right"),
    ):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for row in tensors:
        relative = "-" if row["relative_change"] is None else f"{row['relative_change']:.2e}"
        shape = " x ".join(str(n) for n in row["shape"]) or "scalar"
        table.add_row(escape(row["name"]), shape, f"{row['change']:.3e}" if row["change"] else "0", relative)
    return table


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
