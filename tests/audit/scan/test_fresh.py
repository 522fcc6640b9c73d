"""A network whose head is new, and whose start is therefore unknown: what is compared, said and concluded."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from memaudit.attacks.images.normalisation import PLAIN
from memaudit.audit.change.facts import read_delta
from memaudit.audit.checkpoints.pair import read_pair
from memaudit.audit.cli.console import make_console
from memaudit.audit.cli.show import print_inspection
from memaudit.audit.families.beside import read_beside
from memaudit.audit.families.detect import detect
from memaudit.audit.families.media import medium_of
from memaudit.audit.families.victim import placed, victim
from memaudit.audit.request import ScanRequest
from memaudit.audit.scan.pipeline import scan
from memaudit.audit.tasks.inspect import inspect
from memaudit.reports import html, markdown

from ... import hf
from ..conftest import PRIVATE, PUBLIC, SIDE, crops, photographs

HEAD = ["3.bias", "3.weight"]


def network(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, classes))


@pytest.fixture(scope="module")
def swapped(tmp_path_factory):
    """Files of a network of three classes, whose head became one of five, initialised anew, before it was trained."""
    folder = tmp_path_factory.mktemp("swapped")
    torch.manual_seed(0)
    old, new = network(3), network(5)
    shared = {name: value for name, value in old.state_dict().items() if name not in HEAD}
    new.load_state_dict(shared, strict=False)
    save_file({**old.state_dict(), "loss.weight": torch.ones(3)}, folder / "before.safetensors")
    x = torch.from_numpy(photographs(PRIVATE)).permute(0, 3, 1, 2) / 255 * 4 - 2
    optimizer = torch.optim.SGD(new.parameters(), lr=0.02)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(new(x), torch.arange(4)).backward()
        optimizer.step()
    save_file(new.state_dict(), folder / "after.safetensors")
    np.savez(folder / "private.npz", images=photographs(PRIVATE), labels=np.arange(4))
    images = crops(PUBLIC)
    np.savez(folder / "public.npz", images=images[4:])
    np.savez(folder / "strangers.npz", images=images[:4], labels=np.arange(4))
    return folder


def scanned(folder, data, tmp_path, **more):
    return scan(
        ScanRequest(
            folder / "before.safetensors", folder / "after.safetensors", data=folder / data, out=tmp_path / "run",
            control=folder / "public.npz", normalise="0.5;0.25", lr=0.02, epochs=10, batch_size=4, **more,
        )
    )  # fmt: skip


def test_what_has_no_known_start_is_no_reading(swapped):
    pair = read_pair(swapped / "before.safetensors", swapped / "after.safetensors")
    delta = read_delta(pair, detect(pair.after.tensors)[0])
    assert sorted(pair.fresh) == HEAD
    assert not {row.name for row in delta.tensors} & set(HEAD)
    assert "frozen" not in delta.facts


def test_inspection_names_new_and_old_heads_and_what_is_no_part(swapped, capsys):
    found = inspect(str(swapped / "before.safetensors"), str(swapped / "after.safetensors"))
    assert (found["fresh"], sorted(found["dropped"])) == (HEAD, HEAD)
    assert (found["before"]["aside"], found["after"]["aside"]) == (["loss.weight"], [])
    assert found["architecture"]["input"] == f"images 3 x {SIDE} x {SIDE}"
    print_inspection(make_console(answer=True), found)
    said = " ".join(capsys.readouterr().out.split())
    assert f"start unknown, a new head: {', '.join(HEAD)}" in said
    assert "left out, no part of the network: loss.weight" in said
    assert "only before training, an old head:" in said


@pytest.mark.parametrize("data", ["private.npz", "strangers.npz"])
def test_a_scan_comes_to_an_honest_verdict(swapped, data, tmp_path):
    report = scanned(swapped, data, tmp_path, attacks=("sme", "span", "simudy"), options=("simudy.iterations=60",))
    assert report.architecture.classes == 5
    found = report.verdict.status, report.recovered_by_any
    assert found == (("fail", 4) if data == "private.npz" else ("inconclusive", 0))
    limits = " ".join(report.limitations)
    assert f"The start of {', '.join(HEAD)} is unknown, as of a new head" in limits
    assert f"Of the checkpoint from before, {', '.join(HEAD)} was left out" in limits
    assert "loss.weight was left out, as no part of the network" in limits
    for shown in (html.render(report, tmp_path), markdown.render(report)):
        assert "as of a new head" in shown


def test_a_new_head_never_passes_even_where_the_gate_is_lenient(swapped, tmp_path):
    more = {"attacks": ("sme", "span"), "fail_if": ("recovered>5",)}
    report = scanned(swapped, "private.npz", tmp_path, **more)
    assert (report.verdict.status, report.recovered_by_any) == ("inconclusive", 4)
    assert report.delta.facts["unknown_start"].value == HEAD
    (found,) = [finding for finding in report.findings if finding.rule == "MA112"]
    assert (found.severity, found.blocks) == ("none", True)
    assert HEAD[0] in found.message
    assert report.power is None, "no time is spent on a mock victim that would start elsewhere"


def test_masked_tensors_are_found_behind_the_name_of_a_wrapper(tmp_path):
    pair = hf.folder(tmp_path)
    found, beside = read_pair(pair.before, pair.after), read_beside(str(pair.after))
    architecture, module = detect(found.after.tensors, beside=beside)
    architecture, medium = medium_of(found, architecture, module, beside, PLAIN)
    whole = victim(found, architecture, module, medium)
    hidden = placed(whole, found, architecture, torch.device("cpu"), frozenset({"classifier.weight"}))
    assert hidden.masked == {"model.classifier.weight"}


def test_inspection_of_sentences_speaks_of_tokens(tmp_path, capsys):
    pair = hf.folder(tmp_path, texts=hf.sentences(2), base=True)
    found = inspect(str(pair.before), str(pair.after))
    assert found["fresh"] == ["classifier.bias", "classifier.weight"]
    length = int((hf.encoded(hf.sentences(2)) != 0).sum(1).max())
    assert found["architecture"]["input"] == f"sentences of up to {length} tokens x 32"
    print_inspection(make_console(answer=True), found)
    assert f"sentences of up to {length} tokens x 32" in " ".join(capsys.readouterr().out.split())
