"""Sentences read off a change: which tokens training saw, where they stood, and which of them stood together."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from .contract.attack import Reconstruction, State, Unsupported, only, require
from .contract.card import Card, Sight
from .contract.recipe import Recipe
from .contract.victim import Victim
from .layers.inputs import middle
from .text.adding import one_more
from .text.evidence import Evidence
from .text.filling import WHOLE, filled
from .text.frozen import read_frozen
from .text.grouping import APART, SIGNED, Together, additive, heads, seen_of, together
from .text.medium import sentences_of
from .text.probe import Probe
from .text.reading import Reading, only_sentence, read
from .text.settling import completed, improved, whole_sentences
from .text.tables import Tables, tables
from .text.whole import NODES, Whole

FILLING, SETTLING, CLOSED = 0, 1, 2
"""Gaps are filled sentence by sentence; then all sentences explain all that was read. One alone is read at once."""

DOUBT = "a few strong signals are most of what was read, and wrong sentences can explain these too"

EARLY = 0.2
"""Adam's first steps are as long as its last: signals are taken at this share of where SGD's are."""

FRAGMENT = 0.02
"""A sentence is left out that explains less of what was read than this share of what one of as many does on average."""

MOST = 200
"""Times, at most, that the sentences are changed in the second stage."""

ADDED = 8
"""Sentences, at most, that are added to those that tokens were grouped to."""

HIDDEN = 0.25
"""A sentence may be hidden where more is left than this share of what one of as many explains on average."""


def _joins(sight: Sight) -> tuple[bool, str]:
    if sight.legible:
        return True, f"reads tokens and their places off the change; {sight.samples}"
    return False, "needs records of tokens, and a change that shows them"


@dataclass(frozen=True)
class Tokens:
    """Tokens by the rows of the embeddings that moved, and sentences by the signals that tokens share.

    A word's row of the embeddings gets the signal of the places where it stands, and so do the rows of these places:
    which tokens training saw is exact, and least squares place those that stand at one place
    (:mod:`.text.reading`). Tokens whose signals come back through the first block's values alike stood in one sentence
    (:mod:`.text.grouping`). What is left, repeated tokens above all, is a search: each sentence is scored by the
    signals that it alone would cause half-way through training, which a wrong token disturbs at all others, and in the
    end all sentences by how much of all that was read they explain. After DAGER (Petrov et al., NeurIPS 2024) and LAMP
    (Balunovic et al., NeurIPS 2022), for the change of a whole training in place of one gradient.

    Attributes:
        iterations: Most steps; each looks at one sentence.
        tolerance: Unused as evidence: wrong sentences can explain most of what was read, so that this attack never ends
            as converged.
    """

    name: ClassVar[str] = "tokens"
    card: ClassVar[Card] = Card(
        goal="The words of the training sentences, exactly, and whole sentences in their order.",
        knowledge="The tokenizer. No labels, no recipe but the kind of optimiser.",
        source="memaudit, after Petrov et al., NeurIPS 2024",
        blind=True,
        rule=_joins,
        place=22,
    )
    deterministic: ClassVar[bool] = True
    iterations: int = 2000
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        require(self, ("iterations",), ("tolerance",))

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Read tokens and places, and group them. Raises :class:`.Unsupported` where no table of words was trained."""
        only("text", "tokens", victim)
        found = tables(victim)
        seen = read(victim, found, recipe.optimizer != "sgd") or _unmoved(victim, recipe, found)
        if not len(seen.tokens):
            raise Unsupported("no row of the word embeddings moved by more than its rounding.")
        evidence = _evidence(victim, recipe, found, seen, 0.5)
        alone = None if evidence.signed else only_sentence(seen.signals, seen.rows)
        ids, members = _begun(victim, found, evidence, seen.rows) if alone is None else _closed(evidence, seen, alone)
        fit = evidence.fit(ids)
        order = fit.power.argsort(descending=True, stable=True)
        constants = {
            "ids": ids[order], "labels": fit.labels[order], "members": members[order],
            "stage": torch.tensor(FILLING if alone is None else CLOSED), "turn": torch.tensor(0),
            "thorough": torch.tensor(False), "added": torch.tensor(0), "places": seen.places, "tokens": seen.tokens,
        }  # fmt: skip
        memory = {"signals": seen.signals, "rows": seen.rows}
        state = State(0, {"x": victim.medium.encode(ids[order])}, constants, memory)
        return replace(state, loss=_left(_remembered(victim, recipe, state), ids[order], fit.labels[order]))

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Fill gaps of one sentence, or change those sentences where that explains more."""
        stage = int(state.constants["stage"])
        if stage == CLOSED:
            return replace(state, step=state.step + 1, terms={"sentences": 1.0}, done=True)
        whole, filling = _remembered(victim, recipe, state), stage == FILLING
        following = _filled(whole, state) if filling else _settled(whole, state)
        x = victim.medium.encode(following.constants["ids"])
        done = following.done or state.step + 1 >= self.iterations
        terms = {"sentences": float(len(x))}
        return replace(following, step=state.step + 1, variables={"x": x}, terms=terms, done=done)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the sentences, those that explain most first."""
        ids, labels = state.constants["ids"], state.constants["labels"]
        whole = _remembered(victim, recipe, state)
        added, left = whole.explained(whole.parts(ids, labels))
        influence = torch.linalg.vector_norm(added, dim=1).to(victim.like)
        return Reconstruction(ids, victim.medium.encode(ids), labels, influence, left, doubt=DOUBT)


