"""Which options can be configured, from the signatures of the commands."""

import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from inspect import unwrap
from typing import Any

import typer
from typer.core import TyperGroup
from typer.models import OptionInfo
from typer.utils import get_params_from_function

from ..option import Option

ONCE = frozenset({"dry-run", "open"})
"""Options that are for one command line: no file and no variable sets them."""


def catalogue(ctx: typer.Context, commands: Iterable[str]) -> dict[str, Option]:
    """Return every option of some commands by key, from any context of the command line."""
    root = ctx.find_root().command
    found = root.commands if isinstance(root, TyperGroup) else {}
    return collected({name: callback for name in commands if (callback := found[name].callback)})


def collected(functions: dict[str, Callable[..., Any]]) -> dict[str, Option]:
    """Return every option of the functions of commands by key, which means what it does in the first that has it."""
    found: dict[str, Option] = {}
    for command, function in functions.items():
        for option in _options(command, function):
            known = found.setdefault(option.key, option)
            if (known.kind, known.many, known.form) == (option.kind, option.many, option.form):
                found[option.key] = replace(known, commands={**known.commands, **option.commands})
    return found


def _options(command: str, function: Callable[..., Any]) -> Iterator[Option]:
    for name, parameter in get_params_from_function(function).items():
        info = parameter.default
        if not isinstance(info, OptionInfo):
            continue
        long = [text for text in info.param_decls or () if text.startswith("--")] or [name.replace("_", "-")]
        key = long[0].removeprefix("--").partition("/")[0]
        if key in ONCE:
            continue
        kind = _bare(parameter.annotation)
        many = typing.get_origin(kind) is list
        kind = _bare(typing.get_args(kind)[0]) if many else kind
        default = [] if many else None if info.default is ... else info.default
        yield Option(key, kind, many, info.metavar, default, {command: name}, info.parser and unwrap(info.parser))


def _bare(kind: Any) -> Any:
    """Return a type without ``None``."""
    parts = [part for part in typing.get_args(kind) if part is not type(None)]
    return parts[0] if type(None) in typing.get_args(kind) and len(parts) == 1 else kind
