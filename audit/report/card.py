"""What the attacks that were installed at the time of a scan say about themselves. No torch here."""

from pydantic import Field

from .facts import Model


class AttackCard(Model):
    """What a report keeps of an attack's own card: what it reads, and its threat model."""

    reads: str = Field(
        description="What it explains: change (of all parameters), first layer (above all the change of that), or "
        "weights (those after training alone)."
    )
    goal: str = Field(description="What it looks for.")
    access: str = Field(description="What an attacker must have to repeat it.")
    knowledge: str = Field(description="What an attacker must know to repeat it.")
    source: str = Field(description="Who published it.")
    exact: bool = Field(False, description="Where it converges, no other records explain the change.")
