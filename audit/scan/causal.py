"""A pair of causal language models: read, put into its network, and the exposure of its texts. No attack reads them."""

from dataclasses import dataclass
from functools import partial

from torch import nn

from ...attacks.images.normalisation import PLAIN
from ..change.facts import read_delta
from ..checkpoints.pair import CheckpointPair, read_pair
from ..data.base import distinct
from ..events import Event, Listener, silence
from ..exposure.kept import Shelf
from ..exposure.measure import Asked, measure
from ..exposure.texts import Texts
from ..families.base import Architecture, UnknownArchitecture
from ..families.beside import Beside, read_beside
from ..families.causal import NOTHING, causal, is_causal, looks_ahead
from ..families.ground import Ground
from ..families.media import medium_of
from ..families.victim import placed
from ..families.victim import victim as make_victim
from ..machine.device import pick_device
from ..machine.means import Means
from ..machine.memory import ceiling, check_memory
from ..recipe.artefacts import read_artefacts
from ..recipe.known import known
from ..report.exposure import Exposure
from ..report.proof import DataCheck
from ..request import ScanRequest
from ..run.store import Store, key
from ..scoring.kind import kind_of
from ..scoring.match import check_held_out
from .exposure import Terms, drawn, shown
from .scene import Scene, open_set

UNCHECKED = DataCheck(
    explained=None,
    reason="Whether the sentences explain the change is not checked for causal language models.",
)
"""So that no audit of them passes."""

FOLDERS = "Pass two folders as save_pretrained of transformers writes them, with model.safetensors."


@dataclass(frozen=True)
class _Ground(Ground):
    """The ground of a causal language model."""

    def network(self) -> tuple[Architecture, nn.Module]:
        """Return the network, without weights."""
        return causal(self.pair.network, self.beside)


def of_language(request: ScanRequest) -> bool:
    """Return whether a pair is one of causal language models, as the ``config.json`` beside its weights says.

    Raises:
        CheckpointError: A file beside the weights cannot be read.
    """
    return request.model == "auto" and is_causal(_beside(request))


def load_language(request: ScanRequest, listener: Listener = silence) -> Scene:
    """Read a pair of causal language models, and gather what is known.

    Of the change no more is read than what its numbers show: what is read off classifiers does not hold here.

    Raises:
        CheckpointError: The files cannot be read, do not belong together, or are no safetensors.
        UnknownArchitecture: They are not the network that ``config.json`` describes, or no tokenizer lies beside them.
        DataError: Texts cannot be read, or are in both sets.
    """
    device = pick_device(request.device)
    check_memory(device, request.max_memory)
    with ceiling(device, request.max_memory):
        listener(Event("load", "checkpoints"))
        beside, pair = _beside(request), read_pair(request.before, request.after)
        _check(pair)
        listener(Event("load", "architecture"))
        architecture, module = causal(pair.network, beside)
        architecture, medium = medium_of(pair, architecture, module, beside, PLAIN)
        victim = placed(make_victim(pair, architecture, module, medium), pair, architecture, device)
        if looks_ahead(victim):
            raise UnknownArchitecture(f"{architecture.name}: it sees the tokens that it is to tell.", FOLDERS)
        delta, kind = read_delta(pair), kind_of(victim)
        listener(Event("load", kind.about.words.many))
        read = partial(open_set, request, architecture=architecture, medium=medium, listener=listener)
        data, control = read(request.data), read(request.control)
        control = distinct(control) if control else None
        if data is not None and control is not None:
            check_held_out(kind, control, data)
        what = known(request, architecture, data, delta, read_artefacts(request.before, request.after))
    ground = _Ground(pair, request.model, None, beside, medium, frozenset(), str(device), architecture.shape, victim)
    return Scene(request, pair, architecture, ground, delta, None, what, data, control, kind)


def language_exposure(scene: Scene, store: Store, means: Means, terms: Terms) -> Exposure | None:
    """Return what two forward passes betray of the texts; ``None`` without texts or held-out ones."""
    if scene.data is None or scene.control is None:
        return None
    rows = drawn(scene.control, terms.held_out)
    question = Texts(scene.ground, scene.data.records, scene.control.records[rows], NOTHING)
    asked = Asked(scene.data, scene.kind.about.words, terms.groups, terms.by_chance)
    sides = [scene.pair.before.sha256, scene.pair.after.sha256, scene.data.digest, scene.control.digest]
    asks = key("texts", sides, scene.ground.beside.config, repr(scene.victim.medium), scene.victim.shape, len(rows))
    return shown(scene, scene.data, measure(question, asked, means, Shelf(store, asks)), store.folder)


def _beside(request: ScanRequest) -> Beside:
    return read_beside(str(request.after), str(request.before))


def _check(pair: CheckpointPair) -> None:
    """Refuse what is no pair of whole language models. Raises :class:`UnknownArchitecture`."""
    for side in (pair.before, pair.after):
        if not side.format.endswith("safetensors") or pair.lora:
            what = "an adapter" if pair.lora else side.format
            raise UnknownArchitecture(
                f"Of causal language models, whole weights in safetensors files are read, and {side.path} is {what}.",
                f"{FOLDERS} PEFT merges an adapter into its base with merge_and_unload.",
            )
    if pair.fresh:
        raise UnknownArchitecture(
            f"The file from before lacks {min(pair.fresh)}, without which a language model tells no token.", FOLDERS
        )
