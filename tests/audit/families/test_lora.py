"""A network with an adapter computes what PEFT's does, and its simulated training is the real one."""

from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.firstlayer.subspace import first_layer
from memaudit.attacks.images.normalisation import PLAIN
from memaudit.attacks.layers.inputs import trained
from memaudit.attacks.simulation.adjoints import FullGraph
from memaudit.attacks.simulation.dynamics import batch_plan, simulate
from memaudit.audit.checkpoints.pair import read_pair
from memaudit.audit.families.base import UnknownArchitecture
from memaudit.audit.families.beside import NOTHING, read_beside
from memaudit.audit.families.ground import Ground
from memaudit.audit.families.lora import network, own_names
from memaudit.audit.families.media import medium_of
from memaudit.audit.families.victim import placed, victim

from ...adapters import adapt, config, factors, save, tuned

STEPS, LR = 4, 0.1

MLP = "torch.nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))"
CONV = (
    "nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Sigmoid(), nn.Conv2d(6, 8, 3, stride=2, padding='valid'), "
    "nn.Flatten(), nn.Linear(72, 3))"
)
GROUPED = "nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.Flatten(), nn.Linear(384, 3))"
SIDES = {MLP: 2, CONV: 8, GROUPED: 8}


def files(folder, code, layers, known=False):
    """Return base and adapter of a network that was trained on two images, the trained network, and the images."""
    made = eval(code, {"torch": torch, "nn": nn})
    (folder / "net.py").write_text(f"import torch\nfrom torch import nn\ndef make():\n    return {code}\n")
    base = {name: value.clone() for name, value in made.state_dict().items()}
    adapt(made, layers)
    start = factors(made)
    x = torch.randn(2, 3, SIDES[code], SIDES[code])
    tuned(made, x, torch.arange(2), LR, STEPS)
    before = save(folder / "before", start) if known else folder / "before"
    before.mkdir(exist_ok=True)
    save_file(base, before / "model.safetensors")
    return before, save(folder / "adapter", factors(made)), made, x


def made_victim(pair, model="auto", size=None):
    architecture, module = network(pair, model, size)
    architecture, medium = medium_of(pair, architecture, module, NOTHING, PLAIN)
    return architecture, victim(pair, architecture, module, medium)


@pytest.mark.parametrize(("code", "layers"), [(MLP, ["1", "3"]), (CONV, ["0", "2", "4"]), (CONV, ["2"])])
def test_it_computes_and_trains_as_the_real_one(tmp_path, code, layers):
    before, after, made, x = files(tmp_path, code, layers, known=True)
    pair = read_pair(before, after)
    architecture, subject = made_victim(pair, f"{tmp_path / 'net.py'}:make", SIDES[code])
    assert architecture.name.endswith("LoRA of rank 4")
    assert subject.theta0.keys() == factors(made).keys()
    with torch.no_grad():
        assert torch.allclose(subject.logits(subject.thetaf, x), made(x), atol=1e-6)
    recipe = Recipe(lr=LR, epochs=STEPS, batch_size=2, size=2)
    plan = batch_plan(recipe, 2, torch.Generator())
    end = simulate(subject, recipe, x, torch.arange(2), plan, adjoint=FullGraph())
    for name, value in subject.thetaf.items():
        assert torch.allclose(end[name], value, atol=1e-5)
    assert not subject.masked


def test_where_the_start_is_unknown_a_is_simulated_and_not_compared(tmp_path):
    before, after, _, x = files(tmp_path, MLP, ["1", "3"])
    pair = read_pair(before, after)
    architecture, subject = made_victim(pair)
    assert subject.masked == {"1.lora_A.weight", "3.lora_A.weight"}
    assert subject.theta0.keys() == {f"{layer}.lora_{side}.weight" for layer in "13" for side in "AB"}
    assert subject.delta.keys() == {"1.lora_B.weight", "3.lora_B.weight"}
    hidden = placed(subject, pair, architecture, torch.device("cpu"), frozenset({"3.lora_B.weight"}))
    assert hidden.masked == subject.masked | {"3.lora_B.weight"}
    every = placed(subject, pair, architecture, torch.device("cpu"), frozenset(pair.moved))
    assert every.masked == subject.masked
    recipe = Recipe(lr=LR, epochs=STEPS, batch_size=2, size=2)
    plan = batch_plan(recipe, 2, torch.Generator())
    with torch.no_grad():
        end = simulate(subject, recipe, x, torch.arange(2), plan, adjoint=FullGraph())
    change = subject.change(end)
    whole = torch.cat([value.flatten() for value in subject.delta.values()])
    error = torch.cat([(change[name] - value).flatten() for name, value in subject.delta.items()])
    assert 0 < float(error.norm() / whole.norm()) < 0.3
    assert not torch.equal(end["1.lora_A.weight"], subject.theta0["1.lora_A.weight"])


