"""Networks that the user names, and everything that can be wrong with the name."""

import os
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from memaudit.attacks.images.medium import Images
from memaudit.audit.checkpoints.pair import read_pair
from memaudit.audit.families.base import UnknownArchitecture
from memaudit.audit.families.custom import fit, resolve
from memaudit.audit.families.detect import detect
from memaudit.audit.families.victim import victim

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, size=28):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4)
        self.out = nn.Linear(4 * (size // 2) ** 2, 5)
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)

    def forward(self, x):
        return self.out((self.scale * torch.tanh(self.norm(self.conv(x)))).flatten(1))

class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Net()

    def forward(self, x):
        return self.model(x)

def make():
    return Net()

def broken():
    raise ValueError("no luck\\nat all")

def number():
    return 3

def leave():
    raise SystemExit(1)

def perceptron():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.Tanh(), nn.Linear(5, 2))

def grey():
    return nn.Sequential(nn.Flatten(), nn.Linear(49, 5), nn.Tanh(), nn.Linear(5, 2))

def empty():
    return nn.Identity()

def segmenter():
    return nn.Conv2d(3, 2, 1)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(SOURCE)
    return tmp_path / "nets.py"


def state(file: Path, function: str = "make") -> dict[str, torch.Tensor]:
    return resolve(f"{file}:{function}")().state_dict()


def refused(spec: str, tensors: dict[str, torch.Tensor], *parts: str, size: int | None = None) -> str:
    with pytest.raises(UnknownArchitecture) as caught:
        fit(spec, tensors, size)
    for part in parts:
        assert part in caught.value.message
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.hint
    return caught.value.hint


def test_a_function_in_a_file(file: Path) -> None:
    tensors = state(file)
    architecture, module = detect(tensors, f"{file}:make")
    assert (architecture.family, architecture.name) == ("custom", f"{file}:make")
    assert (architecture.shape, architecture.classes, architecture.score) == ((1, 28, 28), 5, 1)
    assert architecture.assumed == ("image_size",)
    assert not module.training
    assert torch.equal(module.state_dict()["out.weight"], tensors["out.weight"])


def test_a_class_will_do(file: Path) -> None:
    assert fit(f"{file}:Net", state(file))[0].classes == 5


def test_a_network_that_wraps_another(file: Path) -> None:
    tensors = state(file)
    _, module = fit(f"{file}:Outer", tensors)
    assert torch.equal(module.state_dict()["model.out.weight"], tensors["out.weight"])


def test_a_file_that_changed_within_a_second_is_read_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for activation in ("ReLU", "Tanh"):
        file.write_text(f"from torch import nn\n\ndef make():\n    return nn.{activation}()\n")
        os.utime(file, (0, 0))
        assert type(resolve(f"{file}:make")()).__name__ == activation
    assert [path.name for path in file.parent.iterdir()] == [file.name], "nothing is left beside the user's code"


def test_double_precision(file: Path) -> None:
    tensors = {name: value.double() if value.is_floating_point() else value for name, value in state(file).items()}
    _, module = fit(f"{file}:make", tensors)
    assert {value.dtype for value in module.parameters()} == {torch.float64}


def test_without_counters(file: Path) -> None:
    tensors = {name: value for name, value in state(file).items() if not name.endswith("num_batches_tracked")}
    assert fit(f"{file}:make", tensors)[0].score == 1


def test_a_file_may_import_its_neighbours(file: Path) -> None:
    (file.parent / "front.py").write_text("from nets import make as there\ndef make():\n    return there()\n")
    assert fit(f"{file.parent / 'front.py'}:make", state(file))[0].classes == 5


