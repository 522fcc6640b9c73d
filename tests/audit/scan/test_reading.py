import pytest
import torch

from memaudit.audit.data.base import Reading, TrainingSet
from memaudit.audit.report.exhibit import Text
from memaudit.audit.report.results import AttackResult, Match, Scores
from memaudit.audit.scan.reading import reading

DATA = TrainingSet(
    torch.zeros(3, 1, 2, 2), torch.zeros(3).long(), ("a", "b", "c"), (), "", False, "stretched",
    (Reading("centre crop", torch.ones(3, 1, 2, 2)),),
)  # fmt: skip


def result(*transforms: str, recovered: bool = True) -> AttackResult:
    matches = [
        Match(
            sample=i, name="a", dummy=i, scores=Scores(similarity=1, details={}), recovered=recovered,
            transform=transform, truth=Text(text=""), reconstruction=Text(text=""),
        )
        for i, transform in enumerate(transforms)
    ]  # fmt: skip
    return AttackResult(
        name="spear", status="converged", loss=0, iterations=1, seconds=1, peak_memory_bytes=1, matches=matches
    )


@pytest.mark.parametrize(("transforms", "count"), [(("centre crop", "centre crop"), 2), (("centre crop", ""), 1)])
def test_another_reading_in_which_records_were_recovered_is_told(transforms: tuple[str, ...], count: int) -> None:
    told = f"centre crop, in which {count} of 2 recovered records matched"
    assert reading(DATA, [result(*transforms)]) == told


@pytest.mark.parametrize(
    "results",
    [
        [],
        [result("centre crop", recovered=False)],
        [result("centre crop", "mirrored")],
        [result("mirrored", "mirrored")],
    ],
)
def test_otherwise_it_is_the_usual_one(results: list[AttackResult]) -> None:
    assert reading(DATA, results) == "stretched"
