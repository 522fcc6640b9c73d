"""A stranger's attack: one file and one line put it into the plan, the report and the data-protection document."""

import sys

import pytest

from memaudit.audit.report.file import load
from memaudit.audit.request import ScanRequest
from memaudit.audit.scan.pipeline import scan
from memaudit.reports.dpia import document

FILE = """
from dataclasses import dataclass
from typing import ClassVar

from memaudit.attacks.contract.card import Card
from memaudit.attacks.sme import SME


@dataclass(frozen=True)
class Odd(SME):
    name: ClassVar[str] = "odd"
    card: ClassVar[Card] = Card(
        goal="Odd records.", knowledge="Oddly little.", source="Odd et al., 2031", reads="first layer",
        rule=lambda sight: (sight.sharp, f"odd, and {sight.samples}"), place=5,
    )
"""
LINE = "[memaudit.attacks]\nodd = one_file:Odd\n"


@pytest.fixture
def _installed(tmp_path, monkeypatch):
    info = tmp_path / "odd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(LINE)
    (tmp_path / "one_file.py").write_text(FILE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield
    sys.modules.pop("one_file", None)


@pytest.mark.usefixtures("_installed")
def test_a_strangers_attack_is_planned_run_reported_and_documented(leak, tmp_path, monkeypatch):
    request = ScanRequest(leak.before, leak.after, data=leak.data, control=leak.control, normalise="0.5;0.25",
                          epochs=10, lr=0.02, max_iterations=9, out=tmp_path / "run")  # fmt: skip
    scan(request)
    report = load(tmp_path / "run")
    first = report.plan[0]
    assert (first.attack, first.runs, first.reason) == ("odd", True, "odd, and 4 samples, as the change shows")
    assert (report.attacks[0].name, report.attacks[0].iterations) == ("odd", 9)
    assert report.attacks[0].metrics is not None
    assert report.cards["odd"].goal == "Odd records."
    # The document needs the report alone: the plugin need not be installed where it is rendered.
    monkeypatch.setattr(sys, "path", sys.path[1:])
    text = document.markdown(report)
    assert "### odd\n\n- Goal: Odd records.\n" in text
    assert "- Source: Odd et al., 2031; NISTAML.032" in text
    coverage = text.split("How far each attack of this tool came:")[1]
    assert "| odd | Reconstruction attacks | " in coverage
