"""A made-up kind of record: one new file and one entry point, and everything above the attacks works with it."""

import dataclasses
import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from memaudit.attacks.contract.attack import Reconstruction, State
from memaudit.attacks.simudy import SimuDy
from memaudit.audit import plugins
from memaudit.audit.cli.verdicts import print_summary
from memaudit.audit.data.base import DataError, TrainingSet
from memaudit.audit.outputs import Look, check_outputs, write_each
from memaudit.audit.report.exhibit import Text
from memaudit.audit.report.file import load as load_report
from memaudit.audit.report.kind import IMAGE, TEXT
from memaudit.audit.report.proof import DataCheck
from memaudit.audit.request import ScanRequest
from memaudit.audit.run.drive import Outcome, Run
from memaudit.audit.scan import compose
from memaudit.audit.scan.learn import Learned
from memaudit.audit.scan.proof import Proof
from memaudit.audit.scan.results import attack_results
from memaudit.audit.scan.scene import load
from memaudit.audit.scoring.image import Image
from memaudit.audit.scoring.kind import kind_of, known_kinds, open_kind
from memaudit.audit.scoring.match import match
from memaudit.audit.verdict.expression import GateError, parse
from memaudit.audit.verdict.gate import judge
from memaudit.reports import html

FORMATS = [name for name in plugins.available("memaudit.reports") if name not in ("json", "csv")]
LENGTH = 40


@pytest.fixture
def _installed(tmp_path, monkeypatch):
    """A distribution that brings the kind, and a format that counts records."""
    place = tmp_path / "site"
    info = place / "numbers_kind-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: numbers-kind\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[memaudit.kinds]\nnumbers = numbers_kind:Numbers\n[memaudit.reports]\ntally = tally_format:write\n"
    )
    shutil.copy(Path(__file__).with_name("numbers_kind.py"), place)
    (place / "tally_format.py").write_text(
        "def write(report, folder, destination, look):\n"
        "    shown = [dummy.exhibit.text for attack in report.attacks for dummy in attack.reconstructions]\n"
        "    destination.write_text(f'{len(shown)} {report.kind.words.many}, {look.evidence}')\n"
        "    return destination\n"
    )
    monkeypatch.setattr(sys, "path", [str(place), *sys.path])
    monkeypatch.delitem(sys.modules, "numbers_kind", raising=False)


def sequences(count, seed):
    return torch.rand(count, LENGTH, generator=torch.Generator().manual_seed(seed))


def training_set(records):
    names = tuple(f"sequence-{place:02}" for place in range(len(records)))
    return TrainingSet(records, torch.zeros(len(records)).long(), names, ("first",), "d" * 64, False)


def claim(records, loss=0.01):
    return Reconstruction(records, records, torch.zeros(len(records)).long(), torch.ones(len(records)), loss)


@pytest.fixture
def scene(leak, _installed):
    """What is known of a real pair, but for its records: six sequences, and sixty that were held out."""
    request = ScanRequest(leak.before, leak.after, lr=0.02, normalise="0.5;0.25", epochs=10, size=6)
    data, control = training_set(sequences(6, 0)), training_set(sequences(60, 1))
    return dataclasses.replace(load(request), data=data, control=control, kind=open_kind("numbers", None))


def runs(*records):
    done = State(0, {}, {}, {}, done=True)
    return [
        Run(SimuDy(), seed, Outcome("converged", 10, 1.0, 10, ((0, 1.0), (9, 0.01)), done, claim(found)))
        for seed, found in enumerate(records)
    ]


@pytest.fixture
def report(scene, tmp_path):
    near = [(sequences(6, 0) + 0.02 * (sequences(6, 7 + seed) - 0.5)).clamp(0, 1) for seed in range(2)]
    attacks = attack_results(scene, runs(*near), tmp_path)
    gates = [parse("nearness_max>0.9", kinds=[scene.kind.about]), parse("recovered>0")]
    learned = Learned(scene.known.recipe, scene.known.facts)
    return compose.report(scene, learned, attacks, gates, proof=Proof(DataCheck(explained=True, reason="They do.")))


def test_images_are_one_kind_among_others(scene):
    assert known_kinds() == [IMAGE, scene.kind.about, TEXT]
    assert isinstance(kind_of(scene.victim), Image)
    with pytest.raises(plugins.PluginError, match="'imge'"):
        open_kind("imge", None)


@pytest.mark.parametrize("held_out", [True, False])
def test_what_is_near_is_recovered_and_what_is_not_is_chance(scene, held_out):
    truth, control = scene.data, scene.control if held_out else None
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    found = match(claim(truth.records[order]), truth, scene.kind, control)
    assert [int(order[pair.dummy]) for pair in found.matches] == list(range(6))
    assert all(pair.recovered and pair.similarity == 1 for pair in found.matches)
    assert found.matches[0].details == {"worst": 0.0, "first": pytest.approx(float(truth.records[0, 0]))}
    strangers = match(claim(sequences(6, 5)), truth, scene.kind, control)
    assert not any(pair.recovered for pair in strangers.matches)
    assert len(found.null.values) == (60 if held_out else 12)
    with pytest.raises(DataError, match="control sequences are training sequences"):
        match(claim(truth.records), truth, scene.kind, truth)


