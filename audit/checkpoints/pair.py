"""A network before and after training: two checkpoints read as plain tensors and found to belong together."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ...attacks.contract.params import Params
from .adapted import absent, among, check_alike, factors, joined_digest, on_base, start_of
from .adapter import DOWN, UP, Adapter, adapter_file, holds_weights, read_adapter
from .arrays import is_numbered
from .checkpoint import Checkpoint as Checkpoint
from .checkpoint import check_key as check_key
from .checkpoint import read as read
from .heads import initialised_anew, modules, moved_head, new_head
from .names import COUNTER as COUNTER
from .names import aligned
from .names import shared_prefix as shared_prefix
from .refusal import CheckpointError as CheckpointError
from .refusal import quoted


@dataclass(frozen=True)
class CheckpointPair:
    """One network before and after training: equal names (those of ``after``), equal shapes, one floating dtype.

    Attributes:
        before: The checkpoint that training started from; where a start is unknown, it has the end's values.
        after: The checkpoint that it ended with.
        fresh: Names of the tensors whose start is unknown: a new classifier head, A of a LoRA adapter.
        dropped: Names, in the file from before, of what the network from after does not have: an old head.
        lora: By the name of each layer that has a LoRA adapter, the scale of ``B A``; A and B are among the tensors.
        dropout: Probability with which the adapter's training dropped what A is given.
    """

    before: Checkpoint
    after: Checkpoint
    fresh: frozenset[str] = frozenset()
    dropped: tuple[str, ...] = ()
    lora: Mapping[str, float] = field(default_factory=dict)
    dropout: float = 0.0

    @cached_property
    def network(self) -> Params:
        """The tensors after training without A and B: those of the network as it is built."""
        parts = {f"{layer}.{part}" for layer in self.lora for part in (DOWN, UP)}
        return {name: value for name, value in self.after.tensors.items() if name not in parts}

    @property
    def downs(self) -> list[str]:
        """Names of A of adapted layers."""
        return [f"{layer}.{DOWN}" for layer in self.lora]

    @property
    def starts(self) -> frozenset[str]:
        """Names of those whose start is unknown."""
        return self.fresh.intersection(self.downs)

    @cached_property
    def guessed(self) -> frozenset[str]:
        """Those of :attr:`starts` that training moved: their end stands for their start, and they are simulated."""
        return frozenset(f"{layer}.{DOWN}" for layer in self.lora if f"{layer}.{UP}" in self.moved) & self.starts

    @cached_property
    def moved(self) -> frozenset[str]:
        """Names of the floating tensors that differ anywhere; fresh ones do not count."""
        before, after = self.before.tensors, self.after.tensors
        return frozenset(
            name for name, value in before.items() if value.is_floating_point() and not torch.equal(value, after[name])
        )


Own = Callable[[Params], Mapping[str, str]]
"""Returns, by the names of a base's tensors, those that its network has for them, where its library files others."""


def read_pair(before: str | Path, after: str | Path, key: str = "", own: Own = lambda _: {}) -> CheckpointPair:
    """Read the checkpoints from before and after training and make sure that they belong together.

    Names are those of ``after``. Batch-norm counters (``num_batches_tracked``) that only one side has are dropped;
    floating tensors become float64 on both sides where either file holds a float64. A classifier head that only
    ``after`` has, or has in another shape, is fresh; what only ``before`` has of that kind is dropped.

    Where ``after`` is a LoRA adapter, ``before`` is its base, and the names are the base's. The start of A is fresh,
    unless the folder of the base holds the adapter from before training too.

    Args:
        before: File or folder.
        after: File or folder.
        key: As in :func:`read`; at least one of the two has a state dict there.
        own: An adapter has the names of the network: asked where those of the base's file are not these.

    Raises:
        CheckpointError: One of them cannot be read, names or shapes differ in more than a head, or nothing moved.
    """
    if adapter_file(after) is not None and Path(after).is_dir() and holds_weights(after):
        raise CheckpointError(
            f"The folder {after} holds the weights of a network and an adapter.", "Pass one of the two files."
        )
    adapter = read_adapter(after)
    if adapter is None:
        sides = read(before, key), read(after, key)
        check_key(key, *sides)
        pair = _joined(*sides)
    else:
        start = start_of(before)
        base = read(before, key)
        check_key(key, base)
        if absent(adapter, base.tensors):
            names = own(base.tensors)
            base = _named(base, {name: names.get(name, name) for name in base.tensors})
        pair = _adapted(base, start, adapter)
    if not pair.moved:
        raise _unmoved(pair)
    return pair


