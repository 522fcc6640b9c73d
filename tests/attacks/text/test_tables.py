"""Where tokens enter a network, and which rows of its tables training reached."""

import pytest
import torch

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.text.tables import moved, shrinkage, tables, undecayed

from ...conftest import mlp, trained
from ...hf import sentences, victim

RECIPE = Recipe(size=4, lr=0.05, batch_size=4, epochs=3)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "electra"])
def test_the_tables_of_a_transformer(kind):
    found = tables(victim(sentences(4), (0, 1, 0, 1), RECIPE, kind=kind))
    assert found.word.endswith("embeddings.word_embeddings")
    assert found.place.endswith("embeddings.position_embeddings")
    assert found.offset == (2 if kind == "roberta" else 0)
    assert len(found.first) == 3
    assert found.value().endswith("v_lin" if kind == "distilbert" else "value")


def test_a_network_without_a_table_is_refused():
    x = torch.rand(3, 3, 2, 2)
    subject = trained(mlp(), x, torch.tensor([0, 1, 2]), RECIPE, torch.arange(3)[None])
    with pytest.raises((Unsupported, RuntimeError)):
        tables(subject)


def table(rows=20, width=8):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("reached", [[1, 4], list(range(1, 18)), list(range(19))])
def test_without_decay_what_kept_its_values_was_not_reached(reached):
    before = table()
    after = before.clone()
    after[reached] += 1e-6 * table().flip(0)[reached]
    assert moved(before, after).nonzero().flatten().tolist() == reached
    assert torch.equal(undecayed(before, after), after - before)


def test_weight_decay_and_rounding_are_no_movement():
    before = table()
    before[0] = 0  # of the padding: nothing decays there
    after = before * (1 - 1e-4) ** 10
    after[[3, 7]] += 1e-3
    assert moved(before, after).nonzero().flatten().tolist() == [3, 7]
    assert shrinkage(before, after) == pytest.approx((1 - 1e-4) ** 10, abs=1e-6)
    rest = undecayed(before, after)
    assert float(rest[[3, 7]].mean()) == pytest.approx(1e-3, rel=1e-2)
    assert float(rest[[1, 2, 4]].abs().max()) < 1e-6
