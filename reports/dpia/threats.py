"""The threat model of each attack, and the classes that the law and its readers sort attacks into."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from ...audit.report.model import AuditReport
from ...audit.run.cards import reported


class Threat(NamedTuple):
    """The threat model of an attack; ``kind`` is a class of compliance.toml, ``nist`` an identifier of AI 100-2 E2025.

    The words are those for an attack that describes none.
    """

    goal: str = "Not described: this attack comes from a plugin that describes no threat model."
    access: str = "Not described; ask the plugin's author. What the run gave it is in sections 2 and 6."
    knowledge: str = "Not described."
    source: str = "the plugin's own documentation"
    kind: str = ""
    nist: str = ""


@cache
def compliance() -> dict[str, Any]:
    """Return the classes of attacks (``edpb``) and the identifiers that the document prints."""
    return tomllib.loads(files(__package__).joinpath("compliance.toml").read_text(encoding="utf-8"))


def threats(report: AuditReport) -> dict[str, Threat]:
    """Return the threat model of each attack: of those with results, those in the plan, and all others known.

    An older report has no cards; then they are those of the attacks that are installed.
    """
    cards, nist = report.cards or reported(), {kind["key"]: kind["nist"] for kind in compliance()["edpb"]}
    found = dict.fromkeys([*(a.name for a in report.attacks), *(step.attack for step in report.plan)], Threat())
    for name, card in cards.items():
        kind = "inversion" if card.reads == "weights" else "reconstruction"
        found[name] = Threat(card.goal, card.access, card.knowledge, card.source, kind, nist[kind])
    return found
