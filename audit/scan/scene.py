"""What is known before the first attack step."""

import dataclasses
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from ...attacks.contract.medium import Medium
from ...attacks.contract.victim import Victim
from ..change.facts import masked, read_delta
from ..change.readings import Readings
from ..checkpoints.pair import CheckpointPair, read_pair
from ..data.base import TrainingSet, distinct
from ..data.opening import open_source
from ..data.preparation import Preparation
from ..events import Event, Listener, silence
from ..families.base import Architecture, UnknownArchitecture
from ..families.beside import Beside, read_beside
from ..families.causal import is_causal
from ..families.custom import runs_code
from ..families.ground import Ground
from ..families.lora import network, own_names
from ..families.media import medium_of
from ..families.victim import placed
from ..families.victim import victim as make_victim
from ..machine.device import pick_device
from ..machine.memory import ceiling, check_memory
from ..recipe.artefacts import read_artefacts
from ..recipe.known import Known, known
from ..recipe.normalise import normalisation
from ..report.facts import Delta
from ..report.vocabulary import Vocabulary
from ..request import ScanRequest
from ..scoring.kind import Kind, kind_of
from ..scoring.match import check_held_out
from .vocabulary import vocabulary


@dataclasses.dataclass(frozen=True)
class Scene:
    """What is known before the first attack step; ``steps`` of training only where files tell them."""

    request: ScanRequest
    pair: CheckpointPair
    architecture: Architecture
    ground: Ground
    delta: Delta
    steps: int | None
    known: Known
    data: TrainingSet | None
    control: TrainingSet | None
    kind: Kind
    vocabulary: Vocabulary | None = None

    @property
    def victim(self) -> Victim:
        """What is attacked."""
        return self.ground()


def prepared(request: ScanRequest) -> Preparation:
    """Return how images of any size become the network's."""
    return Preparation(request.exif, request.preprocess)


def load(request: ScanRequest, listener: Listener = silence) -> Scene:
    """Read the files, recognise the network, and gather what is known of the recipe (steps 1 to 5)."""
    device = pick_device(request.device)
    check_memory(device, request.max_memory)
    with ceiling(device, request.max_memory):
        return _load(request, device, listener)


def open_set(
    request: ScanRequest, spec: str | Path | None, architecture: Architecture, medium: Medium, listener: Listener
) -> TrainingSet | None:
    """Read a set of records as the request says, and tell what is odd about it. Raises :class:`DataError`."""
    if spec is None:
        return None
    found = open_source(str(spec), architecture.shape, prepared(request), request.skip_unreadable, medium)
    for warning in found.warnings:
        listener(Event("warning", warning))
    return found


def _recognised(request: ScanRequest, pair: CheckpointPair, beside: Beside) -> tuple[Architecture, nn.Module]:
    """Return the network of a pair. Raises :class:`UnknownArchitecture`."""
    try:
        return network(pair, request.model, request.image_size, beside)
    except UnknownArchitecture as error:
        if request.model == "auto" and is_causal(beside):
            raise UnknownArchitecture(
                f"{request.after} is a causal language model, of which only the exposure of texts is measured.",
                "Run memaudit exposure with --data text:FILE and --control text:FILE.",
            ) from error
        raise


RUNS = ", from a model file: it runs as a program, with your rights"
"""Said before the code is run that ``--model`` names."""


def _load(request: ScanRequest, device: torch.device, listener: Listener) -> Scene:
    if request.tf32 and device.type == "cpu":
        listener(Event("warning", "--tf32 changes nothing on a CPU."))
    listener(Event("load", "checkpoints"))
    beside = read_beside(str(request.after), str(request.before))
    own = partial(own_names, request.model, request.image_size, beside)
    pair = read_pair(request.before, request.after, request.key, own)
    listener(Event("load", "architecture" + (RUNS if runs_code(request.model) else "")))
    architecture, module = _recognised(request, pair, beside)
    scale, seen = normalisation(request.normalise, architecture, beside)
    architecture, medium = medium_of(pair, architecture, module, beside, scale)
    listener(Event("load", "the change of the parameters"))
    make = cache(partial(make_victim, pair, architecture, module, medium))
    delta = read_delta(pair, architecture, make)
    if "backwards" in delta.facts:
        listener(Event("warning", f"{delta.facts['backwards'].evidence}."))
    victim = placed(make(), pair, architecture, device, masked(delta))
    ground = Ground(
        pair, request.model, request.image_size, beside, medium, masked(delta), str(device), architecture.shape, victim,
    )  # fmt: skip
    kind = kind_of(victim)
    listener(Event("load", kind.about.words.many))
    data = open_set(request, request.data, architecture, medium, listener)
    held_out = open_set(request, request.control, architecture, medium, listener)
    control = None if held_out is None else distinct(held_out)
    if data is not None and control is not None:
        check_held_out(kind, control, data)
    artefacts = read_artefacts(request.before, request.after)
    what = known(request, architecture, data, delta, artefacts)
    what = Known(what.recipe, {**what.facts, **seen})
    steps = artefacts.get("steps") or delta.facts.get("steps")
    count = int(steps.number) if steps else None
    words = vocabulary(Readings(pair, architecture, make), data, control, request.evidence != "none")
    return Scene(request, pair, architecture, ground, delta, count, what, data, control, kind, words)
