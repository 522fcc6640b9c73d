"""One contract for every registered attack and three kinds of record: shapes, purity, seeds, saving in the middle."""

import dataclasses
import re
from functools import cache
from typing import NamedTuple

import pytest
import torch

from memaudit.attacks.contract.attack import State, Unsupported
from memaudit.attacks.contract.card import LAST, UNTOLD, card_of
from memaudit.attacks.contract.recipe import Recipe
from memaudit.audit import plugins
from memaudit.audit.run.options import build
from memaudit.audit.run.store import Store

from .. import hf
from ..conftest import mlp, trained
from ..notes import WORDS, read
from ..vits import subject

ATTACKS = list(plugins.available("memaudit.attacks"))
IMAGES_ALONE, TEXTS_ALONE = ["gion"], ["rewrite", "tokens"]
"""Attacks that refuse all other records."""
COUNTING = ["imprint", "pursuit", *TEXTS_ALONE]
"""Attacks that find out themselves how many records there are, or some of them."""
STEPS = 6
REFUSED = {
    **{(name, kind): "image" for name in IMAGES_ALONE for kind in ("note", "text")},
    **{(name, kind): "text" for name in TEXTS_ALONE for kind in ("image", "note")},
}
"""The kind that an attack is for, by its name and another kind."""
WITHOUT = {"text": ["imprint", "patches", "pursuit", "span", "spear"], "note": ["patches"]}
"""Attacks that need a layer which the network of these records has not: one on whole records, or on patches."""
CASES = [
    (name, kind)
    for name in ATTACKS
    for kind in ("image", "note", "text")
    if (name, kind) not in REFUSED and name not in WITHOUT.get(kind, ())
]
LARGEST = {"image": 1, "note": WORDS - 1, "text": len(hf.WORDS) - 1}


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def attack(case):
    return build([case[0]], [], max_iterations=STEPS)[0]


@cache
def images():
    """Victims of three classes, of one logit, of one image, and a vision transformer."""
    recipe, alone = Recipe(size=4, lr=0.1, batch_size=4, epochs=3), Recipe(size=1, lr=0.1, batch_size=1, epochs=3)
    x, labels = torch.randn(4, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    binary, plan = labels.clamp(max=1), torch.arange(4).repeat(3, 1)
    return [
        (trained(mlp(), x, labels, recipe, plan), recipe, x, labels),
        (trained(mlp(k=1), x, binary, recipe, plan), recipe, x, binary),
        (trained(mlp(), x[:1], labels[:1], alone, torch.arange(1).repeat(3, 1)), alone, x[:1], labels[:1]),
        (*subject(2), labels[:2]),
    ]


@cache
def notes():
    """The same of notes, whose batch enters behind an embedding."""
    recipe, alone = Recipe(size=4, lr=0.1, batch_size=4, epochs=3), Recipe(size=1, lr=0.1, batch_size=1, epochs=3)
    x, labels = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 0, 3], [1, 5, 4]]), torch.tensor([0, 1, 2, 0])
    binary = labels.clamp(max=1)
    return [
        (read(x, labels, recipe), recipe, x, labels),
        (read(x, binary, recipe, k=1), recipe, x, binary),
        (read(x[:1], labels[:1], alone), alone, x[:1], labels[:1]),
    ]


@cache
def texts():
    """The same of sentences, whose network takes the numbers of tokens or embeddings."""
    recipe, alone = Recipe(size=4, lr=0.1, batch_size=4, epochs=3), Recipe(size=1, lr=0.1, batch_size=1, epochs=3)
    said, labels = ("a boy saw the cat .", "my old lamp broke !", "the wolf", "her letter again ?"), (0, 1, 2, 3)
    x, truth = hf.encoded(said), torch.tensor(labels)
    return [
        (hf.victim(said, labels, recipe, classes=4), recipe, x, truth),
        (hf.victim(said[:1], labels[:1], alone), alone, x[:1], truth[:1]),
        (hf.victim(said, labels, recipe, classes=4, frozen="embeddings"), recipe, x, truth),
    ]


MADE = {"image": images, "note": notes, "text": texts}


@pytest.fixture(scope="module")
def subject_(case, attack):
    """The first victim that the attack can treat, and the recipe of its training."""
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = MADE[case[1]]()
    for victim, recipe, *_ in made:
        try:
            attack.init(victim, recipe, 0)
        except Unsupported:
            continue
        return victim, recipe
    raise AssertionError("the attack treats none of them")


class Path(NamedTuple):
    """The states of a run with seed 0, copies of each before the next step, and generators before and after it all."""

    states: list[State]
    copies: list[dict[str, torch.Tensor]]
    generators: tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def path(attack, subject_):
    before, states, copies = torch.get_rng_state(), [attack.init(*subject_, 0)], []
    for _ in range(STEPS):
        copies.append({name: value.clone() for name, value in tensors(states[-1]).items()})
        states.append(attack.step(*subject_, states[-1]))
    return Path(states, copies, (before, torch.get_rng_state()))


