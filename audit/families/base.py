"""What a model family is; which family a checkpoint belongs to; and the victim that attacks see."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, ClassVar, Protocol, cast

import torch
from torch import Tensor, nn

from ... import MemauditError
from ...attacks import batchnorm
from ...attacks.base import Normalisation, Victim
from ...attacks.params import Params
from ..checkpoint import COUNTER, CheckpointError, CheckpointPair, shared_prefix
from ..plugins import PluginError, load, load_all, one_line
from ..weights import quoted

GROUP = "memaudit.families"
"""Entry-point group of the families; each entry is a class without constructor arguments."""

IMAGE_SIZE = "image_size"
"""The fact in :attr:`Architecture.assumed` that ``--image-size`` settles."""

_OWN_MODEL = "Pass the network with --model torchvision:NAME, --model FILE.py:FUNCTION or --model PKG.MOD:FUNCTION."


class UnknownArchitecture(MemauditError):
    """No network fits the checkpoint, or the network that was named does not; the message names what does not fit."""


@dataclass(frozen=True)
class Architecture:
    """A network as far as its tensors tell.

    Attributes:
        family: Name of the entry point, or ``custom``.
        name: For people, e.g. ``ResNet-18, CIFAR stem``.
        layout: All that the family needs to build it again: numbers, strings and tuples of them.
        classes: Number of logits k; one for a binary classifier with the logistic loss.
        shape: (c, h, w) of one input image.
        assumed: Facts that the tensors do not tell and that were guessed, e.g. ``image_size``.
        score: Share of tensors whose name and shape agree, in [0, 1]; 1 is a match.
    """

    family: str
    name: str
    layout: Mapping[str, Any]
    classes: int
    shape: tuple[int, int, int]
    assumed: tuple[str, ...] = ()
    score: float = 0.0

    @property
    def categories(self) -> int:
        """How many values a label takes: k, and two where there is one logit."""
        return max(self.classes, 2)


class Family(Protocol):
    """One kind of network. Knows its tensors' names and shapes; never reads their values."""

    name: ClassVar[str]

    def recognise(self, tensors: Params) -> Architecture | None:
        """Return the nearest network of this family with its score (see :func:`scored`), None for another family."""
        ...

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network on the meta device, so that no file, however hostile, makes us allocate memory."""
        ...


def detect(tensors: Params, spec: str = "auto", image_size: int | None = None) -> tuple[Architecture, nn.Module]:
    """Find the network that a state dict belongs to.

    Args:
        tensors: Parameters and buffers by name.
        spec: ``auto`` to try every family, the name of one family, or a network of the user's own as in
            :mod:`memaudit.audit.families.custom`.
        image_size: Height and width of the images in pixels, for networks that do not fix it.

    Raises:
        UnknownArchitecture: Nothing fits exactly, or the network contradicts ``image_size``.
        PluginError: There is no family of this name.
    """
    if ":" in spec:
        from .custom import fit  # it builds on this module

        return fit(spec, tensors, image_size)
    if spec == "auto":
        families, broken = load_all(GROUP)
    else:
        families, broken = {spec: load(GROUP, spec)}, ()
    candidates, failed = _candidates(cast("Mapping[str, Callable[[], Family]]", families), tensors)
    if not candidates or candidates[0][0].score < 1:
        raise _unknown(tensors, candidates, (*broken, *failed))
    architecture, module = candidates[0]
    return _resized(architecture, image_size), module.eval()


def scored(architecture: Architecture, module: nn.Module, tensors: Params) -> Architecture:
    """Return ``architecture`` with the share of the tensors of checkpoint and network whose name and shape agree."""
    names = {name for name in _expected(module).keys() | tensors.keys() if not name.endswith(COUNTER)}
    return replace(architecture, score=1 - len(misfits(tensors, module)) / max(len(names), 1))


def misfits(tensors: Params, module: nn.Module) -> tuple[str, ...]:
    """Return one phrase for each tensor that checkpoint and network do not have in common, counters aside."""
    expected, twins = _expected(module), _twins(module)
    phrases = []
    for name in [*tensors, *(name for name in expected if name not in tensors)]:
        here, there = (tuple(side[name].shape) if name in side else None for side in (tensors, expected))
        if here == there or name.endswith(COUNTER):
            continue
        if here is None and any(twin in tensors for twin in twins.get(name, ())):
            continue  # a tied tensor that was saved once, as safetensors.torch.save_model does
        if there is None:
            phrases.append(f"{name!r} is not part of the network")
        elif here is None:
            phrases.append(f"{name!r} is missing from the checkpoint")
        else:
            phrases.append(f"{name!r} is {here} in the checkpoint and {there} in the network")
    return tuple(phrases)


def fitted(tensors: Params, module: nn.Module) -> dict[str, Tensor]:
    """Return every entry of the module's state dict from ``tensors``, with zeros for batch-norm counters it lacks."""
    names = module.state_dict().keys()
    skip = len(shared_prefix(names))
    absent = {name for name in names if name.endswith(COUNTER) and name[skip:] not in tensors}
    twins = _twins(module)

    def found(name: str) -> Tensor:
        known = (name[skip:], *twins.get(name[skip:], ()))
        return tensors[next(alias for alias in known if alias in tensors)]

    return {name: torch.zeros((), dtype=torch.int64) if name in absent else found(name) for name in names}


