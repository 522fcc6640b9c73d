"""Which convolution cuts patches and which table places them, by the law alone."""

import dataclasses

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.layers.patching import patching

from ...vits import SHAPE, Vit, subject
from .test_inputs import victim


def moved(module: nn.Module, shape=SHAPE, still=()):
    found = victim(module, shape)
    after = {name: value + 0.01 * torch.randn_like(value) for name, value in found.theta0.items()}
    frozen = {name: value for name, value in found.theta0.items() if name in still}
    before, after = ({k: v for k, v in side.items() if k not in still} for side in (found.theta0, after))
    return dataclasses.replace(found, theta0=before, thetaf=after, buffers={**found.buffers, **frozen})


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
def test_the_table_is_found_by_its_signals_with_the_tokens_before(prefix):
    found = patching(moved(Vit(prefix=prefix)))
    assert (found.path, found.table, found.prefix) == ("proj", "place", prefix)
    assert (found.kernel, found.grid, found.positions) == ((4, 4), (3, 3), 9)


def test_a_square_weight_of_as_many_rows_is_no_table():
    assert patching(moved(Vit(dim=12, prefix=3))).table == "place"


def test_patches_multiply_the_weight_and_join_again():
    subject_, x = moved(Vit()), torch.randn(2, *SHAPE)
    found = patching(subject_)
    rows = found.cut(x)
    out = nn.functional.conv2d(x, subject_.theta0["proj.weight"], stride=4).flatten(2).transpose(1, 2)
    assert torch.allclose(rows @ found.matrix(subject_.theta0).T, out, atol=1e-5)
    assert torch.equal(found.joined(rows, SHAPE), x)
    assert torch.equal(found.rows(subject_.theta0), subject_.theta0["place"][0, 1:])


def test_what_no_patch_reaches_is_zero():
    found = patching(moved(Vit(), (3, 13, 14)))
    x = torch.randn(1, 3, 13, 14)
    again = found.joined(found.cut(x), (3, 13, 14))
    assert torch.equal(again[..., :12, :12], x[..., :12, :12])
    assert not again[..., 12:, :].any()


class Shifted(Vit):
    """Places are mixed before they are added: the table gets other signals than the patches."""

    def forward(self, x):
        kept = self.place
        seen = self.proj(x).flatten(2).transpose(1, 2) + kept[:, 1:].roll(1, 1) * 2
        return self.head(self.blocks[0](seen).mean(1))


@pytest.mark.parametrize(
    ("module", "still", "said"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(1152, 3)), (), "no convolution"),
        (nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.Flatten(), nn.Linear(72, 3)), (), "no table of positions"),
        (Vit(), ("place",), "no table of positions"),
        (Vit(), ("proj.weight",), "not trained"),
        (Shifted(), (), "no table of positions"),
    ],
)
def test_what_is_missing_is_said(module, still, said):
    with pytest.raises(Unsupported, match=said):
        patching(moved(module, still=still))


def test_a_head_that_starts_at_zero_hides_nothing_after_training():
    network = Vit()
    nn.init.zeros_(network.head.weight)
    assert patching(subject(network=network)[0]).table == "place"


@pytest.mark.parametrize("library", ["torchvision", "timm", "transformers"])
def test_vision_transformers_of_the_libraries(library):
    pytest.importorskip(library)
    found = patching(moved(BUILT[library](), (3, 32, 32)))
    assert found.table.rpartition(".")[2] in ("pos_embedding", "pos_embed", "position_embeddings")
    assert (found.prefix, found.grid) == (1, (4, 4))


def of_torchvision():
    from torchvision.models.vision_transformer import VisionTransformer

    return VisionTransformer(32, 8, 1, 2, 24, 48, num_classes=3).eval()


def of_timm():
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(32, 8, depth=1, num_heads=2, embed_dim=24, num_classes=3).eval()


def of_transformers():
    from transformers import ViTConfig, ViTForImageClassification

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = ViTForImageClassification(
                ViTConfig(
                    hidden_size=24,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    intermediate_size=48,
                    image_size=32,
                    patch_size=8,
                )
            ).eval()

        def forward(self, x):
            return self.net(x).logits

    return Logits()


BUILT = {"torchvision": of_torchvision, "timm": of_timm, "transformers": of_transformers}
