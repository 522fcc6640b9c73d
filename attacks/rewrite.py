"""Sentences rewritten, a few tokens at a time, until training simulated on them ends at the real final parameters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from .contract.attack import Reconstruction, State, Unsupported, generator, only, require
from .contract.card import Card, Sight
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain.labels import guess
from .simulation.dynamics import batch_plan
from .simulation.losses import CROSS_ENTROPY, goal_of
from .text.edits import Edit, Promises, content, sentence
from .text.medium import Tokens, sentences_of
from .text.reading import Reading, read
from .text.replay import Replay, simulated
from .text.tables import tables
from .text.watch import Narrow, Watch, narrowed

GAIN = 1e-5
"""An edit counts where the replayed distance falls by more than this."""

LARGEST, LONGEST = 16, 100
"""Sentences and steps of a training, at most, for the search to be worth its time in the default plan."""

TOGETHER = (2, 4, 8, 16)
"""So many of the best edits that do not meet are tried together."""

THOROUGH = 4
"""Times as many edits that are tried before a search counts as stuck."""

PATIENCE = 3
"""Steps without a lower loss after which the best sentences are disturbed."""

KICK = 3
"""Pairs of tokens that a disturbance exchanges."""


def _joins(sight: Sight) -> tuple[bool, str]:
    if not sight.legible:
        return False, "needs records of tokens, and a change that shows them"
    if not sight.adaptive:
        return False, "left to tokens: under SGD it reads whole sentences without simulating"
    if sight.size > LARGEST or sight.steps > LONGEST:
        return False, f"too slow beyond {LARGEST} sentences or {LONGEST} steps; {sight.samples}, {sight.steps} steps"
    return True, f"simulates the training on what tokens found; {sight.samples}"


@dataclass(frozen=True)
class Rewrite:
    """The discrete phase of LAMP for the change of a whole training, with the objective of SimuDy.

    After LAMP (Balunovic et al., NeurIPS 2022, section 4: tokens exchanged and moved where that explains a gradient
    better) and SimuDy (Tian et al., ICLR 2025, appendix C.7: sentences out of the change of a training). It starts from
    the sentences of :class:`.tokens.Tokens`, or from what training saw, dealt out at random. Each step trains on the
    present sentences: the cosine distance of that change from the real one, over all parameters but the rows of words
    that training never saw, is the loss. Then edits are tried in the training replayed along this course
    (:mod:`.text.replay`): other tokens, exchanges, moves, labels. Where none helps, or the loss no longer falls, the
    best sentences are disturbed. There is no language model and no continuous phase: the words seen are known.

    Attributes:
        iterations: Most steps.
        rounds: Rounds of edits in a step, between two simulations.
        nodes: Points of the course at which gradients are taken.
        few: Edits of a sort that are tried in a round: exchanges, moves, crossings, longer and shorter sentences.
        most: Single tokens that are tried in a round.
        tolerance: The attack counts as converged when its loss, the cosine distance, is at most this: two neighbouring
            words exchanged already cause ten times as much (docs/attacks.md).
    """

    name: ClassVar[str] = "rewrite"
    card: ClassVar[Card] = Card(
        goal="Whole training sentences: those whose simulated training best explains the change of the parameters.",
        knowledge="The tokenizer; the training recipe, given or inferred, with the number of sentences. No labels.",
        source="memaudit, after Balunovic et al., NeurIPS 2022, and Tian et al., ICLR 2025",
        simulates=True,
        starts_from="tokens",
        rule=_joins,
        place=62,
    )
    iterations: int = 40
    rounds: int = 3
    nodes: int = 4
    few: int = 8
    most: int = 40
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        require(self, ("iterations", "rounds", "nodes", "few", "most"), ("tolerance",))

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Deal out the tokens that training saw.

        Raises:
            Unsupported: No table of words was trained, or by another loss than cross-entropy.
        """
        only("text", "rewrite", victim)
        if goal_of(recipe) != CROSS_ENTROPY:
            raise Unsupported("edits are replayed with the cross-entropy alone, without label smoothing.")
        gen, seen = generator(seed), _reading(victim, recipe)
        tokens = seen.tokens[torch.randperm(len(seen.tokens), generator=gen)]
        ids = _dealt(victim, [tokens[k :: recipe.size].tolist() for k in range(recipe.size)])
        labels, plan = guess(victim, recipe, gen), batch_plan(recipe, recipe.size, gen)
        return _fresh(victim, ids, labels, {"plan": plan, "tokens": seen.tokens, "seed": torch.tensor(seed)})

    def started(self, victim: Victim, recipe: Recipe, state: State, start: State) -> State:
        """Return the state with the longest sentences of another attack's, further ones of what these leave out."""
        found, known = victim.medium.records(start.variables["x"]), start.constants["labels"]
        order = (found != sentences_of(victim).pad).sum(1).argsort(descending=True, stable=True)[: recipe.size]
        rows = [content(sentences_of(victim), row) for row in found[order]]
        tokens, missing = state.constants["tokens"], recipe.size - len(rows)
        left = [token for token in tokens.tolist() if all(token not in row for row in rows)]
        rows += [left[k::missing] for k in range(missing)]
        labels = state.constants["labels"].clone()
        if recipe.labels is None:
            labels[: len(order)] = known[order]
        kept = {name: state.constants[name] for name in ("plan", "tokens", "seed")}
        return _fresh(victim, _dealt(victim, rows), labels, kept)

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Train on the present sentences, and make the edits that bring the replayed change closer."""
        small = _narrowed(victim, state)
        ids, labels, plan = small.numbers(state.constants["ids"]), state.constants["labels"], state.constants["plan"]
        course = simulated(small.victim, recipe, ids, labels, plan, self.nodes)
        replay = Replay(Watch(small.victim, tables(victim)), recipe, plan, course)
        state = _noted(replay, ids, state)
        allowed = small.numbers(state.constants["tokens"])
        done = course.loss <= self.tolerance
        after = None if done else self._edited(replay, ids, labels, allowed, recipe)
        constants = dict(state.constants)
        if after is not None and int(constants["quiet"]) < PATIENCE:
            constants |= {"ids": small.kept[after[0]], "labels": after[1]}
        elif not done:
            constants |= _kicked(sentences_of(victim), constants, state.step)
        x = victim.medium.encode(constants["ids"])
        over = done or state.step + 1 >= self.iterations
        return replace(state, step=state.step + 1, variables={"x": x}, constants=constants, done=over)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the sentences whose simulated training came closest, those that moved most first."""
        order = state.memory["influence"].argsort(descending=True, stable=True)
        ids, labels = state.constants["best_ids"][order.cpu()], state.constants["best_labels"][order.cpu()]
        loss = float(state.memory["best_loss"])
        return Reconstruction(ids, victim.medium.encode(ids), labels, state.memory["influence"][order], loss)

    def _edited(
        self, replay: Replay, ids: Tensor, labels: Tensor, allowed: Tensor, recipe: Recipe
    ) -> tuple[Tensor, Tensor] | None:
        """Return sentences and labels after some rounds of edits; ``None`` where none helps."""
        counted, edited = recipe.labels is not None, None
        for number in range(self.rounds):
            found = _round(replay, ids, labels, allowed, self.few, self.most, counted)
            if found is None and not number:
                found = _round(replay, ids, labels, allowed, THOROUGH * self.few, THOROUGH * self.most, counted)
            if found is None:
                break
            ids, labels = edited = found
        return edited


