"""``memaudit infer``: from two files to a recipe with its evidence, and from that to a scan."""

import dataclasses
import json
import os
import sys
import tomllib

import pytest
import torch
from rich.console import Console

from memaudit import MemauditError
from memaudit.audit.cli.main import main
from memaudit.audit.cli.show import print_inference
from memaudit.audit.recipe.file import load
from memaudit.audit.report.facts import Fact
from memaudit.audit.request import ScanRequest
from memaudit.audit.scan.pipeline import scan
from memaudit.audit.tasks.infer import infer, write_recipe

from ... import forked

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
FIELDS = {"optimizer", "lr", "momentum", "weight_decay", "epochs", "batch_size", "size", "batch_norm", "labels"}


def words(leak, out, *more):
    return ["infer", *map(str, (leak.before, leak.after)), "--data", str(leak.data), "--normalise", "0.5;0.25",
            "--set", "simudy.iterations=60", "--out", str(out), *map(str, more)]  # fmt: skip


def memaudit(*words):
    return forked.memaudit(*words, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def printed(leak, tmp_path_factory):
    folder = tmp_path_factory.mktemp("infer")
    path = folder / "recipe.toml"
    return memaudit(*words(leak, folder / "run", "-o", path)), path, folder / "run"


@pytest.fixture(scope="module")
def found(leak, printed):
    """The same question through the API: it finds the states that the command saved."""
    torch.set_num_threads(1)
    events = []
    request = ScanRequest(
        str(leak.before), str(leak.after), data=str(leak.data), normalise="0.5;0.25",
        options=("simudy.iterations=60",), out=str(printed[2]),
    )  # fmt: skip
    return infer(request, events.append), events


def test_stdout_is_a_recipe_file_and_the_table_is_on_stderr(printed):
    done, path, _ = printed
    assert done.returncode == 0, done.stderr
    assert done.stdout == path.read_text()
    table = tomllib.loads(done.stdout)["recipe"]
    assert table.keys() == {"optimizer", "lr", "nesterov", "weight_decay", "batch_norm", "size", "loss"}
    assert all(f"\n{name} = " in done.stdout or f"\n# {name} = " in done.stdout for name in FIELDS)
    assert table == load(path)
    assert (table["optimizer"], table["size"]) == ("sgd", 4)
    assert table["lr"] * 20 == pytest.approx(0.2, rel=0.3)
    assert "\n# epochs = 20  # assumed, as in the SimuDy paper" in done.stdout
    assert "\n# labels = [1, 1, 1, 1]" in done.stdout
    assert "How the model was trained" in done.stderr
    assert "evidence" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def test_nothing_is_reconstructed(printed):
    names = {path.name for path in printed[2].rglob("*") if path.is_file()}
    assert names <= {"state.safetensors", "events.jsonl", "lock"}


def test_a_second_run_reuses_the_saved_states(found):
    again, events = found
    assert not [event for event in events if event.step]
    assert len(again.search) >= 7


def test_every_field_has_its_provenance(found):
    recipe = found[0].recipe
    assert recipe.keys() >= FIELDS
    for name, fact in recipe.items():
        if fact.source == "inferred":
            assert fact.confidence is not None or fact.interval is not None, name
            assert fact.confidence is None or 0 <= fact.confidence <= 1, name
            assert fact.evidence, name
        elif fact.source == "assumed":
            assert fact.option, name
            assert fact.evidence, name
    assert recipe["lr"].source == "inferred"
    low, high = recipe["lr"].interval
    assert low < recipe["lr"].value < high
    for fact in found[0].delta.facts.values():
        assert fact.evidence
        assert fact.confidence is not None or fact.interval is not None


def test_json_alone_on_stdout(leak, printed, found):
    done = memaudit(*words(leak, printed[2], "--json", "-q"))
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content.keys() == {"recipe", "search", "delta", "seconds"}
    assert content["recipe"].keys() >= FIELDS
    timeless = dataclasses.replace(found[0], seconds=0.0)
    assert content | {"seconds": 0.0} == json.loads(timeless.to_json())
    assert content["delta"]["size"]["value"] == 4
    assert sum(point["chosen"] for point in content["search"]) == 1
    for point in content["search"]:
        assert point.keys() >= {"lr", "optimizer", "batch_size", "epochs", "rung", "loss", "cosine", "chosen"}
        assert point["epochs"] == 20


def test_a_scan_takes_the_file_and_names_it_as_the_evidence(leak, printed, tmp_path):
    path = printed[1]
    report = scan(
        ScanRequest(leak.before, leak.after, data=leak.data, normalise="0.5;0.25", recipe=path,
                    options=("simudy.iterations=60",), out=tmp_path / "run")
    )  # fmt: skip
    for name, value in load(path).items():
        fact = report.recipe[name]
        assert (fact.value, fact.source, fact.evidence) == (value, "given", f"{path}: {name}")
    assert report.search == []
    assert "labels" not in report.recipe
    assert f"--recipe {path}" in report.command
    assert report.attacks[0].metrics.similarity_mean > 0.8


def test_an_option_beside_the_file_wins(leak, printed, tmp_path):
    report = scan(
        ScanRequest(leak.before, leak.after, data=leak.data, normalise="0.5;0.25", recipe=printed[1], lr=0.02,
                    epochs=10, labels="data", max_iterations=2, out=tmp_path / "run")
    )  # fmt: skip
    assert (report.recipe["lr"].value, report.recipe["epochs"].value) == (0.02, 10)
    assert report.recipe["lr"].evidence == ""
    assert report.recipe["optimizer"].evidence
    assert report.recipe["labels"].value == [1, 1, 1, 1]


def test_what_is_known_is_not_searched_for(leak, tmp_path):
    request = ScanRequest(
        leak.before, leak.after, size="auto", lr=0.02, epochs=10, normalise="0.5;0.25", out=tmp_path / "run"
    )
    found = infer(request)
    assert found.search == []
    assert (found.recipe["lr"].source, found.recipe["epochs"].source) == ("given", "given")
    size = found.recipe["size"]
    assert (size.value, size.source, size.interval) == (4, "inferred", (4, 4))


def test_no_time_assumes_and_says_so(leak, tmp_path):
    events = []
    found = infer(ScanRequest(leak.before, leak.after, max_time=1e-3, out=tmp_path / "run"), events.append)
    assert (found.recipe["lr"].value, found.recipe["lr"].source) == (0.01, "assumed")
    assert any("--lr" in event.message for event in events if event.stage == "warning")
    assert not any(point.chosen for point in found.search)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--size", "many"], "--size"), (["--size", "0"], "--size"), (["--size", "1.5"], "--size"),
        (["--labels", "0:9"], "--labels"), (["--labels", "soup"], "--labels"), (["--optimizer", "lamb"], "lamb"),
        (["--recipe", "nowhere.toml"], "nowhere.toml"), (["--clip", "-1"], "--clip"), (["--warmup", "-1"], "--warmup"),
        (["--schedule", "step"], "step"), (["--batch-norm", "on"], "on"),
        (["--optimizer", "adam", "--momentum", "0.9"], "--momentum"),
    ],
)  # fmt: skip
def test_bad_options(leak, tmp_path, monkeypatch, capfd, more, named):
    monkeypatch.setattr(sys, "argv", ["memaudit", *words(leak, tmp_path / "run"), *more])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capfd.readouterr()
    assert stop.value.code == 2, err
    assert out == ""
    complaints = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(complaints) == 1, err
    assert named in complaints[0]
    assert "This is a bug" not in err


