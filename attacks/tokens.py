"""Sentences read off a change: which tokens training saw, where they stood, and which of them stood together."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from .contract.attack import Reconstruction, State, Unsupported, only, require
from .contract.card import Card, Sight
from .contract.recipe import Recipe
from .contract.victim import Victim
from .layers.inputs import middle
from .text.evidence import TRIED, Evidence
from .text.filling import WHOLE, closed, filled
from .text.frozen import read_frozen
from .text.grouping import Group, back, grouped, seen_by
from .text.probe import Probe
from .text.reading import Reading, only_sentence, read
from .text.settling import NODES, Whole, completed, held
from .text.tables import Tables, tables

FILLING, SETTLING, CLOSED = 0, 1, 2
"""Gaps are filled sentence by sentence; then all sentences explain all that was read. One alone is read at once."""

SMALL = 1e-5
"""A change of a sentence counts if it explains more than this share of what was read."""

DOUBT = "a few strong signals are most of what was read, and wrong sentences can explain these too"

EARLY = 0.2
"""Adam's first steps are as long as its last: signals are taken at this share of where SGD's are."""

FRAGMENT = 0.25
"""A sentence is left out that explains less of what was read than this share of what one of as many does on average."""

THOROUGH = 24
"""Tokens that are tried at a place once the likely ones bring nothing more."""

SWEEPS = 6
"""Times, at most, that every sentence is looked at in the second stage."""


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
        ids = _begun(victim, found, evidence) if alone is None else _padded(seen.tokens[alone], victim, evidence)
        stage = torch.tensor(FILLING if alone is None else CLOSED)
        fit = evidence.fit(ids)
        order = fit.power.argsort(descending=True, stable=True)
        constants = {
            "ids": ids[order], "labels": fit.labels[order], "stage": stage, "turn": torch.tensor(0),
            "quiet": torch.tensor(0), "places": seen.places, "tokens": seen.tokens,
        }  # fmt: skip
        memory = {"signals": seen.signals, "rows": seen.rows}
        state = State(0, {"x": victim.medium.encode(ids[order])}, constants, memory)
        _, left = _remembered(victim, recipe, state).explained(ids[order], fit.labels[order])
        return replace(state, loss=left)

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Look at one sentence."""
        stage = int(state.constants["stage"])
        if stage == CLOSED:
            return replace(state, step=state.step + 1, terms={"sentences": 1.0}, done=True)
        whole, filling = _remembered(victim, recipe, state), stage == FILLING
        following = self._filled(whole, state) if filling else self._settled(whole, state)
        x = victim.medium.encode(following.constants["ids"])
        done = following.done or state.step + 1 >= self.iterations
        return replace(following, step=state.step + 1, variables={"x": x}, done=done)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the sentences, those that explain most first."""
        ids, labels = state.constants["ids"], state.constants["labels"]
        added, left = _remembered(victim, recipe, state).explained(ids, labels)
        influence = torch.linalg.vector_norm(added, dim=1).to(victim.like)
        return Reconstruction(ids, victim.medium.encode(ids), labels, influence, left, doubt=DOUBT)

    def _filled(self, whole: Whole, state: State) -> State:
        """Fill gaps of the sentence whose turn it is; one whose tokens all stand in others is left out."""
        evidence, ids, turn = whole.middle, state.constants["ids"], int(state.constants["turn"])
        after = filled(evidence, ids[turn], closed(evidence, ids, turn))
        moved = not torch.equal(after, ids[turn])
        made = ids.clone()
        made[turn] = after
        constants = {**state.constants, "ids": made}
        if not moved:
            kept = _unabsorbed(evidence, made, turn)
            constants |= {"ids": made[kept], "labels": state.constants["labels"][kept]}
            turn += 1
        if turn >= len(constants["ids"]):
            constants |= {"stage": torch.tensor(SETTLING), "labels": evidence.fit(constants["ids"]).labels}
            turn = 0
            constants |= _completed(whole, constants["ids"], constants["labels"])
        ids, labels = constants["ids"], constants["labels"]
        left = state.loss if moved else whole.explained(ids, labels)[1]
        constants = {**constants, "turn": torch.tensor(turn)}
        return replace(state, constants=constants, loss=left, terms={"sentences": float(len(ids))})

    def _settled(self, whole: Whole, state: State) -> State:
        """Make the one change of a sentence that explains more of what the others leave."""
        ids, labels, turn = state.constants["ids"], state.constants["labels"], int(state.constants["turn"])
        row = turn % len(ids)
        added, left = whole.explained(ids, labels)
        target = whole.target.flatten()
        rest = target - added.sum(0) + added[row]
        quiet = int(state.constants["quiet"])
        tried = TRIED if quiet < len(ids) else THOROUGH
        after, gain = whole.improved(rest, ids[row], int(labels[row]), held(whole.middle, ids, row), tried)
        moved = not torch.equal(after, ids[row]) and (gain > SMALL * float(target.square().sum()) or gain == 1e-30)
        made = ids.clone()
        if moved:
            made[row] = after
        quiet = 0 if moved else quiet + 1
        turn += not moved
        done = quiet >= 2 * len(ids) or turn >= SWEEPS * len(ids)
        constants = {**state.constants, "ids": made, "turn": torch.tensor(turn), "quiet": torch.tensor(quiet)}
        if done:
            kept = _without_fragments(whole, made, labels, whole.target.shape[0])
            constants |= kept
            if len(kept["ids"]) < len(ids):
                constants |= {"ids": completed(whole, **kept), "turn": torch.tensor(0), "quiet": torch.tensor(0)}
                done = False
        return replace(state, constants=constants, loss=left, terms={"sentences": float(len(ids))}, done=done)


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


def _padded(tokens: Tensor, victim: Victim, evidence: Evidence) -> Tensor:
    """Return the tokens of one sentence as (1, L)."""
    ids = torch.full((1, victim.shape[0]), evidence.pad)
    ids[0, : len(tokens)] = tokens
    return ids


def _begun(victim: Victim, found: Tables, evidence: Evidence) -> Tensor:
    """Return (n, L) what is sure of each sentence. Raises :class:`.Unsupported`."""
    groups = _groups(victim, found, evidence)
    if not groups:
        raise Unsupported("no token stands at one place alone, so that no sentence can be begun.")
    return torch.stack([evidence.started(group) for group in groups])


def _groups(victim: Victim, found: Tables, evidence: Evidence) -> list[Group]:
    """Return the rows of tokens that stood in one sentence, of tokens that stand at one place."""
    sure = (evidence.places >= 0).nonzero().flatten()
    path, params = found.value(), evidence.probe.params
    if not len(sure) or f"{path}.weight" not in victim.delta:
        return []
    tokens, places = evidence.tokens[sure], evidence.places[sure]
    others = evidence.tokens[evidence.places < 0]
    everywhere = torch.arange(victim.shape[0])
    rest = seen_by(victim, params, path, others.repeat_interleave(len(everywhere)), everywhere.repeat(len(others)))
    signals = back(victim.delta[f"{path}.weight"], seen_by(victim, params, path, tokens, places), rest)
    signals = torch.ones_like(signals) if evidence.signed else signals
    powers: dict[Group, float] = {}

    def power(group: Group) -> float:
        if group not in powers:
            powers[group] = float(evidence.fit(evidence.started(sure[list(group)].tolist())[None]).power)
        return powers[group]

    found_groups = grouped(
        signals, places.tolist(), lambda one, two: power(tuple(sorted(one + two))) > power(one) + power(two)
    )
    return [tuple(sure[list(group)].tolist()) for group in found_groups]


def _completed(whole: Whole, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return sentences and labels without fragments, and with every token that is sure."""
    kept = _without_fragments(whole, ids, labels)
    return {**kept, "ids": completed(whole, **kept)}


