"""What an audit cannot claim, in words."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..report.facts import Recipe
from ..report.results import AttackResult
from ..run.planner import SIMULATING
from ..scoring import match as matching
from .candidates import at_edge

if TYPE_CHECKING:
    from .learn import Learned
    from .scene import Scene

PLATEAU = 0.1
"""Cosine distance above which the paper sees that no dummy set of this size fits."""

ASSUMED = {
    "activation": "the activations are ReLU",
    "stem_pooling": "there is no pooling after the first convolution",
}
"""What :attr:`.base.Architecture.assumed` stands for, in words."""


def limitations(scene: "Scene", recipe: Recipe, learned: "Learned", attacks: Sequence[AttackResult]) -> list[str]:
    """Return in words what this audit cannot claim."""
    said = ["Only the attacks listed here were run: an image that they do not recover may still be recoverable."]
    said += _compared(scene, attacks)
    if learned.chosen is not None and at_edge(learned.chosen, learned.trace):
        said.append("The learning rate lies outside the grid of those that were tried: the true one may lie beyond.")
    if recipe.lr.source == "assumed":
        said.append("No learning rate was found in the time that was given; the attacks ran with an assumed one.")
    if count := len(scene.victim.masked):
        said.append(
            f"The change of {count} tensor{'s' * (count > 1)} is mostly rounding; the attacks left that out of what "
            "they compare."
        )
    tried = [
        attack for attack in attacks if attack.name in SIMULATING and attack.kind == "run" and attack.loss is not None
    ]
    closest = min(tried, key=lambda attack: attack.loss or 0.0, default=None)
    if closest is not None and (warning := too_small(closest, scene)):
        said.append(warning)
    said += [
        f"Assumed, as the file does not tell: {ASSUMED[fact]} (--model replaces it)."
        for fact in scene.architecture.assumed
        if fact in ASSUMED
    ]
    return said + _endings(attacks)


def _compared(scene: "Scene", attacks: Sequence[AttackResult]) -> list[str]:
    """Say what the comparison with training and held-out images cannot tell."""
    data, control, said = scene.data, scene.control, []
    if data is None:
        said.append("No training data were given (--data), so no reconstruction was compared with a training image.")
    elif control is None:
        said.append(
            "No held-out images were given (--control): chance was measured with reconstructions of other images and "
            "with turned and mirrored ones, which is weaker."
        )
    elif len(control.records) < len(data.records):
        said.append(
            "There are fewer held-out images than training images, so the mean SSIM of held-out pairs is too low; "
            "p-values do not depend on it."
        )
    if data is not None and control is not None and (copies := matching.near_copies(control, data)):
        said.append(
            f"{copies} held-out images look like copies of training images, scaled or compressed: chance is "
            "overestimated, and a leak may be missed. Leave them out of --control."
        )
    measured = [attack.metrics for attack in attacks if attack.metrics]
    if alarms := max((found.control_recovered or 0 for found in measured), default=0):
        said.append(
            f"Negative control: up to {alarms} held-out images reach SSIM {matching.RECOVERED_SSIM} too, so that "
            "similarity alone is no proof here; see the p-values."
        )
    if any(found is not None and found.resized for found in (data, control)):
        said.append("Some images were resized to the network's input size before they were compared.")
    return said


def _endings(attacks: Sequence[AttackResult]) -> list[str]:
    """Say which attacks did not converge and why, those with several seeds once for each way to end."""
    runs = Counter(attack.name for attack in attacks if attack.kind == "run")
    ends = Counter((attack.name, attack.status, attack.reason) for attack in attacks if attack.reason)
    said = []
    for (name, status, reason), count in ends.items():
        seeds = f" with {count} of {runs[name]} seeds" if runs[name] > 1 else ""
        said.append(f"Attack {name} ended as {status}{seeds}: {reason}.".replace("..", "."))
    return said


def too_small(attack: AttackResult, scene: "Scene") -> str:
    """Say that the dummy set is too small where the loss levelled off too high (SimuDy, section 4.5 and Fig. 9)."""
    rank, count = scene.delta.facts.get("size"), len(attack.reconstructions)
    if rank is not None and count and count < int(rank.value):  # type: ignore[arg-type]
        return (
            f"The dummy set of {attack.name} is too small: {count} images, where the change shows {rank.value} "
            f"training samples. Its images are fusions of several; give --size {rank.value} or more."
        )
    if attack.loss is None or attack.loss < PLATEAU or not _level(attack):
        return ""
    return (
        f"The loss of {attack.name} levelled off at {attack.loss:.2g}, above {PLATEAU}: no {count} images explain the "
        "change with this recipe. The dummy set is probably too small (try a larger --size), or the recipe is wrong."
    )


def _level(attack: AttackResult) -> bool:
    """Return whether the loss hardly fell over the last quarter of the run."""
    losses = [loss for _, loss in attack.curve if loss is not None]
    quarter = losses[-max(len(losses) // 4, 1) :]
    return bool(quarter) and min(quarter) > 0.7 * max(quarter)
