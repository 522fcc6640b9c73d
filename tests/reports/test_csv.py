"""The exposure of records as a table: what a program reads, and what a spreadsheet must not compute."""

import csv as reader
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from memaudit.audit.files import FormatError
from memaudit.audit.outputs import GROUP, Look, check_outputs, write_each
from memaudit.audit.plugins import available
from memaudit.audit.report.model import AuditReport
from memaudit.audit.request import ScanRequest
from memaudit.audit.tasks.exposure import expose
from memaudit.reports import csv


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(reader.DictReader(file))


def test_a_line_for_each_record_has_its_numbers_exactly(exposed: AuditReport, folder: Path, tmp_path: Path) -> None:
    found = table(csv.write(exposed, folder, tmp_path / "new" / "exposure.csv"))
    assert exposed.exposure is not None
    rows = exposed.exposure.per_record
    assert len(found) == len(rows) == 300
    assert tuple(found[0]) == csv.HEAD
    for line, row in zip(found, rows, strict=True):
        assert (int(line["record"]), line["name"], line["label"]) == (row.record, row.name, row.label)
        numbers = (float(line["score"]), float(line["p_value"]), float(line["q_value"]), float(line["leverage"]))
        assert numbers == (row.score, row.p_value, row.q_value, row.leverage)
        assert line["detected"] == str(int(row.detected))
    assert sum(line["detected"] == "1" for line in found) == exposed.exposure.detected


def test_it_is_found_by_its_name_and_only_its_owner_may_read_names(
    exposed: AuditReport, folder: Path, tmp_path: Path
) -> None:
    assert "csv" in available(GROUP)
    wanted = check_outputs([("csv", str(tmp_path / "all.csv"))])
    (path,) = write_each(exposed, folder, wanted, Look())
    assert table(path)[0]["name"].startswith("train/")
    assert path.stat().st_mode & 0o077 == 0


def test_without_evidence_names_are_withheld(exposed: AuditReport, folder: Path, tmp_path: Path) -> None:
    wanted = check_outputs([("csv", str(tmp_path / "all.csv"))], Look("none"))
    (path,) = write_each(exposed, folder, wanted, Look("none"))
    assert "train/" not in path.read_text()
    assert {line["name"] == f"image {line['record']}" for line in table(path)} == {True}


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1.png", "'-1.png"), ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"), ("  =1", "'  =1"), ("\x00=1", "'\x00=1"), ("＝1", "'＝1"), ("a;=1", "a;'=1"),
        ("a-b=c.png", "a-b=c.png"), ("train/cat/1.png", "train/cat/1.png"), ("", ""),
    ],
)  # fmt: skip
def test_no_cell_is_a_formula(cell: str, written: str) -> None:
    assert csv.harmless(cell) == written


def test_hostile_names_and_labels_stay_one_cell_each(exposed: AuditReport, folder: Path, tmp_path: Path) -> None:
    assert exposed.exposure is not None
    nasty = ['=HYPERLINK("http://x","y")', 'a","b', "one\ntwo", "-2+3"]
    rows = [
        row.model_copy(update={"name": text, "label": text})
        for row, text in zip(exposed.exposure.per_record, nasty, strict=False)
    ]
    found = exposed.exposure.model_copy(update={"per_record": rows})
    report = exposed.model_copy(update={"exposure": found})
    lines = table(csv.write(report, folder, tmp_path / "all.csv"))
    assert [line["name"] for line in lines] == ["'" + nasty[0], nasty[1], nasty[2], "'" + nasty[3]]
    assert [line["label"] for line in lines] == [line["name"] for line in lines]


def test_a_negative_score_stays_a_number(hidden: AuditReport, folder: Path, tmp_path: Path) -> None:
    lowest = table(csv.write(hidden, folder, tmp_path / "all.csv"))[-1]["score"]
    assert float(lowest) < 0


def test_a_report_without_exposure_says_so(leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="says nothing of the exposure of single images") as error:
        csv.write(leak, folder, tmp_path / "all.csv")
    assert "memaudit exposure" in str(error.value.hint)
    assert not (tmp_path / "all.csv").exists()


def test_a_real_measurement_is_written_in_every_format(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 10 * 10, 64), nn.ReLU(), nn.Linear(64, 3))
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (160, 10, 10, 3), dtype=np.uint8), rng.integers(0, 3, 160)
    torch.save(net.state_dict(), tmp_path / "before.pt")
    x, y = torch.from_numpy(pixels[:40]).permute(0, 3, 1, 2) / 255 * 4 - 2, torch.from_numpy(labels[:40])
    steps = torch.optim.SGD(net.parameters(), 0.05)
    for _ in range(20):
        steps.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        steps.step()
    torch.save(net.state_dict(), tmp_path / "after.pt")
    for name, rows in (("data", slice(0, 40)), ("control", slice(40, None))):
        np.savez(tmp_path / f"{name}.npz", images=pixels[rows], labels=labels[rows], names=np.array(list("abc")))
    wanted = [(name, str(tmp_path / f"out.{name}")) for name in ("csv", "md", "junit", "sarif", "dpia")]
    report = expose(
        ScanRequest(
            tmp_path / "before.pt", tmp_path / "after.pt", data=tmp_path / "data.npz",
            control=tmp_path / "control.npz", normalise="0.5;0.25", out=tmp_path / "run", outputs=tuple(wanted),
        )
    )  # fmt: skip
    found = report.exposure
    assert found is not None
    lines = table(tmp_path / "out.csv")
    assert [int(line["record"]) for line in lines] == [row.record for row in found.per_record]
    assert {line["label"] for line in lines} == {"a", "b", "c"}
    assert found.own.auc is not None
    assert found.own.auc > 0.8, "a network this small keeps its forty images"
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count('<tr id="exposed-') == 40
    assert page.count("<img") == 24
    for name, said in (("md", "## Exposure"), ("junit", "MA008"), ("dpia", "NISTAML.033"), ("sarif", "NISTAML.033")):
        assert said in (tmp_path / f"out.{name}").read_text(), name