def test_the_report_tells_of_it_in_its_own_words(report, scene):
    assert (report.kind, report.verdict.status) == (scene.kind.about, "fail")
    assert [(result.kind, result.metrics.recovered) for result in report.attacks] == [
        ("run", 6), ("run", 6), ("consensus", 6),
    ]  # fmt: skip
    assert "of 6 training sequences" in report.findings[0].message
    assert report.ranking.startswith("By mean nearness over all training sequences")
    assert report.attacks[0].metrics.criterion.startswith("nearness of at least 0.8 and higher than 60 comparisons")
    assert [decoy.name for decoy in report.attacks[0].metrics.decoys] == ["a constant", "noise"]
    assert report.attacks[0].matches[0].truth == scene.kind.show(scene.data.records[0], Path(), "")
    assert report.pictures() == set()
    assert report.attacks[-1].agreement.confident == 6
    assert report.leaderboard_rows()[0].keys() >= {"nearness_mean", "nearness_max", "worst_mean", "worst_max"}
    assert all("image" not in said and "SSIM" not in said for said in report.limitations)
    assert "nearness" in repr(report)
    assert report.reconstructions()[0].text.startswith("0.")


@pytest.mark.parametrize(
    ("text", "status"),
    [("nearness_mean>=0.9", "fail"), ("worst_mean>0.5", "pass"), ("recovered_fraction>0.5", "fail"),
     ("confident>0", "fail"), ("nearness_max>1", "pass")],
)  # fmt: skip
def test_gates_use_its_names(report, text, status):
    gates = [parse(text, kinds=[report.kind])]
    assert judge(report.attacks, gates, report.kind, report.plan, report.findings).status == status
    with pytest.raises(GateError, match="unknown metric"):
        parse("ssim_mean>0", kinds=[report.kind])


def written(report, folder, name, evidence="full"):
    suffix = {"dpia": "md"}.get(name, name)
    path = folder / f"out.{suffix}"
    look = Look(evidence)
    write_each(report, folder, check_outputs([(name, str(path))], look), look)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_it(report, name, tmp_path):
    content = written(report, tmp_path, name).read_bytes()
    assert content
    if name in ("html", "md", "dpia", "junit", "sarif"):
        said = re.sub(r"<(style|script)>.*?</\1>", "", content.decode(), flags=re.DOTALL)
        assert "sequences" in said
        said = said.replace("Individual training images", "")  # what an attack says of its own goal
        foreign = ("SSIM", "PSNR", "training image", "Training image", "held-out image")
        assert not [word for word in foreign if word in said]


def test_the_page_labels_its_charts_and_holds_its_texts(report, tmp_path):
    page = written(report, tmp_path, "html").read_text()
    assert "highest nearness with any reconstruction" in page
    assert "0.8: needed to count" in page
    assert "share of the sequences" in page
    assert "<dt>Mean Worst</dt>" in page
    assert report.attacks[0].matches[0].truth.text in page
    assert "<img" not in page


def test_the_terminal_names_its_statistic(report):
    text = io.StringIO()
    print_summary(Console(file=text, width=160, soft_wrap=True), report)
    assert "nearness" in text.getvalue()
    assert "Worst" in text.getvalue()
    assert "All together recovered 6 of 6 sequences." in text.getvalue()
    assert "SSIM" not in text.getvalue()


def test_texts_are_hidden_where_evidence_is(report, tmp_path):
    secret = report.attacks[0].matches[0].truth.text
    for name in (*FORMATS, "json"):
        if name in ("grid", "pdf"):
            continue
        assert secret not in written(report, tmp_path, name, "none").read_text(), name
    assert secret in written(report, tmp_path, "json").read_text()
    assert secret in html.render(report, tmp_path, Look("blurred"))
    assert secret not in html.render(report, tmp_path, Look("blurred"), veiled=True)
    assert load_report(tmp_path / "out.json") == report
    kept = json.loads(written(report, tmp_path, "json", "none").read_text())
    assert {dummy["exhibit"]["text"] for attack in kept["attacks"] for dummy in attack["reconstructions"]} == {""}


def test_a_scan_without_evidence_keeps_no_text(scene, tmp_path):
    quiet = dataclasses.replace(scene, request=dataclasses.replace(scene.request, evidence="none"))
    (found,) = attack_results(quiet, runs(sequences(6, 0)), tmp_path)
    assert {dummy.exhibit for dummy in found.reconstructions} == {Text(text="")}
    assert {pair.truth for pair in found.matches} == {Text(text="")}


def test_a_format_is_a_file_and_a_line_too(report, tmp_path):
    assert "tally" in plugins.available("memaudit.reports")
    assert written(report, tmp_path, "tally", "blurred").read_text() == "18 sequences, blurred"
