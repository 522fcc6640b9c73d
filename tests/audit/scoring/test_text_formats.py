"""A report on sentences in every format: originals beside reconstructions, and what is hidden where."""

import dataclasses
import re

import pytest
import torch

from memaudit.attacks.contract.attack import Reconstruction, State
from memaudit.attacks.simudy import SimuDy
from memaudit.audit import plugins
from memaudit.audit.data.text import RawText
from memaudit.audit.outputs import Look, check_outputs, write_each
from memaudit.audit.report.proof import DataCheck
from memaudit.audit.request import ScanRequest
from memaudit.audit.run.drive import Outcome, Run
from memaudit.audit.scan import compose
from memaudit.audit.scan.learn import Learned
from memaudit.audit.scan.proof import Proof
from memaudit.audit.scan.results import attack_results
from memaudit.audit.scan.scene import load
from memaudit.audit.scoring.text import Sentence
from memaudit.audit.verdict.expression import parse

from ...texts import medium

MEDIUM = medium(length=16)
TRUTH = (
    "the old boy saw my garden.", "who wrote the letter?", "a girl slept, my dog ran!", "the cat has my old letter"
)  # fmt: skip
MADE = (
    "the old garden saw my boy.", "who wrote the letter?", "a girl saw, my cat ran!", "letter my the has old boy"
)  # fmt: skip
OTHERS = tuple(f"{one} {two} {three}" for one in ("dog", "boy") for two in ("slept", "old", "who") for three in
               ("a garden", "has a", "cat saw", "wrote", "girl my"))  # fmt: skip
FORMATS = [name for name in plugins.available("memaudit.reports") if name != "csv"]  # of exposure, not of attacks


def records(*texts):
    labels = tuple(place % 2 for place in range(len(texts)))
    names = tuple(f"few.txt:{place + 1}" for place in range(len(texts)))
    return RawText(tuple(texts), labels, names).assembled("text:few.txt", medium=MEDIUM)


@pytest.fixture(scope="module")
def report(leak, tmp_path_factory):
    request = ScanRequest(leak.before, leak.after, lr=0.02, normalise="0.5;0.25", epochs=10, size=4)
    scene = load(request)
    scene = dataclasses.replace(scene, data=records(*TRUTH), control=records(*OTHERS), kind=Sentence(MEDIUM))
    done, found = State(0, {}, {}, {}, done=True), records(*MADE)
    claim = Reconstruction(found.records, MEDIUM.encode(found.records), found.labels, torch.ones(4), 0.01)
    runs = [Run(SimuDy(), 0, Outcome("converged", 10, 1.0, 10, ((0, 1.0), (9, 0.01)), done, claim))]
    attacks = attack_results(scene, runs, tmp_path_factory.mktemp("run"))
    learned = Learned(scene.known.recipe, scene.known.facts)
    gates = [parse("rouge_l_max>0.9", kinds=[scene.kind.about])]
    return compose.report(scene, learned, attacks, gates, proof=Proof(DataCheck(explained=True, reason="They do.")))


def written(report, folder, name, evidence="full"):
    path = folder / f"out.{ {'dpia': 'md'}.get(name, name) }"
    look = Look(evidence)
    write_each(report, folder, check_outputs([(name, str(path))], look), look)
    return path


def test_numbers_of_sentences_are_in_the_report(report):
    (attack,) = report.attacks
    assert [match.scores.similarity for match in attack.matches] == pytest.approx([2 / 3, 1, 2 / 3, 1 / 2])
    assert attack.matches[1].scores.details == {"rouge_1": 1, "rouge_2": 1, "tokens": 1, "exact": 1}
    assert attack.metrics.details_mean.keys() >= {"rouge_1", "rouge_2", "tokens", "exact"}
    assert [decoy.name for decoy in attack.metrics.decoys] == [
        "the most frequent training words", "random training words"
    ]  # fmt: skip
    assert report.verdict.status == "fail"
    assert "rouge_l_max" in report.verdict.gates[0].reason + report.verdict.gates[0].expression


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("evidence", ["full", "blurred", "none"])
def test_every_format_speaks_of_sentences_and_hides_what_it_has_to(report, tmp_path, name, evidence):
    if (name, evidence) in (("grid", "none"), ("pdf", "full"), ("pdf", "none")):  # refused; slow, and as the page
        return
    content = written(report, tmp_path, name, evidence).read_bytes()
    assert content
    if name in ("grid", "pdf"):
        return
    said = re.sub(r"<(style|script)>.*?</\1>", "", content.decode(), flags=re.DOTALL)
    said = re.sub(r"</?(mark|bdi)[^>]*>|\*|<wbr>", "", said).replace("Individual training images", "")
    assert not [word for word in ("SSIM", "PSNR", "raining image", "held-out image") if word in said]
    assert "sentences" in said
    shows = {"full": ("html", "json", "md"), "blurred": ("html", "json"), "none": ("json",) * 0}[evidence]
    assert ("wrote the letter" in said) == (name in shows), name


def test_the_page_marks_what_differs(report, tmp_path):
    page = written(report, tmp_path, "html").read_text()
    assert 'the old <mark class="moved">boy</mark> saw my <mark class="moved">garden.</mark>' in page
    assert 'a girl <mark class="other">slept,</mark> my <mark class="other">dog</mark> ran!' in page
    assert "who wrote the letter?</span>" in page
    assert "Marked like this" in page
    assert "<img" not in page


def test_markdown_sets_originals_beside_reconstructions(report, tmp_path):
    path = written(report, tmp_path, "md")
    assert path.stat().st_mode & 0o077 == 0
    rows = [line for line in path.read_text().splitlines() if line.startswith("| `few.txt:")]
    assert rows[0].startswith("| `few.txt:2` | who wrote the letter? | who wrote the letter? | 1.000")
    assert "the old *boy* saw my *garden.* | the old *garden* saw my *boy.*" in rows[1]
    assert "a girl **slept,** my **dog** ran\\! | a girl **saw,** my **cat** ran\\!" in rows[2]
    veiled = [
        line for line in written(report, tmp_path, "md", "blurred").read_text().splitlines() if "few.txt:3" in line
    ]
    assert veiled[0].count("▒▒▒") == 12
    assert "▒▒▒ ▒▒▒ **▒▒▒** ▒▒▒ **▒▒▒** ▒▒▒" in veiled[0]
