import json
import os
import subprocess

import pytest
import torch

from memaudit.audit.checkpoints.weights import digest
from memaudit.audit.report.exhibit import Picture
from memaudit.audit.report.file import load
from memaudit.audit.report.model import ALTERED, ReportError, content_digest
from memaudit.audit.report.pictures import save_picture
from memaudit.audit.verdict.verify import verify

from ...conftest import SCRIPT
from ...forked import memaudit
from ..report import old
from .test_findings import match, result


@pytest.fixture
def folder(tmp_path, report):
    """A run folder with a sealed report, two pictures and two checkpoints."""
    rng = torch.Generator().manual_seed(0)
    paths = [save_picture(torch.rand(3, 8, 8, generator=rng), tmp_path, f"a/dummy-{i:04d}") for i in range(2)]
    pair = match(0).model_copy(update={"truth": Picture(path=paths[0]), "reconstruction": Picture(path=paths[1])})
    for role in ("before", "after"):
        torch.save({"w": torch.rand(2, 2, generator=rng)}, tmp_path / f"{role}.pt")
    recorded = {
        role: report.inputs.before.model_copy(
            update={"path": str(tmp_path / f"{role}.pt"), "sha256": digest([tmp_path / f"{role}.pt"])}
        )
        for role in ("before", "after")
    }
    inputs = report.inputs.model_copy(update=recorded)
    found = report.model_copy(update={"attacks": [result(matches=[pair])], "inputs": inputs})
    (tmp_path / "report.json").write_text(found.to_json())
    return tmp_path


def states(folder, **more):
    return {check.what: check.status for check in verify(folder, **more)}


GOOD = dict.fromkeys(("content", "pictures", "before", "after"), "ok")


def test_what_was_written_is_genuine(folder):
    assert states(folder) == GOOD
    assert states(folder / "report.json", before=str(folder / "before.pt")) == GOOD


def test_layout_does_not_matter_but_every_value_does(folder):
    file = folder / "report.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content))
    assert states(folder) == GOOD
    content["attacks"][0]["matches"][0]["scores"]["similarity"] += 1e-12
    file.write_text(json.dumps(content))
    assert states(folder)["content"] == "differs"


def test_fields_of_a_newer_minor_version_are_part_of_the_digest(folder):
    file = folder / "report.json"
    content = json.loads(file.read_text()) | {"schema_version": "2.99", "novelty": [1]}
    file.write_text(json.dumps(content | {"content_sha256": content_digest(content)}))
    assert states(folder)["content"] == "ok"
    file.write_text(json.dumps(content))
    assert states(folder)["content"] == "differs"


def test_the_digest_of_an_older_report_is_that_of_its_file(tmp_path):
    file = tmp_path / "report.json"
    file.write_text(json.dumps(old.demo()))
    assert states(tmp_path) == {"content": "ok", "pictures": "unchecked", "before": "unchecked", "after": "unchecked"}
    altered = old.demo()
    altered["attacks"][0]["matches"][0]["scores"]["ssim"] -= 1e-12
    file.write_text(json.dumps(altered))
    assert states(tmp_path)["content"] == "differs"


def test_a_report_of_a_version_without_digests_has_none(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(old.schema_1_2()))
    assert states(tmp_path)["content"] == "unchecked"


def test_pictures_that_were_altered_or_taken_away(folder):
    one, two = sorted((folder / "evidence").rglob("*.png"))
    one.write_bytes(two.read_bytes())
    assert states(folder)["pictures"] == "differs"
    one.unlink()
    assert states(folder)["pictures"] == "unchecked"
    two.write_bytes(b"no picture")
    assert states(folder)["pictures"] == "differs"


def test_other_checkpoints_differ_and_missing_ones_are_not_checked(folder):
    assert states(folder, after=str(folder / "before.pt"))["after"] == "differs"
    (folder / "after.pt").unlink()
    assert states(folder)["after"] == "unchecked"


def test_a_picture_outside_of_the_folder_is_not_read(folder):
    file = folder / "report.json"
    content = json.loads(file.read_text())
    content["attacks"][0]["matches"][0]["truth"]["path"] = "../../etc/hostname"
    content["content_sha256"] = content_digest(content)
    file.write_text(json.dumps(content))
    assert states(folder) == GOOD | {"pictures": "unchecked"}


def test_no_report(tmp_path):
    with pytest.raises(ReportError):
        verify(tmp_path)


@pytest.mark.parametrize(("change", "code"), [(False, 0), (True, 1)])
def test_the_command(folder, change, code):
    if change:
        torch.save({"w": torch.zeros(2, 2)}, folder / "after.pt")
    done = memaudit("verify", folder, "--json")
    assert done.returncode == code, done.stderr
    assert {check["what"] for check in json.loads(done.stdout)[str(folder)]} == set(GOOD)


def test_a_digest_that_was_taken_out_differs(folder):
    file = folder / "report.json"
    content = json.loads(file.read_text())
    del content["content_sha256"]
    file.write_text(json.dumps(content))
    assert states(folder)["content"] == "differs"


def test_a_gate_on_an_altered_report_warns(folder):
    file = folder / "report.json"
    quiet = memaudit("gate", folder)
    content = json.loads(file.read_text())
    content["attacks"][0]["metrics"] = None
    file.write_text(json.dumps(content | {"model": "another"}))
    loud = memaudit("gate", folder)
    assert "warning" not in quiet.stderr
    assert "was changed after memaudit wrote it" in loud.stderr


def altered(folder, **changes):
    content = json.loads((folder / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps(content | changes))


def test_a_changed_report_stays_marked_when_it_is_written_again(folder, tmp_path):
    altered(folder, model="other")
    again = load(folder)
    assert again.limitations[0] == ALTERED
    for name, report in {"a": again, "b": again.nameless(), "c": again.printable(), "d": again.sealed()}.items():
        (tmp_path / f"{name}.json").write_text(report.to_json())
        assert states(tmp_path / f"{name}.json")["content"] == "differs"
        assert load(tmp_path / f"{name}.json").limitations.count(ALTERED) == 1
    altered(folder, content_sha256="")
    (tmp_path / "e.json").write_text(load(folder).to_json())
    assert states(tmp_path / "e.json")["content"] == "differs"


def test_a_report_for_people_holds_nothing_that_acts(folder):
    altered(folder, model="a\x1b[31m\u202e\n::error::b", limitations=["\x07"])
    shown = load(folder).printable()
    assert shown.model == r"a\x1b[31m\u202e\n: :error::b"
    assert shown.limitations[-1] == r"\x07"
    assert shown.folder == folder
    altered(folder, model="half \ud800")
    with pytest.raises(ReportError, match="not a memaudit report"):
        load(folder)


def test_a_path_that_only_the_report_names_is_told_before_it_is_opened(folder):
    told = []
    verify(folder, after=str(folder / "after.pt"), tell=told.append)
    assert told == [str(folder / "before.pt")]


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "report.json")
    with pytest.raises(ReportError, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(ReportError, match="cannot be read"):
        load("/dev/zero")


@pytest.mark.parametrize("words", [("rules",), ("schema",), ("rules", "--json")])
def test_a_reader_who_has_gone_is_no_verdict(words):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([SCRIPT, *words], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
