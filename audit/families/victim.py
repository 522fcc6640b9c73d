"""A checkpoint pair put into its network: the victim that attacks see."""

from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor, nn

from ...attacks.contract.medium import Medium
from ...attacks.contract.victim import Victim
from ...attacks.simulation import batchnorm
from ..checkpoints.pair import CheckpointPair
from ..checkpoints.weights import CheckpointError
from ..plugins import one_line
from .base import Architecture, UnknownArchitecture, fitted, tensor_names


def victim(
    pair: CheckpointPair,
    architecture: Architecture,
    module: nn.Module,
    medium: Medium,
) -> Victim:
    """Put a checkpoint pair into its network, on the CPU, and try it on one input.

    Args:
        pair: The two checkpoints.
        architecture: What was detected.
        module: Its network, on the meta device.
        medium: What records the network's inputs stand for.

    Raises:
        CheckpointError: No parameter of the network moved.
        UnknownArchitecture: The network does not turn an input of ``architecture.shape`` into ``classes`` logits.
    """
    before, after = (fitted(side.tensors, module) for side in (pair.before, pair.after))
    names = tensor_names(module, pair.after.tensors) if pair.guessed else {}
    guessed = {name for name, other in names.items() if other in pair.guessed}
    moved = {name for name, _ in module.named_parameters() if not torch.equal(after[name], before[name])}
    trained = [name for name, _ in module.named_parameters() if name in moved | guessed]
    if not moved:
        raise CheckpointError(
            f"Between {pair.before.path} and {pair.after.path} only buffers moved, such as {min(pair.moved)!r}, "
            "but no trainable parameter.",
            "Pass a checkpoint from after a training that changed weights.",
        )
    tied = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    tied -= {name for name, _ in module.named_parameters()}
    statistics = [name for name in batchnorm.statistics(module) if not torch.equal(after[name], before[name])]
    result = Victim(
        module=_settled(module.eval(), before[trained[0]]),
        theta0={name: before[name] for name in trained},
        thetaf={name: after[name] for name in trained},
        buffers={name: value for name, value in before.items() if name not in tied and name not in trained},
        shape=architecture.shape,
        classes=architecture.classes,
        medium=medium,
        running={name: after[name] for name in statistics},
        masked=frozenset(guessed),
        guessed=frozenset(guessed),
    )
    _try(result, architecture)
    return result


def placed(
    subject: Victim,
    pair: CheckpointPair,
    architecture: Architecture,
    device: torch.device,
    masked: frozenset[str] = frozenset(),
) -> Victim:
    """Return a victim on the device where it is attacked, without the parameters that are not compared.

    Args:
        subject: The victim, on the CPU; where nothing changes, it is returned itself.
        pair: Its checkpoints.
        architecture: What was detected.
        device: Where the tensors go.
        masked: Parameters that are not compared, by their name in the checkpoints; see :class:`Victim`. Where these are
            all, all are compared.

    Raises:
        UnknownArchitecture: The network does not compute on ``device``.
    """
    names = tensor_names(subject.module, pair.after.tensors) if masked else {}
    hidden = frozenset(name for name in subject.theta0 if names.get(name) in masked)
    hidden = hidden | subject.masked if len(hidden | subject.masked) < len(subject.theta0) else subject.masked
    if device.type == "cpu":
        return replace(subject, masked=hidden) if hidden else subject
    theta0, thetaf, buffers, running = (
        {name: value.to(device) for name, value in tensors.items()}
        for tensors in (subject.theta0, subject.thetaf, subject.buffers, subject.running)
    )
    module = _settled(subject.module, next(iter(theta0.values())))
    result = replace(
        subject, module=module, theta0=theta0, thetaf=thetaf, buffers=buffers, running=running, masked=hidden
    )
    _try(result, architecture)
    return result


def _settled(module: nn.Module, like: Tensor) -> nn.Module:
    """Move what a state dict leaves out (constants of a user's own network) to where the parameters are."""
    if any(value.is_meta for value in chain(module.parameters(), module.buffers())):
        return module
    return module.to(like)


def _try(subject: Victim, architecture: Architecture) -> None:
    size = "x".join(str(side) for side in architecture.shape)
    hint = "Pass the size the network was trained on with --image-size."
    try:
        with torch.no_grad():
            logits = subject.logits(subject.theta0, subject.like.new_zeros(1, *architecture.shape))
    except Exception as error:  # third-party code may fail in any way
        raise UnknownArchitecture(
            f"{architecture.name} does not take images of {size} ({one_line(error)}).", hint
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (1, architecture.classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UnknownArchitecture(
            f"{architecture.name} returns {got} for one image of {size} instead of (1, {architecture.classes}) logits.",
            hint,
        )
