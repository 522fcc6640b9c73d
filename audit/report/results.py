"""What attacks came to, and how that compares with training data. No torch here."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from .facts import Model, Number

Status = Literal["converged", "stalled", "budget_spent", "diverged", "unsupported"]
"""How an attack ended: its loss fell under its tolerance; its schedule ended above it; a budget ended it first; the
loss became NaN or exploded; it cannot treat this victim."""


Kind = Literal["run", "consensus"]
"""What a result comes from: one seed, or what several seeds of one attack agree on."""


Key = tuple[str, Kind, int | None]
"""What tells a result from all others of a report: its attack, its kind and its seed."""


class Scores(Model):
    """Similarity of one reconstruction to one training image."""

    ssim: float = Field(description="Pixels in [0, 1], data range 1, Gaussian window.")
    ssim_paper: float = Field(description="As the SimuDy authors score: normalised space, uniform window.")
    psnr: float = Field(description="Decibel, peak 1, at most 100.")
    mse: float


class Match(Model):
    """One training image and the reconstruction paired with it."""

    sample: int
    name: str
    label: str = ""
    dummy: int
    scores: Scores
    nearest_ssim: Number = Field(
        None, description="Highest SSIM of the training image with any reconstruction: what its p-value is of."
    )
    p_value: Number = Field(
        None, description="Probability in (0, 1] of such a nearest_ssim for an image that was not trained on."
    )
    q_value: Number = Field(None, description="That, adjusted over all training images (Benjamini and Hochberg 1995).")
    rank: int | None = Field(
        None, description="Place of the training image in the pool by similarity to this reconstruction; 1 is nearest."
    )
    recovered: bool
    original: str = Field(description="Picture, relative to the run folder.")
    reconstruction: str = Field(description="Picture, relative to the run folder.")


class Dummy(Model):
    """One reconstructed image, matched or not."""

    dummy: int
    label: int
    influence: Number = Field(description="Norm of its summed gradient (SimuDy, section 4.5).")
    picture: str
    insignificant: bool = Field(False, description="Set apart by its small influence: it stands for no image.")
    confidence: Number = Field(None, description="Of a consensus: mean SSIM between the seeds' images, in [-1, 1].")


class Decoy(Model):
    """What images score that no attack made: the floor under every similarity."""

    name: str
    ssim_mean: float = Field(description="Mean audit-mode SSIM, matched with the training images one to one.")
    ssim_max: float


class Metrics(Model):
    """Aggregates over the matches of one result; gates use these names."""

    images: int = Field(description="Number of training images.")
    pairs: int | None = Field(None, description="Training images that were paired with a reconstruction.")
    matching: str = Field(description="How reconstructions and training images were paired.")
    criterion: str = Field(description="What counts as recovered, in words.")
    ssim_mean: float = Field(description="Mean over the pairs.")
    ssim_max: float
    ssim_paper_mean: float
    ssim_paper_max: Number = None
    psnr_mean: float
    recovered: int
    recovered_fraction: float
    recovered_interval: tuple[float, float] | None = Field(
        None, description="Clopper-Pearson 95 % interval of the share of recovered images."
    )
    control_pairs: int | None = Field(None, description="Held-out images that were paired with a reconstruction.")
    control_recovered: int | None = Field(None, description="Those that reach the same SSIM; expected is none.")
    control_ssim_mean: Number = None
    control_ssim_max: Number = None
    null_kind: Literal["control", "mismatched"] | None = Field(
        None,
        description="What chance was measured with: held-out images, or, weaker, the training images against "
        "reconstructions of other images and against turned and mirrored ones.",
    )
    null: list[float] = Field([], description="Highest SSIM of each comparison image, ascending; quantiles if many.")
    null_size: int | None = Field(None, description="Number of those comparisons.")
    observed: list[float] = Field(
        [], description="Highest SSIM of each training image with any reconstruction, ascending; quantiles if many."
    )
    p_value: Number = Field(
        None,
        description="That training images as a whole are no more similar than held-out ones (Mann-Whitney, one-sided); "
        "null without these.",
    )
    detectable_ssim: Number = Field(
        None, description="SSIM from which a single image would count as recovered; above 1 where none can."
    )
    tpr_at_1_fpr: Number = Field(
        None, description="Share of training images above 99 % of the null; null for fewer than 100 comparisons."
    )
    identifiable: int | None = Field(
        None, description="Training images that are, of the whole pool, the nearest one to some reconstruction."
    )
    nearest: int | None = Field(None, description="Images of the pool that are nearest to some reconstruction.")
    pool: int | None = Field(None, description="Number of images in that pool: training and held-out ones.")
    identifiable_p_value: Number = Field(
        None, description="Probability of so many training images among the nearest ones by chance (hypergeometric)."
    )
    decoys: list[Decoy] = Field([], description="The floor: what the mean image and smoothed noise score.")


class Agreement(Model):
    """How far the seeds of one attack agree: evidence that needs no training data; gates use these names."""

    seeds: list[int] = Field(description="Those in the consensus: the converged ones, or all but diverged ones.")
    reference: int = Field(description="The one with the lowest loss, to which the others were aligned.")
    criterion: str = Field(description="What counts as confident, in words.")
    confidence_mean: float = Field(description="Over the images, without insignificant ones.")
    confidence_max: float
    confident: int = Field(description="Number of images that the seeds agree on.")
    chance: Number = Field(None, description="SSIM of images of two seeds that do not belong together, 99 % quantile.")


class AttackResult(Model):
    """The outcome and evidence of one attack with one seed, or of what several of its seeds agree on."""

    name: str
    kind: Kind = "run"
    seed: int | None = Field(None, description="Null for a consensus.")
    status: Status
    reason: str = ""
    options: dict[str, Any] = {}
    loss: Number
    iterations: int
    seconds: float
    peak_memory_bytes: int
    metrics: Metrics | None = None
    agreement: Agreement | None = None
    matches: list[Match] = []
    reconstructions: list[Dummy] = []
    curve: list[tuple[int, Number]] = Field([], description="(iteration, loss) pairs, thinned.")

    @property
    def key(self) -> Key:
        """What tells it from all other results."""
        return self.name, self.kind, self.seed


class PlanStep(Model):
    """What the planner decided about one attack."""

    attack: str
    runs: bool
    reason: str = Field(description="Why it runs, or why it is left out.")
    seconds: Number = Field(None, description="Estimated time of a full schedule, from a few real steps.")
    peak_memory_bytes: int | None = Field(None, description="Peak memory of those steps.")
    share: Number = Field(None, description="Seconds of --max-time that it may use; null where there is no limit.")
    start_from: str = Field("", description="The attack whose result this one starts from.")


class LeaderboardRow(Model):
    """One result in the order of the report's ``ranking``; numbers as in its metrics and agreement."""

    rank: int
    attack: str
    kind: Kind = "run"
    seed: int | None = None
    status: Status
    images: int | None = None
    pairs: int | None = None
    ssim_mean: Number
    ssim_max: Number
    ssim_paper_mean: Number = None
    ssim_paper_max: Number = None
    psnr_mean: Number = None
    recovered: int | None
    recovered_interval: tuple[float, float] | None = None
    control_pairs: int | None = None
    control_recovered: int | None = None
    control_ssim_mean: Number = None
    control_ssim_max: Number = None
    confidence_mean: Number = None
    loss: Number
    seconds: float
    peak_memory_bytes: int | None = None

    @property
    def key(self) -> Key:
        """What tells its result from all others."""
        return self.attack, self.kind, self.seed


class BestMatch(Model):
    """The best reconstruction of one training image, by SSIM, over all attacks, seeds and consensus."""

    attack: str
    kind: Kind = "run"
    seed: int | None = None
    match: Match
    recovered_by: list[str] = Field([], description="Attacks of which some result recovered it.")

    @property
    def key(self) -> Key:
        """What tells its result from all others."""
        return self.attack, self.kind, self.seed


def titles(attacks: Sequence[AttackResult]) -> dict[Key, str]:
    """Return how people call each result: its attack, and its seed where that ran with several."""
    runs = Counter(attack.name for attack in attacks if attack.kind == "run")

    def title(attack: AttackResult) -> str:
        if attack.kind == "consensus":
            return f"{attack.name} (consensus)"
        return f"{attack.name} (seed {attack.seed})" if runs[attack.name] > 1 else attack.name

    return {attack.key: title(attack) for attack in attacks}
