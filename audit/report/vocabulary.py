"""Words that training saw, as the word embeddings show them. No torch here."""

from pydantic import Field

from .facts import Model, Number

MOST_WORDS = 100
"""Words that a report lists, at most."""


class Compared(Model):
    """The tokens of some records, held against those that training saw."""

    tokens: int = Field(description="Different tokens of the records; special ones do not count.")
    seen: int = Field(description="How many of these training saw.")
    recall: Number = Field(description="The second over the first, in [0, 1]; null where there are none.")


class Vocabulary(Model):
    """Which words and parts of words training saw; a token is one of either."""

    table: str = Field(description="Name of the tensor whose rows show it.")
    seen: int = Field(description="Different tokens that training saw; special ones do not count.")
    of: int = Field(description="Tokens that the model knows.")
    words: list[str] = Field(
        [],
        description=f"The rarest of those seen, {MOST_WORDS} at most, by descending number: tokenizers number tokens "
        "roughly by how frequent they are, so that a high number is a rare one. Empty where evidence is not kept.",
    )
    data: Compared | None = Field(None, description="Tokens of the records of --data.")
    control: Compared | None = Field(None, description="Tokens of held-out records: what chance gives.")
    precision: Number = Field(None, description="Share of the tokens seen that --data have, in [0, 1].")

    def nameless(self) -> "Vocabulary":
        """Return it without the words."""
        return self.model_copy(update={"words": []})
