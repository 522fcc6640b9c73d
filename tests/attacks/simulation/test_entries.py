import dataclasses

import pytest
import torch

from memaudit.attacks.contract.attack import generator
from memaudit.attacks.simulation.entries import entry_size


def test_entries_are_as_large_as_those_of_autograd_on_the_same_noise(tiny):
    victim, recipe, *_ = tiny
    labels = torch.tensor([0, 1, 2, 0])
    found = entry_size(victim, recipe, labels, generator(3))
    x = torch.randn(4, *victim.shape, generator=generator(3)).to(victim.like)
    theta = {name: value.clone().requires_grad_() for name, value in victim.theta0.items()}
    loss = torch.nn.functional.cross_entropy(victim.logits(theta, x), labels)
    flat = torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, list(theta.values()))])
    assert float(found) == pytest.approx(float(flat.square().mean().sqrt()), rel=1e-4)


def test_the_loss_is_that_of_the_recipe(tiny):
    victim, recipe, *_ = tiny
    labels = torch.tensor([0, 1, 2, 0])
    plain, squared = (
        float(entry_size(victim, dataclasses.replace(recipe, loss=loss), labels, generator(0)))
        for loss in ("cross-entropy", "mse")
    )
    assert plain != pytest.approx(squared, rel=1e-2)
