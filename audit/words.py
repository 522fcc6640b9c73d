"""Numbers, times and values as people write them, on terminal and page alike."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .report.kind import Detail

NOTHING = "–"
"""What is shown where there is no value."""

LISTED, LISTED_WORDS = 20, 5
"""Of a list, this many numbers or words are written out."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 4) -> str:
    """Return at most this many significant digits, or a dash."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def fixed(value: float | None, digits: int = 3) -> str:
    """Return a fixed number of decimals, or a dash."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share in [0, 1] as ``64 %``, or a dash."""
    return NOTHING if value is None or not math.isfinite(value) else f"{fixed(100 * value, digits)} %"


_LEAST = 1e-6
"""Probabilities under it rest on a model of the tail that nothing was measured of."""


def probability(value: float | None) -> str:
    """Return two significant digits, ``0.014`` or ``2.1·10⁻⁵``, or a dash; what is smaller is not known so exactly."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if 0 < value < _LEAST:
        return "< 10⁻⁶"
    if value >= 1e-3 or value <= 0:
        return f"{value:.2g}"
    factor, exponent = f"{value:.1e}".split("e")
    return f"{factor.removesuffix('.0')}·10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def duration(seconds: float | None) -> str:
    """Return ``8.3 s``, ``4 min 10 s`` or ``2 h 5 min``, or a dash."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 60:
        return "< 0.1 s" if 0 < seconds < 0.05 else f"{fixed(seconds, 1)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def memory(size: int | None) -> str:
    """Return bytes as ``512 MiB`` or ``3.1 GiB``; a dash where none was measured."""
    if size is None or size <= 0:
        return NOTHING
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


def moment(text: str) -> str:
    """Return an ISO 8601 time as ``22 November 2026, 13:24 UTC``; other text as it is."""
    try:
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC).strftime("%-d %B %Y, %H:%M UTC")
    except (ValueError, OverflowError):
        return text


def plain(value: Any) -> str:
    """Return an option's or a fact's value as people write it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return number(value)
        case list() | tuple():
            limit = LISTED_WORDS if isinstance(next(iter(value), None), str) else LISTED
            rest = [f"… ({len(value)} in all)"] if len(value) > limit else []
            return ", ".join([*map(plain, value[:limit]), *rest])
        case _:
            return str(value)


def confidence(value: float | None) -> str:
    """Return ``high confidence, 90 %``; empty where none was judged. Only what is certain is 100 %."""
    if value is None:
        return ""
    if value >= 1:
        return "certain, 100 %"
    word = "high" if value >= 0.9 else "fair" if value >= 0.6 else "low"
    return f"{word} confidence, {max(0, min(99, round(100 * value)))} %"


def share(interval: tuple[float, float] | None) -> str:
    """Return ``35 to 93 %``; empty where no interval is known."""
    return f"{interval[0] * 100:.0f} to {interval[1] * 100:.0f} %" if interval else ""


def count(n: int, one: str) -> str:
    """Return ``1 image`` or ``3 images``."""
    return f"{n} {one}{'s' * (n != 1)}"


def detailed(details: Mapping[str, float | None], detail: Detail) -> str:
    """Return one of a record's further numbers with its unit, or a dash."""
    told = fixed(details.get(detail.name), detail.digits)
    return f"{told} {detail.unit}" if detail.unit and told != NOTHING else told


def text(value: float | None) -> str:
    """Return a number as a script reads it; empty where there is none."""
    return "" if value is None or not math.isfinite(value) else repr(value)
