"""What the installed attacks tell of themselves: for the report, without any of them being named here or there."""

import subprocess
import sys

from memaudit.audit.plugins import available
from memaudit.audit.run.cards import cards, reported


def test_every_attack_of_ours_tells_a_threat_model_in_the_order_of_the_plan():
    found = cards()
    builtin = {name for name, entry in available("memaudit.attacks").items() if entry.value.startswith("memaudit.")}
    assert set(found) == builtin == set(reported())
    places = [card.place for card in found.values()]
    assert places == sorted(places)
    assert list(reported()) == list(found)


def test_what_is_exact_joins_the_default_plan_before_what_it_may_make_needless():
    exact = [card.place for card in cards().values() if card.exact]
    assert exact
    assert max(exact) < min(card.place for card in cards().values() if not card.exact)


def test_an_attack_starts_from_one_that_stands_before_it():
    found = cards()
    for card in found.values():
        assert not card.starts_from or found[card.starts_from].place < card.place


def test_torch_is_imported_only_when_asked():
    code = "import sys, memaudit.audit.run.cards; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
