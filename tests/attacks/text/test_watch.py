"""A network cut to the words that training saw, and what sentences add to the gradient of these."""

import torch

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.simulation.trainstep import gradient
from memaudit.attacks.text.reading import read
from memaudit.attacks.text.tables import tables
from memaudit.attacks.text.watch import Watch, narrowed, used

from ...hf import encoded, victim

SAID, LABELS = ("a boy saw the cat .", "my old lamp broke again !"), (0, 1)
SGD = Recipe(size=2, lr=0.05, batch_size=2, epochs=3)


def cut(subject):
    found = tables(subject)
    return narrowed(subject, found, read(subject, found).tokens), found


def test_a_narrow_network_says_what_the_whole_one_says():
    for kind in ("bert", "roberta", "distilbert"):
        subject = victim(SAID, LABELS, SGD, kind=kind)
        small, _ = cut(subject)
        ids = encoded(SAID, kind)[:, : subject.shape[0]]
        new = small.numbers(ids)
        assert torch.equal(small.kept[new], ids)
        assert len(small.kept) < len(subject.medium.table)
        whole = subject.logits(subject.theta0, ids.double())
        assert torch.allclose(small.victim.logits(small.victim.theta0, new.double()), whole)
        assert int(small.kept[small.victim.medium.first]) == subject.medium.first


def test_gradients_are_those_of_the_tables():
    subject = victim(SAID, LABELS, SGD)
    small, found = cut(subject)
    ids, labels = small.numbers(encoded(SAID)[:, : subject.shape[0]]), torch.tensor(LABELS)
    watch, params = Watch(small.victim, found), small.victim.theta0
    own = watch.gradients(watch.signals(params, ids, labels), ids)
    for row in range(2):
        short = ids[[row]].double()
        grads = gradient(small.victim, tuple(params.values()), short, labels[[row]])
        real = watch.of(dict(zip(params, grads, strict=True)))
        real = real.detach().clone()
        assert torch.allclose(own[row], real, atol=1e-8)
    assert watch.words(own).shape == (2, len(small.kept), subject.shape[1])


def test_places_up_to_the_longest_sentence_are_used():
    assert used(torch.tensor([[1, 2, 0, 0], [1, 0, 2, 0]]), 0) == 3
    assert used(torch.zeros(2, 4), 0) == 1