def test_a_file_that_cannot_be_written(found, tmp_path):
    with pytest.raises(MemauditError, match="is a folder"):
        write_recipe(found[0], tmp_path)


def test_the_table_shows_values_sureness_and_brackets_as_they_are(found):
    console = Console(width=300, record=True, file=open(os.devnull, "w"), no_color=True)  # noqa: SIM115
    fact = Fact(value=0.5, source="inferred", evidence="[bold]no markup[/bold]")
    print_inference(console, dataclasses.replace(found[0], recipe={**found[0].recipe, "clip": fact}))
    text = console.export_text()
    assert all(name in text for name in FIELDS)
    assert "[bold]no markup[/bold]" in text
    assert "1, 1, 1, 1" in text


@pytest.mark.parametrize(
    ("fact", "cells"),
    [
        (Fact(value=0.000123456, source="given"), ["0.0001235", "given", "", ""]),
        (Fact(value=1, source="inferred", confidence=0.5, evidence="why"), ["1", "inferred", "50 %", "why"]),
        (
            Fact(value=1.0, source="inferred", confidence=0.5, interval=(0.9, 1.1)),
            ["1", "inferred", "50 % (0.9 to 1.1)", ""],
        ),
        (Fact(value=False, source="assumed"), ["no", "assumed", "", ""]),
    ],
)
def test_a_row_of_the_table(found, fact, cells):
    console = Console(width=300, record=True, file=open(os.devnull, "w"), no_color=True)  # noqa: SIM115
    print_inference(console, dataclasses.replace(found[0], recipe={"clip": fact}))
    (row,) = [line.split("│")[1:-1] for line in console.export_text().splitlines() if "clip" in line]
    assert [cell.strip() for cell in row] == ["clip", *cells]
