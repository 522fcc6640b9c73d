"""What an audit cannot claim, in words."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ..checkpoints.pair import CheckpointPair
from ..report.facts import Fact
from ..report.results import AttackResult
from ..run.cards import cards
from .learn import UNUSED, Learned
from .scene import Scene

PLATEAU = 0.1
"""Cosine distance above which the paper sees that no dummy set of this size fits."""

ASSUMED = {
    "activation": "the activations are ReLU",
    "attention_heads": "attention has as many heads as is usual for its width",
    "head_activation": "there is ReLU between the layers of the new classifier",
    "norm_groups": "norms without statistics are group norm of 32 groups (of one a channel where these are fewer)",
    "stem_pooling": "there is no pooling after the first convolution",
    "transform_input": "transform_input is True, as torchvision sets it for pretrained weights",
    "timm_variant": "of timm's networks that have such tensors it is the one that the report names",
}
"""What :attr:`.base.Architecture.assumed` stands for, in words."""


_NAMED = 4
"""Tensors that are named in one sentence, at most."""

UNTRIED = "Only the attacks listed here were run: what they do not recover may still be recoverable."

ALONE = (
    "No attack was run: whether records can be rebuilt was not looked at (memaudit scan). Records that this test does "
    "not detect may be detectable by another one."
)

SIMULATED = (
    "Where attacks simulate training, it is as the recipe here says: without dropout or averaged weights (EMA), and "
    "without any augmentation but random flips and shifts (--views), and those only on average."
)


def limitations(
    scene: Scene, recipe: Mapping[str, Fact], learned: Learned, attacks: Sequence[AttackResult]
) -> list[str]:
    """Return in words what this audit cannot claim."""
    said = [UNTRIED, SIMULATED] if attacks else [ALONE]
    said += _untold(scene.pair)
    said += _compared(scene, attacks)
    if learned.edge:
        said.append("The learning rate lies at the edge of those that were tried: the true one may lie beyond.")
    if recipe["lr"].source == "assumed" and recipe["lr"].evidence != UNUSED:
        said.append("No learning rate was found in the time that was given; the attacks ran with an assumed one.")
    if count := len(scene.victim.masked) - len(scene.pair.guessed):
        said.append(
            f"The change of {count} tensor{'s' * (count > 1)} is mostly rounding; the attacks left that out of what "
            "they compare."
        )
    simulating = [name for name, card in cards().items() if card.simulates]
    tried = [
        attack for attack in attacks if attack.name in simulating and attack.kind == "run" and attack.loss is not None
    ]
    closest = min(tried, key=lambda attack: attack.loss or 0.0, default=None)
    if closest is not None and (warning := too_small(closest, scene)):
        said.append(warning)
    said += [
        f"Assumed, as the file does not say: {ASSUMED[fact]} (--model replaces it)."
        for fact in scene.architecture.assumed
        if fact in ASSUMED
    ]
    return said + _endings(attacks)


def _untold(pair: CheckpointPair) -> list[str]:
    """Say what of the two files was left out."""
    said = []
    if pair.lora:
        said += _adapted(pair)
    if heads := sorted(pair.fresh - pair.starts):
        said.append(
            f"The start of {named(heads)} is unknown, as of a new head: it is left out of the comparison, "
            "and attacks hold it at its end. With its start in the checkpoint from before they are stronger."
        )
    if pair.dropped:
        said.append(
            f"Of the checkpoint from before, {named(pair.dropped)} was left out: the trained network does not have it, "
            "or in another shape."
        )
    said += [
        f"Of {side.path}, {named(side.aside)} was left out, as no part of the network."
        for side in (pair.before, pair.after)
        if side.aside
    ]
    nested = [side for side in (pair.before, pair.after) if side.key]
    return [*said, *(f"Of {side.path}, the state dict at {side.key} was read." for side in nested)]


def _adapted(pair: CheckpointPair) -> list[str]:
    """Say what an adapter leaves unknown, and which attacks can read it."""
    said = [
        "Training moved a LoRA adapter: attacks that read the changes of whole layers do not apply to its factors; "
        "those that follow gradients or simulate the training do."
    ]
    if pair.starts:
        said.append(
            f"The start of {named(sorted(pair.starts))} is unknown, as the adapter's files hold only its end. The end "
            "stands in for it, which is the less true the longer the training was, and nothing can be cleared. With "
            "the adapter as it was initialised in the folder of the base, attacks are stronger."
        )
    if pair.dropout:
        said.append(f"The adapter was trained with lora_dropout={pair.dropout:g}, which is not simulated.")
    return said


def named(names: Sequence[str]) -> str:
    """Return some of the names of tensors, and how many more there are."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _compared(scene: Scene, attacks: Sequence[AttackResult]) -> list[str]:
    """Say what the comparison with training and held-out records cannot show."""
    data, control, kind, said = scene.data, scene.control, scene.kind.about, []
    one, many = kind.words.one, kind.words.many
    if data is None:
        said.append(f"No training data were given (--data), so no reconstruction was compared with a training {one}.")
    elif control is None:
        said.append(
            f"No held-out {many} were given (--control): chance was measured with reconstructions of other {many} and "
            f"with {kind.words.mismatched}, which is weaker."
        )
    elif len(control.records) < len(data.records):
        said.append(
            f"There are fewer held-out {many} than training {many}, so the mean {kind.statistic} of held-out pairs is "
            "too low; p-values do not depend on it."
        )
    if data is not None and control is not None and (copies := scene.kind.near_copies(control.records, data.records)):
        said.append(
            f"{copies} held-out {many} look like copies of training {many}, {kind.words.copied}: chance is "
            "overestimated, and a leak may be missed. Leave them out of --control."
        )
    measured = [attack.metrics for attack in attacks if attack.metrics]
    if alarms := max((found.control_recovered or 0 for found in measured), default=0):
        said.append(
            f"Negative control: up to {alarms} held-out {many} reach {kind.statistic} {kind.threshold:g} too, so that "
            "similarity alone is not proof here; see the p-values."
        )
    if any(found is not None and found.resized for found in (data, control)):
        said.append(f"Some {many} were resized to the network's input size before they were compared.")
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


def too_small(attack: AttackResult, scene: Scene) -> str:
    """Say that the dummy set is too small where the loss levelled off too high (SimuDy, section 4.5 and Fig. 9)."""
    rank, count, many = scene.delta.facts.get("size"), len(attack.reconstructions), scene.kind.about.words.many
    if rank is not None and count and count < rank.value:
        return (
            f"The dummy set of {attack.name} is too small: {count} {many}, where the change shows {rank.value} "
            f"training samples. Its {many} are fusions of several; give --size {rank.value} or more."
        )
    if attack.loss is None or attack.loss < PLATEAU or not _level(attack):
        return ""
    return (
        f"The loss of {attack.name} levelled off at {attack.loss:.2g}, above {PLATEAU}: no {count} {many} explain the "
        "change with this recipe. The dummy set is probably too small (try a larger --size), or the recipe is wrong."
    )


def _level(attack: AttackResult) -> bool:
    """Return whether the loss hardly fell over the last quarter of the run."""
    losses = [loss for _, loss in attack.curve if loss is not None]
    quarter = losses[-max(len(losses) // 4, 1) :]
    return bool(quarter) and min(quarter) > 0.7 * max(quarter)
