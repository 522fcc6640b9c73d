"""Options from files and the environment: what the command line leaves out, and where it comes from. No torch here.

Precedence: command line, environment (``MEMAUDIT_MAX_TIME``), ``memaudit.toml``, ``[tool.memaudit]`` of
``pyproject.toml``, profile, default. The files are found upwards from the current folder, which may be a downloaded
checkpoint folder: no file may name code to run, or have anything written outside its own folder.
"""

import os
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .files import read_regular
from .option import ConfigError, Option, printable
from .plugins import nearest
from .profiles import PROFILES, Profile

PREFIX = "MEMAUDIT_"
OWN, SHARED = "memaudit.toml", "pyproject.toml"

SIZE_LIMIT = 2**20
"""Bytes; a larger file is not a configuration."""

PATHS = frozenset({"after", "before", "context", "control", "data", "out", "output", "recipe", "test"})
"""Options that name files: in a configuration file they count from its folder."""

SPELLINGS = {"normalize": "normalise"}
"""Other spellings of options."""

HARMLESS = re.compile(r"auto|(torchvision|timm):\w+(\.\w+)?", re.ASCII)
"""Models that a file may name: what an installed library builds by its own names, which open no file and no network."""

WRITTEN = frozenset({"out", "output"})
"""Those of them that are written: a file may name only places in its own folder."""


@dataclass(frozen=True)
class Setting:
    """A value and its source; ``where`` names the file and key, variable, profile or option that it comes from."""

    value: Any
    source: Literal["command line", "environment", "file", "profile", "default"]
    where: str


@dataclass(frozen=True)
class Configuration:
    """What files and the environment say; ``settings`` by key, ``files`` those that say anything."""

    files: tuple[Path, ...]
    settings: Mapping[str, Setting]

    def defaults(self, options: Mapping[str, Option], command: str) -> dict[str, Any]:
        """Return the values of one command, by the names of its parameters."""
        found = {key: setting for key, setting in self.settings.items() if command in options[key].commands}
        return {options[key].commands[command]: setting.value for key, setting in found.items()}

    def complete(self, options: Mapping[str, Option], profile: Profile | None = None) -> dict[str, Setting]:
        """Return every option's value, those of a profile and the defaults among them."""
        chosen = profile or (self.settings["profile"].value if "profile" in self.settings else None)
        low = {key: Setting(option.default, "default", "default") for key, option in options.items()}
        if chosen:
            given = PROFILES[typing.cast(Profile, chosen)]
            low |= {key: Setting(value, "profile", f"profile {chosen}") for key, value in given.items()}
        found = {**low, **self.settings}
        if profile:
            found["profile"] = Setting(profile, "command line", "--profile")
        return {key: found[key] for key in options}


def read(options: Mapping[str, Option], folder: Path, environment: Mapping[str, str]) -> Configuration:
    """Read the configuration that holds in a folder.

    Args:
        options: All that can be configured.
        folder: Where the search for files begins; it ends at the first folder with a configuration.
        environment: Variables.

    Raises:
        ConfigError: A file that cannot be read, a key that is not there, or a value of the wrong type.
    """
    settings: dict[str, Setting] = {}
    files = []
    for file, table in _find(folder):
        files.append(file)
        settings |= from_table(options, file, table)
    return Configuration(tuple(reversed(files)), {**settings, **_from_environment(options, environment)})


