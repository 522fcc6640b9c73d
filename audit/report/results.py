"""The results of attacks, and how they compare with training data. No torch here."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from .exhibit import Exhibit
from .facts import Model, Number

Status = Literal["converged", "stalled", "budget_spent", "diverged", "unsupported"]
"""How an attack ended: its loss fell under its tolerance; its schedule ended above it; a budget ended it first; the
loss became NaN or exploded; it cannot treat this victim."""


Origin = Literal["run", "consensus"]
"""What a result comes from: one seed, or what several seeds of one attack agree on."""


Key = tuple[str, Origin, int | None]
"""What distinguishes a result from all others of a report: its attack, what it comes from and its seed."""


class Scores(Model):
    """How alike one reconstruction and one training record are."""

    similarity: float = Field(description="The statistic of the report's kind, in [-1, 1].")
    details: dict[str, Number] = Field({}, description="Further numbers; the report's kind describes them.")


class Match(Model):
    """One training record and the reconstruction paired with it."""

    sample: int
    name: str
    label: str = ""
    dummy: int
    scores: Scores
    nearest: Number = Field(
        None,
        description="Highest similarity of the training record to any reconstruction, less 0.1 where it had to be "
        "changed for that: what its p-value is of.",
    )
    p_value: Number = Field(
        None, description="Probability in (0, 1] of such a nearest one for a record that was not trained on."
    )
    q_value: Number = Field(None, description="That, adjusted over all training records (Benjamini and Hochberg 1995).")
    rank: int | None = Field(
        None, description="Place of the training record in the pool by similarity to this reconstruction; 1 is nearest."
    )
    recovered: bool
    transform: str = Field(
        "", description="How the training record has to be changed to match: mirrored, turned, moved, read otherwise."
    )
    truth: Exhibit
    reconstruction: Exhibit


class Dummy(Model):
    """One reconstructed record, matched or not."""

    dummy: int
    label: int
    influence: Number = Field(description="Norm of its summed gradient (SimuDy, section 4.5).")
    exhibit: Exhibit
    insignificant: bool = Field(False, description="Set apart by its small influence: it stands for no record.")
    confidence: Number = Field(
        None, description="Of a consensus: mean similarity between the seeds' records, in [-1, 1]."
    )


class Decoy(Model):
    """What records score that no attack made: the floor under every similarity."""

    name: str
    similarity_mean: float = Field(description="Mean over the training records, each matched with one of these.")
    similarity_max: float


class Metrics(Model):
    """Aggregates over the matches of one result; gates use these names, and those of the report's kind."""

    records: int = Field(description="Number of training records.")
    pairs: int | None = Field(None, description="Training records that were paired with a reconstruction.")
    matching: str = Field(description="How reconstructions and training records were paired.")
    criterion: str = Field(description="What counts as recovered, in words.")
    similarity_mean: float = Field(description="Mean over the pairs.")
    similarity_max: float
    details_mean: dict[str, Number] = Field({}, description="Mean of each detail over the pairs.")
    details_max: dict[str, Number] = Field({}, description="Highest value of those details for which it is reported.")
    recovered: int
    recovered_fraction: float
    recovered_interval: tuple[float, float] | None = Field(
        None, description="Clopper-Pearson 95 % interval of the share of recovered records."
    )
    control_pairs: int | None = Field(None, description="Held-out records that were paired with a reconstruction.")
    control_recovered: int | None = Field(None, description="Those that reach the same similarity; none is expected.")
    control_similarity_mean: Number = None
    control_similarity_max: Number = None
    null_kind: Literal["control", "mismatched"] | None = Field(
        None,
        description="What chance was measured with: held-out records, or, weaker, the training records against "
        "reconstructions that cannot be of them.",
    )
    null: list[float] = Field(
        [], description="Highest similarity of each comparison record, ascending; quantiles if many."
    )
    null_size: int | None = Field(None, description="Number of those comparisons.")
    observed: list[float] = Field(
        [], description="Highest similarity of each training record to a reconstruction, ascending; quantiles if many."
    )
    p_value: Number = Field(
        None,
        description="That training records as a whole are no more similar than held-out ones (Mann-Whitney, "
        "one-sided); null without these.",
    )
    detectable: Number = Field(
        None, description="Similarity from which a single record would count as recovered; 1 or more where none can."
    )
    tpr_at_1_fpr: Number = Field(
        None, description="Share of training records above 99 % of the null; null for fewer than 100 comparisons."
    )
    identifiable: int | None = Field(
        None, description="Training records that are, of the whole pool, the nearest one to some reconstruction."
    )
    nearest: int | None = Field(None, description="Records of the pool that are nearest to some reconstruction.")
    pool: int | None = Field(None, description="Number of records in that pool: training and held-out ones.")
    identifiable_p_value: Number = Field(
        None, description="Probability of this many training records among the nearest ones by chance (hypergeometric)."
    )
    decoys: list[Decoy] = Field([], description="The floor: what records score that no attack made.")


class Agreement(Model):
    """How far the seeds of one attack agree: evidence that needs no training data; gates use these names."""

    seeds: list[int] = Field(description="Those in the consensus: the converged ones, or all but diverged ones.")
    reference: int = Field(description="The one with the lowest loss, to which the others were aligned.")
    criterion: str = Field(description="What counts as confident, in words.")
    confidence_mean: float = Field(description="Over the records, without insignificant ones.")
    confidence_max: float
    confident: int = Field(description="Number of records that the seeds agree on.")
    chance: Number = Field(
        None, description="Similarity of records of two seeds that do not belong together, 99 % quantile."
    )


class AttackResult(Model):
    """The outcome and evidence of one attack with one seed, or of what several of its seeds agree on."""

    name: str
    kind: Origin = "run"
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
        """What distinguishes it from all other results."""
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
    kind: Origin = "run"
    seed: int | None = None
    status: Status
    records: int | None = None
    pairs: int | None = None
    similarity_mean: Number = None
    similarity_max: Number = None
    details_mean: dict[str, Number] = {}
    details_max: dict[str, Number] = {}
    recovered: int | None = None
    recovered_interval: tuple[float, float] | None = None
    control_pairs: int | None = None
    control_recovered: int | None = None
    control_similarity_mean: Number = None
    control_similarity_max: Number = None
    confidence_mean: Number = None
    loss: Number
    seconds: float
    peak_memory_bytes: int | None = None

    @property
    def key(self) -> Key:
        """What distinguishes its result from all others."""
        return self.attack, self.kind, self.seed


class BestMatch(Model):
    """The best reconstruction of one training record over all attacks, seeds and consensus."""

    attack: str
    kind: Origin = "run"
    seed: int | None = None
    match: Match
    recovered_by: list[str] = Field([], description="Attacks of which some result recovered it.")

    @property
    def key(self) -> Key:
        """What distinguishes its result from all others."""
        return self.attack, self.kind, self.seed


def titles(attacks: Sequence[AttackResult]) -> dict[Key, str]:
    """Return how people call each result: its attack, and its seed where that ran with several."""
    runs = Counter(attack.name for attack in attacks if attack.kind == "run")

    def title(attack: AttackResult) -> str:
        if attack.kind == "consensus":
            return f"{attack.name} (consensus)"
        return f"{attack.name} (seed {attack.seed})" if runs[attack.name] > 1 else attack.name

    return {attack.key: title(attack) for attack in attacks}
