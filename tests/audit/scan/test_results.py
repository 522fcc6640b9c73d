"""Results of several attacks and seeds: what is compared, saved and said."""

import dataclasses

import pytest
import torch
from scipy.stats import beta

from memaudit.attacks.contract.attack import Reconstruction
from memaudit.attacks.simudy import SimuDy
from memaudit.audit.data.base import Reading
from memaudit.audit.report.model import AuditReport
from memaudit.audit.report.results import PlanStep
from memaudit.audit.request import ScanRequest
from memaudit.audit.run.drive import Run, drive
from memaudit.audit.scan import compose
from memaudit.audit.scan import results as assemble
from memaudit.audit.scan.learn import Learned
from memaudit.audit.scan.scene import load
from memaudit.audit.scoring import effort as scoring
from memaudit.audit.scoring.compare import Pool, compare
from memaudit.audit.scoring.null import matched_null

ATTACK = SimuDy(iterations=80)  # at 40 one seed of three may still be on its way


@pytest.fixture(scope="module")
def scene(leak):
    request = ScanRequest(
        leak.before, leak.after, data=leak.data, control=leak.control, lr=0.02, normalise="0.5;0.25", epochs=10
    )
    return load(request)


@pytest.fixture(scope="module")
def runs(scene):
    return [Run(ATTACK, seed, drive(ATTACK, scene.victim, scene.known.recipe, seed)) for seed in (3, 4, 5)]


def status(run, name, **more):
    return dataclasses.replace(run, outcome=dataclasses.replace(run.outcome, status=name, **more))


def results(scene, runs, folder):
    return assemble.attack_results(scene, runs, folder)


def test_one_result_for_each_seed_and_then_what_they_agree_on(scene, runs, tmp_path):
    found = results(scene, runs, tmp_path)
    assert [(result.kind, result.seed) for result in found] == [("run", 3), ("run", 4), ("run", 5), ("consensus", None)]
    together, alone = found[-1], found[:-1]
    assert together.agreement.seeds == [3, 4, 5]
    best = min(alone, key=lambda result: result.loss)
    assert (together.agreement.reference, together.loss) == (best.seed, best.loss)
    assert together.seconds == sum(result.seconds for result in alone)
    assert [len(result.reconstructions) for result in found] == [4] * 4
    trust = [dummy.confidence for dummy in together.reconstructions]
    assert together.agreement.confidence_mean == pytest.approx(sum(trust) / 4)
    assert together.agreement.confidence_max == max(trust)
    assert all(dummy.confidence is None for result in alone for dummy in result.reconstructions)
    assert together.agreement.confident == 4
    assert together.metrics.recovered == 4
    assert together.metrics.similarity_mean > min(result.metrics.similarity_mean for result in alone)


def test_pictures_of_seeds_and_consensus_lie_apart(scene, runs, tmp_path):
    found = results(scene, runs, tmp_path)
    folders = [{dummy.exhibit.path.rsplit("/", 1)[0] for dummy in result.reconstructions} for result in found]
    assert folders == [{f"evidence/simudy/{name}"} for name in ("seed-3", "seed-4", "seed-5", "consensus")]
    assert all((tmp_path / dummy.exhibit.path).is_file() for result in found for dummy in result.reconstructions)


def test_a_single_seed_has_no_consensus(scene, runs, tmp_path):
    (found,) = results(scene, runs[:1], tmp_path)
    assert (found.kind, found.seed, found.agreement) == ("run", 3, None)


def test_what_diverged_or_took_no_step_does_not_vote(scene, runs, tmp_path):
    spent = status(runs[2], "budget_spent", steps=0, reconstruction=None)
    found = results(scene, [runs[0], status(runs[1], "diverged"), spent], tmp_path)
    assert [(result.kind, result.status) for result in found] == [
        ("run", runs[0].outcome.status), ("run", "diverged"), ("run", "budget_spent"),
    ]  # fmt: skip
    assert (found[2].metrics, found[2].reconstructions, found[2].loss) == (None, [], None)
    two = results(scene, [*runs[:2], status(runs[2], "diverged")], tmp_path)
    assert two[-1].agreement.seeds == [3, 4]


def test_what_converged_votes_alone_and_the_consensus_ends_as_its_worst_seed(scene, runs, tmp_path):
    ends = {
        ("converged", "converged", "stalled"): ([3, 4], "converged"),
        ("converged", "stalled", "stalled"): ([3, 4, 5], "stalled"),
        ("stalled", "budget_spent", "stalled"): ([3, 4, 5], "budget_spent"),
    }
    for names, (seeds, end) in ends.items():
        mixed = [status(run, name) for run, name in zip(runs, names, strict=True)]
        assert assemble.agreeing(mixed)[0] == seeds
        assert results(scene, mixed, tmp_path)[-1].status == end


def test_an_attack_that_refuses_is_one_result(scene, runs, tmp_path):
    other = dataclasses.make_dataclass("Other", [], frozen=True)()
    object.__setattr__(other, "name", "other")
    found = results(scene, [Run(other, seed, None, "too small") for seed in (0, 1)] + runs, tmp_path)
    assert [result.name for result in found] == ["other"] + ["simudy"] * 4
    assert (found[0].status, found[0].reason, found[0].loss) == ("unsupported", "too small", None)


def test_interleaved_seeds_are_put_together(scene, runs, tmp_path):
    other = dataclasses.make_dataclass("Other", [], frozen=True)()
    object.__setattr__(other, "name", "other")
    found = results(scene, [runs[0], Run(other, 0, None, ""), runs[1]], tmp_path)
    assert [(result.name, result.kind) for result in found] == [
        ("simudy", "run"), ("simudy", "run"), ("simudy", "consensus"), ("other", "run"),
    ]  # fmt: skip


