"""The parts of the demo; .ci/run runs the whole of it through the README's command."""

import torch
from PIL import Image
from torch import nn

from memaudit.audit.checkpoints.pair import read_pair
from memaudit.audit.recipe.normalise import PRESETS
from memaudit.audit.tasks.demo import EPOCHS, LR, PRIVATE, PUBLIC, train_victim, write_photographs


def test_ten_private_photographs_and_ten_others(tmp_path):
    assert len(set(PRIVATE)) == len(set(PUBLIC)) == 10
    assert not set(PRIVATE) & set(PUBLIC)
    images = write_photographs(PRIVATE, tmp_path / "private")
    assert images.shape == (10, 3, 32, 32)
    assert float(images.flatten(1).std(1).min()) > 0.05
    first = sorted((tmp_path / "private").glob("*.png"))[0]
    with Image.open(first) as picture:
        assert picture.size == (32, 32)
        assert picture.mode == "RGB"


def test_the_victim_is_what_plain_torch_makes_of_the_photographs(tmp_path):
    images = write_photographs(PRIVATE, tmp_path / "private")
    before = torch.get_rng_state()
    train_victim(images, tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    pair = read_pair(tmp_path / "before.safetensors", tmp_path / "after.safetensors")
    layers = [nn.Linear(*reversed(pair.before.tensors[f"{i}.weight"].shape)) for i in (1, 3, 5)]
    network = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    network.load_state_dict(pair.before.tensors)
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in PRESETS["cifar10"])
    for _ in range(EPOCHS):
        loss = nn.functional.cross_entropy(network((images - mean) / std), torch.arange(10))
        for value, grad in zip(network.parameters(), torch.autograd.grad(loss, network.parameters()), strict=True):
            value.data -= LR * grad
    for name, value in network.state_dict().items():
        assert torch.allclose(value, pair.after.tensors[name], atol=1e-5)
