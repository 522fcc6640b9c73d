import json

import numpy as np
import pytest
from typer.testing import CliRunner

from memaudit.audit.cli.main import app
from memaudit.audit.request import RequestError, ScanRequest
from memaudit.audit.tasks.check import check

from ..conftest import PUBLIC, crops


def run(app, words):
    return CliRunner().invoke(app, words)


@pytest.fixture
def words(leak):
    return ["check", str(leak.before), str(leak.after), "--normalise", "0.5;0.25"]


def test_the_right_data_are_told_from_the_wrong(leak, words, tmp_path):
    held_out = ["--control", str(leak.control)]
    right = run(app, [*words, "--data", str(leak.data), *held_out])
    assert right.exit_code == 0
    assert right.stdout.startswith("EXPLAINED The data explain the change: 4 images explain")
    images = crops(PUBLIC)
    np.savez(tmp_path / "others.npz", images=images[:4])
    np.savez(tmp_path / "rest.npz", images=images[4:])
    given = ["--data", str(tmp_path / "others.npz"), "--control", str(tmp_path / "rest.npz")]
    wrong = run(app, [*words, *given, "--json"])
    assert wrong.exit_code == 3
    found = json.loads(wrong.stdout)
    assert (found["check"]["explained"], found["records"], found["held_out"]) == (False, 4, 31)


def test_without_held_out_images_it_may_not_be_known(leak, words, tmp_path):
    np.savez(tmp_path / "others.npz", images=crops(PUBLIC)[:4])
    found = run(app, [*words, "--data", str(tmp_path / "others.npz"), "-q"])
    assert found.exit_code == 3
    assert found.stdout.startswith("UNKNOWN")


def test_it_needs_data(leak):
    with pytest.raises(RequestError, match="no data"):
        check(ScanRequest(leak.before, leak.after))
