"""Where a batch enters: behind an embedding, in front of a layer, and what the network is fed meanwhile."""

import dataclasses

import pytest
import torch

from memaudit.attacks.contract.params import cosine_distance
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Entry
from memaudit.attacks.firstlayer.reduced import projected, reduced
from memaudit.attacks.firstlayer.subspace import first_layer
from memaudit.attacks.simulation.adjoints import FullGraph
from memaudit.attacks.simulation.dynamics import simulate

from ...notes import read

RECIPE = Recipe(size=3, lr=0.1, batch_size=3, epochs=5)


@pytest.fixture
def noted():
    notes, labels = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 0, 3]]), torch.arange(3)
    return read(notes, labels, RECIPE), notes, labels


def test_a_batch_behind_an_embedding_gives_what_the_words_give(noted):
    victim, notes, _ = noted
    whole = dataclasses.replace(victim, entry=None)
    assert torch.equal(victim.logits(victim.thetaf, victim.medium.encode(notes)), whole.logits(victim.thetaf, notes))


def test_simulated_training_on_the_true_notes_lands_where_torch_did(noted):
    victim, notes, labels = noted
    plan = torch.arange(3).repeat(5, 1)
    final = simulate(victim, RECIPE, victim.medium.encode(notes), labels, plan, adjoint=FullGraph())
    assert float(cosine_distance(victim.change(final), victim.delta)) < 1e-9


def test_no_hook_stays_behind_even_after_an_error(noted):
    victim, notes, _ = noted
    with pytest.raises(RuntimeError):
        victim.logits(victim.theta0, torch.zeros(2, 5, 5, dtype=torch.float64))
    assert not victim.module[0]._forward_hooks
    whole = dataclasses.replace(victim, entry=None)
    assert torch.equal(whole.logits(victim.theta0, notes), victim.logits(victim.theta0, victim.medium.encode(notes)))


def test_the_front_is_fed_once_where_what_lies_before_only_runs(noted):
    victim, notes, _ = noted
    seen = []
    hook = victim.module[0].register_forward_hook(lambda module, given, result: seen.append(len(result)))
    layer = Entry("2", torch.zeros(1, 3, dtype=torch.long), behind=False)
    before = dataclasses.replace(victim, entry=layer, shape=(12,))
    x = victim.medium.encode(notes)
    assert torch.equal(before.logits(victim.thetaf, x.flatten(1)), victim.logits(victim.thetaf, x))
    hook.remove()
    assert seen == [1, 3]


def test_a_reduced_victim_enters_at_its_layer_whatever_entry_the_whole_one_has(noted, tiny):
    for victim, x in ((noted[0], noted[0].medium.encode(noted[1])), (tiny[0], tiny[2])):
        layer, flat = first_layer(victim), x.flatten(1)
        rows = torch.linalg.qr(flat.T).Q.T
        network = reduced(victim, layer, *projected(victim, layer, rows))
        assert network.shape == (len(rows),)
        assert type(network) is type(victim)
        assert torch.allclose(network.logits(network.thetaf, flat @ rows.T), victim.logits(victim.thetaf, x))
