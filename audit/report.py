"""The audit report: one versioned, frozen model that every format renders and every gate judges. No torch here.

Pictures are files beside the report, named by paths relative to the run folder; the JSON holds no pixel.
Non-finite numbers are stored as null.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .. import MemauditError

SCHEMA_VERSION = "1.3"
FINDINGS_SINCE = 3
"""The minor version that brought findings and the digest of the content."""

SCHEMA_ID = "urn:memaudit:schema:report:1.3"

Status = Literal["converged", "stalled", "budget_spent", "diverged", "unsupported"]
"""How an attack ended: its loss fell under its tolerance; its schedule ended above it; a budget ended it first; the
loss became NaN or exploded; it cannot treat this victim."""

Decision = Literal["pass", "fail", "inconclusive"]

Severity = Literal["none", "low", "medium", "high", "critical"]
"""How bad a finding is, in ascending order; :mod:`memaudit.audit.rules` says which rule gives which."""

Kind = Literal["run", "consensus"]
"""What a result comes from: one seed, or what several seeds of one attack agree on."""

Key = tuple[str, Kind, int | None]
"""What tells a result from all others of a report: its attack, its kind and its seed."""


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]


class ReportError(MemauditError):
    """The file is not a report that this version can read."""


class Model(BaseModel):
    """Base of all parts: frozen, and tolerant of fields that a newer minor version added."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")


class Fact(Model):
    """A value with its provenance."""

    value: bool | int | float | str | list[int] | list[float] | list[str] | None
    source: Literal["given", "inferred", "assumed"]
    option: str = Field("", description="The command-line option that replaces the value.")
    evidence: str = Field("", description="Why this value, in words.")
    confidence: Number = Field(None, description="Probability in [0, 1] that an inferred value is right, as judged.")
    interval: tuple[Number, Number] | None = Field(None, description="Where the true value is expected to lie.")


class Checkpoint(Model):
    """One of the two checkpoint files."""

    path: str
    format: str
    sha256: str
    dtypes: list[str] = []


class Images(Model):
    """A set of images that was read: the training set to match against, or held-out controls."""

    path: str
    sha256: str
    count: int
    resized: bool = False


class Inputs(Model):
    """What the audit was given."""

    before: Checkpoint
    after: Checkpoint
    data: Images | None = None
    control: Images | None = None


class Architecture(Model):
    """The recognised network."""

    family: str
    name: str
    score: float = Field(description="Share of tensors whose name and shape agree, in [0, 1].")
    classes: int
    shape: tuple[int, int, int] = Field(description="Channels, height, width of an input image.")
    parameters: int
    tensors: int
    moved: list[str] = Field(description="Names of the tensors that training changed.")
    assumed: list[str] = Field([], description="What the tensors do not tell and was guessed; --model replaces it.")


class Recipe(Model):
    """How the model was trained."""

    optimizer: Fact
    size: Fact
    lr: Fact
    batch_size: Fact
    epochs: Fact
    momentum: Fact
    nesterov: Fact
    weight_decay: Fact
    schedule: Fact | None = None
    warmup: Fact | None = None
    clip: Fact | None = None
    dampening: Fact | None = None
    beta1: Fact | None = None
    beta2: Fact | None = None
    eps: Fact | None = None
    batch_norm: Fact
    labels: Fact | None = Field(None, description="Number of samples of each class.")
    image_size: Fact
    normalise: Fact


class TensorReading(Model):
    """How one tensor moved between the two checkpoints."""

    name: str
    shape: list[int]
    dtype: str = Field(description="As stored; the coarser one where the two files differ.")
    status: Literal["moved", "frozen", "decayed", "rounding"] = Field(
        description="Moved; not moved at all; only scaled, as weight decay alone does; moved, but less than three "
        "times the rounding of its dtype, so that the attacks leave it out of what they compare."
    )
    change: float = Field(description="Norm of the change.")
    relative_change: Number = Field(description="That over the norm before; null where it was zero.")
    snr: Number = Field(None, description="Root mean square of the change over that of the dtype's rounding.")


