"""What a user asks for: the one carrier of options from the command line or Python to the pipeline."""

import dataclasses
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .. import MemauditError
from .report.model import Evidence
from .report.verdict import Severity


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
        recipe: A TOML file of ``memaudit infer``; what is given beside it wins.
        size: Number of training samples; the count of ``data`` by default. ``auto`` to read it off the change or, where
            that is not possible, to take too many and tell the superfluous ones by their influence.
        labels: How many samples each class has: ``data`` for those of the training set, or ``CLASS:COUNT,...``.
        optimizer: ``sgd``, ``adam`` or ``adamw``; read off the change by default.
        lr: Learning rate; searched for by default.
        batch_size: Samples a step; full batch up to 32 by default.
        epochs: Passes over the training set; 20 by default.
        momentum: Momentum factor; 0 by default.
        nesterov: Whether momentum was Nesterov's.
        weight_decay: L2 factor (decoupled for ``adamw``); what the change tells by default, or 0.
        schedule: ``constant``, ``linear`` or ``cosine``; constant by default.
        warmup: Steps of linear warm-up; 0 by default.
        clip: Global gradient norm that training clipped at; 0, none, by default.
        batch_norm: ``train`` or ``eval``; read off the running statistics by default.
        attacks: Names of the attacks to run, in order; ``all`` for all that apply. None for those that the planner
            chooses from what the change of the parameters tells.
        options: Attack options as ``ATTACK.OPTION=VALUE``.
        matching: ``hungarian`` for the best total, or ``greedy`` as the SimuDy authors pair.
        seed: Seeds everything random.
        restarts: How often each attack runs, with seeds ``seed``, ``seed + 1`` and so on.
        max_time: Seconds for the whole scan; reports on very many images may take longer.
        max_memory: Bytes that the process, or its tensors on a CUDA device, may take; no limit by default.
        max_iterations: Upper limit on each attack's iterations.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        tf32: Whether attacks on a CUDA device may compute matrix products and convolutions in TF32.
        executor: Where attacks run: ``local`` (this machine), ``ray`` or ``ray:ADDRESS``; the numbers are the same.
        out: The run folder; ``memaudit-runs/KEY`` by default.
        outputs: (format, path) of each report to write; HTML and JSON in the run folder by default.
        fail_if: Gate expressions.
        fail_on: Severity from which a finding fails the audit: ``low``, ``medium``, ``high`` or ``critical``.
        name: What the audited model is called in reports and fingerprints; the name of ``after`` by default.
        evidence: Whether reports show pictures: ``full``, ``blurred`` or ``none``, which also keeps none on disk.
        context: A TOML file of facts for compliance documents that the tool cannot know.
    """

    before: str | Path
    after: str | Path
    data: str | Path | None = None
    control: str | Path | None = None
    model: str = "auto"
    image_size: int | None = None
    normalise: str | None = None
    recipe: str | Path | None = None
    size: int | Literal["auto"] | None = None
    labels: str | None = None
    optimizer: Literal["sgd", "adam", "adamw"] | None = None
    lr: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    weight_decay: float | None = None
    schedule: Literal["constant", "linear", "cosine"] | None = None
    warmup: int | None = None
    clip: float | None = None
    batch_norm: Literal["train", "eval"] | None = None
    attacks: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    matching: Literal["hungarian", "greedy"] = "hungarian"
    seed: int = 0
    restarts: int = 1
    max_time: float | None = None
    max_memory: int | None = None
    max_iterations: int | None = None
    device: str = "auto"
    tf32: bool = False
    executor: str = "local"
    out: str | Path | None = None
    outputs: tuple[tuple[str, str], ...] = ()
    fail_if: tuple[str, ...] = ()
    fail_on: Severity | None = None
    name: str | None = None
    evidence: Evidence = "full"
    context: str | Path | None = None

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


def parse_size(text: str | None) -> int | Literal["auto"] | None:
    """Return a number of samples from the command line. Raises :class:`MemauditError` where it is none."""
    if text is None or text == "auto":
        return text  # type: ignore[return-value]
    try:
        return int(text)
    except ValueError:
        raise MemauditError(f"--size {text[:40]} is neither a whole number nor auto.", "Give one of them.") from None


UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_memory(text: str | None) -> int | None:
    """Return bytes from the command line, such as ``4GB``. Raises :class:`MemauditError` where it is no size."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in UNITS:
        raise MemauditError(f"--max-memory {text[:40]} is no size.", "Give bytes, or a number and KB, MB, GB, GiB.")
    return int(float(found[1]) * UNITS[found[2]])
