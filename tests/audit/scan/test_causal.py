"""Causal language models, from two folders to a verdict: members told, strangers never passed, bad folders refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from memaudit import MemauditError
from memaudit.audit.cli.main import app
from memaudit.audit.families.base import UnknownArchitecture
from memaudit.audit.request import ScanRequest
from memaudit.audit.scan.causal import load_language, of_language
from memaudit.audit.scan.scene import load
from memaudit.audit.tasks.exposure import expose

from ... import lm
from ...forked import memaudit

MEMBERS, OTHERS = 40, 1100


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return lm.folder(tmp_path_factory.mktemp("lm"), MEMBERS, OTHERS)


def request(pair, **more):
    sets = {"data": f"text:{pair.data}", "control": f"text:{pair.control}"}
    return ScanRequest(pair.before, pair.after, **{**sets, **more})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def told(pair, run):
    return expose(request(pair, out=run))


def test_texts_that_were_trained_on_are_told_from_others(told):
    found = told.exposure
    assert (found.records, found.measured, found.held_out) == (MEMBERS, MEMBERS, OTHERS)
    assert found.own.name == "gains of wrongly guessed tokens"
    assert found.own.auc > 0.8
    assert [row.name for row in found.baselines] == ["loss after training", "fall of the loss"]
    assert min(row.auc for row in found.baselines) > 0.8
    assert (found.explained, found.average, found.labels) == (None, "", "")
    assert all(row.leverage is None for row in found.per_record)


def test_the_verdict_and_what_is_shown_say_so(told, pair, tmp_path):
    assert told.verdict.status == "fail"
    assert (
        told.verdict.headline
        == f"{told.exposure.detected} of 40 sentences can be told from sentences that were not trained on"
    )
    assert told.architecture.name == "gpt2, 2 layers x 32, causal"
    assert told.check.explained is None
    words = ["exposure", str(pair.before), str(pair.after), "--data", f"text:{pair.data}"]
    shown = CliRunner().invoke(app, [*words, "--control", f"text:{pair.control}", "--out", str(tmp_path / "run")])
    assert shown.exit_code == 1
    assert "gains of" in shown.stdout
    assert "explain" not in shown.stdout.partition("FAIL")[0]


def test_the_same_question_finds_its_answer_again(pair, run, told):
    events = []
    again = expose(request(pair, out=run), listener=events.append)
    assert again.exposure == told.exposure
    assert not [event for event in events if event.stage == "exposure" and event.step]


@pytest.mark.parametrize(
    "gates", [(), ("detected_fraction>1",), ("exposure.tpr_at_1_fpr>0.9",), ("exposed_at_least>1000",)]
)
def test_strangers_are_not_told_and_pass_no_gate(pair, tmp_path, gates):
    lines = pair.control.read_text().splitlines(keepends=True)
    (tmp_path / "strangers.txt").write_text("".join(lines[:60]))
    (tmp_path / "rest.txt").write_text("".join(lines[60:]))
    sets = {"data": f"text:{tmp_path / 'strangers.txt'}", "control": f"text:{tmp_path / 'rest.txt'}"}
    report = expose(request(pair, out=tmp_path / "run", fail_if=gates, **sets))
    assert report.exposure.detected == 0
    assert report.exposure.at_least == 0
    assert 0.35 < report.exposure.own.auc < 0.65
    assert report.verdict.status == "inconclusive"
    assert "is not checked for causal language models" in report.verdict.summary
    assert report.verdict.next_step.command == "", "memaudit check reads no such pair"


def test_members_within_a_lenient_limit_do_not_pass_either(pair, tmp_path):
    report = expose(request(pair, out=tmp_path / "run", fail_if=("detected_fraction>1",)))
    assert report.verdict.status == "inconclusive"


def copied(pair, folder):
    """Copy the two folders and return the request for the copies."""
    for name in ("before", "after"):
        shutil.copytree(getattr(pair, name), folder / name)
    return request(pair._replace(before=folder / "before", after=folder / "after"), out=folder / "run")


def refused(asked):
    """Return what the command line says of a request, which is an error and no report."""
    sets = ["--data", asked.data, "--control", asked.control, "--out", asked.out]
    done = memaudit("exposure", asked.before, asked.after, *sets)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_without_a_tokenizer_there_are_no_texts(pair, tmp_path):
    asked = copied(pair, tmp_path)
    for side in (asked.before, asked.after):
        (side / "tokenizer.json").unlink()
    assert "No tokenizer lies beside the weights" in refused(asked)


def test_missing_weights_are_named(pair, tmp_path):
    asked = copied(pair, tmp_path)
    for side in (asked.before, asked.after):
        tensors = load_file(side / "model.safetensors")
        tensors.pop("transformer.h.1.mlp.c_fc.weight")
        save_file(tensors, side / "model.safetensors")
    assert "'transformer.h.1.mlp.c_fc.weight' is missing from the checkpoint" in refused(asked)


def test_weights_that_are_no_safetensors_are_refused(pair, tmp_path):
    asked = copied(pair, tmp_path)
    torch.save(load_file(asked.after / "model.safetensors"), asked.after / "pytorch_model.bin")
    (asked.after / "model.safetensors").unlink()
    assert "safetensors files are read" in refused(asked)


@pytest.mark.parametrize(
    "settings",
    [
        {"n_layer": 10**9}, {"n_layer": "two"}, {"n_layer": -1}, {"n_embd": 10**12}, {"n_embd": None}, {"n_head": 0},
        {"n_positions": 10**12}, {"vocab_size": [1]}, {"vocab_size": 10**18}, {"activation_function": "evil"},
        {"model_type": "evil"}, {"model_type": None}, {"model_type": "bart"},
        {"model_type": "gpt_neo", "attention_types": [[["global"], 10**9]]},
        {"model_type": "llama", "hidden_size": 64},
    ],
    ids=str,
)  # fmt: skip
def test_a_hostile_configuration_is_refused_in_a_sentence(pair, tmp_path, settings):
    asked = copied(pair, tmp_path)
    config = json.loads((asked.after / "config.json").read_text())
    (asked.after / "config.json").write_text(json.dumps({**config, **settings}))
    with pytest.raises(MemauditError) as found:
        load_language(asked)
    assert len(str(found.value)) < 1000
    assert "\n" not in str(found.value)


def test_code_beside_the_weights_is_never_run(pair, tmp_path):
    asked, mark = copied(pair, tmp_path), tmp_path / "ran"
    config = json.loads((asked.after / "config.json").read_text())
    names = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    config |= {"auto_map": names, "trust_remote_code": True, "_attn_implementation": "some-one/kernel"}
    config |= {"quantization_config": {"quant_method": "evil"}}
    for side in (asked.before, asked.after):
        (side / "config.json").write_text(json.dumps(config))
        (side / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    assert of_language(asked)
    assert load_language(asked).architecture.score == 1
    assert not mark.exists()


@pytest.mark.parametrize("named", [None, "GPT2LMHeadModel", ["GPT2ForSequenceClassification"], [1], {}])
def test_other_folders_are_read_as_ever(pair, tmp_path, named):
    asked = copied(pair, tmp_path)
    config = json.loads((asked.after / "config.json").read_text())
    (asked.after / "config.json").write_text(json.dumps({**config, "architectures": named}))
    assert not of_language(asked)


def test_an_audit_that_attacks_says_what_can_be_done_instead(pair):
    with pytest.raises(UnknownArchitecture, match="only the exposure of texts is measured"):
        load(request(pair))
