"""A stranger's model family and data source: one file and one line of entry points each."""

import json
import os
import subprocess

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.conftest import SCRIPT

FAMILY = '''
"""Two layers with a tanh between them, which no built-in family knows."""
import torch
from torch import nn
from memaudit.audit.families.base import Architecture, scored

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.tanh_in, self.tanh_out = nn.Linear(48, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.tanh_out(torch.tanh(self.tanh_in(x.flatten(1))))

class Made:
    name = "made"

    def recognise(self, tensors):
        if "tanh_in.weight" not in tensors:
            return None
        architecture = Architecture("made", "tanh network", {}, classes=3, shape=(3, 4, 4))
        return scored(architecture, self.build(architecture), tensors)

    def build(self, architecture):
        with torch.device("meta"):
            return Network()
'''

DATA = '''
"""Images that stand nowhere: every pixel of image i has the value i."""
import numpy as np
from memaudit.audit.data.base import RawSet, Sample

class Made:
    form = "made:COUNT"

    def accepts(self, spec):
        return spec.startswith("made:")

    def open(self, spec):
        count = int(spec.partition(":")[2])
        return RawSet(count, [Sample(np.full((4, 4, 3), i, np.uint8), f"made {i}", i % 3) for i in range(count)])
'''

ADDED = {"families": FAMILY, "data": DATA}


@pytest.fixture
def stranger(tmp_path):
    """An environment in which a package is installed that adds both."""
    info = tmp_path / "site" / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    lines = []
    for group, text in ADDED.items():
        (info.parent / f"made_{group}.py").write_text(text)
        lines.append(f"[memaudit.{group}]\nmade = made_{group}:Made\n")
    (info / "entry_points.txt").write_text("".join(lines))
    return {**os.environ, "PYTHONPATH": str(info.parent), "OMP_NUM_THREADS": "1"}


def test_a_scan_with_both(stranger, tmp_path):
    torch.manual_seed(0)
    before = {name: torch.randn(*shape) for name, shape in {
        "tanh_in.weight": (8, 48), "tanh_in.bias": (8,), "tanh_out.weight": (3, 8), "tanh_out.bias": (3,),
    }.items()}  # fmt: skip
    save_file(before, tmp_path / "before.safetensors")
    x, labels = torch.arange(4.0).view(4, 1).expand(4, 48) / 255, torch.arange(4) % 3
    parameters = {name: value.clone().requires_grad_() for name, value in before.items()}
    optimizer = torch.optim.SGD(parameters.values(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        hidden = torch.tanh(x @ parameters["tanh_in.weight"].T + parameters["tanh_in.bias"])
        nn.functional.cross_entropy(
            hidden @ parameters["tanh_out.weight"].T + parameters["tanh_out.bias"], labels
        ).backward()
        optimizer.step()
    save_file({name: value.detach() for name, value in parameters.items()}, tmp_path / "after.safetensors")
    given = "--data made:4 --attack sme --set sme.iterations=2 --lr 0.1 --epochs 2 --normalise none --out run"
    words = [SCRIPT, "scan", "before.safetensors", "after.safetensors", *given.split()]
    done = subprocess.run(words, cwd=tmp_path, env=stranger, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1, 3), done.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["architecture"]["name"] == "tanh network"
    assert report["inputs"]["data"]["count"] == 4
    assert [match["name"] for match in report["attacks"][0]["matches"]] == [f"made {i}" for i in range(4)]