def test_the_consensus_is_blind_to_the_training_set(scene, runs, tmp_path):
    with_data = results(scene, runs, tmp_path)[-1]
    without = results(dataclasses.replace(scene, data=None, control=None), runs, tmp_path)[-1]
    assert without.metrics is None
    assert without.agreement == with_data.agreement
    assert without.reconstructions == with_data.reconstructions


def test_the_share_has_an_interval_and_the_null_a_count(scene, runs, tmp_path):
    found = results(scene, runs[:1], tmp_path)[0].metrics
    assert (found.records, found.pairs, found.control_pairs) == (4, 4, 32)
    assert found.recovered == 4
    assert found.recovered_interval == pytest.approx((float(beta.ppf(0.025, 4, 1)), 1.0))
    held_out = compare(scene.kind, Pool(scene.control.records, {}), runs[0].outcome.reconstruction.records, True)
    matched = matched_null(held_out.scores, held_out.similarity, 4, "hungarian")
    assert found.control_recovered == (matched >= 0.4).sum()
    assert (found.null_kind, found.null_size, len(found.observed), found.pool) == ("control", 35, 4, 39)
    assert found.detectable < 0.97
    assert [decoy.name for decoy in found.decoys] == ["mean of the training images", "smoothed noise"]
    assert all(decoy.similarity_mean <= decoy.similarity_max < found.similarity_mean for decoy in found.decoys)
    assert found.details_mean["ssim_paper"] <= found.details_max["ssim_paper"]


def test_held_out_images_that_look_recovered_are_counted_and_said(scene, runs, tmp_path):
    """The attacker's images are those of the control set: what matches there is no evidence."""
    images = scene.control.records[:4]
    fake = Reconstruction(images, images, torch.zeros(4).long(), torch.ones(4), 0.0)
    run = dataclasses.replace(runs[0], outcome=dataclasses.replace(runs[0].outcome, reconstruction=fake))
    attacks = results(scene, [run], tmp_path)
    held_out = compare(scene.kind, Pool(scene.control.records, {}), images, True)
    alike = int((matched_null(held_out.scores, held_out.similarity, 4, "hungarian") >= 0.4).sum())
    assert attacks[0].metrics.control_recovered == alike >= 4
    assert attacks[0].metrics.recovered == 0
    said = report(scene, attacks).limitations
    assert any(f"up to {alike} held-out images reach SSIM 0.4" in text for text in said)


def report(scene, attacks, plan=()):
    learned = Learned(scene.known.recipe, scene.known.facts)
    return compose.report(scene, learned, attacks, [], plan)


def test_the_report_ranks_and_judges_all_of_it(scene, runs, tmp_path):
    attacks = results(scene, runs, tmp_path)
    plan = [PlanStep(attack="gion", runs=False, reason="takes a day")]
    found = report(scene, attacks, plan)
    assert found.verdict.status == "fail"
    assert [row.rank for row in found.leaderboard] == [1, 2, 3, 4]
    assert len(found.per_record) == found.recovered_by_any == 4
    assert found.ranking.startswith("By mean SSIM")
    assert found.plan == plan
    assert AuditReport.model_validate_json(found.to_json()) == found


def test_seeds_that_ended_alike_are_told_once(scene, runs, tmp_path):
    stalled = [status(run, "stalled") for run in runs[:2]]
    attacks = results(scene, [*stalled, status(runs[2], "diverged")], tmp_path)
    said = [text for text in report(scene, attacks).limitations if "ended as" in text]
    assert [text.split(":")[0] for text in said] == [
        "Attack simudy ended as stalled with 2 of 3 seeds", "Attack simudy ended as diverged with 1 of 3 seeds",
    ]  # fmt: skip


def test_a_budget_of_iterations_is_a_budget(scene, runs, tmp_path):
    short = dataclasses.replace(scene, request=dataclasses.replace(scene.request, max_iterations=5))
    found = results(short, [status(run, "stalled") for run in runs[:2]], tmp_path)
    assert [result.status for result in found] == ["budget_spent"] * 3


@pytest.mark.parametrize("held_out", [True, False])
def test_pairs_are_told_while_they_are_scored_and_are_as_many_as_foreseen(scene, runs, tmp_path, held_out):
    scene, events = scene if held_out else dataclasses.replace(scene, control=None), []
    assemble.attack_results(scene, runs, tmp_path, events.append)
    counts = [4] * 4
    assert [event.step for event in events] == sorted(event.step for event in events)
    assert events[-1].step == events[-1].total == scoring.pairs(scene.kind, scene.data, scene.control, counts)
    data, control = len(scene.data.records), len(scene.control.records) if scene.control else 0
    assert events[-1].total == 2 * 16 * (data + (control or (1 + 7) * data))  # as they are, and in their best way
    assert scoring.seconds(scene.kind, scene.data, scene.control, counts) > 0
    assert scoring.seconds(scene.kind, scene.data, scene.control, []) == 0


def test_other_readings_of_the_files_are_timed_as_well(scene, monkeypatch):
    seen, data = [], scene.data
    plain = type(scene.kind).transformed
    monkeypatch.setattr(
        type(scene.kind), "transformed", lambda kind, *asked: seen.append(sorted(asked[1])) or plain(kind, *asked)
    )
    cropped = dataclasses.replace(data, readings=(Reading("centre crop", data.records.flip(-1)),))
    for given in (data, cropped):
        assert scoring.seconds(scene.kind, given, scene.control, [4]) > 0
    assert seen == [[], ["centre crop"]]
