"""What optimizer states, trainer logs and settings beside a checkpoint tell, and what they cannot make us do."""

import json
import os
import pickle  # noqa: TID251  # to write the hostile files that memaudit must not open
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn, optim
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, OneCycleLR

from memaudit.audit.recipe import artefacts, text_files
from memaudit.audit.recipe.artefacts import read_artefacts
from memaudit.audit.recipe.fields import FIELDS


@pytest.fixture
def before(tmp_path) -> Path:
    path = tmp_path / "start" / "before.pt"
    path.parent.mkdir()
    torch.save(network().state_dict(), path)
    return path


@pytest.fixture
def after(tmp_path) -> Path:
    """A path in a folder of its own, with a checkpoint that tells nothing."""
    path = tmp_path / "end" / "after.pt"
    path.parent.mkdir()
    torch.save(network().state_dict(), path)
    return path


def network() -> nn.Module:
    return nn.Linear(3, 2)


def trained(kind: Any, steps: int = 3, schedule: Any = None, groups: Any = None, **options: Any) -> dict[str, Any]:
    """Return the state of an optimizer of ``kind`` after some steps, with a scheduler if one is to run."""
    model = network()
    optimizer = kind(groups(model) if groups else model.parameters(), **options)
    scheduler = schedule(optimizer) if schedule else None
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(4, 3)).square().sum().backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
    return optimizer.state_dict()


def told(before: Path, after: Path) -> dict[str, Any]:
    """Return the values alone; their provenance must be complete."""
    facts = read_artefacts(before, after)
    for name, fact in facts.items():
        assert fact.source == "given"
        assert fact.option == ("" if name == "steps" else "--" + name.replace("_", "-"))
        assert fact.evidence.partition(": ")[2]
    return {name: fact.value for name, fact in facts.items()}


SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0}


def test_plain_weights_tell_nothing(before, after):
    assert told(before, after) == {}


@pytest.mark.parametrize("key", ["optimizer", "optimizer_state_dict", "optim"])
def test_sgd_in_the_checkpoint(before, after, key):
    state = trained(optim.SGD, lr=0.1, momentum=0.9)
    torch.save({"state_dict": network().state_dict(), key: state}, after)
    assert told(before, after) == SGD
    facts = read_artefacts(before, after)
    assert facts["momentum"].evidence == f"{after}: {key}.param_groups.momentum"
    assert facts["lr"].evidence == f"{after}: {key}.param_groups.lr, as the training ended"


def test_sgd_without_momentum_needs_no_state(before, after):
    torch.save({"optimizer": trained(optim.SGD, lr=0.1)}, after)
    expected = {**SGD, "momentum": 0.0}
    del expected["dampening"]
    assert told(before, after) == expected


def test_nesterov_and_weight_decay(before, after):
    torch.save(
        {"optimizer": trained(optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, foreach=True)}, after
    )
    assert told(before, after) == {**SGD, "nesterov": True, "weight_decay": 1e-4}


@pytest.mark.parametrize("name", ["optimizer.pt", "optimizer.bin", "optimizer.pth"])
def test_adam_beside_a_safetensors_file(before, after, name):
    weights = after.with_suffix(".safetensors")
    save_file(network().state_dict(), weights)
    torch.save(trained(optim.Adam, steps=5, lr=1e-3, betas=(0.8, 0.99), eps=1e-6), after.with_name(name))
    rates = {"lr": 1e-3, "beta1": 0.8, "beta2": 0.99, "eps": 1e-6}
    expected = {"optimizer": "adam", "weight_decay": 0.0, "steps": 5, **rates}
    assert told(before, weights) == expected
    assert told(before, after.parent) == expected
    assert read_artefacts(before, weights)["steps"].evidence == f"{after.with_name(name)}: optimizer step"


