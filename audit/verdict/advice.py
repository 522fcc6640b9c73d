"""What would lower a leak, as far as this model's own report shows: which measures apply, what they do, what they cost.

Nothing here promises safety: where a measure can be tested without training again, its command is given. Measured
examples of each are in docs/defend.md. No torch here.
"""

import math
import shlex
from collections.abc import Callable, Sequence

from ..report.facts import FLOOR, TensorReading
from ..report.model import AuditReport
from ..report.verdict import Advice
from .command import again, scan_words
from .levels import BITS, NOISE
from .rules import rules
from .tally import exposure_only

STATISTICS = ("running_mean", "running_var")
"""Ends of the names of tensors that are not parameters."""

EPS = {
    "float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7,
    "float8_e4m3fn": 2.0**-3, "float8_e5m2": 2.0**-2,
}  # fmt: skip
"""Spacing of the numbers of each type just above 1."""

NO_BACKING = (
    "A lower leak means that these attacks did worse, not that the model is safe: an attacker who adapts to the "
    "defence may do better. An inconclusive verdict clears nothing."
)
"""The note under every measured curve."""


_OTHER_RUN = {"--attack": 1, "--out": 1}
"""Options of a scan that one with other attacks does not keep, and how many words follow each."""


def advise(report: AuditReport) -> list[Advice]:
    """Return what would lower the leak of a finished report: the strongest effect first, of equal ones the cheapest.

    Where nothing leaked there is nothing to lower: then at most one, on how to make the evidence stronger.
    """
    if not any(finding.leaks for finding in report.findings):
        return _evidence(report)
    means = _AGAINST_EXPOSURE if exposure_only(report) else _MEANS
    return [advice for rule in means if (advice := rule(report)) is not None]


def _evidence(report: AuditReport) -> list[Advice]:
    known = rules(report.kind)
    missing = dict.fromkeys(finding.rule for finding in report.findings if finding.rule in known)
    if missing:
        return [
            Advice(
                id="strengthen-evidence",
                title="Before relying on this result",
                effect=" ".join(known[rule].help for rule in missing),
            )
        ]
    if "--restarts" in scan_words(report) or not scan_words(report):
        return []
    return [
        Advice(
            id="strengthen-evidence",
            title="Try harder before relying on this result",
            effect="More seeds and the attacks that were left out make it less likely that a leak was overlooked.",
            command=again(report, _OTHER_RUN, "--attack", "all", "--restarts", "3"),
        )
    ]


def _withhold_base(report: AuditReport) -> Advice | None:
    found, cards = _reconstructing(report), report.cards
    if not found or any(name not in cards or cards[name].reads == "weights" for name in found):
        return None
    alone = [name for name, card in cards.items() if card.reads == "weights"]
    tried = {attack.name for attack in report.attacks}
    wanted = [] if tried.intersection(alone) else [word for name in alone for word in ("--attack", name)]
    return Advice(
        id="withhold-base",
        title="Publish only one of the two checkpoints",
        effect=f"{_listed(found)} needed both. Costs nothing, but works only if nobody can get the other one: a "
        "public base model is available to everybody. Intermediate checkpoints and adapters are such pairs too. "
        "Attacks that read the trained weights alone measure what those reveal.",
        command=again(report, _OTHER_RUN, *wanted) if wanted else "",
    )


def _one_file(report: AuditReport) -> Advice:
    return Advice(
        id="withhold-base",
        title="Publish only one of the two checkpoints",
        effect="This test needs both. Costs nothing, but works only if nobody can get the other one: a public "
        "base model is available to everybody. Tests of the trained weights alone remain: see the loss.",
    )


def _noise(report: AuditReport) -> Advice | None:
    coverage, many = _coverage(report), report.kind.words.many
    if coverage is None:
        return None
    if coverage > 1:
        expect = (
            f"{_moved(report):,} numbers moved, {coverage:.2g} for each unknown one of the {many}, so that an attack "
            "averages noise out: expect little from noise of much less than "
            f"{_rough(math.sqrt(coverage))} times the change"
        )
    else:
        expect = f"Fewer numbers moved than the {many} have, so that even little noise may count"
    return Advice(
        id="noise-change",
        title="Add noise to the change before publishing",
        effect=f"{expect}. May cost accuracy: --test measures that. It is not differential privacy.",
        command=_defend(report, "--noise", NOISE),
    )


