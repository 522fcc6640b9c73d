"""A list of pairs: what its file may say, one run folder each, and the worst verdict first."""

import json
import shutil
from zipfile import ZipFile

import pytest
import torch

from memaudit import MemauditError
from memaudit.audit.cli.catalogue import collected
from memaudit.audit.cli.main import main
from memaudit.audit.cli.scan import scan
from memaudit.audit.option import ConfigError
from memaudit.audit.run.drive import Interrupted
from memaudit.audit.tasks.many import Result, Summary, read_pairs, scan_many

DEFAULTS = """
[defaults]
data = "private.npz"
control = "public.npz"
normalise = "0.5;0.25"
epochs = 10
lr = 0.02
attack = ["sme"]
set = ["sme.iterations=45"]
"""
PAIR = '[pairs.{}]\nbefore = "before.pt"\nafter = "after.safetensors"\n'


@pytest.fixture
def folder(leak, tmp_path):
    for file in (leak.before, leak.after, leak.data, leak.control):
        shutil.copy(file, tmp_path)
    return tmp_path


def bomb(folder, name, code):
    """Write an archive whose pickle ends the process or fills memory where it is loaded unseen."""
    torch.save({}, folder / name)
    with ZipFile(folder / name) as old:
        entries = {entry: old.read(entry) for entry in old.namelist()}
    with ZipFile(folder / name, "w") as new:
        for entry, content in entries.items():
            new.writestr(entry, code if entry.endswith("data.pkl") else content)


def test_a_pair_that_would_end_the_process_does_not_end_the_others(folder):
    bomb(folder, "deep.pt", b"\x80\x02)" + b"\x85" * 10**6 + b".")
    bomb(folder, "large.pt", b"\x80\x02c__builtin__\nbytearray\n\x8a\x05%b\x85R." % (3 * 10**9).to_bytes(5, "little"))
    (folder / "zero.pt").symlink_to("/dev/zero")
    hostile = "".join(f'[pairs.{name}]\nbefore = "{name}.pt"\nafter = "after.safetensors"\n'
                      for name in ("deep", "large", "zero"))  # fmt: skip
    found = scan_many(read(folder, DEFAULTS + hostile + PAIR.format("sound")), folder / "out")
    told = {result.name: (result.status, result.summary) for result in found.results}
    assert {name: status for name, (status, _) in told.items()} == {
        "deep": "error", "large": "error", "zero": "error", "sound": "fail",
    }  # fmt: skip
    assert "nested more than 100 deep" in told["deep"][1]
    assert "many times its own size" in told["large"][1]
    assert "is not a file" in told["zero"][1]


def read(folder, text):
    (folder / "pairs.toml").write_text(text)
    return read_pairs(folder / "pairs.toml", collected({"scan": scan}), folder / "out")


def test_a_pair_says_what_the_defaults_do_not(folder):
    found = read(folder, DEFAULTS + PAIR.format("a") + PAIR.format("b-2") + 'epochs = 5\nsize = "auto"\nattack = []\n')
    assert list(found) == ["a", "b-2"]
    first, second = found.values()
    assert (first.epochs, first.size, first.attacks, first.options) == (10, None, ("sme",), ("sme.iterations=45",))
    assert (second.epochs, second.size, second.attacks) == (5, "auto", ())
    assert first.out == folder / "out" / "a"
    assert first.name == "a"
    assert first.executor == "local"


def test_paths_count_from_the_file(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    found = read(folder, DEFAULTS + PAIR.format("a"))["a"]
    assert (found.before, found.after, found.data) == ("../before.pt", "../after.safetensors", "../private.npz")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no pair"),
        ("[pairs]", "lists no pair"),
        ("pairs = 3", "not a table"),
        ("[pairs]\na = 3", "pairs.a is not a table"),
        ("[pair.a]", "no table 'pair'"),
        ('[pairs.a]\nbefore = "x"', "pairs.a has no after"),
        (PAIR.format("a") + "epoch = 3", "pairs.a.epoch: there is no such option. Did you mean epochs"),
        (PAIR.format("a") + 'epochs = "3"', "pairs.a.epochs must be a whole number"),
        (PAIR.format("a") + 'model = "evil.py:make"', "code to run"),
        (PAIR.format("a") + 'executor = "ray:1.2.3.4"', "no such option"),
        (PAIR.format("a") + 'out = "x"', "no such option"),
        (PAIR.format('"../a"'), "cannot be the name of its folder"),
        (PAIR.format('"summary.json"'), "cannot be the name of its folder"),
        (PAIR.format("a") + PAIR.format("A"), "cannot be the name of its folder"),
        (PAIR.format("a") + 'max-memory = "much"', "is not a size"),
        ("[defaults]\nfoo = 1\n" + PAIR.format("a"), "defaults.foo: there is no such option"),
        ("[", "is not TOML"),
    ],
)
def test_what_a_file_may_not_say(folder, text, words):
    with pytest.raises(MemauditError, match=words):
        read(folder, text)


