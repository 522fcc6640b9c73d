"""Whether anything lies at a checkpoint's path: without torch, so that a wrong path is told at once."""

import difflib
from pathlib import Path

from .refusal import CheckpointError


def existing(path: str | Path) -> Path:
    """Return the path of a file or folder that is there.

    Raises:
        CheckpointError: Nothing is; the message names what is called nearly so.
    """
    source = Path(path)
    try:
        if source.exists():
            return source
        beside = [file.name for file in source.parent.iterdir()] if source.parent.is_dir() else []
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.", "Check the path.") from error
    alike = difflib.get_close_matches(source.name, beside, n=1)
    hint = f"Did you mean {source.with_name(alike[0])}?" if alike else "Check the path."
    raise CheckpointError(f"There is no checkpoint at {path}.", hint)