def stepped(attack, victim, recipe, state, count):
    for _ in range(count):
        state = attack.step(victim, recipe, state)
    return state


def tensors(state: State) -> dict[str, torch.Tensor]:
    groups = {"variables": state.variables, "constants": state.constants, "memory": state.memory}
    return {f"{group}.{name}": value for group, found in groups.items() for name, value in found.items()}


def assert_same(a: State, b: State) -> None:
    assert (a.step, a.loss, a.done) == (b.step, b.loss, b.done)
    left, right = tensors(a), tensors(b)
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def test_options_are_a_frozen_dataclass_with_a_cited_source(attack):
    assert dataclasses.is_dataclass(attack)
    assert attack.__dataclass_params__.frozen
    assert "et al." in type(attack).__doc__
    assert all(f"{field.name}:" in type(attack).__doc__ for field in dataclasses.fields(attack))


def test_shapes_and_finite_numbers(attack, subject_, path):
    victim, recipe = subject_
    state = path.states[-1]
    found = attack.finish(victim, recipe, state)
    assert state.done
    count = len(found.records)
    assert count >= (1 if attack.name in COUNTING else recipe.size)  # they find out how many there are
    assert found.inputs.shape in {(count, *victim.shape), victim.medium.encode(found.records).shape}
    assert found.records.shape == victim.medium.encode(found.records).shape[: found.records.ndim]
    assert torch.equal(found.records, victim.medium.records(found.inputs))
    assert found.records.is_floating_point() == (victim.medium.kind == "image")
    assert 0 <= float(found.records.min()) <= float(found.records.max()) <= LARGEST[victim.medium.kind]
    assert found.labels.shape == found.influence.shape == (count,)
    assert torch.isfinite(found.influence).all()
    assert found.loss >= 0


@pytest.mark.parametrize(("refused", "wanted"), REFUSED.items(), ids=str)
def test_what_needs_one_kind_refuses_other_records_in_one_sentence(refused, wanted):
    (attack,), recipe, x = (
        build([refused[0]], []),
        Recipe(size=4, lr=0.1, batch_size=4, epochs=1),
        torch.rand(4, 3, 2, 2),
    )
    image = (trained(mlp(), x, torch.tensor([0, 1, 2, 0]), recipe, torch.arange(4)[None]), recipe)
    for victim, recipe, *_ in [image] if refused[1] == "image" else MADE[refused[1]]():
        with pytest.raises(Unsupported) as refusal:
            attack.init(victim, recipe, 0)
        assert re.fullmatch(rf"[A-Za-z][^.]* {wanted}[^.]* {refused[1]}\.", str(refusal.value))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in WITHOUT.items() for name in names])
def test_what_needs_a_layer_on_whole_records_or_patches_refuses_where_there_is_none(kind, name):
    (attack,) = build([name], [])
    for victim, recipe, *_ in MADE[kind]():
        with pytest.raises(Unsupported) as refusal:
            attack.init(victim, recipe, 0)
        assert re.fullmatch(r"[^\n]+\.", str(refusal.value))


def test_a_card_tells_what_others_need_to_know(attack):
    card = card_of(type(attack))
    assert all(text.endswith(".") for text in (card.goal, card.access, card.knowledge))
    assert card.source
    assert card.place < LAST
    assert (card.rule is None) == (card.on_request != UNTOLD.on_request)
    assert attack.name in plugins.available("memaudit.attacks")


def test_places_are_all_different():
    places = [card_of(type(attack)).place for attack in build(ATTACKS, [])]
    assert len(set(places)) == len(places)


def test_a_budget_may_end_before_the_first_step(attack, subject_, path):
    found = attack.finish(*subject_, path.states[0])
    assert torch.isfinite(found.records).all()
    assert len(found.records) == len(found.inputs) == len(found.labels) == len(found.influence)
    assert found.loss > attack.tolerance


def test_same_seed_same_bytes_other_seed_other_bytes(attack, subject_, path):
    again, other = (stepped(attack, *subject_, attack.init(*subject_, seed), 3) for seed in (0, 1))
    assert_same(path.states[3], again)
    pairs = zip(tensors(again).values(), tensors(other).values(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs) != getattr(attack, "deterministic", False)


def test_global_generators_are_not_touched(path):
    assert torch.equal(*path.generators)


def test_a_step_leaves_its_input_untouched(path):
    for state, copy in zip(path.states, path.copies, strict=False):  # the last one is not stepped
        assert all(torch.equal(value, copy[name]) for name, value in tensors(state).items())


def test_a_saved_state_goes_on_to_the_same_bytes(attack, subject_, path, tmp_path):
    half, job = path.states[STEPS // 2], Store(tmp_path).job("contract")
    job.save(half, {"seconds": 1.5})
    loaded, extra = job.load(subject_[0].like)
    assert extra == {"seconds": 1.5}
    assert_same(loaded, half)
    assert list(tensors(loaded)) == list(tensors(half))  # sums are taken in this order
    assert_same(stepped(attack, *subject_, loaded, STEPS - STEPS // 2), path.states[-1])
