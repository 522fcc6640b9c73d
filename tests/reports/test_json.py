import json as standard
import math
import os
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from memaudit import MemauditError
from memaudit.audit.files import FormatError, write_text
from memaudit.audit.report.file import load, schema
from memaudit.audit.report.model import AuditReport
from memaudit.reports import json


@pytest.mark.parametrize("name", ["leak", "clean", "blind", "many", "trust", "hostile", "hostile_many"])
def test_a_report_survives_the_round_trip(
    name: str, request: pytest.FixtureRequest, folder: Path, tmp_path: Path
) -> None:
    report: AuditReport = request.getfixturevalue(name)
    destination = json.write(report, folder, tmp_path / "report.json")
    assert load(destination) == load(tmp_path) == report
    Draft202012Validator(schema()).validate(standard.loads(destination.read_text()))


def test_what_is_not_finite_becomes_null(leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    content = leak.model_dump(by_alias=True)
    content["attacks"][0] |= {"loss": math.nan, "curve": [(0, 1.0), (1, math.inf), (2, -math.inf)]}
    content["search"][0]["loss"] = math.inf
    report = AuditReport.model_validate(content)
    written = standard.loads(
        json.write(report, folder, tmp_path / "report.json").read_text(), parse_constant=pytest.fail
    )
    assert written["attacks"][0]["loss"] is None
    assert written["attacks"][0]["curve"] == [[0, 1.0], [1, None], [2, None]]
    assert written["search"][0]["loss"] is None
    assert load(tmp_path) == report.sealed()


def test_writing_replaces_the_whole_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    assert write_text(path, "a longer first text") == path
    write_text(path, "second: ü")
    assert path.read_text(encoding="utf-8") == "second: ü"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_text(tmp_path / "report.json", "old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(FormatError, match="No space left on device"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_link_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "target.json").write_text("kept")
    (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
    (tmp_path / "gone.json").symlink_to(tmp_path / "planted.json")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "below").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path / "work")
    for name in ("../link.json", "../gone.json", "below/new.json", "below/more/new.json"):
        with pytest.raises(FormatError, match="is a link"):
            write_text(Path(name), "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gone.json", "link.json", "target.json", "work"]
    assert (tmp_path / "target.json").read_text() == "kept"


def test_a_hard_link_is_replaced_and_its_other_name_kept(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    os.link(tmp_path / "precious", tmp_path / "report.json")
    write_text(tmp_path / "report.json", "new")
    assert ((tmp_path / "precious").read_text(), (tmp_path / "report.json").read_text()) == ("kept", "new")


def test_what_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match="is a folder"):
        write_text(tmp_path, "text")
    with pytest.raises(FormatError, match="cannot be written"):
        write_text(tmp_path / "file" / "report.json", "text")
    with pytest.raises(FormatError, match="not a regular file"):
        write_text(Path("/dev/null"), "text")
    assert issubclass(FormatError, MemauditError)
    assert FormatError.exit_code == 2
