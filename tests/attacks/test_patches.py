"""One image of a vision transformer, exactly; several, other optimisers and too narrow tables are told."""

import dataclasses

import pytest
import torch

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.patches import Patches
from memaudit.audit.run.drive import drive
from memaudit.audit.scoring.image import Image

from ..conftest import trained
from ..vits import Vit, pictures, subject

STRANGERS = pictures(1, seed=7)


def off(found, x):
    """The largest error of a reconstruction's pixels."""
    return float((found.records - x).abs().max())


@pytest.mark.parametrize(
    "options",
    [{"steps": 1}, {}, {"momentum": 0.9}, {"momentum": 0.9, "weight_decay": 1e-2, "schedule": "cosine"}],
    ids=str,
)
def test_one_image_is_read_exactly_after_any_training_with_sgd(options):
    victim, recipe, x = subject(**options)
    blind = dataclasses.replace(recipe, lr=float("nan"), weight_decay=0.0, momentum=0.0, epochs=1)
    done = drive(Patches(), victim, blind, 0)
    assert (done.status, len(done.curve)) == ("converged", 1)
    assert done.reconstruction.doubt == ""
    assert off(done.reconstruction, x) < 1e-3 < 0.3 < off(done.reconstruction, STRANGERS)
    assert done.reconstruction.loss < 1e-3
    assert done.reconstruction.labels.tolist() == [0]


def test_single_precision_is_enough():
    victim, recipe, x = subject(steps=20)
    sides = [{name: value.float() for name, value in side.items()} for side in (victim.theta0, victim.thetaf)]
    single = dataclasses.replace(victim, theta0=sides[0], thetaf=sides[1], module=victim.module.float())
    done = drive(Patches(), single, recipe, 0)
    assert done.status == "converged"
    assert off(done.reconstruction, x) < 0.02


def test_an_image_is_one_image_whatever_size_is_said():
    victim, recipe, x = subject()
    found = drive(Patches(), victim, dataclasses.replace(recipe, size=4, batch_size=4), 0).reconstruction
    assert off(found, x) < 1e-3


@pytest.mark.parametrize("size", [2, 3])
def test_the_mixture_of_several_images_is_no_evidence(size):
    victim, recipe, _ = subject(size)
    blind = dataclasses.replace(recipe, size=1, batch_size=1, lr=float("nan"))
    done = drive(Patches(iterations=2), victim, blind, 0)
    assert done.status == "stalled"
    assert done.reconstruction.doubt
    assert torch.isfinite(done.reconstruction.influence).all()
    assert len(done.reconstruction.records) == size  # as the change shows, whatever was said


def test_two_images_are_found_where_their_patches_lie():
    victim, recipe, x = subject(2, 1, network=Vit(64))
    found = drive(Patches(iterations=120), victim, recipe, 0).reconstruction
    scores = Image(victim.medium).matrix(x, found.records)
    strangers = Image(victim.medium).matrix(pictures(2, seed=5), found.records)
    assert float(scores.max(1).values.min()) > 0.7 > float(strangers.max())
    assert found.doubt


def test_other_views_in_every_epoch_are_no_single_image():
    _, recipe, x = subject()
    views = torch.cat([x, x.flip(-1)])
    turned = trained(Vit(), views, torch.zeros(2, dtype=torch.long), recipe, torch.tensor([[0], [1]] * 5))
    done = drive(Patches(), turned, dataclasses.replace(recipe, size=1, batch_size=1), 0)
    assert done.status == "stalled"


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_adam_is_refused_and_told_where_nobody_said_it(kind):
    victim, recipe, _ = subject(optimizer=kind, lr=1e-3)
    with pytest.raises(Unsupported, match=kind):
        Patches().init(victim, recipe, 0)
    done = drive(Patches(), victim, dataclasses.replace(recipe, optimizer="sgd"), 0)
    assert done.status == "stalled"
    assert done.reconstruction.loss > 0.05


@pytest.mark.parametrize("dim", [8, 12])
def test_where_units_are_too_few_to_tell_one_image_from_several_nothing_is_proved(dim):
    victim, recipe, x = subject(network=Vit(dim))
    done = drive(Patches(), victim, recipe, 0)
    assert done.status == "stalled"
    assert "one image from several" in done.reconstruction.doubt
    assert off(done.reconstruction, x) < (0.45 if dim == 8 else 0.05) < off(done.reconstruction, STRANGERS)


def test_a_finish_before_the_first_step_claims_nothing():
    victim, recipe, _ = subject()
    attack = Patches()
    assert attack.finish(victim, recipe, attack.init(victim, recipe, 0)).loss > attack.tolerance
