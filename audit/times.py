"""Stretches of time as people type them: 90s, 15m, 2h, 1h30m."""

import re

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}

_NUMBER = r"\d+(?:\.\d+)?|\.\d+"

_PARTS = re.compile(
    rf"(?:(?P<d>{_NUMBER})(?:d|days?))?(?:(?P<h>{_NUMBER})(?:h|hours?))?"
    rf"(?:(?P<m>{_NUMBER})(?:m|min|minutes?))?(?:(?P<s>{_NUMBER})(?:s|sec|seconds?)?)?",
    re.ASCII,
)


def seconds(value: str | float) -> float:
    """Return a stretch of time in seconds; plain numbers are seconds already.

    Raises:
        ValueError: It is none; the message says how one is written.
    """
    found = _PARTS.fullmatch("".join(str(value).lower().split()))
    parts = {unit: text for unit, text in found.groupdict().items() if text} if found else {}
    if isinstance(value, bool) or not parts:
        shown = str(value)[:40]
        raise ValueError(f"{shown!r} is not a time; write it as 90s, 15m, 2h or 1h30m")
    return sum(float(text) * _UNITS[unit] for unit, text in parts.items())


def written(value: float) -> str:
    """Return seconds as :func:`seconds` reads them: ``90.0`` as ``1m30s``."""
    whole, rest = divmod(value, 60)
    hours, minutes = divmod(int(whole), 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{number:.10g}{unit}" for number, unit in parts if number) or "0s"
