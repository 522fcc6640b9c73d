"""How a report shows a record: a picture beside it, or text in it."""

from typing import Annotated, Literal

from pydantic import Field

from .facts import Model


class Picture(Model):
    """A PNG file in the run folder."""

    form: Literal["picture"] = "picture"
    path: str = Field(description="Relative to the run folder.")


class Text(Model):
    """Words."""

    form: Literal["text"] = "text"
    text: str = Field(description="Empty where evidence is not kept.")


Exhibit = Annotated[Picture | Text, Field(discriminator="form")]


def withheld(exhibit: Picture | Text) -> Picture | Text:
    """Return an exhibit that shows nothing: the path of a picture, no text."""
    return Text(text="") if isinstance(exhibit, Text) else exhibit
