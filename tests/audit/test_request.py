"""What is asked: the same on the command line, in a list of pairs and in Python."""

import dataclasses
import shlex
import sys
from pathlib import Path

import pytest

from memaudit import MemauditError
from memaudit.audit.cli.main import main
from memaudit.audit.recipe.fields import RecipeError
from memaudit.audit.request import RANGES, RequestError, ScanRequest, check, from_options, parse_outputs

WHOLE = ScanRequest(
    "a.pt", "b.pt", data="train", control="held-out", exif="apply", preprocess="pad", skip_unreadable=True, power="off",
    model="torchvision:resnet18", key="net", image_size=64, loss="cross-entropy", label_smoothing=0.1, normalise="half",
    recipe="recipe.toml", size=12, labels="0:4,3:8", optimizer="adamw", lr=0.25, batch_size=4, epochs=3, momentum=0.0,
    nesterov=False, weight_decay=0.1, schedule="cosine", warmup=2, clip=1.5, batch_norm="train",
    attacks=("simudy", "loo"), options=("simudy.alpha=1", "loo.iterations=3"), matching="greedy", seed=3, restarts=2,
    views=4, max_time=60.0, max_memory=4 * 10**9, max_iterations=9, device="cpu", tf32=True, executor="ray", out="run",
    outputs=(("html", "x.html"), ("json", "y=z.json")), fail_if=("recovered>0", "ssim_max>0.3"), fail_on="high",
    name="a model", evidence="blurred", context="context.toml",
)  # fmt: skip


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What a task would be asked, through the whole command line: call with words, get the request."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.pt", "b.pt"):
        Path(name).touch()  # that they are there is all that is looked at

    def run(*words):
        from memaudit.audit.scan import pipeline
        from memaudit.audit.tasks import defend, infer

        found = []

        def task(request, *_):
            found.append(request)
            raise MemauditError("enough")

        for module, name in ((pipeline, "scan"), (infer, "infer"), (defend, "defend")):
            monkeypatch.setattr(module, name, task)
        monkeypatch.setattr(sys, "argv", ["memaudit", *words])
        with pytest.raises(SystemExit):
            main()
        return found[0]

    return run


def test_every_field_has_another_value_than_by_default():
    assert all(getattr(WHOLE, field.name) != field.default for field in dataclasses.fields(WHOLE))


def test_the_command_line_asks_what_python_asks(asked):
    assert asked("scan", "a.pt", "b.pt") == ScanRequest("a.pt", "b.pt")
    assert asked(*shlex.split(WHOLE.command())[1:]) == WHOLE


def test_infer_and_defend_ask_what_their_options_say(asked):
    left = {"attacks", "options", "control", "matching", "restarts", "max_iterations", "executor", "outputs", "fail_if",
            "fail_on", "name", "evidence", "context", "power"}  # fmt: skip
    plain = {field.name: field.default for field in dataclasses.fields(WHOLE) if field.name in left}
    wanted = dataclasses.replace(WHOLE, **plain)
    assert asked("infer", *shlex.split(wanted.command())[2:]) == wanted
    wanted = dataclasses.replace(WHOLE, executor="local", fail_if=(), fail_on=None, power="auto")
    assert asked("defend", *shlex.split(wanted.command())[2:]) == wanted


def test_options_are_read_by_the_names_of_their_parameters():
    options = {
        "before": "a",
        "after": "b",
        "attack": ["loo"],
        "set_": [],
        "output": ["html=x"],
        "size": "7",
        "lr": None,
    }
    wanted = ScanRequest("a", "b", attacks=("loo",), outputs=(("html", "x"),), size=7)
    assert from_options({**options, "max_memory": "4 KiB"}) == dataclasses.replace(wanted, max_memory=4096)


@pytest.mark.parametrize("name", RANGES)
def test_numbers_that_are_no_part_of_a_recipe_have_ranges_too(name):
    found = RANGES[name]
    for value in (-1, found.high, float("nan"), "3"):
        if value is not None:
            with pytest.raises(RequestError, match=f"--{name.replace('_', '-')} .* is out of range. Give {found}"):
                check(ScanRequest("a", "b", **{name: value}))
    check(ScanRequest("a", "b", **{name: found.low + 1}))


def test_what_no_option_can_be():
    with pytest.raises(RequestError, match=r"--matching best is not known\. Use hungarian or greedy\."):
        check(ScanRequest("a", "b", matching="best"))
    with pytest.raises(RecipeError, match=r"--momentum is SGD's; --optimizer is adam\."):
        check(ScanRequest("a", "b", optimizer="adam", momentum=0.9))
    for text in ("html", "=x", "html="):
        with pytest.raises(RequestError, match="FORMAT=PATH"):
            parse_outputs([text])
