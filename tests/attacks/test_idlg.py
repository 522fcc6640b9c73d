import dataclasses

import pytest

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.idlg import IDLG

from .test_dlg import run, victim_of


@pytest.mark.parametrize("k", [1, 4])
def test_the_label_is_read_off_and_stays(k):
    victim, recipe, x = victim_of([1], k)
    state = IDLG().init(victim, recipe, 0)
    assert state.variables.keys() == {"x"}
    assert state.constants["labels"].tolist() == [1]
    found = IDLG().finish(victim, recipe, run(IDLG(), victim, recipe, 25))
    assert found.labels.tolist() == [1]
    assert float((found.records - x).square().mean().sqrt()) < 0.01


def test_a_label_that_is_known_is_taken():
    victim, recipe, _ = victim_of([1])
    told = dataclasses.replace(recipe, labels=(0, 0, 1, 0))
    assert IDLG().init(victim, told, 0).constants["labels"].tolist() == [2]


def test_two_images_are_refused():
    victim, recipe, _ = victim_of([1, 2])
    with pytest.raises(Unsupported, match="one image, and there are 2"):
        IDLG().init(victim, recipe, 0)


def test_options_are_those_of_dlg():
    with pytest.raises(ValueError, match="history"):
        IDLG(history=0)