class Delta(Model):
    """What the change of the parameters tells before anything is simulated."""

    tensors: list[TensorReading] = []
    facts: dict[str, Fact] = Field({}, description="Readings by name, each with its evidence.")

    @property
    def lost(self) -> bool:
        """Whether every tensor that changed did so by no more than its rounding."""
        return all(row.status != "moved" for row in self.tensors)


class SearchPoint(Model):
    """One candidate of the recipe search (SimuDy, section 3 and Fig. 3)."""

    lr: float
    optimizer: str = "sgd"
    batch_size: int | None = None
    epochs: int | None = None
    rung: int = Field(0, description="Round of the successive halving that this candidate reached, from 0.")
    loss: Number = Field(description="Relative squared error of the simulated parameter change; the lowest wins.")
    cosine: Number = Field(None, description="Cosine distance of the simulated and the real change (the paper's loss).")
    change_ratio: Number = Field(description="Norm of the simulated parameter change over the real one.")
    iterations: int
    status: str
    chosen: bool = False


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


class GateResult(Model):
    """One gate expression and what it found."""

    expression: str
    status: Decision
    reason: str


class Finding(Model):
    """What one rule says of one attack, or of the audit as a whole."""

    rule: str = Field(description="Stable id, such as MA001; memaudit rules prints them all.")
    name: str = Field(description="The rule's name.")
    severity: Severity
    attack: str = Field("", description="Empty where it is of the audit as a whole.")
    message: str
    records: list[int] = Field([], description="The training images that it is about.")
    blocks: bool = Field(False, description="A reason why this audit cannot pass: evidence is missing.")
    fingerprint: str = Field("", description="Of rule, attack and model; the same for every audit of this model.")


class Advice(Model):
    """Something that would lower the leak."""

    id: str
    title: str
    effect: str = Field(description="What to expect of it for this model, and what it costs.")
    command: str = Field("", description="The command that measures it; empty where a new training is needed first.")


class DefencePoint(Model):
    """The leak that was measured after a change to the published model (memaudit defend)."""

    kind: Literal["none", "noise", "bits"]
    value: Number = Field(
        None, description="Noise: standard deviation over the root mean square of the change. Bits: their number."
    )
    distortion: float = Field(description="Norm of what was altered over the norm of the change of the parameters.")
    images: int
    ssim_mean: Number = None
    ssim_max: Number = None
    recovered: int | None = None
    verdict: Decision
    accuracy: Number = Field(None, description="Share of the test set that is classified correctly, in [0, 1].")


class Verdict(Model):
    """The decision, one sentence for people, and the gates behind it."""

    status: Decision
    severity: Severity = "none"
    summary: str
    gates: list[GateResult] = []


class Environment(Model):
    """Versions and hardware."""

    memaudit: str
    python: str
    torch: str
    platform: str
    device: str
    threads: int


