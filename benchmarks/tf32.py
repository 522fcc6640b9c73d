"""What ``--tf32`` costs in quality: ``python -m benchmarks.tf32 [--victims NAME ...] [--attack NAME] [--seeds N]``.

SimuDy from noise, or another attack, with the recipe known, in float32 and in TF32, from the same dummies. On a CUDA
device that is the real thing. On the CPU TF32 is emulated: every float32 factor of a matrix product or a convolution,
in forward and in first and second backward passes, is rounded to ten bits of mantissa; products and sums stay in
float32. To the nearest, ties away from zero, as PTX's ``cvt.rna.tf32.f32``: so on an RTX 3090, where torch finds 1025
for 1024.5 times 1 (https://github.com/pytorch/pytorch/issues/53635), and on an A100, where factors rounded by that
instruction gave torch's products exactly (https://github.com/triton-lang/triton/issues/4574). Not emulated: tensor
cores cut off what they add (https://doi.org/10.7717/peerj-cs.330), and cuDNN may choose other algorithms.

Two runs whose numbers differ in the last bit drift apart too. So there is a third one, the control, whose factors are
rounded to 22 of float32's 23 bits: what it differs by is not an effect of TF32.

Results: ``benchmarks/results/tf32.json``, a table in ``docs/benchmarks.md``.
"""

import argparse
import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from memaudit.attacks.contract.attack import Attack, Reconstruction
from memaudit.attacks.contract.params import cosine_distance
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.simudy import SimuDy
from memaudit.attacks.simulation.adjoints import ADJOINTS
from memaudit.attacks.simulation.dynamics import simulate
from memaudit.audit.machine.numerics import exact_numerics
from memaudit.audit.run.options import build

from .ablation import plain, ssim_mean, victim_of
from .engine import PAGE, fill, hardware
from .victims import SHARED, VICTIMS

RESULTS = Path(__file__).parent / "results" / "tf32.json"

ATEN = torch.ops.aten
FACTORS: Mapping[Any, tuple[int, ...]] = {
    ATEN.mm: (0, 1), ATEN.bmm: (0, 1), ATEN.addmm: (1, 2), ATEN.baddbmm: (1, 2),
    ATEN.convolution: (0, 1), ATEN.convolution_backward: (0, 1, 2),
}  # fmt: skip
"""Which arguments of an operation tensor cores multiply; what is only added, such as a bias, is not among them."""


MODES = ("float32", "control", "tf32")
"""What each attack runs in: see above."""