def test_a_function_in_a_package(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "my_nets_package.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(file.parent))
    assert fit("my_nets_package:make", state(file))[0].classes == 5


def test_image_size(file: Path) -> None:
    assert fit(f"{file}:make", state(file), 28)[0].assumed == ()
    assert "--image-size" in refused(f"{file}:make", state(file), "1x32x32", size=32)


def test_a_perceptron_fixes_its_size(file: Path) -> None:
    architecture, _ = fit(f"{file}:perceptron", state(file, "perceptron"))
    assert (architecture.shape, architecture.assumed) == ((3, 4, 4), ())


def test_a_perceptron_of_grey_images_and_its_size(file: Path) -> None:
    tensors = state(file, "grey")
    assert fit(f"{file}:grey", tensors, 7)[0].shape == (1, 7, 7)
    assert fit(f"{file}:grey", tensors)[0].shape == (1, 7, 7)


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "vgg11_bn", "mobilenet_v3_small", "inception_v3"])
def test_a_library_s_network_has_the_size_of_detection_whether_it_is_named_or_not(name: str) -> None:
    from torchvision import models

    options = {"init_weights": False} if name == "inception_v3" else {}
    tensors = models.get_model(name, num_classes=7, **options).state_dict()
    named, found = detect(tensors, f"torchvision:{name}")[0], detect(tensors)[0]
    assert (named.classes, named.shape) == (7, found.shape)
    assert "image_size" in named.assumed
    assert "image_size" in found.assumed


def test_a_network_that_detection_does_not_know_has_its_builder_s_size() -> None:
    timm = pytest.importorskip("timm")
    tensors = timm.create_model("ghostnetv2_100", num_classes=7).state_dict()
    assert detect(tensors, "timm:ghostnetv2_100")[0].shape == (3, 224, 224)
    changed = timm.create_model("resnet10t", num_classes=7).state_dict()
    assert detect(changed, "timm:resnet10t")[0].shape == detect(changed)[0].shape == (3, 176, 176)


def test_unknown_torchvision_model() -> None:
    assert "resnet18" in refused("torchvision:resnet81", {}, "'resnet81'")


def test_no_such_file(tmp_path: Path) -> None:
    refused(f"{tmp_path}/none.py:make", {}, "none.py")


def test_no_such_package() -> None:
    refused("no_such_package_here:make", {}, "'no_such_package_here'", "ModuleNotFoundError")


def test_no_such_function(file: Path) -> None:
    hint = refused(f"{file}:zzz", {}, "'zzz'")
    assert "make" in hint
    assert "Tensor" not in hint
    assert refused(f"{file}:mak", {}, "'mak'") == "Did you mean make?"


@pytest.mark.parametrize("text", ["def make(:", "raise OSError('gone')", "import sys; sys.exit(3)", "import no_such_x"])
def test_a_file_that_cannot_be_imported(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    refused(f"{tmp_path}/bad.py:make", {}, "bad.py")


def test_functions_that_do_not_build_a_network(file: Path) -> None:
    refused(f"{file}:broken", {}, "ValueError: no luck")
    refused(f"{file}:leave", {}, "SystemExit")
    refused(f"{file}:number", {}, "returned int")
    refused(f"{file}:empty", {"a": torch.ones(2)}, "'a' is not part")
    refused(f"{file}:make", {}, "does not fit", "'conv.weight' is missing from the checkpoint", "and ")


def test_a_checkpoint_of_another_network(file: Path) -> None:
    tensors = state(file) | {"out.weight": torch.ones(5, 9), "extra": torch.ones(2)}
    refused(f"{file}:make", tensors, "'out.weight' is (5, 9)", "'extra' is not part")


def test_a_network_without_logits(file: Path) -> None:
    tensors = nn.Conv2d(3, 2, 1).state_dict()
    refused(f"{file}:segmenter", tensors, "3x32x32", "logits")


def test_a_tied_tensor_that_was_saved_once_is_found(tmp_path):
    (tmp_path / "tied.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.b, self.head = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 3)\n"
        "        self.b.weight = self.a.weight\n"
        "    def forward(self, x):\n"
        "        return self.head(self.b(self.a(x.flatten(1)).relu()).relu())\n"
    )
    spec = f"{tmp_path / 'tied.py'}:Net"
    namespace = {}
    exec((tmp_path / "tied.py").read_text(), namespace)
    first, second = namespace["Net"](), namespace["Net"]()
    for network, name in ((first, "a"), (second, "b")):
        safetensors.torch.save_model(network, str(tmp_path / f"{name}.safetensors"))
    pair = read_pair(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert len([name for name in pair.after.tensors if name.endswith(("a.weight", "b.weight"))]) == 1
    architecture, module = detect(pair.after.tensors, spec, 2)
    found = victim(pair, architecture, module, Images())
    x = torch.randn(2, 3, 2, 2)
    assert torch.allclose(found.logits(found.thetaf, x), second(x), atol=1e-6)
