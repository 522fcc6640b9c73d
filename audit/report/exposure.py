"""What the change betrays of each record: a report's second instrument beside reconstruction. No torch here."""

from pydantic import Field

from .exhibit import Exhibit
from .facts import Model, Number

Interval = tuple[Number, Number]

SWAPPED = 0.4
"""An area under the curve that lies below this, with 95 % confidence, is no chance of exchangeable records."""


class Separation(Model):
    """How well one score tells the records of --data from held-out ones."""

    name: str
    auc: Number = Field(None, description="Probability that a record of --data scores higher than a held-out one.")
    auc_interval: Interval | None = Field(None, description="95 %, after DeLong et al. (1988).")
    tpr_at_1_fpr: Number = Field(
        None, description="Share of --data above all but 1 % of the held-out records; null for fewer than 100 of these."
    )
    tpr_at_1_fpr_interval: Interval | None = Field(None, description="95 %, Clopper-Pearson.")
    tpr_at_01_fpr: Number = Field(None, description="The same for 0.1 %; null for fewer than 1,000 held-out records.")


class Exposed(Model):
    """One record of --data."""

    record: int = Field(description="Index into --data.")
    name: str
    label: str = ""
    score: float = Field(description="How much the change betrays it; of no unit, comparable within one report.")
    p_value: float = Field(
        description="Probability in (0, 1] of such a score for a record that was not trained on: exact where those of "
        "--control are of the same kind."
    )
    q_value: float = Field(description="That, adjusted over all records (Benjamini and Hochberg 1995).")
    detected: bool
    leverage: Number = Field(
        None, description="Share of its own gradient before training that no other record's explains, in [0, 1]."
    )
    exhibit: Exhibit | None = Field(None, description="The record itself, of the most exposed ones.")


class Group(Model):
    """Records with something in common: a class, or a group that was given."""

    name: str
    records: int
    detected: int
    auc: Number = None


class Epsilon(Model):
    """A lower bound on the privacy loss, valid only where a coin decided which records were trained on."""

    value: float = Field(description="The training is not differentially private for any smaller epsilon (delta 0).")
    guesses: int = Field(description="Records whose role was guessed.")
    right: int = Field(description="How many of these guesses were right.")


class Exposure(Model):
    """Which of the records of --data the change betrays, and how surely."""

    records: int = Field(description="Records of --data.")
    measured: int = Field(description="How many of them there was time for.")
    held_out: int = Field(description="Held-out records that they were held against.")
    detected: int = Field(description="Records that are told from held-out ones one by one.")
    level: float = Field(description="Share of these that may be wrong, on average.")
    at_least: int = Field(
        description="So many of the records were trained on, at least, with 95 % confidence; which ones is not said."
    )
    needed: int = Field(
        description="Held-out records that it takes to tell single ones where at least a tenth of --data stands out."
    )
    explained: Number = Field(None, description="Share of the change that the records' gradients explain, in [0, 1].")
    average: str = Field("", description="Where on the way of training gradients were taken.")
    labels: str = Field("", description="Where the records' labels are from.")
    own: Separation = Field(description="Of the regression.")
    baselines: list[Separation] = Field([], description="Of simpler scores, for comparison.")
    curve: list[tuple[float, float]] = Field(
        [], description="Share of held-out records, share of --data, above a score."
    )
    scores: list[float] = Field([], description="Scores of --data in ascending order, or as many quantiles.")
    held_out_scores: list[float] = Field([], description="The same of held-out records.")
    groups: list[Group] = []
    copies: int = Field(0, description="Held-out records whose gradient is nearly that of some record of --data.")
    epsilon: Epsilon | None = None
    per_record: list[Exposed] = Field([], description="Every measured record, the most exposed first.")
    reason: str = Field(description="One or two sentences.")

    @property
    def resolved(self) -> bool:
        """Whether there are so many held-out records."""
        return self.held_out >= self.needed

    @property
    def proven(self) -> bool:
        """Whether at least half of the records are known to have been trained on."""
        return self.measured > 0 and 2 * self.at_least >= self.measured

    @property
    def swapped(self) -> bool:
        """Whether held-out records score clearly higher: the two sets may be swapped, or are of two kinds."""
        reach = self.own.auc_interval
        return reach is not None and reach[1] is not None and reach[1] < SWAPPED

    def nameless(self, one: str) -> "Exposure":
        """Return it with numbers in place of names, and without the records."""
        rows = [row.model_copy(update={"name": f"{one} {row.record}", "exhibit": None}) for row in self.per_record]
        return self.model_copy(update={"per_record": rows})
