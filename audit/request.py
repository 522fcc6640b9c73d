"""What a user asks for: the one carrier of options from the command line or Python to the pipeline. No torch here."""

import dataclasses
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .. import MemauditError
from .recipe.fields import Range
from .recipe.given import Given
from .report.terms import Evidence, Exif, Preprocess, Severity
from .times import written


class RequestError(MemauditError):
    """An option out of its range, or one that cannot be parsed."""


@dataclass(frozen=True)
class ScanRequest(Given):
    """One audit of a checkpoint pair. Only ``before`` and ``after`` must be known.

    What a user knows of the training are the fields of :class:`.recipe.given.Given`; they are given by name.

    Attributes:
        before: Checkpoint before training.
        after: Checkpoint after training.
        data: Training set to match against: a folder of images, ``.npz``, ``.pt``, ``.safetensors``,
            ``torchvision:NAME:ROOT``, or ``text:FILE`` with sentences. It never reaches an attack.
        control: Held-out records, never members of the training set; same forms.
        exif: Whether photos are turned as their orientation tag says: ``apply``, or ``ignore`` as torchvision does.
        preprocess: How images of another size come into the network's: ``squash`` (stretched), ``center-crop``, ``pad``
            or ``none`` (refused).
        skip_unreadable: Leave out files that are images but cannot be read, which are an error otherwise.
        model: ``auto``, ``torchvision:NAME``, ``timm:NAME``, ``FILE.py:FUNCTION`` or ``PKG.MOD:FUNCTION``.
        key: Path of the state dict in torch files that hold several, such as ``ema/net``.
        attacks: Names of the attacks to run, in order; ``all`` for all that apply. None for those that the planner
            chooses from what the change of the parameters shows.
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
        power: Whether the attacks' power is measured on a mock victim before an audit passes (``auto``), or not
            (``off``), so that it cannot pass.
        evidence: Whether reports show pictures: ``full``, ``blurred`` or ``none``, which also keeps none on disk.
        context: A TOML file of facts for compliance documents that the tool cannot know.
    """

    before: str | Path
    after: str | Path
    data: str | Path | None = None
    control: str | Path | None = None
    exif: Exif = "ignore"
    preprocess: Preprocess = "squash"
    skip_unreadable: bool = False
    model: str = "auto"
    key: str = ""
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
    power: Literal["auto", "off"] = "auto"
    evidence: Evidence = "full"
    context: str | Path | None = None

    def command(self, name: str = "scan") -> str:
        """Return the command line by which the command ``name`` is asked the same."""
        words = ["memaudit", name, str(self.before), str(self.after)]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in ("before", "after") and value != field.default:
                words += _words(field.name, value)
        return shlex.join(words)


def _words(name: str, value: Any) -> list[str]:
    """Return a field as options of the command line."""
    if name == "outputs":
        return [word for form, path in value for word in ("-o", f"{form}={path}")]
    if isinstance(value, tuple):
        option = {"attacks": "--attack", "options": "--set", "fail_if": "--fail-if"}[name]
        return [word for item in value for word in (option, item)]
    if name == "max_time":
        return ["--max-time", written(value)]
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{name.replace('_', '-')}"]
    return [f"--{name.replace('_', '-')}", str(value)]


RANGES = {
    "seed": Range(0, 2**63 - 100, under=True),
    "restarts": Range(1, 100, under=True),
    "max_time": Range(0, over=True),
    "max_memory": Range(1),
    "max_iterations": Range(1),
}
"""Of the numbers that are not part of a recipe."""

CHOICES = {
    "matching": ("hungarian", "greedy"),
    "power": ("auto", "off"),
    "exif": ("ignore", "apply"),
    "preprocess": ("squash", "center-crop", "pad", "none"),
}
"""Values of the options that are one of a few words."""


def check(request: ScanRequest) -> None:
    """Refuse what is out of range before anything is read.

    Raises:
        RequestError: Of an option.
        RecipeError: Of a field of the recipe.
    """
    request.check_fields()
    check_ranges({name: getattr(request, name) for name in RANGES})
    for name, terms in CHOICES.items():
        if (value := getattr(request, name)) not in terms:
            raise RequestError(f"--{name} {value} is not known.", f"Use {', '.join(terms[:-1])} or {terms[-1]}.")


def check_ranges(values: Mapping[str, Any]) -> None:
    """Refuse numbers out of :data:`RANGES`, by name. Raises :class:`RequestError`; ``None`` is not a number."""
    for name, value in values.items():
        if value is not None and value not in RANGES[name]:
            option = "--" + name.replace("_", "-")
            raise RequestError(f"{option} {str(value)[:40]} is out of range.", f"Give {RANGES[name]}.")


def parse_size(text: str) -> int | Literal["auto"]:
    """Return a number of samples from the command line. Raises :class:`RequestError` for anything else."""
    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise RequestError(f"--size {text[:40]} is neither a whole number nor auto.", "Give one of them.") from None


UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_memory(text: str) -> int:
    """Return bytes from the command line, such as ``4GB``. Raises :class:`RequestError` for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in UNITS:
        raise RequestError(f"--max-memory {text[:40]} is not a size.", "Give bytes, or a number and KB, MB, GB, GiB.")
    return int(float(found[1]) * UNITS[found[2]])


ENDINGS = {"htm": "html", "markdown": "md", "png": "grid", "xml": "junit"}
"""Formats by endings of files that are not their own names."""


def parse_outputs(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Split ``FORMAT=PATH`` texts; of a path alone, its ending names the format. Raises :class:`RequestError`."""
    pairs = []
    for text in texts:
        name, equals, path = text.partition("=") if "=" in text else ("", "", text)
        if not equals:
            ending = Path(path).suffix.removeprefix(".").lower()
            name = ENDINGS.get(ending, ending)
        if not (name and path):
            hint = "Write it as FORMAT=PATH or with the format's ending, for example dpia=dpia.md or audit.html."
            raise RequestError(f"-o {text} names no format.", hint)
        pairs.append((name, path))
    return tuple(pairs)


FIELD_OF = {"attack": "attacks", "set_": "options", "output": "outputs"}
"""Fields of a request by those parameters of commands that have another name."""

PARSED: Mapping[str, Callable[[Any], Any]] = {"size": parse_size, "max_memory": parse_memory, "outputs": parse_outputs}
"""Fields that options write as text."""


def from_options(options: Mapping[str, Any]) -> ScanRequest:
    """Return what options ask for.

    Args:
        options: Values by the names of the parameters of ``memaudit scan``, as they are written; ``None`` says nothing.

    Raises:
        RequestError: A text that cannot be parsed.
    """
    found: dict[str, Any] = {}
    for option, value in options.items():
        name = FIELD_OF.get(option, option)
        if value is not None:
            found[name] = PARSED[name](value) if name in PARSED else tuple(value) if isinstance(value, list) else value
    return ScanRequest(**found)
