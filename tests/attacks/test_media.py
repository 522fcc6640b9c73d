"""Attacks do not know what kind of record they look for: two of them read notes, whose batch enters at an embedding."""

import re
from pathlib import Path

import pytest
import torch

import memaudit
from memaudit.attacks.contract.attack import Unsupported, only
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.loo import Loo
from memaudit.attacks.simudy import SimuDy
from memaudit.attacks.sme import SME
from memaudit.audit.run.drive import drive

from ..notes import read

RECIPE = Recipe(size=2, lr=0.1, batch_size=2, epochs=3, labels=(1, 1, 0))
OPTIONS = {"iterations": 250, "step_size": 0.05, "init_scale": 0.5, "alpha": 0.01, "beta": 0.01}
ATTACKS = Path(memaudit.__file__).parent / "attacks"


@pytest.mark.parametrize("attack", [SimuDy(**OPTIONS), SME(**OPTIONS, search=False)], ids=["simudy", "sme"])
@pytest.mark.parametrize("number", range(3))
def test_an_attack_reads_the_words_of_notes(attack, number):
    torch.manual_seed(number)
    notes = torch.stack([torch.randperm(7)[:3] for _ in range(2)])
    victim = read(notes, torch.arange(2), RECIPE)
    found = min((drive(attack, victim, RECIPE, seed).reconstruction for seed in range(2)), key=lambda run: run.loss)
    assert torch.equal(found.records[found.labels.argsort()], notes)


def test_a_parametrisation_that_a_medium_lacks_is_refused_by_it():
    victim = read(torch.tensor([[0, 1, 2], [3, 4, 5]]), torch.arange(2), RECIPE)
    for attack in (SimuDy(parametrisation="pyramid"), SME(parametrisation="pixels"), Loo(parametrisation="generator")):
        with pytest.raises(Unsupported, match=attack.parametrisation):
            attack.init(victim, RECIPE, 0)


def test_an_option_for_images_is_refused_elsewhere(tiny):
    victim = read(torch.tensor([[0, 1, 2], [3, 4, 5]]), torch.arange(2), RECIPE)
    with pytest.raises(Unsupported, match=r"loo\.blur is for records of the kind image"):
        Loo(blur=0.1).init(victim, RECIPE, 0)
    Loo(blur=0.1).init(tiny[0], tiny[1], 0)
    only("image", "anything", tiny[0])


def test_no_attack_asks_which_medium_it_has():
    told = re.compile(r"medium\.kind\b|isinstance\([^)]*[mM]edium|import .*\b(Images|Normalisation)\b")
    files = [file for file in ATTACKS.rglob("*.py") if file.parent.name not in ("images", "text")]
    asking = [file.name for file in files if told.search(file.read_text())]
    assert asking == ["attack.py"]
