"""Which adjoint to take: the fastest whose predicted memory is there, by a model that is measured on one step.

A state keeps the choice among its constants: ``adjoint``, a number in :data:`.adjoints.ADJOINTS`, and ``bytes``, what
that needs, 0 where the user chose it.
"""

import math
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..contract.attack import State, Unsupported
from .adjoints import ADJOINTS, Adjoint, Factored, Segmented, Step, Tensors
from .footprint import Footprint

HEADROOM = 1.2
"""A plan is taken where this many times its predicted peak is free: the prediction errs, allocators keep some back."""


EXHAUSTED = (
    "out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "could not create a primitive",
    "could not create a memory object", "could not execute a primitive",
)  # fmt: skip
"""What errors of torch, the C++ library and oneDNN say where there is no memory left."""


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is no memory left, on any device."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in str(error) for words in EXHAUSTED)


def chosen(name: str, step: Step, state: Tensors, inputs: Sequence[Tensors]) -> dict[str, Tensor]:
    """Return the constants of a fresh state that is to take the adjoint ``name``; ``auto`` for what this machine has.

    The other arguments are a chain that the adjoint will differentiate, as :func:`.dynamics.chain` returns it.
    """
    if name != "auto":
        return _constants(name, 0.0)
    return _constants(*choose(step, state, inputs, _machine(inputs[0][0].device) / 2))


def fitted(state: State, chain: tuple[Step, Tensors, Sequence[Tensors]], limit: float) -> State:
    """Return ``state`` with another adjoint where the present one needs more than ``limit`` bytes.

    Raises:
        Unsupported: Not even the smallest one fits, without headroom.
    """
    if float(state.constants.get("bytes", torch.tensor(0))) <= limit:
        return state
    name, needed = choose(*chain, limit)
    if needed > HEADROOM * limit:
        raise Unsupported(
            f"Its smallest plan needs {needed / HEADROOM / 1e9:.2f} GB of memory, and {limit / 1e9:.2f} GB is left.",
            "Give more --max-memory, or fewer --epochs.",
        )
    return replace(state, constants={**state.constants, **_constants(name, needed)})


def smaller(state: State) -> tuple[State, str] | None:
    """Return ``state`` with the next smaller adjoint, and that one's name; ``None`` if there is none."""
    index, names = int(state.constants["adjoint"]) + 1, list(ADJOINTS)
    if index == len(names):
        return None
    return replace(state, constants={**state.constants, "adjoint": torch.tensor(index)}), names[index]


def adjoint_of(state: State) -> Adjoint:
    """Return the adjoint that a state has chosen; the first one for a state of before there was a choice."""
    return list(ADJOINTS.values())[int(state.constants.get("adjoint", torch.tensor(0)))]


def _constants(name: str, needed: float) -> dict[str, Tensor]:
    index = list(ADJOINTS).index(name)
    return {"adjoint": torch.tensor(index), "bytes": torch.tensor(int(min(needed, 2.0**62)))}


def _machine(device: torch.device) -> int:
    """Return the physical memory of a device in bytes: a property of the machine, not of the moment."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def choose(step: Step, state: Tensors, inputs: Sequence[Tensors], limit: float) -> tuple[str, float]:
    """Return the fastest adjoint that ``limit`` bytes suffice for, else the smallest, and the bytes it takes.

    The bytes are the predicted peak with headroom, beyond what is in use before.
    """
    found: dict[str, float] = {}
    for name, peak in predictions(step, state, inputs):
        found[name] = HEADROOM * peak
        if found[name] <= limit:
            return name, found[name]
    return min(found.items(), key=lambda item: item[1])


def predictions(step: Step, state: Tensors, inputs: Sequence[Tensors]) -> Iterator[tuple[str, float]]:
    """Yield the names of :data:`.adjoints.ADJOINTS` in order, with the predicted peak of each in bytes.

    The peak is that of one hypergradient, beyond what there is before: what a step needs while it is pulled back,
    measured on the first one, and what is kept beside it. There must be a step.
    """
    own = sum(value.nbytes for value in state)
    pulls: dict[tuple[bool, int], float] = {}
    for name, adjoint in ADJOINTS.items():
        rule = adjoint if isinstance(adjoint, Segmented) else Segmented()
        kind = rule.forward, rule.samples
        if kind not in pulls:
            pulls[kind] = _pull(rule, step, state, inputs[0], len(inputs) > 1)
        yield name, pulls[kind] + (0 if math.isinf(pulls[kind]) else _kept(adjoint, step, state, inputs, own))


def _kept(adjoint: Adjoint, step: Step, state: Tensors, inputs: Sequence[Tensors], own: int) -> float:
    """Return the bytes held beside the step that is pulled back; infinity where that does not fit.

    These are graphs or states of ``own`` bytes, and outside the chain its result, the change, the change's gradient.
    """
    count = len(inputs)
    if not isinstance(adjoint, Segmented):
        return 2 * own + (count - 1) * _fitting(lambda: saved_bytes(step, state, inputs[0]))
    length = adjoint.span(count)
    segments = 0 if adjoint.host and state[0].device.type != "cpu" else -(-count // length) - 1
    return own * (3 + segments + length - 1)


def saved_bytes(step: Step, state: Tensors, item: Tensors) -> int:
    """Return how many bytes autograd keeps for the graph of one step, each storage counted once.

    Storages are told apart as objects, not by their addresses: what is freed on the way leaves its own to the next one.
    """
    kept: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[id(storage)] = weakref.ref(storage)
        return tensor.detach()  # of an output, the tensor itself would hold its own graph

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = step(state, item)
    storages = [reference() for reference in kept.values()]
    total = sum(storage.nbytes() for storage in storages if storage is not None)
    del result
    return total


def _pull(rule: Segmented, step: Step, state: Tensors, item: Tensors, inner: bool) -> float:
    """Return the measured peak in bytes of pulling back one step; infinity where even that does not fit.

    The state before the step needs a gradient if the step is an ``inner`` one.
    """
    step = step.split(rule.samples) if rule.samples and isinstance(step, Factored) else step
    bars = tuple(torch.ones_like(value) for value in state)
    need = [inner] * len(state) + [value.requires_grad for value in item]

    def measured() -> float:
        with torch.no_grad(), Footprint() as footprint:
            rule.pull_back(step, state, item, bars, need)
        return float(footprint.peak)

    return _fitting(measured)


def _fitting(measured: Callable[[], float]) -> float:
    """Return what is measured, infinity where that runs out of memory."""
    try:
        return measured()
    except Exception as error:
        if not out_of_memory(error):
            raise
        return math.inf
