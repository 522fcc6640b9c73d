"""New, swapped and missing classifier heads: read where the rest is one network, refused where it is not."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from memaudit.audit.checkpoints.heads import initialised_anew, modules, new_head
from memaudit.audit.checkpoints.pair import CheckpointError, CheckpointPair, read_pair

WIDTH = 12


def tower(prefix: str = "", seed: int = 0, **heads: nn.Module) -> dict[str, Tensor]:
    """A network of convolutions with heads, as far as its names go."""
    torch.manual_seed(0)
    body = [("conv1", nn.Conv2d(3, WIDTH, 5)), ("bn1", nn.BatchNorm2d(WIDTH)), ("conv2", nn.Conv2d(WIDTH, WIDTH, 5))]
    state = {prefix + name: value for name, value in nn.Sequential(OrderedDict(body)).state_dict().items()}
    torch.manual_seed(100 + seed)
    for name, head in heads.items():
        state |= {f"{name.replace('__', '.')}.{rest}": value for rest, value in head.state_dict().items()}
    return state


def tuned(state: dict[str, Tensor], by: float = 0.01) -> dict[str, Tensor]:
    """The same after a training that moved every floating tensor a little."""
    torch.manual_seed(7)
    return {
        name: value + by * value.std(correction=0).clamp(0.1) * torch.randn_like(value)
        if value.is_floating_point()
        else value
        for name, value in state.items()
    }


def pair(folder: Path, before: dict[str, Tensor], after: dict[str, Tensor]) -> CheckpointPair:
    torch.save(before, folder / "before.pt")
    save_file(after, folder / "after.safetensors")
    return read_pair(folder / "before.pt", folder / "after.safetensors")


def linear(classes: int) -> nn.Linear:
    return nn.Linear(WIDTH, classes)


def two_layers(classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, classes))


HEADS = {
    "other classes": ({"fc": linear(50)}, {"fc": linear(2)}, {"fc.weight", "fc.bias"}),
    "sequential": ({"fc": linear(50)}, {"fc": nn.Sequential(nn.Dropout(), linear(2))}, {"fc.1.weight", "fc.1.bias"}),
    "two layers": ({"fc": linear(50)}, {"fc": two_layers(2)},
                   {f"fc.{n}.{p}" for n in (0, 2) for p in ("weight", "bias")}),
    "another name": ({"fc": linear(50)}, {"classifier": linear(50)}, {"classifier.weight", "classifier.bias"}),
    "none before": ({}, {"head__fc": linear(3)}, {"head.fc.weight", "head.fc.bias"}),
    "no bias": ({}, {"score": nn.Linear(WIDTH, 3, bias=False)}, {"score.weight"}),
    "pooler": ({}, {"pooler__dense": linear(WIDTH), "classifier": linear(2)},
               {f"{n}.{p}" for n in ("pooler.dense", "classifier") for p in ("weight", "bias")}),
    "projector before": ({"projector": two_layers(16)}, {"linear": linear(3)}, {"linear.weight", "linear.bias"}),
    "one pixel": ({"classifier": nn.Conv2d(WIDTH, 50, 1)}, {"classifier": nn.Conv2d(WIDTH, 2, 1)},
                  {"classifier.weight", "classifier.bias"}),
    "the last of several": ({"classifier": two_layers(50)}, {"classifier": two_layers(2)},
                            {"classifier.2.weight", "classifier.2.bias"}),
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "backbone.", "model.encoder.", "module."])
@pytest.mark.parametrize("what", HEADS)
def test_heads_whose_start_is_unknown(tmp_path: Path, what: str, prefix: str) -> None:
    old, new, fresh = HEADS[what]
    outer = prefix if prefix != "module." else ""
    before, after = tower(**old), tuned(tower(outer, 1, **new))
    wrapped = after if outer else {f"module.{name}": value for name, value in after.items()}
    found = pair(tmp_path, before, wrapped)
    assert found.fresh == fresh
    assert found.before.tensors.keys() == found.after.tensors.keys() == after.keys()
    assert found.before.stored.keys() == after.keys()
    assert all(torch.equal(found.before.tensors[name], after[name]) for name in fresh)
    assert torch.equal(found.before.tensors[f"{outer}conv1.weight"], before["conv1.weight"])
    body = {f"{outer}{name}" for name, value in tower().items() if value.is_floating_point()}
    assert found.moved == {name for name in after if after[name].is_floating_point()} - fresh >= body
    heads = before.keys() - tower().keys()
    assert set(found.dropped) == {n for n in heads if n not in after or before[n].shape != after[n].shape}


def test_a_head_of_equal_shape_one_deeper_keeps_its_start(tmp_path: Path) -> None:
    before = tower(fc=linear(30))
    after = {name.replace("fc.", "fc.1."): value for name, value in tuned(before).items()}
    found = pair(tmp_path, before, after)
    assert (found.fresh, found.dropped) == (frozenset(), ())
    assert torch.equal(found.before.tensors["fc.1.weight"], before["fc.weight"])
    back = pair(tmp_path, after, tuned(before, 0.02))
    assert back.fresh == frozenset()
    assert torch.equal(back.before.tensors["fc.weight"], after["fc.1.weight"])


def test_names_are_those_of_the_end(tmp_path: Path) -> None:
    found = pair(tmp_path, tower("bert.", cls__predictions=linear(90)), tuned(tower("net.", 1, score=linear(2))))
    assert found.fresh == {"score.weight", "score.bias"}
    assert set(found.dropped) == {"cls.predictions.weight", "cls.predictions.bias"}
    assert "net.conv1.weight" in found.moved


REFUSED = {
    "another width": (tower(fc=linear(5)), {n: v[:-1] if v.ndim > 1 else v for n, v in tower(fc=linear(5)).items()}),
    "a layer of the body": (tower(), tower(conv3=nn.Conv2d(WIDTH, 4, 3))),
    "a layer of the body is gone": (tower(middle=linear(5)), tower()),
    "all but the head": ({"fc.weight": torch.ones(5, 4)}, tower(fc=nn.Linear(4, 5))),
    "an adapter everywhere": (tower(), tower(**{f"block{n}": nn.Linear(4, 2) for n in range(5)})),
    "many heads": (tower(), tower(**{f"head{n}": nn.Linear(4, 2) for n in range(5)})),
    "deep inside": (tower(), tower(a__b__c__d__fc=nn.Linear(4, 2))),
    "not the last of the numbered": (tower(body__0=linear(3), body__1=linear(3)),
                                     tower(body__0=linear(4), body__1=linear(3))),
    "a head larger than the rest": (tower(fc=linear(5)), tower(fc=linear(5000))),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_head_is_refused(tmp_path: Path, what: str) -> None:
    before, after = REFUSED[what]
    with pytest.raises(CheckpointError) as caught:
        pair(tmp_path, before, tuned(after))
    assert str(tmp_path) in caught.value.message
    assert "same network" in caught.value.hint or "head" in caught.value.message
    assert new_head(before, after) is None


# A head of equal shape


def test_a_head_that_was_initialised_anew_is_noticed(tmp_path: Path) -> None:
    before, other = tower(fc=linear(40)), tower(seed=1, fc=linear(40))
    assert pair(tmp_path, before, tuned(other)).fresh == {"fc.weight", "fc.bias"}
    assert pair(tmp_path, before, tuned(before)).fresh == frozenset()


@pytest.mark.parametrize("size", [0.3, 1.0, 3.0])
def test_a_head_that_was_trained_hard_keeps_its_start(size: float) -> None:
    """Whatever is learned adds to the start."""
    before = tower(fc=linear(40))
    after = tuned(before)
    learned = torch.randn(40, 3) @ torch.randn(3, WIDTH)
    after["fc.weight"] = before["fc.weight"] + size * learned * before["fc.weight"].norm() / learned.norm()
    assert initialised_anew(before, after) == frozenset()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (tower(fc=linear(4)), tower(seed=1, fc=linear(4))),  # too few numbers to tell
        (tower(fc=linear(40)), {n: torch.randn_like(v) if v.ndim > 1 else v for n, v in tower(fc=linear(40)).items()}),
        ({"fc.weight": torch.randn(40, 40)}, {"fc.weight": torch.randn(40, 40)}),  # nothing else that was kept
        (tower(fc=linear(40)) | {"fc.weight": torch.zeros(40, WIDTH)}, tower(seed=1, fc=linear(40))),
        (tower(other=linear(40)), tower(seed=1, other=linear(40))),
    ],
)  # fmt: skip
def test_where_it_is_not_clear_nothing_is_fresh(old: dict[str, Tensor], new: dict[str, Tensor]) -> None:
    assert initialised_anew(old, new) == frozenset()


def test_modules_are_named_once() -> None:
    assert modules(["fc.bias", "fc.weight", "scale"]) == "'fc' and 'scale'"
