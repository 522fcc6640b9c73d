"""``memaudit diff`` in processes, on two real scans of a small pair."""

import json
import os
from pathlib import Path

import pytest

from memaudit.audit.report.file import load
from memaudit.audit.trend.model import Diff

from ... import forked
from ..report.old import demo
from ..trend.reports import attack, audit

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def memaudit(*words):
    return forked.memaudit(*words, env=ENVIRONMENT)


def write(path: Path, report) -> Path:
    path.write_text(report.to_json())
    return path


@pytest.fixture(scope="module")
def runs(leak, tmp_path_factory):
    """Scan one pair twice: to its end, and with one step."""
    place = tmp_path_factory.mktemp("diff")
    for name, steps in (("whole", 60), ("short", 1)):
        done = memaudit(
            "scan", leak.before, leak.after, "--data", leak.data, "--control", leak.control, "--normalise", "0.5;0.25",
            "--epochs", 10, "--lr", 0.02, "--attack", "simudy", "--set", f"simudy.iterations={steps}",
            "--set", "simudy.alpha=0.03", "--out", place / name, "--quiet", "--power", "off",
        )  # fmt: skip
        assert done.returncode in (1, 3), done.stderr
    return place


@pytest.mark.slow
def test_a_scan_of_fewer_steps_is_no_improvement(runs):
    done = memaudit("diff", runs / "whole", runs / "short", "--fail-on-worse", "-o", f"md={runs / 'd.md'}",
                    "-o", runs / "d.html", "-o", runs / "d.json")  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stderr == ""
    first = done.stdout.splitlines()[0]
    assert first.startswith("FAIL (critical) to INCONCLUSIVE (low): cannot be told. The later audit is inconclusive")
    assert "simudy ran with other options." in done.stdout
    found = Diff.model_validate_json((runs / "d.json").read_text())
    assert found.attacks[0].recovered.earlier == load(runs / "whole").attacks[0].metrics.recovered > 0
    assert (runs / "d.html").read_text().startswith("<!doctype html>")
    assert (runs / "d.md").read_text().startswith("# FAIL")


@pytest.mark.slow
def test_the_other_way_round_it_is_worse(runs):
    done = memaudit("diff", runs / "short", runs / "whole" / "report.json", "--json", "--fail-on-worse")
    assert done.returncode == 1
    assert json.loads(done.stdout)["change"] == "worse"
    assert "MA001" in json.loads(done.stdout)["worse"][1]
    assert "INCONCLUSIVE (low) to FAIL (critical): worse." in done.stderr


@pytest.mark.slow
def test_the_same_scan_twice_has_no_change(runs):
    done = memaudit("diff", runs / "short", runs / "short", "--fail-on-worse")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("INCONCLUSIVE (low) to INCONCLUSIVE (low): no clear change.")


def test_it_is_a_measurement_unless_a_gate_is_asked_for(tmp_path):
    one, two = write(tmp_path / "1.json", audit(attack(()))), write(tmp_path / "2.json", audit(attack(range(9))))
    assert memaudit("diff", one, two).returncode == 0
    assert memaudit("diff", one, two, "--fail-on", "critical").returncode == 1, "the verdict fails all the same"
    assert memaudit("diff", two, one, "--fail-on-worse").returncode == 0


def test_bad_input_is_one_sentence_and_exit_code_two(tmp_path):
    good = write(tmp_path / "good.json", audit(attack(())))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "new.json").write_text(json.dumps({**demo(), "schema_version": "99.0"}))
    for words, why in (
        ((good,), "Missing argument 'LATER'."),
        ((good, tmp_path / "none.json"), "does not exist."),
        ((good, tmp_path), "does not exist."),
        ((tmp_path / "broken.json", good), "is not a memaudit report"),
        ((good, tmp_path / "new.json"), "has report schema 99.0"),
        ((good, good, "-o", "audit.pdf"), "There is no format of a comparison 'pdf'."),
        ((good, good, "-o", f"md={tmp_path}"), "that is a folder."),
    ):
        done = memaudit("diff", *words)
        assert done.returncode == 2, words
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert why in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr


def test_a_report_that_was_changed_is_warned_of(tmp_path):
    good = write(tmp_path / "good.json", audit(attack(())))
    changed = tmp_path / "changed.json"
    changed.write_text(good.read_text().replace('"cifar-classifier"', '"another"'))
    done = memaudit("diff", good, changed)
    assert done.returncode == 0
    assert "warning:" in done.stderr
