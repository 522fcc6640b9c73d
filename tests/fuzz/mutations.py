"""Files changed at random: in their bytes, or, where they hold a tree of values, in its branches."""

import copy
import random
import struct
from typing import Any

NUMBERS = (0, 1, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)

WORDS = (
    "", "\x1b[31m", "a\nb", "\u202e", "\ud800", "\x00", "../..", "/dev/zero", "::error::x", "é" * 300, "1e999", "nan",
    "<script>", "[red]", "${HOME}", "__class__", ".", "NaN", "torchvision:CIFAR10:/", "💥", "\x9b1m", "0" * 5000,
)  # fmt: skip

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan"), [],
    {}, [[]], [None], {"a": {}}, [0] * 2000, *WORDS,
)  # fmt: skip
"""What stands where a file should say something else."""


def changed(content: bytes, random: random.Random) -> bytes:
    """Change bytes, lengths and pieces in one to four places."""
    made = bytearray(content)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(made) + 1)
        end = min(len(made), at + random.choice((1, 2, 4, 8, 100)))
        match random.randrange(6):
            case 0:
                made[at:end] = random.randbytes(end - at)
            case 1:
                del made[at:end]
            case 2:
                made[at:at] = made[at:end] * random.choice((1, 2, 50))
            case 3:
                form = random.choice(("<B", "<H", "<I", "<Q"))
                width = struct.calcsize(form)
                made[at : at + width] = struct.pack(form, random.choice(NUMBERS) % 256**width)
            case 4:
                start = random.randrange(len(made) + 1)
                made[at:end] = made[start : start + end - at]
            case 5 if at < len(made):
                made[at] ^= 1 << random.randrange(8)
    return bytes(made)


def reshaped(tree: Any, random: random.Random) -> Any:
    """Change one to three branches of a tree: another value, another name, none, or one from elsewhere in it."""
    made = copy.deepcopy(tree)
    for _ in range(random.randint(1, 3)):
        places = list(_places(made))
        if not places:
            return copy.deepcopy(random.choice(VALUES))
        parent, key = random.choice(places)
        match random.randrange(6):
            case 0:
                del parent[key]
            case 1:
                other, at = random.choice(places)
                parent[key] = copy.deepcopy(other[at])
            case 2 if isinstance(parent, dict):
                parent[random.choice((key.upper(), f"{key}x", *WORDS))] = parent.pop(key)
            case 3 if isinstance(parent, list):
                parent.extend(copy.deepcopy(parent) * random.choice((1, 3)))
            case _:
                parent[key] = copy.deepcopy(random.choice(VALUES))
    return made


def _places(tree: Any) -> Any:
    """Yield every parent and key in a tree."""
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)