def _reading(victim: Victim, recipe: Recipe) -> Reading:
    """Return what the table of words shows. Raises :class:`.Unsupported` where that is nothing."""
    seen = read(victim, tables(victim), recipe.optimizer != "sgd")
    if seen is None:
        raise Unsupported("the word embeddings were not trained, so that the words which training saw are not known.")
    medium = sentences_of(victim)
    tokens = seen.tokens[~torch.isin(seen.tokens, torch.tensor([medium.first, medium.last]))]
    if not len(tokens):
        raise Unsupported("no row of the word embeddings moved by more than its rounding.")
    return replace(seen, tokens=tokens)


def _dealt(victim: Victim, rows: Sequence[Sequence[int]]) -> Tensor:
    return torch.stack([sentence(sentences_of(victim), row) for row in rows])


def _fresh(victim: Victim, ids: Tensor, labels: Tensor, kept: Mapping[str, Tensor]) -> State:
    best = {"best_ids": ids, "best_labels": labels}
    constants = {**kept, "ids": ids, "labels": labels, **best, "quiet": torch.tensor(0)}
    memory = {"best_loss": victim.like.new_tensor(math.inf), "influence": victim.like.new_zeros(len(ids))}
    return State(0, {"x": victim.medium.encode(ids)}, constants, memory)


def _narrowed(victim: Victim, state: State) -> Narrow:
    return narrowed(victim, tables(victim), state.constants["tokens"])


def _noted(replay: Replay, ids: Tensor, state: State) -> State:
    """Return the state with the loss of its sentences, and with these as the best where they are."""
    loss, known = replay.course.loss, state.constants
    better = loss < float(state.memory["best_loss"])
    quiet = torch.tensor(0) if better else known["quiet"] + 1
    constants, memory = {**known, "quiet": quiet}, dict(state.memory)
    if better:
        constants |= {"best_ids": known["ids"], "best_labels": known["labels"]}
        total = replay.gradients(ids, known["labels"]).mean(0)
        memory["best_loss"] = memory["best_loss"].new_tensor(loss)
        memory["influence"] = torch.linalg.vector_norm(total, dim=1).to(memory["influence"])
    return replace(state, constants=constants, memory=memory, loss=loss)


