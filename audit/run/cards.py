"""What the installed attacks say about themselves. Imports them when asked, and torch with them; not before."""

from ...attacks.contract.card import Card, card_of
from .. import plugins
from ..report.card import AttackCard

GROUP = "memaudit.attacks"
"""The entry points of attacks."""


def cards() -> dict[str, Card]:
    """Return the card of every installed attack that can be imported, in the order in which they run."""
    working, _ = plugins.load_all(GROUP)
    found = {name: card_of(attack) for name, attack in working.items() if isinstance(attack, type)}
    return dict(sorted(found.items(), key=lambda item: (item[1].place, item[0])))


def reported() -> dict[str, AttackCard]:
    """Return what a report keeps of them; nothing of an attack that describes no threat model."""
    return {
        name: AttackCard(
            reads=card.reads,
            goal=card.goal,
            access=card.access,
            knowledge=card.knowledge,
            source=card.source,
            exact=card.exact,
        )
        for name, card in cards().items()
        if card.goal
    }
