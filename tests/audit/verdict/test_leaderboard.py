import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from memaudit.audit.cli.verdicts import MOST_ROWS, print_summary
from memaudit.audit.report.exhibit import Picture
from memaudit.audit.report.facts import Fact
from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.results import Agreement, AttackResult, Match, Metrics, Scores, titles
from memaudit.audit.report.verdict import Verdict
from memaudit.audit.verdict import leaderboard as board


def match(sample, ssim, recovered=None):
    scores = Scores(similarity=ssim, details={"psnr": 20.0})
    recovered = ssim >= 0.4 if recovered is None else recovered
    nothing = Picture(path="")
    return Match(
        sample=sample, name=f"{sample}.png", dummy=0, scores=scores, recovered=recovered, truth=nothing,
        reconstruction=nothing,
    )  # fmt: skip


def result(name, status="converged", ssim=(), loss=0.1, images=4, confidence=None, **more):
    matches = [match(i, score) for i, score in enumerate(ssim)]
    metrics = agreement = None
    if ssim:
        recovered = sum(found.recovered for found in matches)
        metrics = Metrics(
            records=images, pairs=len(ssim), matching="hungarian", criterion="", similarity_mean=sum(ssim) / len(ssim),
            similarity_max=max(ssim), details_mean={"ssim_paper": 0.1, "psnr": 20.0}, details_max={"ssim_paper": 0.2},
            recovered=recovered, recovered_fraction=recovered / images, recovered_interval=(0.0, 0.5), control_pairs=8,
            control_recovered=0, control_similarity_mean=0.1, control_similarity_max=0.3,
        )  # fmt: skip
    if confidence is not None:
        agreement = Agreement(
            seeds=[0, 1], reference=0, criterion="", confidence_mean=confidence, confidence_max=1.0, confident=1
        )
        more = {"kind": "consensus", **more}
    return AttackResult(
        name=name, status=status, loss=loss, iterations=1, seconds=1.0, peak_memory_bytes=5, metrics=metrics,
        agreement=agreement, matches=matches, **more,
    )  # fmt: skip


def order(*results):
    return [(row.rank, row.attack) for row in board.leaderboard(results)]


def test_with_data_by_mean_ssim_then_by_ending_and_loss():
    found = order(
        result("worse", ssim=[0.3] * 4, loss=0.0), result("refused", "unsupported", loss=None),
        result("better", "stalled", ssim=[0.5] * 4), result("same", ssim=[0.3] * 4, loss=0.2),
        result("stuck", "stalled", ssim=[0.3] * 4, loss=0.0), result("blind", loss=0.0),
    )  # fmt: skip
    assert found == [(1, "better"), (2, "worse"), (3, "same"), (4, "stuck"), (5, "blind"), (6, "refused")]


def test_an_image_without_a_reconstruction_counts_as_nothing():
    assert order(result("one", ssim=[1.0]), result("all", ssim=[0.3] * 4)) == [(1, "all"), (2, "one")]
    assert board.leaderboard([result("one", ssim=[1.0])])[0].similarity_mean == 1.0


def test_without_data_by_ending_then_by_confidence_then_by_loss():
    found = order(
        result("spent", "budget_spent", loss=0.0), result("single", loss=0.01), result("low", confidence=0.2),
        result("high", confidence=0.7, loss=0.5), result("stalled", "stalled", confidence=0.9, loss=0.0),
        result("lower", loss=0.001), result("diverged", "diverged", loss=None), result("no", "unsupported", loss=None),
    )  # fmt: skip
    names = ["high", "low", "lower", "single", "stalled", "spent", "diverged", "no"]
    assert found == list(enumerate(names, 1))


def test_the_rule_is_that_of_the_evidence():
    assert board.ranking([result("a"), result("b", ssim=[0.1])], IMAGE).startswith(
        "By mean SSIM over all training images"
    )
    assert "Nothing was compared with training images" in board.ranking([result("a")], IMAGE)
    assert "Nothing was compared with training images" in board.ranking([], IMAGE)


