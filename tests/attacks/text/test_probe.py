"""Signals of tokens: derivatives of the loss by what a module gives."""

import torch

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.text.probe import Probe
from memaudit.attacks.text.tables import tables

from ...hf import encoded, victim

SAID = ("the old baker sold a green kettle .", "her violin broke")
LABELS = torch.tensor([0, 1])
RECIPE = Recipe(size=2, lr=0.02, batch_size=2, epochs=1)


def probe():
    subject = victim(SAID, LABELS.tolist(), RECIPE)
    return Probe(subject, subject.theta0, tables(subject).word, (tables(subject).word,))


def ids_of(made):
    return encoded(SAID)[:, : made.victim.shape[0]]


def test_signals_add_up_to_the_change_of_the_table_in_one_step():
    made = probe()
    ids, name = ids_of(made), f"{made.word}.weight"
    signals = made.signals(ids, LABELS)
    expected = torch.zeros_like(made.victim.theta0[name]).index_add(0, ids.flatten(), signals.flatten(0, 1))
    assert torch.allclose(-RECIPE.lr / 2 * expected, made.victim.delta[name], atol=1e-12)


def test_the_padding_gets_none():
    made = probe()
    ids = ids_of(made)
    assert not made.signals(ids, LABELS)[ids == 0].any()


def test_signals_of_one_sentence_do_not_depend_on_others():
    made = probe()
    ids = ids_of(made)
    together = made.signals(ids, LABELS)
    alone = torch.cat([made.signals(ids[k : k + 1], LABELS[k : k + 1]) for k in range(2)])
    assert torch.allclose(together, alone, atol=1e-12)


def test_in_gaps_the_mean_of_all_tokens_stands_whatever_the_token():
    made = probe()
    ids = ids_of(made)
    gaps = torch.zeros_like(ids, dtype=torch.bool)
    gaps[:, 3] = True
    other = torch.where(gaps, ids.roll(1, 0), ids)
    assert torch.allclose(made.signals(ids, LABELS, gaps), made.signals(other, LABELS, gaps), atol=1e-12)
    assert not torch.allclose(made.signals(ids, LABELS, gaps), made.signals(ids, LABELS), atol=1e-6)
