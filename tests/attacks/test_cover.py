"""Cover on small convolutional networks: real trainings, exact images, and what it refuses."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.cover import (
    CHOSEN,
    DOUBT,
    LOOKS,
    Cover,
    _rehearsed,
)
from memaudit.attacks.explain.rehearsal import CONTRAST
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.attacks.layers.searches import HALVED, MORE
from memaudit.attacks.optimise.descent import kept

from ..conftest import mlp, trained

SCALE = Normalisation((0.5,), (0.5,))
UNKNOWN = Recipe(4, math.nan, 4, 6)
"""What the attack may know: how many images there were."""
BRIEF = Cover(iterations=100)


def network(norm: type[nn.Module] = nn.Identity, groups: int = 1, side: int = 16) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), norm(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), norm(64), nn.ReLU(),
        nn.Conv2d(64, 128, 3, stride=2, padding=1), norm(128), nn.ReLU(),
        nn.Conv2d(128, 128, 3, stride=2, padding=1, groups=groups), nn.ReLU(),
        nn.Flatten(), nn.Linear(2 * side * side, 4),
    )  # fmt: skip


def images(count: int, seed: int = 1, side: int = 16) -> torch.Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return interpolate(coarse, size=side, mode="bicubic").clamp(0, 1)


def victim_of(
    module: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, mode: str = "eval", **options: float
) -> Victim:
    """Train with torch's own optimiser, two images at a time."""
    adam = options.pop("adam", False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    kind = torch.optim.AdamW if adam else torch.optim.SGD
    rule, x = kind(module.parameters(), **{"lr": 0.05, **options}), SCALE.from_pixels(pixels)
    module.train(mode == "train")
    for _ in range(6):
        for rows in torch.arange(len(x)).split(len(x) if mode == "train" else 2):
            rule.zero_grad()
            cross_entropy(module(x[rows]), labels[rows]).backward()
            rule.step()
    names = {name for name, _ in module.named_parameters()}
    after = {name: value.clone() for name, value in module.state_dict().items()}
    return Victim(
        module.eval().requires_grad_(False),
        {name: before[name] for name in before if name in names},
        {name: after[name] for name in after if name in names},
        {name: before[name] for name in before if name not in names},
        tuple(pixels.shape[1:]),
        4,
        Images(SCALE),
    )


def found_by(attack: Cover, victim: Victim, recipe: Recipe):
    state = attack.init(victim, recipe, 0)
    while not state.done:
        state = attack.step(victim, recipe, state)
    return attack.finish(victim, recipe, state)


def errors(records: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return (n,) root mean square error of the nearest reconstruction of each image."""
    return torch.cdist(truth.flatten(1), records.flatten(1)).min(1).values / truth[0].numel() ** 0.5


MOMENTUM = {"momentum": 0.9, "weight_decay": 1e-2, "lr": 0.02}


@pytest.mark.parametrize("options", [{}, MOMENTUM], ids=["plain", "momentum and decay"])
def test_finds_the_images_without_labels_or_recipe(options):
    pixels, labels = images(4), torch.tensor([2, 0, 3, 1])
    victim = victim_of(network(), pixels, labels, **options)
    recipe = dataclasses.replace(UNKNOWN, batch_size=2, **options)  # of which only the decay is used
    found = found_by(BRIEF, victim, recipe)
    assert errors(found.records, pixels).max() < 0.05
    assert errors(found.records, images(4, seed=2)).min() > 0.1
    assert found.doubt  # images of another kind can cover a change too
    assert found.influence.min() > 0.2 * found.influence.max()
    nearest = torch.cdist(found.records.flatten(1), pixels.flatten(1)).argmin(1)
    assert found.labels.tolist() == labels[nearest].tolist()


@pytest.mark.parametrize(("norm", "groups", "mode"), [(nn.BatchNorm2d, 1, "train"), (nn.Identity, 2, "eval")])
def test_batch_norm_in_train_mode_and_groups(norm, groups, mode):
    pixels, labels = images(4), torch.arange(4)
    victim = victim_of(network(norm, groups), pixels, labels, mode)
    found = found_by(BRIEF, victim, dataclasses.replace(UNKNOWN, batch_norm=mode))
    assert errors(found.records, pixels).max() < 0.08


def test_never_needs_the_head():
    pixels = images(3)
    victim = victim_of(network(), pixels, torch.arange(3))
    bare = {name: value for name, value in victim.theta0.items() if not name.startswith("12")}
    rest = {name: victim.theta0[name] for name in victim.theta0 if name not in bare}
    headless = dataclasses.replace(
        victim, theta0=bare, thetaf={name: victim.thetaf[name] for name in bare}, buffers=rest
    )
    found = found_by(BRIEF, headless, dataclasses.replace(UNKNOWN, size=3))
    assert errors(found.records, pixels).max() < 0.05
    assert found.labels.shape == (3,)


def test_more_dummies_than_images_are_told_apart_by_their_influence():
    pixels = images(2)
    victim = victim_of(network(), pixels, torch.arange(2))
    found = found_by(BRIEF, victim, UNKNOWN)
    assert errors(found.records, pixels).max() < 0.1


def test_images_of_another_training_are_not_found():
    victim = victim_of(network(), images(4), torch.arange(4))
    found = found_by(BRIEF, victim, UNKNOWN)
    assert errors(found.records, images(4, seed=3)).min() > 0.1


def test_a_change_without_structure_is_not_covered():
    victim = victim_of(network(), images(4), torch.arange(4))
    noise = {name: value + 1e-3 * torch.randn_like(value) for name, value in victim.theta0.items()}
    found = found_by(BRIEF, dataclasses.replace(victim, thetaf=noise), UNKNOWN)
    assert found.loss > 0.5


def test_adam_at_a_large_rate_is_refused_and_at_a_small_one_not():
    small = victim_of(network(), images(4), torch.arange(4), adam=True, lr=1e-5)
    recipe = Recipe(4, 1e-5, 4, 6, optimizer="adamw")
    state = BRIEF.init(small, recipe, 0)
    assert not any(name.endswith(".kept") for name in state.memory)
    for lr in (1e-2, math.nan):
        with pytest.raises(Unsupported, match="leaves no span"):
            BRIEF.init(small, dataclasses.replace(recipe, lr=lr), 0)


def test_too_many_images_for_every_layer_are_refused():
    victim = victim_of(network(), images(4), torch.arange(4))
    with pytest.raises(Unsupported, match="no layer's change tells 4000 records apart"):
        BRIEF.init(victim, dataclasses.replace(UNKNOWN, size=4000), 0)
    wide = mlp()
    x, labels = torch.randn(2, 3, 2, 2), torch.tensor([0, 1])
    recipe = Recipe(2, 0.1, 2, 3)
    plain = trained(wide, x, labels, recipe, torch.arange(2).repeat(3, 1))
    with pytest.raises(Unsupported, match="200 records"):
        BRIEF.init(plain, dataclasses.replace(recipe, size=200), 0)


def test_a_moving_state_stays_whole():
    victim = victim_of(network(), images(2), torch.arange(2))
    recipe = dataclasses.replace(UNKNOWN, size=2)
    first = BRIEF.init(victim, recipe, 0)
    kept = {name: value.clone() for name, value in first.variables.items()}
    BRIEF.step(victim, recipe, first)
    assert all(torch.equal(value, kept[name]) for name, value in first.variables.items())


def test_an_image_that_ended_moved_or_mirrored_is_put_right():
    pixels = images(4, side=32)
    victim = victim_of(network(side=32), pixels, torch.arange(4))
    attack = Cover(iterations=10, parametrisation="pixels")
    state = kept(attack.init(victim, UNKNOWN, 0), torch.arange(4))
    x = SCALE.from_pixels(pixels)
    wrong = x.clone()
    wrong[1], wrong[2] = x[1].roll(-8, 1), x[2].flip(-1)
    wrong[1, :, -8:] = x[1, :, -1:]  # what moved in is made up
    for given in (x, wrong):
        begun = dataclasses.replace(state, variables={"x": given}, step=round(LOOKS[0] * attack.iterations))
        put = attack._looked(victim, UNKNOWN, begun).variables["x"]
        assert torch.equal(put[[0, 2, 3]], x[[0, 2, 3]])
        assert torch.equal(put[1, :, 8:], x[1, :, 8:])
    early = dataclasses.replace(state, variables={"x": wrong}, step=1)
    assert attack._looked(victim, UNKNOWN, early) is early


@pytest.mark.parametrize(("iterations", "steps"), [(1, 1), (2, 2), (10, 0), (10, 1), (10, 7), (10, 8)])
def test_a_run_that_is_cut_short_has_as_many_records_as_there_are(iterations, steps):
    victim, recipe = victim_of(network(), images(6), torch.arange(6) % 4), dataclasses.replace(UNKNOWN, size=6)
    attack = Cover(iterations=iterations)
    state = attack.init(victim, recipe, 0)
    for _ in range(steps):
        state = attack.step(victim, recipe, state)
    found = attack.finish(victim, recipe, state)
    assert len(found.records) == len(found.inputs) == len(found.labels) == len(found.influence) == 6
    assert math.isfinite(found.loss) == bool(steps)


def test_more_images_are_sought_and_those_that_explain_most_are_chosen():
    pixels, recipe = images(6), dataclasses.replace(UNKNOWN, size=6)
    victim = victim_of(network(), pixels, torch.arange(6) % 4)
    attack = Cover(iterations=100, parametrisation="pixels")
    begun, late = attack.init(victim, recipe, 0), round(CHOSEN * attack.iterations)
    assert len(begun.variables["x"]) == 6 + 6 // MORE == 8
    given = torch.cat([0.1 * torch.randn(2, 3, 16, 16), SCALE.from_pixels(pixels)])[[2, 3, 0, 4, 5, 6, 1, 7]]
    late_one = dataclasses.replace(begun, variables={"x": given}, step=late)
    chosen = attack._chosen(victim, recipe, late_one)
    assert torch.equal(chosen.variables["x"], SCALE.from_pixels(pixels))
    assert torch.equal(chosen.memory["best.x"], SCALE.from_pixels(pixels))
    assert math.isinf(chosen.memory["best.loss"])
    assert attack._chosen(victim, recipe, begun) is begun
    assert attack.step(victim, recipe, late_one).memory["best.loss"] < 1
    assert len(found_by(BRIEF, victim, recipe).records) == 6


def narrow(pixels: torch.Tensor, **options: float) -> Victim:
    """A victim whose layers an image fills to a ninth."""
    module = nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4),
    )  # fmt: skip
    return victim_of(module, pixels, torch.arange(len(pixels)) % 4, **options)


def test_where_layers_are_narrow_several_searches_run_and_the_better_half_goes_on():
    pixels, recipe = images(2), dataclasses.replace(UNKNOWN, size=2)
    victim, attack = narrow(pixels), Cover(iterations=10, parametrisation="pixels")
    state = attack.init(victim, recipe, 0)
    assert len(state.variables["x"]) == 8 * 2
    x = 0.1 * torch.randn(16, 3, 16, 16)
    x[6:8] = SCALE.from_pixels(pixels)  # the fourth has found them
    state, counts = dataclasses.replace(state, variables={"x": x}), []
    while not state.done:
        state = attack.step(victim, recipe, state)
        counts.append(len(state.variables["x"]))
        assert state.memory["best.x"].shape == (2, 3, 16, 16)
    shares = [round(share * attack.iterations) for share in HALVED]
    assert counts == [2 * 8 // 2 ** sum(share <= step for share in shares) for step in range(10)]
    found = attack.finish(victim, recipe, state)
    assert errors(found.records, pixels).max() < errors(narrow_start(attack, victim, recipe), pixels).min()
    assert float(errors(found.records, pixels).max()) < 0.3
    last = victim.medium.records(state.variables["x"])
    assert float(errors(last, pixels).max()) < 0.3, "the search that goes on to the end is the one that found them"


def narrow_start(attack: Cover, victim: Victim, recipe: Recipe) -> torch.Tensor:
    """Return the images that searches begin with."""
    return victim.medium.records(attack.init(victim, recipe, 0).variables["x"])


def test_several_searches_find_the_image_of_a_narrow_network():
    pixels, recipe = images(1), dataclasses.replace(UNKNOWN, size=1)
    found = found_by(BRIEF, narrow(pixels), recipe)
    assert found.records.shape == (1, 3, 16, 16)
    assert float(errors(found.records, pixels)) < 0.1
    assert float(errors(found.records, images(1, seed=2))) > 0.1


def test_a_search_that_is_no_longer_a_number_is_dropped():
    victim, recipe = narrow(images(2)), dataclasses.replace(UNKNOWN, size=2)
    attack = Cover(iterations=10, parametrisation="pixels")
    state = attack.init(victim, recipe, 0)
    x = state.variables["x"].clone()
    x[2:4] = math.nan
    state = dataclasses.replace(state, variables={"x": x})
    while not state.done:
        state = attack.step(victim, recipe, state)
        assert math.isfinite(state.loss)
        assert math.isfinite(float(state.memory["place"]))
    assert attack.finish(victim, recipe, state).records.isfinite().all()


@pytest.mark.parametrize("steps", [0, 1, 3, 5])
def test_several_searches_that_are_cut_short_have_as_many_records_as_there_are(steps):
    victim, recipe = narrow(images(2)), dataclasses.replace(UNKNOWN, size=2)
    attack = Cover(iterations=10)
    state = attack.init(victim, recipe, 0)
    for _ in range(steps):
        state = attack.step(victim, recipe, state)
    assert len(attack.finish(victim, recipe, state).records) == 2


def test_one_search_runs_where_batches_have_their_own_statistics_and_where_a_generator_makes_all():
    victim, recipe = narrow(images(2)), dataclasses.replace(UNKNOWN, size=2)
    train = dataclasses.replace(recipe, batch_norm="train")
    assert len(Cover(parametrisation="pixels").init(victim, train, 0).variables["x"]) == 2
    state = Cover(iterations=4, parametrisation="generator").init(victim, recipe, 0)
    assert len(victim.medium.inputs(state.variables)) == 2


def test_a_generator_makes_no_more_images_than_there_are():
    victim = victim_of(network(), images(6), torch.arange(6) % 4)
    recipe = dataclasses.replace(UNKNOWN, size=6)
    assert found_by(Cover(iterations=4, parametrisation="generator"), victim, recipe).records.shape == (6, 3, 16, 16)


def test_a_rehearsal_tells_what_right_images_leave():
    pixels = images(4)
    victim = victim_of(network(), pixels, torch.arange(4))
    state = dataclasses.replace(BRIEF, parametrisation="pixels").init(victim, UNKNOWN, 0)
    at_truth = dataclasses.replace(kept(state, torch.arange(4)), variables={"x": SCALE.from_pixels(pixels)})
    true = BRIEF.step(victim, UNKNOWN, at_truth).loss
    right, wrong = state.memory["rehearsed"].tolist()
    assert true / 3 < right < 3 * true
    assert wrong > CONTRAST * right
    stuck = dataclasses.replace(state, memory={**state.memory, "best.loss": torch.tensor(0.9)})
    assert "far more than" in BRIEF.finish(victim, UNKNOWN, stuck).doubt
    assert BRIEF.finish(victim, UNKNOWN, stuck).doubt.startswith(DOUBT)
    assert _rehearsed(victim, UNKNOWN, {}) == (0, 0)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_images_are_seen_where_on_the_way_they_explain_most(momentum):
    pixels = images(4)
    victim = victim_of(network(), pixels, torch.arange(4), lr=0.05, momentum=momentum)
    attack = Cover(iterations=30, step_size=1e-6, parametrisation="pixels", member=0)
    state = attack.init(victim, UNKNOWN, 0)
    assert float(state.memory["place"]) == 0.5
    state = dataclasses.replace(kept(state, torch.arange(4)), variables={"x": SCALE.from_pixels(pixels)})

    def left(share):
        at = dataclasses.replace(state, step=0, memory={**state.memory, "place": torch.tensor(share)})
        return attack.step(victim, UNKNOWN, at).terms["left"]

    least = min(left(share / 10) for share in range(11))
    while not state.done:
        state = attack.step(victim, UNKNOWN, state)
    found = float(state.memory["place"])
    assert 0 <= found <= 1
    assert found != 0.5
    assert left(found) < least + 0.2 * (left(0.5) - least) + 0.01
    assert (found < 0.3) == (momentum > 0), "most of the way was gone early"


def test_a_loss_from_before_a_move_is_not_kept_as_the_best():
    victim = victim_of(network(), images(4), torch.arange(4), lr=0.05, momentum=0.9)
    attack = Cover(iterations=20)
    state = attack.init(victim, UNKNOWN, 0)
    while not state.done:
        before, state = state, attack.step(victim, UNKNOWN, state)
        if attack._moves(UNKNOWN, before.step - 1):
            assert float(state.memory["best.loss"]) == pytest.approx(state.loss)
        moved = float(state.memory["place"]) != float(before.memory["place"])
        assert moved <= attack._moves(UNKNOWN, before.step)
    assert not attack._moves(UNKNOWN, 19), "what is read off at the end was evaluated where it says"


def test_a_state_without_a_place_is_half_way():
    victim = victim_of(network(), images(4), torch.arange(4))
    state = Cover(iterations=4).init(victim, UNKNOWN, 0)
    older = dataclasses.replace(state, memory={k: v for k, v in state.memory.items() if k != "place"})
    assert BRIEF.step(victim, UNKNOWN, older).loss == BRIEF.step(victim, UNKNOWN, state).loss


def test_where_batches_have_their_own_statistics_it_stays_half_way():
    victim = victim_of(network(nn.BatchNorm2d), images(4), torch.arange(4), "train")
    recipe, attack = dataclasses.replace(UNKNOWN, batch_norm="train"), Cover(iterations=5)
    state = attack.init(victim, recipe, 0)
    while not state.done:
        state = attack.step(victim, recipe, state)
    assert float(state.memory["place"]) == 0.5


@pytest.mark.parametrize("name", ["iterations", "step_size", "alpha", "chroma", "member"])
def test_an_option_that_makes_no_sense_is_refused(name):
    with pytest.raises(ValueError, match=name):
        Cover(**{name: -1})
