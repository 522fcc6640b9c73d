"""From a reconstruction to those parts of a report that show it, and compare it with the training set."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...attacks.contract.attack import Reconstruction, generator
from ..report.exhibit import Picture, Text
from ..report.results import Decoy, Dummy, Match, Metrics, Scores
from ..scoring import match as matching
from ..scoring.decoys import decoys
from ..scoring.idle import insignificant
from ..scoring.kind import Told
from ..scoring.metrics import metrics
from .limitations import PLATEAU
from .scene import Scene


class Evidence(NamedTuple):
    """Those fields of a result that come from its records."""

    loss: float
    metrics: Metrics | None
    matches: list[Match]
    reconstructions: list[Dummy]


@dataclass(frozen=True)
class Desk:
    """Where reconstructions are described.

    Attributes:
        scene: What is known of the victim; its records are what reconstructions are compared with.
        folder: The run folder.
        level: Rate of false discoveries.
        told: Hears of pairs of records while they are scored.
        floors: Decoys by their number: the same for every result.
    """

    scene: Scene
    folder: Path
    level: float
    told: Told
    floors: dict[int, list[Decoy]] = field(default_factory=dict)

    def evidence(self, found: Reconstruction, name: str, confidence: Tensor | None = None) -> Evidence:
        """Show a reconstruction and compare it.

        Args:
            found: What an attack, or several seeds of it, made.
            name: Folder of what shows it, in the run folder's evidence.
            confidence: (n,) how far the seeds agree; ``None`` for a single one.
        """
        shown = [self.show(record, f"{name}/dummy-{i:04d}") for i, record in enumerate(found.records)]
        idle = _idle(self.scene, found)
        matches, numbers = self._compared(found, idle, shown)
        return Evidence(found.loss, numbers, matches, _dummies(found, idle, shown, confidence))

    def show(self, record: Tensor, name: str) -> Picture | Text:
        """Return how the report shows a record, unless nothing may be kept."""
        return self.scene.kind.show(record, self.folder, name, self.scene.request.evidence != "none")

    def _compared(
        self, found: Reconstruction, idle: Tensor, shown: Sequence[Picture | Text]
    ) -> tuple[list[Match], Metrics | None]:
        """Pair the significant dummies with training records."""
        scene, data, method = self.scene, self.scene.data, self.scene.request.matching
        if data is None:
            return [], None
        kept = (~idle).nonzero().flatten().to(found.records.device)
        found = dataclasses.replace(found, records=found.records[kept], inputs=found.inputs[kept])
        paired = matching.match(found, data, scene.kind, scene.control, method, self.level, self.told)

        def told(pair: matching.Match, record: Tensor) -> Match:
            dummy = int(kept[pair.dummy])
            return Match(
                sample=pair.sample,
                name=data.names[pair.sample],
                label=_class_name(data.class_names, int(data.labels[pair.sample])),
                dummy=dummy,
                scores=Scores(similarity=pair.similarity, details=pair.details),
                nearest=pair.nearest,
                p_value=pair.p_value,
                q_value=pair.q_value,
                rank=pair.rank,
                recovered=pair.recovered,
                transform=pair.transform,
                truth=self.show(record, f"data/sample-{pair.sample:05d}"),
                reconstruction=shown[dummy],
            )

        floor = self._floor(data.records, len(found.records))
        numbers = metrics(paired, scene.kind.about, method, self.level, floor)
        return [told(*each) for each in zip(paired.matches, paired.records, strict=True)], numbers

    def _floor(self, truth: Tensor, count: int) -> list[Decoy]:
        """Return what as many decoys score as there are reconstructions."""
        if count not in self.floors:
            self.floors[count] = decoys(self.scene.kind, truth, count, generator(self.scene.request.seed))
        return self.floors[count]


def _idle(scene: Scene, found: Reconstruction) -> Tensor:
    """Return which dummies stand for no record, where the attack explains the change at all.

    None where the size is known; as many as the change shows samples are never set apart.
    """
    none = torch.zeros(len(found.influence), dtype=torch.bool)
    size, data = scene.request.size, scene.data
    told = size is None or (data is not None and size == len(data.records))
    if found.loss > PLATEAU or (told and scene.known.facts["size"].source == "given"):
        return none
    idle, rank = insignificant(found.influence, found.twins), scene.delta.facts.get("size")
    influence = found.influence.cpu()
    if found.twins is not None:
        influence = influence.masked_fill(found.twins.cpu(), -1.0)
    if rank is not None:
        idle[influence.argsort(descending=True)[: rank.value]] = False
    return idle


def _dummies(
    found: Reconstruction, idle: Tensor, shown: Sequence[Picture | Text], confidence: Tensor | None
) -> list[Dummy]:
    sure = [None] * len(shown) if confidence is None else confidence.tolist()
    rows = zip(found.labels.tolist(), found.influence.tolist(), shown, idle.tolist(), sure, strict=True)
    return [
        Dummy(dummy=i, label=int(y), influence=c, exhibit=e, insignificant=small, confidence=trust)
        for i, (y, c, e, small, trust) in enumerate(rows)
    ]


def _class_name(names: Sequence[str], label: int) -> str:
    if label < 0:
        return ""
    return names[label] if label < len(names) else str(label)