def test_adamw_under_a_scheduler_tells_the_top_of_the_rate(before, after):
    state = trained(optim.AdamW, lr=0.01, weight_decay=0.1, schedule=lambda o: CosineAnnealingLR(o, 3))
    assert state["param_groups"][0]["lr"] < 1e-9
    torch.save({"optimizer": state}, after)
    found = told(before, after)
    assert (found["optimizer"], found["lr"], found["weight_decay"], found["steps"]) == ("adamw", 0.01, 0.1, 3)
    assert read_artefacts(before, after)["lr"].evidence == f"{after}: optimizer.param_groups.initial_lr"


def test_one_cycle_tells_its_top_but_not_the_momentum_that_it_moved(before, after):
    state = trained(optim.SGD, lr=0.1, momentum=0.9, schedule=lambda o: OneCycleLR(o, 0.5, total_steps=5))
    torch.save({"optimizer": state}, after)
    found = told(before, after)
    assert found["lr"] == 0.5
    assert "momentum" not in found


def test_a_cyclic_rate_leaves_only_its_lowest(before, after):
    state = trained(optim.SGD, lr=0.1, momentum=0.9, schedule=lambda o: CyclicLR(o, 0.01, 0.5))
    torch.save({"optimizer": state}, after)
    assert "lr" not in told(before, after)


def test_a_rate_tensor_is_a_number(before, after):
    torch.save({"optimizer": trained(optim.SGD, lr=torch.tensor(0.5), foreach=False)}, after)
    assert told(before, after)["lr"] == 0.5


def test_adam_and_adamw_of_older_torch_are_one(before, after):
    state = trained(optim.AdamW, lr=0.01, weight_decay=0.1)
    del state["param_groups"][0]["decoupled_weight_decay"]
    torch.save({"optimizer": state}, after)
    fact = read_artefacts(before, after)["optimizer"]
    assert fact.value == "adam"
    assert "AdamW" in fact.evidence
    after.with_name("hparams.yaml").write_text("optimizer: AdamW\n")
    assert told(before, after)["optimizer"] == "adamw"


def test_adamw_without_decay_is_adam(before, after):
    torch.save({"optimizer": trained(optim.AdamW, lr=0.01, weight_decay=0)}, after)
    assert told(before, after)["optimizer"] == "adam"


def test_groups_that_differ_leave_the_value_out(before, after):
    def groups(model):
        return [{"params": [model.weight]}, {"params": [model.bias], "weight_decay": 0.0}, {"params": [], "lr": 7.0}]

    torch.save({"optimizer": trained(optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01, groups=groups)}, after)
    assert told(before, after) == {name: value for name, value in SGD.items() if name != "weight_decay"}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (optim.RMSprop, {"momentum": 0.9}),
        (optim.NAdam, {}),
        (optim.RAdam, {}),
        (optim.Adamax, {}),
        (optim.Adagrad, {}),
        (optim.Adam, {"amsgrad": True}),
        (optim.SGD, {"maximize": True}),
    ],
)
def test_another_optimizer_tells_no_rate_wherever_it_stands(before, after, kind, options):
    torch.save({"optimizer": trained(kind, lr=0.1, **options), "args": {"lr": 0.1, "batch_size": 8}}, after)
    assert told(before, after).keys() <= {"steps", "batch_size"}


def test_lightning(before, after):
    hyper = {"learning_rate": 0.3, "max_epochs": 4, "batch_size": 16, "optimizer": "torch.optim.SGD", "depth": 18}
    states = [trained(optim.SGD, lr=0.03, momentum=0.9)]  # lowered by ReduceLROnPlateau
    content = {"epoch": 3, "global_step": 40, "hyper_parameters": hyper, "optimizer_states": states}
    torch.save(content | {"state_dict": network().state_dict()}, after.with_suffix(".ckpt"))
    found = told(before, after.with_suffix(".ckpt"))
    assert found == {**SGD, "lr": 0.3, "epochs": 4, "batch_size": 16, "steps": 40}
    evidence = read_artefacts(before, after.with_suffix(".ckpt"))["epochs"].evidence
    assert evidence.endswith("after.ckpt: hyper_parameters.max_epochs")