def test_sizes_are_read_as_on_the_command_line(folder):
    text = '[defaults]\nmax-memory = "4GB"\n' + PAIR.format("a")
    assert read(folder, text)["a"].max_memory == 4_000_000_000


def test_a_switch_of_a_scan_may_stand_in_the_file(folder):
    found = read(folder, PAIR.format("a") + "tf32 = true\n" + PAIR.format("b"))
    assert (found["a"].tf32, found["b"].tf32) == (True, False)


def test_a_file_that_is_not_there(folder):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_pairs(folder / "absent.toml", {}, folder)


def test_an_error_stops_no_other_pair_and_the_worst_comes_first(folder):
    events = []
    text = DEFAULTS + PAIR.format("leaks") + 'fail-if = ["ssim_max>0.1"]\n' + PAIR.format("unclear")
    text += 'max-iterations = 2\n[pairs.broken]\nbefore = "absent.pt"\nafter = "absent.pt"\n'
    requests, out = read(folder, text), folder / "out"
    found = scan_many(requests, out, listener=events.append)
    assert [(result.name, result.status) for result in found.results] == [
        ("broken", "error"), ("leaks", "fail"), ("unclear", "inconclusive"),
    ]  # fmt: skip
    assert found.status == "error"
    assert "absent.pt" in found.results[0].summary
    leaks = json.loads((out / "summary.json").read_text())["pairs"][1]
    assert (leaks["name"], leaks["statistic"], leaks["records"]) == ("leaks", "SSIM", 4)
    assert f"| SSIM {leaks['similarity_max']:.3f} |" in (out / "summary.md").read_text()
    assert "| [leaks](leaks/report.html) | fail |" in (out / "summary.md").read_text()
    assert (out / "leaks" / "report.html").exists()
    assert any(event.message.startswith("leaks: ") for event in events)
    events.clear()
    again = scan_many(requests, out, listener=events.append)
    assert again == found
    assert not [event for event in events if event.step and event.stage != "match"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (IndexError("tuple index"), "It failed (IndexError: tuple index)."),
        (OSError(28, "No space left"), "It failed (OSError: [Errno 28] No space left)."),
        (ConfigError("Broken.", "Repair it."), "Broken. Repair it."),
    ],
)
def test_whatever_breaks_one_pair_is_told_in_its_row(folder, monkeypatch, error, words):
    def broken(request, listener):
        raise error

    monkeypatch.setattr("memaudit.audit.tasks.many.scan", broken)
    found = scan_many(read(folder, DEFAULTS + PAIR.format("a")), folder / "out")
    assert [(result.status, result.summary) for result in found.results] == [("error", words)]


def test_an_interrupt_ends_all_pairs(folder, monkeypatch):
    def stopped(request, listener):
        raise Interrupted("Interrupted; the state is saved.")

    monkeypatch.setattr("memaudit.audit.tasks.many.scan", stopped)
    with pytest.raises(Interrupted):
        scan_many(read(folder, DEFAULTS + PAIR.format("a")), folder / "out")


@pytest.mark.parametrize(
    ("statuses", "flags", "code"),
    [
        (["pass"], [], 0), (["pass", "fail", "inconclusive"], [], 1), (["inconclusive", "pass"], [], 3),
        (["fail", "error"], [], 2), (["fail", "error"], ["--exit-zero"], 2), (["fail"], ["--exit-zero"], 0),
        (["inconclusive"], ["--allow-inconclusive"], 0),
    ],
)  # fmt: skip
def test_the_exit_code_is_that_of_the_worst(folder, monkeypatch, capsys, statuses, flags, code):
    results = sorted((Result(str(n), status, "a | b") for n, status in enumerate(statuses)), key=lambda r: r.name)
    from memaudit.audit.tasks.many import ORDER

    ordered = tuple(sorted(results, key=lambda result: ORDER.index(result.status)))
    monkeypatch.setattr("memaudit.audit.tasks.many.scan_many", lambda *_: Summary(ordered))
    read(folder, PAIR.format("a"))
    monkeypatch.setattr("sys.argv", ["memaudit", "scan-many", str(folder / "pairs.toml"), "--json", "-q", *flags])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == code
    assert json.loads(capsys.readouterr().out)["status"] == ordered[0].status


def test_what_is_said_breaks_no_table():
    text = Summary((Result("a", "error", "x | y\n<b>"),)).to_markdown()
    assert r"x \| y \<b\>" in text
