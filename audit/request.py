"""What a user asks for: the one carrier of options from the command line or Python to the pipeline."""

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ScanRequest:
    """One audit of a checkpoint pair. Only ``before`` and ``after`` must be known.

    Attributes:
        before: Checkpoint before training.
        after: Checkpoint after training.
        data: Training set to match against: a folder of images, ``.npz``, ``.pt``, ``.safetensors`` or
            ``torchvision:NAME:ROOT``. It never reaches an attack.
        control: Held-out images, never members of the training set; same forms.
        model: ``auto``, ``torchvision:NAME``, ``FILE.py:FUNCTION`` or ``PKG.MOD:FUNCTION``.
        image_size: Height and width of the input images in pixels; read from the network where possible.
        normalise: ``cifar10``, ``imagenet``, ``half``, ``none``, or ``MEAN,...;STD,...``.
        size: Number of training samples; the count of ``data`` by default.
        lr: Learning rate; searched for by default.
        batch_size: Samples a step; full batch up to 32 by default.
        epochs: Passes over the training set; 20 by default.
        momentum: Momentum factor; 0 by default.
        nesterov: Whether momentum was Nesterov's.
        weight_decay: Coupled L2 factor; 0 by default.
        attacks: Names of the attacks to run, in order.
        options: Attack options as ``ATTACK.OPTION=VALUE``.
        matching: ``hungarian`` for the best total, or ``greedy`` as the SimuDy authors pair.
        seed: Seeds everything random.
        max_time: Seconds for the search and the attacks together.
        max_iterations: Upper limit on each attack's iterations.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        out: The run folder; ``memaudit-runs/KEY`` by default.
        outputs: (format, path) of each report to write; HTML and JSON in the run folder by default.
        fail_if: Gate expressions.
    """

    before: str | Path
    after: str | Path
    data: str | Path | None = None
    control: str | Path | None = None
    model: str = "auto"
    image_size: int | None = None
    normalise: str | None = None
    size: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    weight_decay: float | None = None
    attacks: tuple[str, ...] = ("simudy",)
    options: tuple[str, ...] = ()
    matching: Literal["hungarian", "greedy"] = "hungarian"
    seed: int = 0
    max_time: float | None = None
    max_iterations: int | None = None
    device: str = "auto"
    out: str | Path | None = None
    outputs: tuple[tuple[str, str], ...] = ()
    fail_if: tuple[str, ...] = ()

    def command(self) -> str:
        """Return the command line that asks the same."""
        words = ["memaudit", "scan", str(self.before), str(self.after)]
        repeated = {"attacks": "--attack", "options": "--set", "fail_if": "--fail-if"}
        for field in dataclasses.fields(self)[2:]:
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if field.name in repeated:
                words += [word for item in value for word in (repeated[field.name], item)]
            elif field.name == "outputs":
                words += [word for name, path in value for word in ("-o", f"{name}={path}")]
            elif isinstance(value, bool):
                words.append(f"--{'' if value else 'no-'}{field.name}")
            else:
                words += [f"--{field.name.replace('_', '-')}", str(value)]
        return shlex.join(words)
