"""Names without wrappers, what is no part of a network, and the names of two files aligned."""

import pytest
import torch

from memaudit.audit.checkpoints.names import aligned, foreign, plain_names, rewrapped, shared_prefix


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["module.a", "module.b"], "module."),
        (["module.model.a", "module.model.b"], "module.model."),
        (["net.0.weight", "net.2.weight"], "net."),
        (["model.backbone.a.weight", "model.backbone.b.weight"], "model.backbone."),
        (["net.fc.weight", "net.fc.bias"], "net."),
        (["fc.weight", "fc.bias"], ""),
        (["module.fc.weight"], "module."),
        (["module.a", "n_averaged"], ""),
        (["module."], ""),
        ([], ""),
    ],
)
def test_prefixes_count_only_where_all_share_them(names: list[str], prefix: str) -> None:
    assert shared_prefix(names) == prefix


@pytest.mark.parametrize(
    "wrapped",
    [
        ["module.body.conv.weight", "module.head.weight"],
        ["_orig_mod.body.conv.weight", "_orig_mod.head.weight"],
        ["body._module.conv.weight", "head.weight"],
        ["_module.body.conv.weight", "_module.head.weight"],
        ["_forward_module.model.body.conv.weight", "_forward_module.model.head.weight"],
        ["_fsdp_wrapped_module.body._fsdp_wrapped_module.conv.weight", "_fsdp_wrapped_module.head.weight"],
        ["model._orig_mod.body.module.conv.weight", "model._orig_mod.head.weight"],
        ["net.body.conv._orig_mod.weight", "net.head.weight"],
        ["model.body.conv.weight", "model.head.weight"],
    ],
)
def test_wrappers_come_off_wherever_they_are(wrapped: list[str]) -> None:
    assert list(plain_names(wrapped).values()) == ["body.conv.weight", "head.weight"]
    assert list(plain_names(wrapped)) == wrapped


def test_wrappers_stay_where_two_names_would_become_one() -> None:
    names = ["a.module.weight", "a.weight", "b.weight"]
    assert plain_names(names) == {name: name for name in names}


@pytest.mark.parametrize(
    "other",
    ["acc.confmat", "model.score.tp",
     "criterion.weight", "loss.pos_weight", "ce_loss.weight", "loss_fn.weight", "train_acc.total", "val_f1.tp",
     "metrics.accuracy.total", "ema_model.net.conv.weight", "model_ema.decay", "n_averaged", "module.criterion.weight"],
)  # fmt: skip
def test_losses_metrics_and_averages_are_no_part(other: str) -> None:
    assert plain_names(["model.a.weight", "model.b.weight", other]) == {
        "model.a.weight": "a.weight", "model.b.weight": "b.weight",
    }  # fmt: skip
    assert foreign(["a", other]) == {other}
    assert foreign([other]) == frozenset()


@pytest.mark.parametrize(
    "name", ["f1.weight", "acc.weight", "closses.weight", "gemma.a", "emotion.b", "head.loss", "fc.a"]
)
def test_layers_are_parts(name: str) -> None:
    assert foreign([name, "b.weight"]) == frozenset()


def test_names_are_aligned_by_what_they_share() -> None:
    body = {"a.weight": torch.ones(9), "b.weight": torch.ones(4)}
    wrapped = {"bert.a.weight": torch.ones(9), "bert.b.weight": torch.ones(4), "head.weight": torch.ones(2)}
    assert aligned(body, wrapped) == {"a.weight": "bert.a.weight", "b.weight": "bert.b.weight"}
    other = {f"encoder.{name}": value for name, value in body.items()} | {"cls.bias": torch.ones(2)}
    assert aligned(other, wrapped) == {
        "encoder.a.weight": "bert.a.weight", "encoder.b.weight": "bert.b.weight", "cls.bias": "cls.bias",
    }  # fmt: skip
    assert aligned(wrapped, body)["head.weight"] == "head.weight"
    assert aligned(wrapped, body)["bert.b.weight"] == "b.weight"
    assert aligned(body, body) == {name: name for name in body}


def test_parts_that_no_name_of_the_network_has_are_wrappers():
    names = ["a.0.conv.weight", "a.1.conv.weight", "head.weight"]
    wrapped = ["a.0.layers.conv.weight", "a.1.layers.conv.weight", "top.out.weight"]
    assert rewrapped(names, wrapped) == dict(zip(names[:2], wrapped[:2], strict=True))
    assert rewrapped(names, names) == {}
    assert rewrapped(names, [*wrapped, "a.0.more.conv.weight"]) == {}, "two would become one"
