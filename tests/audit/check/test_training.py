from dataclasses import replace

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.attack import generator
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.audit.check.training import likeness, trained

RECIPE = Recipe(size=6, lr=0.05, batch_size=6, epochs=4)


def victim(network):
    params = {name: value.detach().clone() for name, value in network.named_parameters()}
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    return Victim(network.eval(), params, params, buffers, (3, 6, 6), 3, Images(Normalisation((0.5,), (0.25,))))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


@pytest.mark.parametrize(
    "options",
    [{"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, {"optimizer": "adam", "lr": 1e-3, "weight_decay": 0.1},
     {"schedule": "cosine", "warmup": 1}, {"clip": 0.1}, {"batch_norm": "train"}],
    ids=str,
)  # fmt: skip
def test_it_is_what_plain_pytorch_does(options):
    recipe, x, y = replace(RECIPE, **options), torch.randn(6, 3, 6, 6, generator=generator(1)), torch.arange(6) % 3
    found = trained(victim(network()), recipe, x, y, generator(0))
    plain = network().train(recipe.batch_norm == "train")
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    more = {"momentum": recipe.momentum, "nesterov": recipe.nesterov} if recipe.optimizer == "sgd" else {}
    optimizer = kinds[recipe.optimizer](plain.parameters(), recipe.lr, weight_decay=recipe.weight_decay, **more)
    for step in range(recipe.steps):
        optimizer.param_groups[0]["lr"] = recipe.rate(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(x), y).backward()
        if recipe.clip:
            nn.utils.clip_grad_norm_(plain.parameters(), recipe.clip)
        optimizer.step()
    for name, value in plain.state_dict().items():
        if name in found:
            torch.testing.assert_close(found[name], value)
    assert set(found) == {name for name in plain.state_dict() if "num_batches" not in name}


def test_batches_are_dealt_by_the_generator():
    recipe, x, y = replace(RECIPE, batch_size=2), torch.randn(6, 3, 6, 6, generator=generator(1)), torch.arange(6) % 3
    one, two, three = (trained(victim(network()), recipe, x, y, generator(seed))["4.weight"] for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_likeness_is_the_same_whatever_was_drawn_before():
    change = {"w": torch.randn(40, 30, 3, 3, generator=generator(0))}
    other = {"w": change["w"] + torch.randn(40, 30, 3, 3, generator=generator(1))}
    first = likeness(change, other)
    torch.rand(7)
    assert likeness(change, other) == first


def test_noise_on_a_change_hardly_counts():
    left, right = torch.randn(60, 2, generator=generator(0)), torch.randn(2, 80, generator=generator(1))
    change = {"w": left @ right}
    noisy = {"w": change["w"] + change["w"].std() * torch.randn(60, 80, generator=generator(2))}
    cosine, longer = likeness(change, noisy)
    assert cosine > 0.95
    assert 0.9 < longer < 1.2
    many = {str(i): torch.randn(30, 40, generator=generator(i)) for i in range(40)}
    others = {str(i): torch.randn(30, 40, generator=generator(100 + i)) for i in range(40)}
    assert abs(likeness(many, others)[0]) < 0.5


def test_with_versions_each_step_sees_one_of_each_image_drawn_anew():
    seen, found, x = [], victim(network()), torch.rand(6, 3, 6, 6)
    found.module.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    trained(found, replace(RECIPE, views=8), x, torch.arange(6) % 3, generator(0))
    assert [len(batch) for batch in seen] == [6] * RECIPE.steps
    assert not torch.allclose(seen[0], seen[1])
    black = found.medium.encode(torch.zeros(1, 3, 1, 1))
    assert any(bool((batch == black).all(1).any()) for batch in seen), "black enters at the border"
