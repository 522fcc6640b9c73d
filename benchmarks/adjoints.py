"""What the two adjoints cost: ``python -m benchmarks.adjoints``.

One hypergradient of a ResNet-18 (CIFAR stem, 4 images) for a growing number of simulated steps, each in a process of
its own so that the peak of its resident memory is its own. The peak before the hypergradient (weights, libraries) is
subtracted. Results: ``benchmarks/results/adjoints.json``.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "adjoints.json"
STEPS = (2, 4, 8, 16)


def measure(name: str, steps: int) -> dict[str, object]:
    """Return the extra peak memory in bytes and the seconds of one hypergradient."""
    import torch

    from memaudit.attacks.contract.params import cosine_distance, subtract
    from memaudit.attacks.contract.recipe import Recipe
    from memaudit.attacks.contract.victim import Victim
    from memaudit.attacks.images.medium import Images
    from memaudit.attacks.simulation.adjoints import ADJOINTS
    from memaudit.attacks.simulation.dynamics import simulate
    from memaudit.audit.machine.memory import PeakMemory

    from .networks import resnet18

    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    network = resnet18().eval()
    theta0 = {key: value.detach() for key, value in network.named_parameters()}
    thetaf = {key: value + 1e-3 * torch.randn_like(value) for key, value in theta0.items()}
    victim = Victim(network, theta0, thetaf, dict(network.named_buffers()), (3, 32, 32), 10, Images())
    x, labels, plan = torch.randn(4, 3, 32, 32, requires_grad=True), torch.arange(4), torch.arange(4).repeat(steps, 1)
    recipe = Recipe(4, 0.01, 4, steps)
    meter, began = PeakMemory(torch.device("cpu")), time.monotonic()
    before = meter.bytes()
    final = simulate(victim, recipe, x, labels, plan, adjoint=ADJOINTS[name])
    torch.autograd.grad(cosine_distance(subtract(final, theta0), victim.delta), x)
    parameters = sum(value.nbytes for value in theta0.values())
    return {
        "adjoint": name, "steps": steps, "extra_bytes": meter.bytes() - before, "trajectory_bytes": steps * parameters,
        "seconds": round(time.monotonic() - began, 2),
        "torch": torch.__version__, "hardware": f"{os.cpu_count()} cores, {platform.machine()}",
    }  # fmt: skip


def main() -> None:
    """Measure every adjoint and number of steps, and write the results file."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
        return
    results = []
    for name in ("full", "stepwise"):
        for steps in STEPS:
            words = [sys.executable, "-m", "benchmarks.adjoints", name, str(steps)]
            results.append(json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout))
            print({key: results[-1][key] for key in ("adjoint", "steps", "extra_bytes", "seconds")}, flush=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
