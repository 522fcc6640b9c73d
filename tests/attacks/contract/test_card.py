import pytest

from memaudit.attacks.contract.card import LAST, UNTOLD, Card, Sight, card_of


class Told:
    card = Card(exact=True, place=3)


class Derived(Told):
    pass


class Wrong:
    card = {"exact": True}


def test_a_card_is_a_class_own():
    assert card_of(Told).exact
    assert card_of(Derived) is UNTOLD  # what was changed may make it untrue
    assert card_of(int) is UNTOLD
    assert card_of(Wrong) is UNTOLD


def test_who_tells_nothing_runs_on_request_and_last():
    assert UNTOLD.rule is None
    assert (UNTOLD.exact, UNTOLD.simulates, UNTOLD.starts_from, UNTOLD.goal) == (False, False, "", "")
    assert UNTOLD.place == LAST
    assert UNTOLD.on_request


def test_what_is_seen_in_words():
    seen = Sight(steps=1, size=1, sharp=False, linearity=None, coverage=0.04321, lost=False)
    assert seen.samples == "1 sample"
    assert seen.covered == "0.043 numbers moved for each unknown one of the records"
    assert Sight(1, 8, True, None, 1.0, False).samples == "8 samples, as the change shows"


@pytest.mark.parametrize(
    "wrong", [{"place": None}, {"goal": 5}, {"exact": "no"}, {"rule": "always"}, {"reads": "mail"}]
)
def test_a_card_of_wrong_types_is_refused_where_it_is_written(wrong):
    (name,) = wrong
    with pytest.raises(TypeError, match=name):
        Card(**wrong)