class AuditReport(Model):
    """The whole report."""

    schema_id: str = Field(SCHEMA_ID, alias="$schema")
    schema_version: str = SCHEMA_VERSION
    content_sha256: str = Field(
        "", description="SHA-256 of the report without this field, as canonical JSON; memaudit verify checks it."
    )
    created: str = Field(description="ISO 8601, UTC.")
    evidence: Literal["full", "blurred", "none"] = Field("full", description="Pictures that its outputs may show.")
    model: str = Field("", description="What the audited model is called: --name, or the name of its file.")
    command: str
    seed: int
    verdict: Verdict
    inputs: Inputs
    architecture: Architecture
    recipe: Recipe
    delta: Delta = Delta()
    search: list[SearchPoint] = []
    plan: list[PlanStep] = Field([], description="What was run and what was left out, with reasons.")
    attacks: list[AttackResult]
    ranking: str = Field("", description="The rule by which the leaderboard is ordered.")
    leaderboard: list[LeaderboardRow] = []
    per_image: list[BestMatch] = Field([], description="The best reconstruction of each training image.")
    recovered_by_any: int | None = Field(None, description="Training images that at least one result recovered.")
    findings: list[Finding] = Field([], description="Most severe first.")
    advice: list[Advice] = Field([], description="What would lower the leak.")
    defences: list[DefencePoint] = Field([], description="What memaudit defend measured.")
    limitations: list[str] = []
    environment: Environment

    def assumptions(self) -> dict[str, Fact]:
        """Return the recipe's fields that were neither given nor inferred, by name."""
        facts = {name: getattr(self.recipe, name) for name in Recipe.model_fields}
        return {name: fact for name, fact in facts.items() if fact is not None and fact.source == "assumed"}

    def pictures(self) -> set[str]:
        """Return the paths of all pictures, relative to the run folder."""
        matched = {path for a in self.attacks for m in a.matches for path in (m.original, m.reconstruction)}
        return matched | {dummy.picture for attack in self.attacks for dummy in attack.reconstructions}

    def sealed(self) -> "AuditReport":
        """Return the report with the digest of its content."""
        return self.model_copy(update={"content_sha256": content_digest(self._content())})

    def nameless(self) -> "AuditReport":
        """Return the report with numbers in the place of the names of training images."""

        def number(match: Match) -> Match:
            return match.model_copy(update={"name": f"image {match.sample}"})

        attacks = [a.model_copy(update={"matches": [number(match) for match in a.matches]}) for a in self.attacks]
        best = [item.model_copy(update={"match": number(item.match)}) for item in self.per_image]
        return self.model_copy(update={"attacks": attacks, "per_image": best}).sealed()

    def to_json(self) -> str:
        """Return the sealed report as an indented JSON document ending in a newline."""
        return json.dumps(self.sealed()._content(), indent=2, ensure_ascii=False) + "\n"

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.model_dump_json(by_alias=True))
        return content


def titles(attacks: Sequence[AttackResult]) -> dict[Key, str]:
    """Return how people call each result: its attack, and its seed where that ran with several."""
    runs = Counter(attack.name for attack in attacks if attack.kind == "run")

    def title(attack: AttackResult) -> str:
        if attack.kind == "consensus":
            return f"{attack.name} (consensus)"
        return f"{attack.name} (seed {attack.seed})" if runs[attack.name] > 1 else attack.name

    return {attack.key: title(attack) for attack in attacks}


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a report's JSON without ``content_sha256``: keys sorted, no spaces, UTF-8.

    It is of the content as it stands in the file, so that a reader of an older minor version checks newer ones too.
    """
    rest = {name: value for name, value in content.items() if name != "content_sha256"}
    plain = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def schema() -> dict[str, Any]:
    """Return the JSON schema of :class:`AuditReport` (draft 2020-12)."""
    found = AuditReport.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **found}


def load(path: Path) -> AuditReport:
    """Read a report, or the report of a run folder. Raises :class:`ReportError`."""
    return read(path)[0]


def read(path: Path) -> tuple[AuditReport, dict[str, Any]]:
    """Read a report, or the report of a run folder; return it and its content as it stands in the file.

    Raises:
        ReportError: The file is not there, is no report, or is one of another major version.
    """
    path = path / "report.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = str(content["schema_version"])
        if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
            raise ReportError(
                f"{path} has report schema {version}; this memaudit reads {SCHEMA_VERSION}.",
                "Install a matching version.",
            )
        report = AuditReport.model_validate(content)
        return (_completed(report) if minor(version) < FINDINGS_SINCE else report), content
    except FileNotFoundError:
        raise ReportError(f"{path} does not exist.", "Pass a report.json or the folder of a finished scan.") from None
    except ReportError:
        raise
    except Exception as error:  # any file may be passed here, and damaged JSON fails in any way
        raise ReportError(
            f"{path} is not a memaudit report ({_first_line(error)}).", "Pass a report.json written by memaudit scan."
        ) from None


def _completed(report: AuditReport) -> AuditReport:
    """Return a report of a version without findings with what the rules find in it."""
    from .findings import findings
    from .gate import worst

    found = findings(report)
    verdict = report.verdict.model_copy(update={"severity": worst(found)})
    return report.model_copy(update={"findings": found, "verdict": verdict})


def minor(version: str) -> int:
    """Return the second number of a schema version."""
    return int(version.partition(".")[2].partition(".")[0] or 0)


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {error}".splitlines()[0]
