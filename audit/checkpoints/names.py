"""Names of tensors without what wraps a network, and those of what is no part of it; two files' names aligned."""

import re
from collections.abc import Collection

from torch import Tensor

from ...attacks.contract.params import Params

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name, even that of a single tensor."""

WRAPPERS = frozenset(
    ("module", "_orig_mod", "_module", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
)
"""Parts of a name that wrappers add, at its beginning or on the way."""

COUNTER = "num_batches_tracked"
"""A batch-norm buffer that plays no part in the network's output and that old checkpoints lack."""

_FOREIGN = re.compile(
    r"criterion\w*|loss(es)?|\w+_loss|loss_\w+|metrics?|\w+_metrics?|n_averaged|ema|ema_\w+|\w+_ema|swa_\w+"
    r"|(train|val|valid|validation|test|eval)_(acc|acc\d|accuracy|auroc|auc|f1|precision|recall|confmat)|accuracy|auroc",
    re.IGNORECASE,
)
"""First part of the names of losses, metrics and averages, which training scripts keep beside the network."""

_METRIC = frozenset(("confmat", "tp", "fp", "tn", "fn", "correct", "total", "preds", "target", "sum_error", "measures"))
"""Last part of the names of what metrics count, whatever the metric is called."""


def plain_names(names: Collection[str]) -> dict[str, str]:
    """Return the name without wrappers, by the name as it stands; without the :func:`foreign` ones.

    Wrappers on the way stay where two names would become one.
    """
    others = foreign(names)
    kept = [name for name in names if name not in others]
    skip = len(shared_prefix(kept))
    plain = {name: _unwrapped(name[skip:]) for name in kept}
    if len(set(plain.values())) < len(plain):
        return {name: name[skip:] for name in kept}
    skip = len(shared_prefix(plain.values()))
    return {name: short[skip:] for name, short in plain.items()}


def foreign(names: Collection[str]) -> frozenset[str]:
    """Return the names of losses, metrics and averaged copies, which are no part of a network; not where all are."""
    found = frozenset(
        name for name in names if _FOREIGN.fullmatch(_unwrapped(name).partition(".")[0]) or _counted(name)
    )
    return found if len(found) < len(names) else frozenset()


def _counted(name: str) -> bool:
    head, _, last = name.rpartition(".")
    return bool(head) and last in _METRIC


def shared_prefix(names: Collection[str]) -> str:
    """Return what all names begin with, up to a dot: wrappers (:data:`PREFIXES`) and the attribute of a network.

    The name of a single layer is no such prefix: what is left of a name says its layer, but behind a wrapper.
    """
    prefix = ""
    while longer := _longer(names, prefix):
        prefix = longer
    return prefix


def _longer(names: Collection[str], prefix: str) -> str:
    if not names:
        return ""
    known = next((p for p in PREFIXES if all(_extends(name, prefix + p) for name in names)), "")
    if known:
        return prefix + known
    part = next(iter(names))[len(prefix) :].partition(".")[0] + "."
    inside = all(_extends(name, prefix + part) and "." in name[len(prefix + part) :] for name in names)
    return prefix + part if inside else ""


def _extends(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and len(name) > len(prefix)


def _unwrapped(name: str) -> str:
    *way, last = name.split(".")
    return ".".join([*(part for part in way if part not in WRAPPERS), last])


def rewrapped(names: Collection[str], others: Collection[str]) -> dict[str, str]:
    """Return those of ``others``, by name in ``names``, that have parts on the way that no name in ``names`` has.

    None at all where two of ``others`` are one without such parts.
    """
    known = {part for name in names for part in name.split(".")}
    short = {other: ".".join(part for part in other.split(".") if part in known) for other in others}
    if len(set(short.values())) < len(short):
        return {}
    return {name: other for other, name in short.items() if name != other and name in names}


def aligned(before: Params, after: Params) -> dict[str, str]:
    """Return the names of ``before`` as ``after`` has them: by the prefixes under which the most numbers are shared.

    Names and shapes count, never values. A name without counterpart in ``after`` stands for itself.
    """
    best, found = -1, {name: name for name in before}
    for ours in _prefixes(before):
        for theirs in _prefixes(after):
            names = {name: _moved(name, ours, theirs, after) for name in before}
            if len(set(names.values())) < len(names):
                continue
            score = sum(value.numel() for name, value in before.items() if _alike(value, after.get(names[name])))
            if score > best:
                best, found = score, names
    return found


def _alike(value: Tensor, other: Tensor | None) -> bool:
    return other is not None and value.shape == other.shape


def _moved(name: str, ours: str, theirs: str, after: Collection[str]) -> str:
    other = theirs + name[len(ours) :] if name.startswith(ours) else name
    return other if other in after else name


def _prefixes(names: Collection[str]) -> list[str]:
    """Return the beginnings, up to a dot, that half of all names have in common; the empty one first."""
    found, prefix = [""], ""
    while True:
        counts: dict[str, int] = {}
        for name in names:
            if name.startswith(prefix) and "." in name[len(prefix) :]:
                part = prefix + name[len(prefix) :].partition(".")[0] + "."
                counts[part] = counts.get(part, 0) + 1
        prefix, most = max(counts.items(), key=lambda item: item[1], default=("", 0))
        if 2 * most < len(names) or not names:
            return found
        found.append(prefix)
