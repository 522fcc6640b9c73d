"""A state is this user's own, or none: forged, changed and foreign ones are told apart by a key that only they have."""

import json
import os
import stat

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from memaudit.attacks.contract.attack import State
from memaudit.audit.run import seal
from memaudit.audit.run.seal import BLANK, SealError, genuine, job_secret, metadata
from memaudit.audit.run.store import Store


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "memaudit" / "key"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(save({"x": torch.arange(6.0)}, {"state": '{"seal":"no"}', **BLANK}))
    with path.open("r+b") as opened:
        seal.seal(opened, b"secret")
        yield opened


def test_the_key_is_made_once_and_read_by_its_owner_alone(home):
    first = job_secret("a")
    assert home.stat().st_size == seal.SIZE
    assert stat.S_IMODE(home.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700
    seal._user_key.cache_clear()
    assert job_secret("a") == first != job_secret("b"), "each job has a secret of its own"
    assert [path.name for path in home.parent.iterdir()] == ["key"]


@pytest.mark.parametrize("spoil", ["mode", "size", "link"])
def test_a_key_that_others_may_know_is_refused(home, spoil):
    home.parent.mkdir(parents=True)
    home.write_bytes(b"k" * (seal.SIZE - (spoil == "size")))
    home.chmod(0o644 if spoil == "mode" else 0o600)
    if spoil == "link":
        home.rename(home.with_name("other"))
        home.symlink_to("other")
    with pytest.raises(SealError, match=r"The key .*memaudit/key is") as stop:
        job_secret("a")
    assert "Delete it" in stop.value.hint


def test_without_a_place_for_the_key_a_process_has_its_own(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "taken"))
    assert job_secret("a") == job_secret("a")


def test_what_was_sealed_is_genuine_and_every_changed_byte_shows(file):
    assert genuine(file, b"secret")
    assert not genuine(file, b"other")
    assert metadata(file)["state"] == '{"seal":"no"}'
    file.seek(0)
    content = file.read()
    for place in range(8, len(content)):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        file.seek(0)
        file.write(changed)
        assert not genuine(file, b"secret"), place
    for longer in (content + b"0", content[:-1], content[:8], b""):
        file.seek(0)
        file.truncate()
        file.write(longer)
        assert not genuine(file, b"secret")
        with pytest.raises((ValueError, KeyError)):
            metadata(file)


def saved(folder, job_key="k"):
    job = Store(folder).job(job_key)
    x = torch.rand(2, 3)
    job.save(State(3, {"x": x}, {}, {"best_loss": torch.tensor(0.5)}, 0.5, {"a": 1.0}, False), {"seconds": 1.0})
    return job


def forge(path, keep):
    """Write what folder_attacks.py writes: a perfect loss, in the format of a state."""
    tensors = load_file(path)
    tensors["memory.best_loss"] = torch.tensor(1e-9)
    plain = {"step": 3, "loss": 1e-9, "terms": {"a": 1e-9}, "done": True, "extra": {"seconds": 1.0}}
    plain["order"] = list(tensors)
    with path.open("rb") as opened:
        old = {name: value for name, value in metadata(opened).items() if name in BLANK and keep}
    save_file(tensors, path, {"state": json.dumps(plain), **old})


@pytest.mark.parametrize("keep", [False, True])
def test_a_forged_state_is_none(tmp_path, keep):
    job = saved(tmp_path)
    assert (job.begun, job.foreign, Store(tmp_path).foreign()) == (True, False, 0)
    forge(job.path, keep)
    assert (job.begun, job.foreign, Store(tmp_path).foreign()) == (False, True, 1)
    assert job.load(torch.zeros(())) is None
    job.save(State(4, {}, {}, {}), {})
    assert job.load(torch.zeros(()))[0].step == 4, "work begins anew in its place"


def test_a_state_of_another_job_or_of_another_user_is_none(tmp_path, home):
    one, other = saved(tmp_path, "one"), saved(tmp_path, "other")
    os.replace(one.path, other.path)
    assert other.load(torch.zeros(())) is None
    third = saved(tmp_path, "third")
    home.unlink()
    seal._user_key.cache_clear()
    assert third.load(torch.zeros(())) is not None, "a job in hand keeps its secret, wherever it goes"
    assert Store(tmp_path).job("third").load(torch.zeros(())) is None