def image_shape(features: int) -> tuple[int, int, int]:
    """Return the (c, h, w) of the square colour or grey image with this many numbers, (1, 1, features) if none has."""
    for channels in (3, 1):
        side = math.isqrt(features // channels)
        if channels * side * side == features:
            return channels, side, side
    return 1, 1, features


def victim(
    pair: CheckpointPair,
    architecture: Architecture,
    module: nn.Module,
    normalisation: Normalisation,
    device: torch.device,
    masked: frozenset[str] = frozenset(),
) -> Victim:
    """Put a checkpoint pair into its network and try it on one image.

    Args:
        pair: The two checkpoints.
        architecture: What was detected.
        module: Its network, on the meta device.
        normalisation: Pixels to network inputs.
        device: Where the tensors go.
        masked: Parameters that are not compared, by their name in the checkpoint; see :class:`Victim`.

    Raises:
        CheckpointError: No parameter of the network moved.
        UnknownArchitecture: The network does not turn an image of ``architecture.shape`` into ``classes`` logits.
    """
    before = {name: value.to(device) for name, value in fitted(pair.before.tensors, module).items()}
    after = fitted(pair.after.tensors, module)
    trained = [name for name, _ in module.named_parameters() if not torch.equal(after[name], before[name].cpu())]
    if not trained:
        raise CheckpointError(
            f"Between {pair.before.path} and {pair.after.path} only buffers moved, such as {min(pair.moved)!r}, "
            "but no trainable parameter.",
            "Pass a checkpoint from after a training that changed weights.",
        )
    tied = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    tied -= {name for name, _ in module.named_parameters()}
    skip = len(shared_prefix(module.state_dict().keys()))
    hidden = frozenset(name for name in trained if name[skip:] in masked)
    statistics = [name for name in batchnorm.statistics(module) if not torch.equal(after[name], before[name].cpu())]
    result = Victim(
        module=_settled(module.eval(), before[trained[0]]),
        theta0={name: before[name] for name in trained},
        thetaf={name: after[name].to(device) for name in trained},
        buffers={name: value for name, value in before.items() if name not in tied and name not in trained},
        shape=architecture.shape,
        classes=architecture.classes,
        normalisation=normalisation,
        running={name: after[name].to(device) for name in statistics},
        masked=hidden if len(hidden) < len(trained) else frozenset(),
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
    except Exception as error:  # a stranger's forward may fail in any way
        raise UnknownArchitecture(
            f"{architecture.name} does not take images of {size} ({one_line(error)}).", hint
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (1, architecture.classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UnknownArchitecture(
            f"{architecture.name} returns {got} for one image of {size} instead of (1, {architecture.classes}) logits.",
            hint,
        )


def _twins(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return, by the name of each tied parameter, the other names of the same parameter, without wrapper prefixes."""
    named = dict(module.named_parameters(remove_duplicate=False))
    skip = len(shared_prefix(module.state_dict()))
    groups: dict[int, list[str]] = {}
    for name, value in named.items():
        groups.setdefault(id(value), []).append(name[skip:])
    return {name: tuple(twin for twin in names if twin != name) for names in groups.values() for name in names}


def _expected(module: nn.Module) -> dict[str, Tensor]:
    state: dict[str, Tensor] = module.state_dict()
    skip = len(shared_prefix(state))
    return {name[skip:]: value for name, value in state.items()}


def _candidates(
    families: Mapping[str, Callable[[], Family]], tensors: Params
) -> tuple[list[tuple[Architecture, nn.Module]], list[PluginError]]:
    """Return what each family recognises, best score first, and one error for each family that broke."""
    found: list[tuple[Architecture, nn.Module]] = []
    failed: list[PluginError] = []
    for name, factory in families.items():
        try:
            family = factory()
            if architecture := family.recognise(tensors):
                found.append((architecture, family.build(architecture)))
        except Exception as error:  # one family must not hide the others
            failed.append(PluginError(f"The family {name!r} failed on this checkpoint ({one_line(error)})."))
    return sorted(found, key=lambda pair: -pair[0].score), failed


def _unknown(
    tensors: Params, candidates: list[tuple[Architecture, nn.Module]], failed: tuple[PluginError, ...]
) -> UnknownArchitecture:
    hint = " ".join([_OWN_MODEL, *(str(error) for error in failed)])
    if not candidates:
        return UnknownArchitecture(f"The checkpoint, with {quoted(tensors)}, resembles no known model family.", hint)
    nearest = ", ".join(f"{found.family} ({found.name}) {found.score:.0%}" for found, _ in candidates)
    wrong = "; ".join(misfits(tensors, candidates[0][1])[:3])
    return UnknownArchitecture(f"The checkpoint fits no known network; nearest are {nearest}: {wrong}.", hint)


def _resized(architecture: Architecture, image_size: int | None) -> Architecture:
    if image_size is None:
        return architecture
    channels, height, width = architecture.shape
    if IMAGE_SIZE not in architecture.assumed and (height, width) != (image_size, image_size):
        raise UnknownArchitecture(
            f"{architecture.name} takes images of {height}x{width}, not of {image_size}x{image_size}.",
            "Leave --image-size out: the weights fix the size.",
        )
    rest = tuple(fact for fact in architecture.assumed if fact != IMAGE_SIZE)
    return replace(architecture, shape=(channels, image_size, image_size), assumed=rest)