def digests(path: str | Path, key: str = "") -> tuple[str, ...]:
    """Return the SHA-256 that a pair may know a checkpoint by: several where an adapter lies beside a base.

    Raises:
        CheckpointError: It cannot be read.
    """
    adapter = read_adapter(path)
    if adapter is not None and not (Path(path).is_dir() and holds_weights(path)):
        return (adapter.sha256,)
    base = read(path, key).sha256
    return (base,) if adapter is None else (base, joined_digest(base, adapter))


def _joined(first: Checkpoint, second: Checkpoint) -> CheckpointPair:
    """Give both sides one set of names and, where the start of a head is unknown, the head's end for it."""
    names = aligned(first.tensors, second.tensors)
    deeper = moved_head({names[name]: value for name, value in first.tensors.items()}, second.tensors)
    names = {name: deeper.get(other, other) for name, other in names.items()}
    first = _named(first, names)
    lonely = {name for name in first.tensors.keys() ^ second.tensors.keys() if name.endswith(COUNTER)}
    double = "float64" in first.dtypes + second.dtypes
    first, second = _converted(first, lonely, double), _converted(second, lonely, double)
    heads = new_head(first.tensors, second.tensors)
    if heads is None:
        _check_names(first, second)
        _check_shapes(first, second)
        raise AssertionError("a pair that differs in nothing has no new head")
    fresh = heads.fresh
    if not fresh:
        shared = {name: value for name, value in second.tensors.items() if name in first.tensors}
        fresh = initialised_anew(first.tensors, shared)
    dropped = tuple(name for name, other in names.items() if other in heads.dropped)
    return CheckpointPair(_completed(first, second, fresh | heads.dropped), second, fresh, dropped)


def _adapted(base: Checkpoint, start: Adapter | None, end: Adapter) -> CheckpointPair:
    """Put an adapter onto its base, before and after training."""
    end = on_base(end, base.path, base.tensors)
    if start is not None:
        start = on_base(start, base.path, base.tensors)
        check_alike(start, end)
    first = base
    if start is not None:
        first = replace(_replaced(base, start), sha256=joined_digest(base.sha256, start))
    dtypes = tuple(sorted({str(kind).removeprefix("torch.") for kind in end.stored.values()}))
    second = replace(_replaced(base, end), path=end.path, format=end.format, sha256=end.sha256, dtypes=dtypes, aside=())
    plain = _joined(first, second)
    like = next((value.dtype for value in plain.after.tensors.values() if value.is_floating_point()), torch.float32)
    layers, parts = list(end.layers), factors(end, start, like)
    before, after = (
        replace(side, tensors=among(side.tensors, values, layers), stored={**end.stored, **side.stored})
        for side, values in zip((plain.before, plain.after), parts, strict=True)
    )
    unknown = frozenset(f"{layer}.{DOWN}" for layer in layers if start is None)
    scales = {layer: part.scale for layer, part in end.layers.items()}
    return replace(plain, before=before, after=after, fresh=plain.fresh | unknown, lora=scales, dropout=end.dropout)


def _replaced(base: Checkpoint, adapter: Adapter) -> Checkpoint:
    """Return the base with what an adapter replaces whole."""
    stored = {**base.stored, **{name: adapter.stored[name] for name in adapter.whole}}
    return replace(base, tensors={**base.tensors, **adapter.whole}, stored=stored)