def test_two_optimizers_of_one_kind_must_agree(before, after):
    states = [trained(optim.SGD, lr=0.1, momentum=0.9), trained(optim.SGD, lr=0.2, momentum=0.9)]
    torch.save({"optimizer_states": states}, after)
    assert told(before, after) == {name: value for name, value in SGD.items() if name != "lr"}


def test_counters_that_went_on_are_subtracted(before, after):
    torch.save({"model": {}, "global_step": 100, "epoch": 0}, before)
    torch.save({"model": {}, "global_step": 130, "epoch": 6}, after)
    assert told(before, after) == {"steps": 30, "epochs": 6}
    assert read_artefacts(before, after)["steps"].evidence == f"{after}: global_step, 130 less 100 in {before}"


def test_counters_that_began_anew_are_not(before, after):
    torch.save({"global_step": 100, "epoch": 9}, before)
    torch.save({"global_step": 30, "epoch": 6}, after)
    assert told(before, after) == {"steps": 30}


def test_counters_of_different_kinds_are_not_mixed(before, after):
    torch.save({"global_step": 2}, before)
    torch.save({"optimizer": trained(optim.Adam, steps=5)}, after)
    assert told(before, after)["steps"] == 5


def test_both_sides_in_one_folder_share_what_lies_beside(after):
    torch.save(trained(optim.Adam, steps=5), after.with_name("optimizer.pt"))
    torch.save({"global_step": 9}, after)
    start = after.with_name("start.pt")
    torch.save(network().state_dict(), start)
    assert told(start, after)["steps"] == 9


LOG = [
    {"step": 1, "learning_rate": 5e-5, "loss": 1.0},
    {"step": 2, "learning_rate": 4.95e-5},
    {"step": 60, "eval_loss": 1.0},
    {"step": 60, "learning_rate": 0.0},
]
TRAINER = {"epoch": 2.99, "global_step": 60, "num_train_epochs": 3, "train_batch_size": 8, "log_history": LOG}


def test_trainer_state(before, after):
    after.with_name("trainer_state.json").write_text(json.dumps(TRAINER))
    assert told(before, after) == {"steps": 60, "epochs": 3, "batch_size": 8, "lr": 5e-5}
    assert "trainer_state.json: epoch" in read_artefacts(before, after)["epochs"].evidence


def test_trainer_state_of_an_earlier_checkpoint_of_the_run(before, after):
    before.with_name("trainer_state.json").write_text(json.dumps({"epoch": 1.0, "global_step": 20}))
    after.with_name("trainer_state.json").write_text(json.dumps(TRAINER))
    found = told(before.parent, after.parent)
    assert (found["steps"], found["epochs"]) == (40, 2)


@pytest.mark.parametrize(
    ("change", "absent"),
    [
        ({"epoch": 2.5}, "epochs"),
        ({"epoch": None, "num_train_epochs": None}, "epochs"),
        ({"log_history": [{"learning_rate": 4e-5}, {"learning_rate": 2e-5}]}, "lr"),  # the top may have been 6e-5
        ({"log_history": [{"learning_rate": 4e-5}]}, "lr"),
        ({"log_history": [{"learning_rate": 0.0}, {"learning_rate": 0.0}]}, "lr"),
        ({"log_history": []}, "lr"),
        ({"log_history": {"learning_rate": 1}}, "lr"),
        ({"train_batch_size": 0}, "batch_size"),
    ],
)
def test_trainer_state_that_does_not_tell_all(before, after, change, absent):
    after.with_name("trainer_state.json").write_text(json.dumps(TRAINER | change))
    assert told(before, after).keys() == {"steps", "epochs", "batch_size", "lr"} - {absent}