def rounded(value: Tensor, bits: int) -> Tensor:
    """Return float32 numbers with their mantissa rounded to this many bits, ties away from zero; others as they are."""
    if value.dtype != torch.float32:
        return value
    unit = 1 << (23 - bits)
    return ((value.view(torch.int32) + unit // 2) & -unit).view(torch.float32)


class Rounding(TorchDispatchMode):
    """Rounds the factors of matrix products and convolutions to this many bits of mantissa; TF32 has ten."""

    def __init__(self, bits: int = 10) -> None:
        super().__init__()
        self.bits = bits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out one operation."""
        places = FACTORS.get(func.overloadpacket, ())
        passed = (rounded(arg, self.bits) if place in places else arg for place, arg in enumerate(args))
        found = func(*passed, **kwargs or {})
        if func.overloadpacket is ATEN.convolution_backward and args[-1][2]:  # a bias's gradient is a sum, no product
            return (*found[:2], args[0].sum((0, *range(2, args[0].ndim))))
        return found


@contextlib.contextmanager
def precision(mode: str, device: torch.device) -> Iterator[None]:
    """Compute in one of :data:`MODES`, in TF32 itself where the device has it."""
    bits = {"control": 22, "tf32": 10 if device.type == "cpu" else None}.get(mode)
    with exact_numerics(tf32=mode == "tf32"), Rounding(bits) if bits else contextlib.nullcontext():
        yield


def hypergradient(victim: Victim, recipe: Recipe, x: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the cosine distance of the two changes with respect to dummies."""
    x, plan = x.detach().requires_grad_(), torch.arange(len(x)).repeat(recipe.steps, 1)
    final = simulate(victim, recipe, x, labels, plan, adjoint=ADJOINTS["full"])
    return torch.autograd.grad(cosine_distance(victim.change(final), victim.delta), x)[0]


def error(victim: Victim, recipe: Recipe, x: Tensor, labels: Tensor) -> float:
    """Return the relative error of the hypergradient in TF32."""
    found = []
    for mode in ("float32", "tf32"):
        with precision(mode, x.device):
            found.append(hypergradient(victim, recipe, x, labels))
    exact, other = found
    return float((other - exact).norm() / exact.norm())


def measure(attack: Attack, name: str, seed: int, device: torch.device, pack: Path) -> dict[str, Any]:
    """Attack one victim in each mode; return SSIM, loss and seconds of each, and errors of the hypergradient."""
    victim, recipe, pixels = victim_of(VICTIMS[name], seed, device, pack)
    found = {mode: _attacked(attack, victim, recipe, seed, mode) for mode in MODES}
    start, end = victim.medium.inputs(SimuDy().init(victim, recipe, seed).variables), found["float32"][0]
    emulated = device.type == "cpu"
    return {
        "victim": name, "samples": recipe.size, "steps": recipe.steps, "attack": attack.name,
        "iterations": attack.iterations, "seed": seed,
        "device": hardware(device)["device"], "emulated": emulated,
        **{mode: {"ssim_mean": ssim_mean(pixels, images.records), "loss": images.loss,
                  "seconds": None if emulated else seconds}
           for mode, (images, seconds) in found.items()},
        "error_start": error(victim, recipe, start, end.labels),
        "error_end": error(victim, recipe, end.inputs, end.labels),
    }  # fmt: skip


def _attacked(attack: Attack, victim: Victim, recipe: Recipe, seed: int, mode: str) -> tuple[Reconstruction, float]:
    """Return what an attack finds in one mode, and its seconds."""
    began = time.monotonic()
    with precision(mode, victim.like.device):
        found = attack.finish(victim, recipe, plain(attack, victim, recipe, seed))
    return found, round(time.monotonic() - began, 1)


def table(rows: Sequence[Mapping[str, Any]], where: Mapping[str, object]) -> str:
    """Return the results as Markdown; seconds only where TF32 was not emulated."""
    head = (
        "victim", "n", "S", "attack", "updates", "seed", "device", "SSIM float32", "control", "TF32",
        "loss float32", "control", "TF32", "error of the hypergradient at the start", "at the end",
        "seconds float32", "TF32",
    )  # fmt: skip
    lines = [head, ["---"] * len(head), *map(_cells, rows)]
    told = ", ".join(f"{name} {value}" for name, value in where.items())
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", f"Measured with: {told}."])


def _cells(row: Mapping[str, Any]) -> list[str]:
    modes = [row[mode] for mode in MODES]
    return [
        *(str(row[name]) for name in ("victim", "samples", "steps", "attack", "iterations", "seed")),
        f"{row['device']}{', emulated' if row['emulated'] else ''}",
        *(f"{mode['ssim_mean']:.3f}" for mode in modes), *(f"{mode['loss']:.2g}" for mode in modes),
        f"{row['error_start']:.2g}", f"{row['error_end']:.2g}",
        *("" if row["emulated"] else f"{row[mode]['seconds']:.1f}" for mode in ("float32", "tf32")),
    ]  # fmt: skip


def write(row: Mapping[str, Any], where: Mapping[str, object], results: Path, page: Path) -> None:
    """Write a row into the results file, in place of the older one of the same case, and all between the marks."""
    old = json.loads(results.read_text())["rows"] if results.exists() else []
    every = {_key(each): each for each in (*old, row)}
    rows = [every[key] for key in sorted(every)]
    results.write_text(json.dumps({"hardware": where, "rows": rows}, indent=1) + "\n")
    fill(page, "tf32", table(rows, where))


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("device", "attack", "victim", "seed"))


def main(words: Sequence[str] | None = None) -> None:
    """Measure what was asked for, and write results and table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--victims", nargs="+", default=["conv", "mlp", "resnet18"], choices=list(VICTIMS))
    parser.add_argument("--attack", default="simudy", help="see memaudit plugins")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to N-1")
    parser.add_argument("--iterations", type=int, default=60, help="of the attack, at most")
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--data-pack", type=Path, default=SHARED)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args(words)
    (attack,) = build([asked.attack], [], asked.iterations)
    for seed in range(asked.seeds):
        for name in asked.victims:
            row = measure(attack, name, seed, asked.device, asked.data_pack)
            print(json.dumps(row), flush=True)
            write(row, hardware(asked.device), asked.results, asked.page)


if __name__ == "__main__":
    main()