def _kicked(medium: Tokens, known: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
    """Return the best sentences with a few pairs of tokens exchanged and one token more, and their labels."""
    gen = generator(1_000_003 * int(known["seed"]) + step)
    rows = [content(medium, row) for row in known["best_ids"]]
    spots = [(row, place) for row, tokens in enumerate(rows) for place in range(len(tokens))]
    order = torch.randperm(len(spots), generator=gen).tolist()[: 2 * KICK]
    for (row, place), (other, spot) in zip(*([spots[k] for k in order[part::2]] for part in (0, 1)), strict=False):
        rows[row][place], rows[other][spot] = rows[other][spot], rows[row][place]
    tokens, row = known["tokens"].tolist(), int(torch.randint(len(rows), (), generator=gen))
    missing = [token for token in tokens if all(token not in some for some in rows)] or tokens
    place = int(torch.randint(len(rows[row]) + 1, (), generator=gen))
    rows[row].insert(place, missing[int(torch.randint(len(missing), (), generator=gen))])
    ids = torch.stack([sentence(medium, some) for some in rows])
    return {"ids": ids, "labels": known["best_labels"], "quiet": torch.tensor(0)}


def _round(
    replay: Replay, ids: Tensor, labels: Tensor, allowed: Tensor, few: int, most: int, counted: bool
) -> tuple[Tensor, Tensor] | None:
    """Return sentences and labels after the best edits of one round, ``None`` where none helps.

    Args:
        replay: Training replayed.
        ids: (n, L) sentences.
        labels: (n,) their classes.
        allowed: (t,) tokens that may stand in them.
        few: As in :class:`Rewrite`.
        most: The same.
        counted: It is known how many sentences each class has.
    """
    medium, signals = replay.watch.medium, replay.signals(ids, labels)
    gains = torch.full((*ids.shape, len(medium.table)), -torch.inf).to(signals)
    gains[..., allowed] = replay.promises(ids, signals)[..., allowed]
    edits = [
        *Promises(medium, ids, gains.cpu()).all(few, most),
        *_labelled(labels, replay.watch.victim.categories, counted),
    ]
    made = [edit.made(ids, labels) for edit in edits]
    pairs = [(edit, row) for edit in range(len(edits)) for row in sorted(edits[edit].touched)]
    rows = torch.stack([made[edit][0][row] for edit, row in pairs])
    classes = torch.stack([made[edit][1][row] for edit, row in pairs])
    which: list[list[tuple[int, int]]] = [[] for _ in range(len(edits) + 1)]
    for number, (edit, row) in enumerate(pairs):
        which[edit + 1].append((row, number))
    own = torch.stack([replay.watch.gradients(part, ids) for part in signals])
    found = replay.distances(own, replay.gradients(rows, classes), which)
    falls = (found[0] - found[1:]).tolist()
    order = sorted((k for k, fall in enumerate(falls) if fall > GAIN), key=lambda k: -falls[k])
    return _together(replay, own, ids, labels, [edits[k] for k in order], float(found.min())) if order else None


def _together(
    replay: Replay, own: Tensor, ids: Tensor, labels: Tensor, edits: Sequence[Edit], alone: float
) -> tuple[Tensor, Tensor]:
    """Return sentences and labels after as many of the edits, best first, as help together.

    Args:
        replay: Training replayed.
        own: (K, n, F) gradients of the present sentences.
        ids: (n, L) these.
        labels: (n,) their classes.
        edits: Those that help, the best first.
        alone: The distance that the best one reaches.
    """
    chosen: list[Edit] = []
    for edit in edits:
        if not any(edit.meets(other) for other in chosen):
            chosen.append(edit)
    best, least = edits[0].made(ids, labels), alone
    for count in TOGETHER:
        if count // 2 >= len(chosen):
            break
        made = ids, labels
        for edit in chosen[:count]:
            made = edit.made(*made)
        whole = [(row, row) for row in range(len(ids))]
        found = float(replay.distances(own, replay.gradients(*made), [whole]))
        if found < least:
            best, least = made, found
    return best


def _labelled(labels: Tensor, classes: int, counted: bool) -> list[Edit]:
    """Return edits of the classes (n,) of sentences: other ones, or exchanged where their counts are known."""
    rows = list(enumerate(labels.tolist()))
    if counted:
        return [Edit(labels={a: two, b: one}) for a, one in rows for b, two in rows[a + 1 :] if one != two]
    return [Edit(labels={row: label}) for row, own in rows for label in range(classes) if label != own]