def test_hparams_yaml(before, after):
    lines = (
        "# written by Lightning",
        "lr: 1e-3  # the peak",
        "momentum: .9",
        "batch_size: 32",
        "max_epochs: 20",
        "optimizer: 'sgd'",
        "nesterov: True",
        "weight_decay: null",
        "model:",
        "  epochs: 7",
        "tags: !!python/object/apply:os.system [touch hacked]",
        "warmup_steps: 5",
        "schedule: cosine",
        "gradient_clip_val: 1",
    )
    after.with_name("hparams.yaml").write_text("\n".join(lines))
    rule = {"optimizer": "sgd", "lr": 1e-3, "momentum": 0.9, "nesterov": True, "clip": 1.0}
    course = {"batch_size": 32, "epochs": 20, "warmup": 5, "schedule": "cosine"}
    assert told(before, after) == rule | course
    assert read_artefacts(before, after)["lr"].evidence == f"{after.with_name('hparams.yaml')}: lr"


@pytest.mark.parametrize("name", ["training_args.json", "args.json", "hparams.json"])
def test_settings_of_a_trainer(before, after, name):
    settings = (
        {"learning_rate": 5e-5, "optim": "adamw_torch", "weight_decay": 0.01, "num_train_epochs": 3.0}
        | {"adam_beta1": 0.9, "adam_beta2": 0.95, "adam_epsilon": 1e-8, "max_grad_norm": 1.0, "warmup_steps": 0}
        | {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_steps": -1, "momentum": 0.5}
        | {"lr_scheduler_type": "linear"}
    )
    after.with_name(name).write_text(json.dumps(settings))
    rule = {"optimizer": "adamw", "lr": 5e-5, "weight_decay": 0.01, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8}
    expected = rule | {"clip": 1.0, "warmup": 0, "schedule": "linear", "batch_size": 8, "epochs": 3}
    assert told(before, after) == expected
    overruled = settings | {"gradient_accumulation_steps": 4, "max_steps": 100, "warmup_ratio": 0.1}
    after.with_name(name).write_text(json.dumps(overruled))
    assert told(before, after).keys() == expected.keys() - {"batch_size", "epochs", "warmup"}


def test_settings_of_another_optimizer(before, after):
    after.with_name("args.json").write_text(json.dumps({"optimizer": "lamb", "lr": 0.1, "beta1": 0.8, "epochs": 3}))
    assert told(before, after) == {"epochs": 3}


def test_the_checkpoint_itself_goes_first(before, after):
    torch.save({"optimizer": trained(optim.SGD, lr=0.1, momentum=0.9), "args": {"momentum": 0.5, "epochs": 3}}, after)
    torch.save(trained(optim.SGD, lr=0.4, momentum=0.4), after.with_name("optimizer.pt"))
    after.with_name("hparams.yaml").write_text("epochs: 5\nbatch_size: 4\nmomentum: 0.2\n")
    assert told(before, after) == {**SGD, "epochs": 3, "batch_size": 4}


def test_the_side_before_training_tells_no_recipe(before, after):
    torch.save({"optimizer": trained(optim.Adam)}, before)
    before.with_name("hparams.yaml").write_text("lr: 0.1\n")
    assert told(before, after) == {}


def test_what_contradicts_itself_is_left_out(before, after):
    state = trained(optim.SGD, lr=0.1, momentum=0.9)
    state["param_groups"][0] |= {"nesterov": True, "dampening": 0.5}
    torch.save({"optimizer": state}, after)
    assert "nesterov" not in told(before, after)


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["after.pt", "optimizer.pt", "optimizer.bin", "training_args.bin"])
def test_code_is_never_executed(before, after, tmp_path, name):
    mark = tmp_path / "hacked"
    torch.save({"optimizer": Hostile(mark), "lr": 0.1}, after.with_name(name))
    assert told(before, after) == {}
    with after.with_name(name).open("wb") as stream:
        pickle.dump(Hostile(mark), stream)
    assert told(before, after) == {}
    assert not mark.exists()


BAD = [
    *(float("nan"), float("inf"), -1, 10**400, 1e308, "0.1", "NaN", None, [], {}, [0.1], {"a": 1}, ""),
    *("x" * 10**5, [[]] * 100),
]