def _filled(whole: Whole, state: State) -> State:
    """Fill gaps of the sentence whose turn it is; after the last one all sentences are made whole."""
    known, turn = state.constants, int(state.constants["turn"])
    ids = known["ids"].clone()
    ids[turn] = filled(whole.middle, ids[turn], known["members"][turn])
    if not torch.equal(ids, known["ids"]):
        return replace(state, constants={**known, "ids": ids})
    constants = {**known, "turn": torch.tensor(turn + 1)}
    if turn + 1 >= len(ids):
        labels = whole.middle.fit(ids).labels
        ids = whole_sentences(whole, ids, labels, known["members"])
        constants |= {"ids": ids, "labels": labels, "stage": torch.tensor(SETTLING), "turn": torch.tensor(0)}
    return replace(state, constants=constants, loss=_left(whole, constants["ids"], constants["labels"]))


def _left(whole: Whole, ids: Tensor, labels: Tensor) -> float:
    """Return which share of what was read sentences leave."""
    return whole.explained(whole.parts(ids, labels))[1]


def _settled(whole: Whole, state: State) -> State:
    """Make those changes of sentences that explain more of what was read."""
    known, thorough, turn = state.constants, bool(state.constants["thorough"]), int(state.constants["turn"])
    ids, left = improved(whole, known["ids"], known["labels"], known["members"], thorough)
    constants, done = {**known, "turn": torch.tensor(turn + 1)}, turn + 1 >= MOST
    if ids is not None:
        constants |= {"ids": ids, "thorough": torch.tensor(False)}
    elif not thorough:
        constants |= {"thorough": torch.tensor(True)}
    elif (more := _with_one_more(whole, known, left)) is not None:
        constants |= {**more, "thorough": torch.tensor(False)}
    else:
        kept = _without_fragments(whole, known, len(known["tokens"]))
        constants, done = {**constants, **kept}, len(kept["ids"]) == len(known["ids"])
        left = left if done else _left(whole, kept["ids"], kept["labels"])
    return replace(state, constants=constants, loss=left, done=done)


def _with_one_more(whole: Whole, known: Mapping[str, Tensor], left: float) -> dict[str, Tensor] | None:
    """Return the sentences and one more, where that explains more than a fragment would; ``None`` where none does."""
    ids, labels, members = known["ids"], known["labels"], known["members"]
    if whole.middle.signed or int(known["added"]) >= ADDED or left < HIDDEN / len(ids):
        return None
    row, label, gain = one_more(whole, ids, labels)
    if gain < FRAGMENT / len(ids):
        return None
    some = {"ids": row[None], "labels": labels.new_tensor([label]), "members": torch.ones_like(members[:1])}
    return {**{name: torch.cat([known[name], own]) for name, own in some.items()}, "added": known["added"] + 1}


def _unmoved(victim: Victim, recipe: Recipe, found: Tables) -> Reading:
    """Return what the first layers show where the embeddings were not trained. Raises :class:`.Unsupported`."""
    if recipe.optimizer != "sgd":
        raise Unsupported(
            f"the word embeddings were not trained, and under {recipe.optimizer} no layer's change spans what it saw."
        )
    seen = read_frozen(victim, found, victim.theta0)
    if seen is None:
        raise Unsupported(
            "the word embeddings were not trained, and the first layers' changes do not tell which tokens these saw."
        )
    return seen


