"""Whether anything lies at a path."""

import subprocess
import sys

import pytest

from memaudit.audit.checkpoints.existing import existing
from memaudit.audit.checkpoints.refusal import CheckpointError


def test_a_file_and_a_folder_are_there(tmp_path):
    (tmp_path / "a.pt").touch()
    assert existing(str(tmp_path / "a.pt")) == tmp_path / "a.pt"
    assert existing(tmp_path) == tmp_path


def test_what_is_not_there_is_named_with_what_is_called_nearly_so(tmp_path):
    (tmp_path / "before.pt").touch()
    with pytest.raises(CheckpointError, match=r"There is no checkpoint at .*befor\.pt.* Did you mean .*before\.pt\?"):
        existing(tmp_path / "befor.pt")
    with pytest.raises(CheckpointError, match="Check the path"):
        existing(tmp_path / "nowhere" / "x.pt")


def test_a_name_that_no_file_can_have_is_no_traceback(tmp_path):
    with pytest.raises(CheckpointError, match="Check the path"):
        existing(tmp_path / ("x" * 5000))


@pytest.mark.parametrize(
    "words",
    [
        "scan {} after.pt", "infer {} after.pt", "check {} after.pt --data x", "exposure {} after.pt --data x",
        "defend {} after.pt --data x", "inspect {}", "inspect {} after.pt", "linearity {} --data x",
    ],
)  # fmt: skip
def test_a_wrong_path_is_told_before_torch_is_imported(words, tmp_path):
    code = (
        "import sys; sys.argv[0] = 'memaudit'\n"
        "from memaudit.audit.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert stop.code == 2, stop.code\n"
        "assert 'torch' not in sys.modules"
    )
    asked = words.format(tmp_path / "before.pt").split()
    done = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "There is no checkpoint at" in done.stderr