@pytest.mark.parametrize("value", BAD, ids=lambda value: repr(value)[:20])
def test_values_of_a_wrong_type_or_range(before, after, value):
    names = {key for field in FIELDS.values() for key in field.aliases}
    settings = dict.fromkeys(names, value) | {"global_step": value, "epoch": value}
    torch.save({"args": settings, **settings}, after)
    after.with_name("args.json").write_text(json.dumps(settings))
    after.with_name("trainer_state.json").write_text(json.dumps(dict.fromkeys(TRAINER, value)))
    state = trained(optim.Adam)
    group = state["param_groups"][0]
    group |= dict.fromkeys(group.keys() - {"params"}, value)
    torch.save({"param_groups": [group, group], "state": value}, after.with_name("optimizer.pt"))
    assert told(before, after).keys() <= {"optimizer"}  # whose keys are those of Adam whatever they hold


@pytest.mark.parametrize("value", [True, 2.5, 0])
def test_counts_are_whole_and_truths_are_no_numbers(before, after, value):
    settings = {"epochs": value, "batch_size": value, "lr": True, "momentum": True, "nesterov": 1}
    after.with_name("args.json").write_text(json.dumps(settings))
    assert told(before, after) == {}


@pytest.mark.parametrize(
    "content",
    [
        *({}, [], 1, {"param_groups": []}, {"param_groups": [1, None]}, {"param_groups": [{}]}, {"optimizer": [[]]}),
        {"param_groups": [{"params": [0], 1: 2}], "state": {0: {"step": torch.zeros(3)}, 1: 7}},
        {"param_groups": [{"params": [0], "lr": torch.ones(2), "betas": (0.1,), "eps": 0, "amsgrad": False}]},
    ],
    ids=str,
)
def test_misshapen_states(before, after, content):
    torch.save(content, after)
    torch.save(content, after.with_name("optimizer.pt"))
    assert told(before, after) == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[" * 10**6, b'{"a":' * 10**5, b"null", b'"lr"', b'{"lr": ' + b"9" * 5000 + b"}", b"lr: .nan"],
    ids=lambda content: repr(content[:9]),
)
def test_damaged_files(before, after, content):
    for name in artefacts._BESIDE:
        after.with_name(name).write_bytes(content)
    after.write_bytes(content)
    assert told(before, after) == {}


def test_deep_nesting_spoils_only_its_own_file(before, after):
    node: Any = []
    for _ in range(900):
        node = [node]
    after.with_name("training_args.json").write_text("[" * 10**5 + "]" * 10**5)
    after.with_name("args.json").write_text(json.dumps({"epochs": node, "lr": 0.1}))
    assert told(before, after) == {"lr": 0.1}


def test_a_text_that_is_too_large(before, after, monkeypatch):
    after.with_name("args.json").write_text('{"lr": 0.1}')
    assert told(before, after) == {"lr": 0.1}
    monkeypatch.setattr(text_files, "MAX_TEXT", 10)
    assert told(before, after) == {}


def test_an_archive_that_unpacks_to_far_more(before, after):
    plain, packed = after.with_name("plain.pt"), after.with_name("optimizer.pt")
    torch.save({"lr": 0.1, "note": "x" * 10**6}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    assert told(before, after) == {}
    packed.write_bytes(plain.read_bytes())
    assert told(before, after) == {"lr": 0.1}


def test_links_and_pipes_are_not_followed(before, after, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text('{"lr": 0.1}')
    after.with_name("args.json").symlink_to(secret)
    os.mkfifo(after.with_name("hparams.json"))
    after.with_name("optimizer.pt").mkdir()
    assert told(before, after) == {}


def test_paths_that_are_not_there(tmp_path):
    assert read_artefacts(tmp_path / "no.pt", tmp_path / "none" / "no.pt") == {}
    assert read_artefacts(str(tmp_path / "no.pt"), str(tmp_path)) == {}