def _evidence(victim: Victim, recipe: Recipe, found: Tables, seen: Reading, node: float) -> Evidence:
    paths = (found.word,) if f"{found.word}.weight" in victim.delta else found.first
    node = node if recipe.optimizer == "sgd" else EARLY * node
    probe = Probe(victim, {**victim.buffers, **middle(victim, node)}, found.word, paths)
    return Evidence(probe, seen.tokens, seen.signals, seen.places, recipe.optimizer != "sgd")


def _remembered(victim: Victim, recipe: Recipe, state: State) -> Whole:
    """Return what was read, as a state holds it."""
    known = state.constants
    seen = Reading(known["tokens"], state.memory["signals"], known["places"], state.memory["rows"])
    return _whole(victim, recipe, tables(victim), seen)


def _whole(victim: Victim, recipe: Recipe, found: Tables, seen: Reading) -> Whole:
    nodes = tuple(_evidence(victim, recipe, found, seen, node) for node in NODES)
    return Whole(nodes, _evidence(victim, recipe, found, seen, 0.5), seen.rows)


def _closed(evidence: Evidence, seen: Reading, alone: Tensor) -> tuple[Tensor, Tensor]:
    """Return one sentence (1, L) as it was read, and that all tokens stood in it."""
    ids = torch.full((1, evidence.probe.victim.shape[0]), evidence.pad)
    ids[0, : len(alone)] = seen.tokens[alone]
    return ids, torch.ones(1, len(seen.tokens), dtype=torch.bool)


def _begun(victim: Victim, found: Tables, evidence: Evidence, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return (n, L) what is sure of each sentence, and (n, t) its tokens. Raises :class:`.Unsupported`."""
    stood = _together(victim, found, evidence, len(rows) or victim.shape[0])
    if not stood.groups:
        raise Unsupported("what other tokens saw of each does not show, so that no sentence can be begun.")
    pairs = zip(stood.groups, stood.lengths.tolist(), strict=True)
    return torch.stack([evidence.started(group, length) for group, length in pairs]), stood.members


def _together(victim: Victim, found: Tables, evidence: Evidence, length: int) -> Together:
    """Return which tokens stood together, by what the first block's values show. Raises :class:`.Unsupported`."""
    path, medium = found.value(), sentences_of(victim)
    if f"{path}.weight" not in victim.delta:
        return Together([], torch.zeros(0, len(evidence.tokens)).bool(), torch.zeros(0))
    width, count = victim.delta[f"{path}.weight"].shape[1], len(evidence.tokens)
    if count + length >= width:
        raise Unsupported(f"training saw {count} different tokens, more than a layer of {width} inputs tells apart.")
    seen = seen_of(victim, victim.theta0, path, evidence.tokens, length)
    parts = additive(victim.delta[f"{path}.weight"].double().cpu(), seen)
    words, places = (part.view(len(part), heads(victim), -1) for part in parts)
    inner = (evidence.tokens != medium.first) & (evidence.tokens != medium.last)
    return together(words, places, evidence.places.tolist(), inner, SIGNED if evidence.signed else APART)


def _without_fragments(whole: Whole, known: Mapping[str, Tensor], most: int = WHOLE - 1) -> dict[str, Tensor]:
    """Return sentences and what belongs to them without those that explain next to nothing that the others do not.

    Args:
        whole: What was read.
        known: The sentences ``ids`` (n, L), their ``labels`` and ``members``.
        most: Tokens that stand at one place that a sentence has, at most, for it to be left out.
    """
    ids, labels, kept = known["ids"], known["labels"], list(range(len(known["ids"])))
    if not whole.middle.signed:  # what is explained under Adam is too small a part to tell by
        parts = whole.parts(ids, labels)
        left = whole.explained(parts)[1]
        for row in reversed(range(len(ids))):
            rest = [other for other in kept if other != row]
            few = int(whole.middle.stands(ids[row][None]).sum()) <= most
            if few and rest and (less := whole.explained(parts[rest])[1]) - left < FRAGMENT / len(kept):
                kept, left = rest, less
    found = {name: known[name][kept] for name in ("ids", "labels", "members")}
    return found if len(kept) == len(ids) else found | {"ids": completed(whole, found["ids"], found["labels"])}