def _find(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the files of the first folder that has any, with their tables; the one that wins comes last."""
    for place in (folder, *folder.parents):
        found = []
        if (table := _shared(place / SHARED)) is not None:
            found.append((place / SHARED, table))
        if _lies(place / OWN):
            found.append((place / OWN, _load(place / OWN)))
        if found:
            return found
    return []


def _shared(file: Path) -> dict[str, Any] | None:
    tools = _load(file).get("tool") if _lies(file) else None
    table = tools.get("memaudit") if isinstance(tools, dict) else None
    if table is not None and not isinstance(table, dict):
        shown = printable(relative(file), 240)
        raise ConfigError(f"{shown}: tool.memaudit is not a table.", "Write it as [tool.memaudit].")
    return table


def _lies(file: Path) -> bool:
    """Return whether there is anything of this name but a folder; an odd one is refused, not passed over."""
    return os.path.lexists(file) and not file.is_dir()


def _load(file: Path) -> dict[str, Any]:
    shown = printable(relative(file), 240)
    try:
        content = read_regular(file, SIZE_LIMIT)
        if len(content) > SIZE_LIMIT:
            raise ConfigError(f"{shown} is too large for a configuration.", "Shorten or remove it.")
        return tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigError(f"{shown} cannot be read ({error.strerror}).", "Repair or remove it.") from None
    except (ValueError, RecursionError) as error:  # no TOML, no text, or a number of thousands of digits
        why = printable(next(iter(str(error).splitlines()), ""), 200)
        raise ConfigError(f"{shown} is not TOML ({why}).", "Repair or remove it.") from None


def from_table(
    options: Mapping[str, Option], file: Path, table: Mapping[str, Any], within: str = ""
) -> dict[str, Setting]:
    """Return the settings of a table of a file, by key.

    Args:
        options: All that the table may set.
        file: Where it stands; paths count from its folder.
        table: Values by key.
        within: Names of the tables around it, for messages.

    Raises:
        ConfigError: A key that is not there, a value of the wrong type, or one that a file may not give.
    """
    found: dict[str, Setting] = {}
    for name, value in table.items():
        key = SPELLINGS.get(name, name.replace("_", "-"))
        where = f"{printable(relative(file), 240)}:{printable(within + name)}"
        if key not in options:
            raise ConfigError(f"{where}: there is no such option.", nearest(printable(key), list(options)))
        if key in found:
            raise ConfigError(f"{where}: that option is there twice.", "Keep one of them.")
        checked = options[key].checked(value, where)
        if key == "model":
            _harmless(str(checked), where)
        if key == "executor" and checked != "local":
            raise ConfigError(
                f"{where}: a configuration file may name only local, as other executors start programs or send data.",
                f"Give it with --executor or {PREFIX}EXECUTOR.",
            )
        if key in PATHS:
            checked = (
                [_anchored(key, text, file.parent, where) for text in checked]
                if options[key].many
                else (_anchored(key, str(checked), file.parent, where))
            )
        found[key] = Setting(checked, "file", where)
    return found


def _harmless(model: str, where: str) -> None:
    """Refuse a model that would import or run a file: the folder of the configuration may come from a stranger."""
    if not HARMLESS.fullmatch(model):
        raise ConfigError(
            f"{where}: a configuration file may name only auto, torchvision:NAME or timm:NAME, as other models are "
            "code to run.",
            f"Give it with --model or {PREFIX}MODEL.",
        )


def _anchored(key: str, text: str, folder: Path, where: str) -> str:
    """Return a path of a file as it is written from the current folder."""
    head, path, tail = "", text, ""
    if key == "output":
        head, equals, path = text.partition("=") if "=" in text else ("", "", text)
        head += equals
    elif text.startswith("torchvision:"):
        parts = text.split(":", 3)
        head, path, tail = ":".join([*parts[:2], ""]), "".join(parts[2:3]), ":".join(["", *parts[3:]])
    if not path:
        return text
    try:
        if key in WRITTEN and not _within(folder, path):
            raise ConfigError(
                f"{where}: a configuration file may have files written only in its own folder.",
                f"Give the path with --{key} or {PREFIX}{key.upper()}.",
            )
        return head + (path if os.path.isabs(path) or folder == Path.cwd() else os.path.relpath(folder / path)) + tail
    except (ValueError, OSError) as error:  # a zero byte, or links in a circle
        why = printable(str(error))
        raise ConfigError(f"{where}: {printable(path)} is not a path ({why}).", "Correct it.") from None


def _within(folder: Path, path: str) -> bool:
    """Return whether a path stays in a folder and meets no link there, as far as it exists."""
    whole, place = os.path.abspath(folder / path), folder
    if not Path(whole).is_relative_to(os.path.abspath(folder)) or "\0" in path:
        return False
    for part in Path(os.path.relpath(whole, folder)).parts:
        place /= part
        if place.is_symlink():
            return False
    return True


def _from_environment(options: Mapping[str, Option], environment: Mapping[str, str]) -> dict[str, Setting]:
    """Return what variables say; empty ones say nothing."""
    keys = {**{key: key for key in options}, **SPELLINGS}
    names = {PREFIX + word.upper().replace("-", "_"): key for word, key in keys.items() if key in options}
    found = {}
    for name, text in environment.items():
        if not name.startswith(PREFIX) or not text.strip():
            continue
        if name not in names:
            raise ConfigError(f"{printable(name)}: there is no such option.", nearest(printable(name), list(names)))
        option = options[names[name]]
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        value = [option.parsed(line) for line in lines] if option.many else option.parsed(text.strip())
        found[option.key] = Setting(option.checked(value, name), "environment", name)
    return found


def relative(path: Path) -> str:
    """Return a path as it is written from the current folder, unless that is longer."""
    return min(os.path.relpath(path), str(path), key=len)
