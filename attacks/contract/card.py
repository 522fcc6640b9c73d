"""What an attack says about itself, so that plans, advice and documents need not know its name. No torch here."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, get_args

LAST = 1000

DEEP = 3
"""Layers, at least, whose changes tell records apart, for a network to count as deep."""

"""Place of an attack that asks for none."""


@dataclass(frozen=True)
class Sight:
    """What a rule looks at: the files and the request, never a clock.

    Attributes:
        steps: Steps of the training.
        size: Training samples: as the change shows them, else as the recipe says.
        sharp: Whether the change shows them.
        linearity: Cosine of the loss gradients before and after training, in [-1, 1]; ``None`` if it was not measured.
        coverage: Numbers that moved for each unknown number of the records.
        lost: Nothing moved by more than its rounding.
        telling: How many convolutions have a change that tells records apart, under SGD.
        legible: The change shows tokens, which are read off without a search.
        stored: Single units of the first layer hold records, under SGD.
        patched: The change shows which signal each patch of an image got, under SGD.
        adaptive: The optimiser was not SGD: changes are no sums of gradients.
    """

    steps: int
    size: int
    sharp: bool
    linearity: float | None
    coverage: float
    lost: bool
    telling: int = 0
    legible: bool = False
    patched: bool = False
    stored: bool = False
    adaptive: bool = False

    @property
    def samples(self) -> str:
        """How many samples there are, in words, and whether the change shows it."""
        return f"{self.size} sample{'s' * (self.size > 1)}{', as the change shows' * self.sharp}"

    @property
    def deep(self) -> bool:
        """Whether enough layers tell records apart for these to be found without a simulation."""
        return self.telling >= DEEP and not self.sharp

    @property
    def left(self) -> str:
        """Why attacks that search for inputs need not run, in words; empty where they may."""
        if self.patched and self.size == 1:
            return "left to patches: each patch got the signal of its place, which shows a single image exactly"
        if self.legible:
            return "left to tokens: the change shows which tokens training saw"
        return f"left to cover: {self.spanned}" if self.deep else ""

    @property
    def unseen(self) -> str:
        """Why no linear layer's change shows whole records, in words; empty where one may."""
        if self.legible:
            return self.left
        if self.patched:
            return "no linear layer of a vision transformer sees a whole image"
        return "what the linear layers saw moved in training, as the convolutions before them did" * self.deep

    @property
    def spanned(self) -> str:
        """The changes of the layers, in words."""
        return f"the changes of {self.telling} layers span what these saw, which shows the records without simulating"

    @property
    def covered(self) -> str:
        """The coverage in words."""
        return f"{self.coverage:.2g} numbers moved for each unknown one of the records"


Rule = Callable[[Sight], tuple[bool, str]]
"""Whether an attack joins the default plan, and why or why not: a clause without a full stop."""


CHANGE = "Both checkpoints, with all parameters (white box)."
WEIGHTS = "The checkpoint after training, with all parameters (white box); the one before is not used."
"""What an attacker must have for an attack on the change, and for one on the trained weights alone."""


Reads = Literal["change", "first layer", "weights"]
"""What an attack explains."""


@dataclass(frozen=True)
class Card:
    """What an attack says about itself; its words appear in the plan and in the data-protection document.

    Attributes:
        goal: What it looks for, in a sentence; empty where the attack describes no threat model.
        knowledge: What an attacker must know to repeat it, in a sentence.
        source: Who published it.
        access: What an attacker must have to repeat it, in a sentence.
        reads: What it explains: the change of all parameters, above all that of the first layer, or the trained
            weights alone, without those before training.
        exact: Where it converges, its records explain the change and no others do (mixtures of them apart): attacks
            that come later in the default plan are left out then. Claim it only for what proves this.
        simulates: It simulates the training itself, so that records of the right number can bring its loss to zero.
        blind: It uses nothing of the recipe but the number of records and the kind of optimiser: an unknown learning
            rate is not searched for where only such attacks run.
        starts_from: The attack whose end it starts from, in the default plan.
        rule: How it joins the default plan; ``None`` for an attack that runs only on request.
        on_request: Why it runs only on request: a clause.
        place: Where it stands in the order of attacks: exact ones up to 20, cheap ones from 25, others later. Equal
            places are ordered by name.

    Raises:
        TypeError: A value of another type: a third-party card is refused where it is written.
    """

    goal: str = ""
    knowledge: str = ""
    source: str = ""
    access: str = CHANGE
    reads: Reads = "change"
    exact: bool = False
    simulates: bool = False
    blind: bool = False
    starts_from: str = ""
    rule: Rule | None = None
    on_request: str = "not one of memaudit's own"
    place: int = LAST

    def __post_init__(self) -> None:
        """Refuse what others could not work with."""
        for field in fields(self):
            value = getattr(self, field.name)
            fits = value is None or callable(value) if field.name == "rule" else type(value) is type(field.default)
            if not fits or (field.name == "reads" and value not in get_args(Reads)):
                raise TypeError(f"the card of an attack has {field.name}={value!r}")


UNTOLD = Card()
"""The card of an attack that has none."""


def card_of(attack: type) -> Card:
    """Return an attack's own card: what holds for a class need not hold for one derived from it."""
    card = vars(attack).get("card")
    return card if isinstance(card, Card) else UNTOLD