def _rounding(report: AuditReport) -> Advice | None:
    weights = [row for row in report.delta.tensors if row.status == "moved" and len(row.shape) > 1]
    heard = sorted(row.snr * EPS[row.dtype] / EPS["bfloat16"] for row in weights if row.snr and row.dtype in EPS)
    if not heard:
        return None
    ratio, stored = heard[len(heard) // 2], {row.dtype for row in weights}
    if stored <= {"bfloat16", "float8_e4m3fn", "float8_e5m2"}:
        said = "The weights are stored coarsely already, and the change still shows."
    elif ratio < FLOOR:
        said = (
            f"Stored as bfloat16, the change would be about {ratio:.2g} times its rounding (attacks leave out what is "
            f"under {FLOOR:g}): much of it would be lost, and with it what was learned."
        )
    else:
        said = (
            f"Storing the weights as bfloat16 would not be enough: the change would still be about {ratio:.2g} times "
            "its rounding."
        )
    return Advice(
        id="round-change",
        title="Round the change to a few bits",
        effect=f"{said} Rounding the change itself is coarser; eight bits hardly alter it. May cost accuracy: "
        "--test measures that.",
        command=_defend(report, "--bits", BITS),
    )


def _private(report: AuditReport) -> Advice | None:
    size = _number(report, "size")
    return Advice(
        id="dp-sgd",
        title="Train again with differential privacy (DP-SGD)",
        effect=f"Clips the gradient of each {report.kind.words.one} and adds noise in every step: the only defence "
        "here with a proof, for the epsilon used in training. Costs accuracy"
        + (f", much of it with {size:.0f} {report.kind.words.many}" if size and size < 1000 else "")
        + ", and time. Audit the new pair anyway.",
    )


def _freeze(report: AuditReport) -> Advice | None:
    weights = [row for row in report.delta.tensors if len(row.shape) > 1]
    moved = [row for row in weights if row.status == "moved"]
    if len(moved) < 2 or moved[0] is not weights[0]:
        return None
    first, found, many = moved[0], _reconstructing(report), report.kind.words.many
    share = math.prod(first.shape) / sum(math.prod(row.shape) for row in moved)
    reading = [name for name in found if name in report.cards and report.cards[name].reads == "first layer"]
    why = f"{_listed(reading)} read the {many} off the change of {first.name}" if reading else ""
    held = f"{first.name} holds {share:.0%} of the weights that moved"
    return Advice(
        id="freeze-layers",
        title=f"Train again with {first.name} and what follows it frozen",
        effect=f"{why + '; ' if why else ''}{held}. What comes after it sees features of the {many}, from which they "
        "can often still be guessed: freeze as many layers as the task allows. Costs accuracy on data unlike those "
        "of the base.",
    )


def _more_images(report: AuditReport) -> Advice | None:
    coverage, size = _coverage(report), _number(report, "size")
    if coverage is None or size is None or coverage <= 1:
        return None
    enough, many = math.ceil(coverage * size), report.kind.words.many
    return Advice(
        id="more-images",
        title=f"Train again on more {many}, in larger batches",
        effect=f"The change of {_moved(report):,} numbers can hold up to about {enough:,} {many} of this size; the "
        f"recipe says {size:.0f}. Towards that number attacks fail on more and more of them, though single ones may "
        "still leak. A larger batch alone does little where the attack knows or guesses it.",
    )


def _fewer_epochs(report: AuditReport) -> Advice | None:
    epochs = _number(report, "epochs")
    if epochs is None or epochs <= 1:
        return None
    return Advice(
        id="fewer-epochs",
        title="Train again for fewer epochs",
        effect=f"Not enough by itself: what one epoch changes can be reconstructed as well as what {epochs:.0f} do, "
        "and often better. It helps against attacks that read the trained weights alone, and only as part of a "
        "training with noise, where each epoch costs privacy.",
    )


_MEANS: Sequence[Callable[[AuditReport], Advice | None]] = (
    _withhold_base, _freeze, _private, _more_images, _rounding, _noise, _fewer_epochs,
)  # fmt: skip
"""By what they did where they were measured (docs/defend.md), and what they cost."""

_AGAINST_EXPOSURE: Sequence[Callable[[AuditReport], Advice | None]] = (_one_file, _private)
"""Against tests of who was trained on, where nothing was rebuilt: none of the others was measured for that."""


def _reconstructing(report: AuditReport) -> list[str]:
    """Return the attacks that a leak was found with."""
    recovered = [attack.name for attack in report.attacks if attack.metrics and attack.metrics.recovered]
    leaking = [finding.attack for finding in report.findings if finding.leaks and finding.attack]
    return list(dict.fromkeys([*recovered, *leaking]))


def _number(report: AuditReport, name: str) -> float | None:
    fact = report.recipe.get(name)
    return float(fact.value) if fact and isinstance(fact.value, int | float) else None


def _parameters(report: AuditReport) -> list[TensorReading]:
    moved = [row for row in report.delta.tensors if row.status == "moved"]
    return [row for row in moved if not row.name.endswith(STATISTICS)]


def _moved(report: AuditReport) -> int:
    return sum(math.prod(row.shape) for row in _parameters(report))


def _coverage(report: AuditReport) -> float | None:
    """Return how many numbers moved for each unknown one of the records."""
    size, moved = _number(report, "size"), _moved(report)
    return moved / (size * math.prod(report.architecture.shape)) if size and moved else None


def _rough(number: float) -> str:
    return f"{number:.1g}" if number < 10 else f"{number:.0f}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _defend(report: AuditReport, *more: str) -> str:
    words = scan_words(report)
    if not words or report.inputs.data is None:
        return ""
    return shlex.join(["memaudit", "defend", *words[2:], *more])