def test_rows_carry_the_numbers_of_their_results():
    attack = result("simudy", ssim=[0.9, 0.2], seed=3)
    (row,) = board.leaderboard([attack])
    assert row.key == attack.key == ("simudy", "run", 3)
    for name in (*board.LeaderboardRow.model_fields.keys() & Metrics.model_fields.keys(),):
        assert getattr(row, name) == getattr(attack.metrics, name)
    assert (row.recovered, row.records, row.control_recovered, row.peak_memory_bytes) == (1, 4, 0, 5)


def test_each_image_has_its_best_reconstruction_and_all_who_recovered_it():
    results = [
        result("simudy", ssim=[0.9, 0.2, 0.1], seed=0), result("simudy", ssim=[0.5, 0.6], seed=1),
        result("simudy", ssim=[0.8, 0.1], confidence=0.5), result("loo", ssim=[0.7, 0.3, 0.2]),
    ]  # fmt: skip
    best = board.per_record(results)
    assert [found.match.sample for found in best] == [0, 1, 2]
    assert [found.key for found in best] == [("simudy", "run", 0), ("simudy", "run", 1), ("loo", "run", None)]
    assert [found.match.scores.similarity for found in best] == [0.9, 0.6, 0.2]
    assert [found.recovered_by for found in best] == [["simudy", "loo"], ["simudy"], []]
    assert board.recovered_by_any(results) == 2


def test_nothing_compared_is_not_nothing_recovered():
    assert board.recovered_by_any([result("a")]) is None
    assert board.recovered_by_any([result("a", ssim=[0.1])]) == 0
    assert board.per_record([result("a")]) == board.leaderboard([]) == []


@pytest.mark.parametrize("seeds", [1, 3])
def test_titles_name_the_seed_only_where_there_are_several(seeds):
    results = [result("simudy", seed=seed) for seed in range(seeds)] + [result("simudy", confidence=0.5), result("loo")]
    names = list(titles(results).values())
    runs = ["simudy"] if seeds == 1 else [f"simudy (seed {seed})" for seed in range(seeds)]
    assert names == [*runs, "simudy (consensus)", "loo"]


def printed(*attacks, width=160):
    data = SimpleNamespace(count=4) if any(attack.metrics for attack in attacks) else None
    report = SimpleNamespace(
        kind=IMAGE,
        attacks=attacks, leaderboard=board.leaderboard(attacks), ranking=board.ranking(attacks, IMAGE),
        recovered_by_any=board.recovered_by_any(attacks), verdict=Verdict(status="pass", summary="All is well."),
        inputs=SimpleNamespace(data=data), architecture=SimpleNamespace(name="MLP"),
        recipe={"lr": Fact(value=0.1, source="given")},
    )  # fmt: skip
    text = io.StringIO()
    print_summary(Console(file=text, width=width, soft_wrap=True, highlight=False), report)
    return text.getvalue()


def test_the_screen_shows_results_with_data():
    seeds = [result("simudy", ssim=[0.9, 0.2], seed=seed) for seed in range(2)]
    said = printed(*seeds, result("haim", "unsupported", loss=None))
    rows = [re.split(r"  +", line.strip()) for line in said.splitlines()[2:5]]
    first = ["simudy (seed 0)", "converged", "0.550", "0.900", "20.0", "1 of 4 (0 to 50 %)", "0.1", "1.0 s", "0 MiB"]
    assert rows[0] == first
    assert rows[2] == ["haim", "unsupported", "-", "-", "-", "-", "-", "1.0 s", "0 MiB"]
    assert "Order: by mean SSIM over all training images, highest first;" in said
    assert "All together recovered 1 of 4 images." in said
    assert "confidence" not in said
    assert said.endswith("PASS All is well.\n")


def test_the_screen_shows_confidence_without_data():
    said = printed(result("simudy", confidence=0.75), result("loo", "budget_spent"))
    table = said.split("Order")[0]
    assert "simudy (consensus)  converged          0.750" in table
    assert "loo                 budget spent           -" in table
    assert "recovered" not in table
    assert "All together" not in said


def test_a_narrow_screen_drops_columns_and_a_long_board_its_end():
    said = printed(*[result(f"attack{i}", ssim=[0.5]) for i in range(MOST_ROWS + 3)], width=80)
    assert "memory" not in said
    assert "3 more in the report." in said
    assert max(map(len, said.split("Order")[0].splitlines())) <= 80


def test_one_result_needs_no_rule():
    assert "Order" not in printed(result("simudy", ssim=[0.5]))