def _named(checkpoint: Checkpoint, names: Mapping[str, str]) -> Checkpoint:
    tensors = {names[name]: value for name, value in checkpoint.tensors.items()}
    return replace(checkpoint, tensors=tensors, stored={names[name]: kind for name, kind in checkpoint.stored.items()})


def _converted(checkpoint: Checkpoint, drop: Collection[str], double: bool) -> Checkpoint:
    kept = {name: value for name, value in checkpoint.tensors.items() if name not in drop}
    if double:
        kept = {name: value.double() if value.is_floating_point() else value for name, value in kept.items()}
    return replace(checkpoint, tensors=kept)


def _completed(first: Checkpoint, second: Checkpoint, unknown: Collection[str]) -> Checkpoint:
    """Return the first with the second's values of what it lacks and of what is unknown, and without all else."""
    known = {name: value for name, value in first.tensors.items() if name in second.tensors and name not in unknown}
    stored = {name: (first if name in known else second).stored[name] for name in second.tensors}
    rest = {name: value for name, value in second.tensors.items() if name not in known}
    return replace(first, tensors=known | rest, stored=stored)


def _unmoved(pair: CheckpointPair) -> CheckpointError:
    paths = f"{pair.before.path} and {pair.after.path}"
    if pair.lora:
        return CheckpointError(
            f"The adapter {pair.after.path} changes nothing: every lora_B is as it was before training.",
            "Pass the adapter from after the training.",
        )
    if pair.fresh:
        return CheckpointError(
            f"{paths} differ in the head {modules(sorted(pair.fresh))} alone, whose start is unknown: "
            "no other tensor moved.",
            "Put the new head, as it was initialised, into the checkpoint from before the training and audit that.",
        )
    return CheckpointError(
        f"{paths} are the same network: no tensor moved.",
        "Pass the checkpoint from before the training first and the one from after it second.",
    )


def _check_names(first: Checkpoint, second: Checkpoint) -> None:
    before, after = first.tensors, second.tensors
    if is_numbered(before) != is_numbered(after):
        numbered, named = (first, second) if is_numbered(before) else (second, first)
        raise CheckpointError(
            f"{numbered.path} holds arrays by their order alone (arr_0, ...), {named.path} tensors by name.",
            "Save both alike; by name: numpy.savez(FILE, **dict(zip(model.state_dict(), arrays))).",
        )
    sides = ((first.path, sorted(before.keys() - after.keys())), (second.path, sorted(after.keys() - before)))
    if any(names for _, names in sides):
        lonely = [f"only {path} has {quoted(names)}" for path, names in sides if names]
        raise CheckpointError(
            f"The two checkpoints hold different tensors: {', and '.join(lonely)}.",
            "Pass two checkpoints of the same network; only its classifier head may be another.",
        )


def _check_shapes(first: Checkpoint, second: Checkpoint) -> None:
    before, after = first.tensors, second.tensors
    changed = [name for name in before if _kind(before[name]) != _kind(after[name])]
    if not changed:
        return
    paths, name = f"{first.path} and {second.path}", changed[0]
    owners = {name.rpartition(".")[0] for name in changed}
    if len(owners) == 1 and all(_differ_in_rows(before[name], after[name]) for name in changed):
        raise CheckpointError(
            f"{paths} differ in the shape of the classifier head {owners.pop()!r} alone: {len(before[name])} "
            f"against {len(after[name])} classes.",
            "Put the new head, as it was initialised, into the checkpoint from before the training and audit that.",
        )
    raise CheckpointError(
        f"{paths} do not belong to one network: {name!r} is {_sketch(before[name])} in the first "
        f"and {_sketch(after[name])} in the second.",
        "Pass two checkpoints of the same network; only its classifier head may be another.",
    )


def _kind(tensor: Tensor) -> tuple[torch.Size, bool]:
    return tensor.shape, tensor.is_floating_point()


def _differ_in_rows(a: Tensor, b: Tensor) -> bool:
    return a.ndim > 0 and len(a) != len(b) and a.shape[1:] == b.shape[1:]


def _sketch(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
