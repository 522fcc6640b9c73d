"""The report object in Python: one line, a table, rows, pictures."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from memaudit.audit.report.exhibit import Picture, Text
from memaudit.audit.report.file import load
from memaudit.audit.report.notebook import SHOWN, PictureError
from memaudit.audit.report.pictures import save_picture
from memaudit.audit.report.results import Dummy
from memaudit.audit.report.verdict import Verdict
from memaudit.audit.verdict.leaderboard import leaderboard

from ..verdict.test_findings import match, metrics, result
from . import old


def ranked(report, *attacks, **more):
    return report.model_copy(update={"attacks": list(attacks), "leaderboard": leaderboard(attacks), **more})


def dummies(*exhibits):
    return [Dummy(dummy=i, label=0, influence=1.0, exhibit=exhibit) for i, exhibit in enumerate(exhibits)]


def test_in_one_line(report):
    best = result(metrics=metrics(similarity_mean=0.91234, recovered=3))
    found = ranked(report, best, result("loo", "stalled", metrics=None))
    line = "<AuditReport of a.pt: pass; best: simudy, SSIM 0.912, recovered 3 of 10; 2 results, 0 findings>"
    assert repr(found) == str(found) == line
    assert len(repr(found)) < 150
    assert repr(report.model_copy(update={"attacks": []})) == "<AuditReport of a.pt: pass; 0 results, 0 findings>"
    blind = ranked(report, result(metrics=None, status="budget_spent"))
    assert "best: simudy, budget spent; 1 result" in repr(blind)


class Cells(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_in_a_notebook_every_text_is_escaped(report):
    evil = "<script>alert(1)</script>"
    attacks = [result(f"{evil}{i}", metrics=metrics()) for i in range(SHOWN + 2)]
    verdict = Verdict(status="fail", severity="high", summary=evil)
    found = Cells(ranked(report, *attacks, model=evil, verdict=verdict)._repr_html_())
    assert "script" not in found.tags
    assert found.tags.count("tr") == SHOWN + 1
    said = " ".join(found.text)
    assert said.count(evil) == SHOWN + 2
    assert "FAIL (high)" in said
    assert "2 more in" in said
    assert "mean SSIM" in said


def test_rows_are_plain_and_have_the_names_of_gates(report):
    scored = result(metrics=metrics(details_mean={"psnr": 21.5}, details_max={"ssim_paper": 0.3}))
    rows = ranked(report, scored, result("loo", "stalled", metrics=None)).leaderboard_rows()
    assert [row["result"] for row in rows] == ["simudy", "loo"]
    assert (rows[0]["ssim_mean"], rows[0]["ssim_max"], rows[0]["psnr_mean"]) == (0.1, 0.2, 21.5)
    assert (rows[0]["ssim_paper_max"], rows[0]["recovered"], rows[0]["records"]) == (0.3, 0, 10)
    assert rows[1]["ssim_mean"] is None
    json.dumps(rows)


@pytest.fixture
def shown(report, tmp_path):
    """A report whose better attack found two colour pictures and a text, and the other one grey one."""
    images = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    paths = [save_picture(image, tmp_path, f"a/dummy-{i:04d}") for i, image in enumerate(images)]
    grey = save_picture(images[0, :1], tmp_path, "b/dummy-0000")
    exhibits = [Picture(path=paths[0]), Picture(path=paths[1]), Text(text="hello")]
    better = result(metrics=metrics(similarity_mean=0.9), reconstructions=dummies(*exhibits), matches=[match(1)])
    other = result("loo", metrics=metrics(), reconstructions=dummies(Picture(path=grey), Picture(path="../away.png")))
    (tmp_path / "report.json").write_text(ranked(report, other, better).to_json())
    return load(tmp_path), (images * 255).round().byte().numpy()


def test_reconstructions_are_pictures_and_arrays(shown):
    report, levels = shown
    found = report.reconstructions()
    assert [one.match and one.match.sample for one in found] == [None, 1, None]
    for one, wanted in zip(found[:2], levels, strict=True):
        assert one.picture().size == (8, 6)
        np.testing.assert_array_equal(np.asarray(one.picture()), wanted.transpose(1, 2, 0))
        np.testing.assert_array_equal(one.array(), (wanted.transpose(1, 2, 0) / np.float32(255)))
        assert one.text == ""
    assert found[2].text == "hello"
    (grey, away) = report.reconstructions("loo")
    assert grey.array().shape == (6, 8)
    assert report.reconstructions("haim") == []
    with pytest.raises(PictureError, match=r"no picture \.\./away\.png"):
        away.picture()
    with pytest.raises(PictureError, match="is text"):
        found[2].picture()


def test_a_report_without_its_folder_says_so(shown):
    report, _ = shown
    lost = type(report).model_validate_json(report.to_json())
    with pytest.raises(PictureError, match="does not know its run folder"):
        lost.reconstructions()[0].picture()


def test_a_report_of_version_1_has_them_too(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(old.seeds()))
    report = load(tmp_path)
    assert "<AuditReport of after.safetensors: fail (critical); best: spear (consensus), SSIM 1.000" in repr(report)
    assert {row["result"] for row in report.leaderboard_rows()} >= {"spear (seed 0)", "dlg (seed 1)"}
    assert [one.dummy.dummy for one in report.reconstructions("simudy")] == [0, 1, 2, 3]
