"""The error of this room, and words that its files share."""

from collections.abc import Collection

from ... import MemauditError

_LONGEST = 200
"""Characters of a name in a message."""

AGAIN = "Copy, download or save the file again."
WEIGHTS_ONLY = (
    "Load it where it was made and save the weights alone, for example with "
    'safetensors.torch.save_file(model.state_dict(), "model.safetensors").'
)


class CheckpointError(MemauditError):
    """A checkpoint is missing, damaged, unsafe to open, or does not match its partner; the message names the file."""


def quoted(names: Collection[str]) -> str:
    """Return up to three names, escaped and in quotes, and how many more there are."""
    shown = ", ".join(repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…") for name in list(names)[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