def test_no_attack_takes_factors_for_whole_layers(tmp_path):
    before, after, _, x = files(tmp_path, MLP, ["1", "3"], known=True)
    _, subject = made_victim(read_pair(before, after))
    assert trained(subject, x) == []
    with pytest.raises(Unsupported, match="no trained linear layer"):
        first_layer(subject)


def test_only_layers_that_are_known_are_adapted(tmp_path):
    before, after, _, _ = files(tmp_path, CONV, ["2"])
    code = (tmp_path / "net.py").read_text().replace("nn.Conv2d(6, 8, 3, stride=2, padding='valid')", "Odd()")
    odd = (
        "class Odd(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.weight, self.bias = nn.Parameter(torch.zeros(8, 6, 3, 3)), nn.Parameter(torch.zeros(8))\n"
        "    def forward(self, x):\n        return torch.conv2d(x, self.weight, self.bias, 2)\n"
    )
    (tmp_path / "net.py").write_text(code.replace("def make", f"{odd}def make"))
    with pytest.raises(UnknownArchitecture, match="adapts '2', a Odd"):
        network(read_pair(before, after), f"{tmp_path / 'net.py'}:make", 8)


def test_grouped_convolutions_are_refused(tmp_path):
    made = eval(GROUPED, {"nn": nn})
    (tmp_path / "net.py").write_text(f"from torch import nn\ndef make():\n    return {GROUPED}\n")
    save_file(made.state_dict(), tmp_path / "model.safetensors")
    parts = {"0.lora_A.weight": torch.randn(3, 1, 3, 3), "0.lora_B.weight": torch.randn(6, 3, 1, 1)}
    after = save(tmp_path / "adapter", parts, config(r=3))
    with pytest.raises(UnknownArchitecture, match="a Conv2d of 3 groups"):
        network(read_pair(tmp_path / "model.safetensors", after), f"{tmp_path / 'net.py'}:make", 8)


def test_another_process_makes_the_same_victim(tmp_path):
    before, after, _, x = files(tmp_path, MLP, ["1"])
    pair = read_pair(before, after)
    architecture, subject = made_victim(pair)
    again = Ground(pair, "auto", None, NOTHING, subject.medium, frozenset(), "cpu", architecture.shape)()
    assert again.masked == subject.masked
    same = partial(torch.equal, subject.logits(subject.thetaf, x))
    assert same(again.logits(again.thetaf, x))


def test_an_adapter_has_the_names_of_the_network_where_the_base_is_filed_under_others(tmp_path):
    """transformers files a ViT's layers under other names from version 5 on; PEFT knows the network's."""
    library = pytest.importorskip("transformers")
    settings = library.ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                                 image_size=32, patch_size=8, num_labels=3)  # fmt: skip
    model = library.ViTForImageClassification(settings).eval()
    model.save_pretrained(tmp_path / "base")
    layers = [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and "classifier" not in name]
    adapted = adapt(model, layers[:2])
    optimizer = torch.optim.SGD([value for value in adapted.parameters() if value.requires_grad], lr=0.1)
    x = torch.randn(2, 3, 32, 32)
    nn.functional.cross_entropy(adapted(x).logits, torch.tensor([0, 1])).backward()
    optimizer.step()
    folder = save(tmp_path / "adapter", factors(adapted), config(target_modules=layers[:2]))
    beside = read_beside(str(tmp_path / "base"))
    pair = read_pair(tmp_path / "base", folder, own=partial(own_names, "auto", None, beside))
    architecture, module = network(pair, beside=beside)
    _, medium = medium_of(pair, architecture, module, beside, PLAIN)
    subject = victim(pair, architecture, module, medium)
    with torch.no_grad():
        assert torch.allclose(subject.logits(subject.thetaf, x), adapted(x).logits, atol=1e-5)
    assert own_names("FILE.py:build", None, beside, pair.network) == {}