def _without_fragments(whole: Whole, ids: Tensor, labels: Tensor, most: int = WHOLE - 1) -> dict[str, Tensor]:
    """Return sentences and labels without those that explain next to nothing that the others do not.

    Args:
        whole: What was read.
        ids: (n, L) the sentences.
        labels: (n,) their classes.
        most: Tokens that stand at one place that a sentence has, at most, for it to be left out.
    """
    kept = list(range(len(ids)))
    if whole.middle.signed:  # what is explained under Adam is too small a part to tell by
        return {"ids": ids, "labels": labels}
    left = whole.explained(ids, labels)[1]
    for row in reversed(range(len(ids))):
        rest = [other for other in kept if other != row]
        few = int(whole.middle.stands(ids[row][None]).sum()) <= most
        if few and rest and whole.explained(ids[rest], labels[rest])[1] - left < FRAGMENT / len(kept):
            kept, left = rest, whole.explained(ids[rest], labels[rest])[1]
    return {"ids": ids[kept], "labels": labels[kept]}


def _unabsorbed(evidence: Evidence, ids: Tensor, turn: int) -> Tensor:
    """Return which sentences stay: not those behind the one whose turn it is that lost all that is sure to others."""
    sure = set(evidence.tokens[evidence.places >= 0].tolist())
    known = [sure & set(row) for row in ids.tolist()]
    have = set().union(*known[: turn + 1])
    gone = [row > turn and len(known[row]) < WHOLE and known[row] <= have for row in range(len(ids))]
    return torch.tensor([row for row, left_out in enumerate(gone) if not left_out])
