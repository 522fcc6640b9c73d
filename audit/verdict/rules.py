"""The rules by which evidence becomes findings, with stable ids and severities. No torch here.

A finding that ``blocks`` says what evidence is missing: an audit with one cannot pass (:mod:`.gate`).
"""

from dataclasses import asdict, dataclass, replace
from functools import cache

from ..report.facts import FLOOR
from ..report.kind import RecordKind
from ..report.terms import Severity
from ..scoring.levels import LEVEL
from .exposed import MANY
from .vocabulary import EXACT

SURE = 0.001
"""The p-value that a finding about a whole set of records needs, shared by all results that were compared."""

REACHABLE = 0.97
"""A comparison set that lets a single record count only above this similarity cannot show that none was recovered."""


@dataclass(frozen=True)
class Rule:
    """One row of the table that ``memaudit rules`` prints.

    Attributes:
        id: Never reused and never renumbered.
        name: In the form that SARIF asks for.
        severities: What it can give, the worst first.
        title: One line.
        when: The condition, in words and numbers.
        help: What to do about it.
        leak: Whether it says that data leak; otherwise it says what evidence is missing or weak.
    """

    id: str
    name: str
    severities: tuple[Severity, ...]
    title: str
    when: str
    help: str
    leak: bool = True


RULES = {
    rule.id: rule
    for rule in (
        Rule(
            "MA001", "TrainingRecordReconstructed", ("critical", "high"),
            "Training {many} were reconstructed",
            "At least one training {one} is recovered: {statistic} of {threshold:g} or more with its reconstruction, "
            "and more similar than chance at a false discovery rate of {level}, shared by all results. Critical "
            "where at least half of the {many} are, else high.",
            "Do not publish both checkpoints of this pair. See the advice in the report, and measure with "
            "memaudit defend.",
        ),
        Rule(
            "MA002", "TrainingSetResembled", ("medium",),
            "Reconstructions resemble the training set more than held-out {many}",
            "No {one} is recovered, but the training {many} as a whole are more similar to the reconstructions than "
            "held-out {many} are (Mann-Whitney, one-sided, p of {sure:g} or less). Needs --control.",
            "Parts of the training set leak, such as {hints}. Rerun with more iterations and "
            "--restarts before relying on it.",
        ),
        Rule(
            "MA003", "TrainingRecordIdentifiable", ("medium",),
            "Reconstructions point to their own training {many}",
            "Of the {many} that are nearest to a reconstruction, among training and held-out {many} together, more are "
            "training {many} than chance allows (hypergeometric, p of {sure:g} or less). Needs --control.",
            "Whoever holds candidate {many} can tell which of them were trained on.",
        ),
        Rule(
            "MA004", "SeedsAgree", ("medium",),
            "Independent runs reconstruct the same {many}",
            "At least one {one} comes out alike from several seeds (its confidence reaches the criterion). No training "
            "data are needed to see this.",
            "An attacker can tell without any training data which reconstructions to trust. Give --data to see whether "
            "they are right.",
        ),
        Rule(
            "MA005", "ChangeRebuiltExactly", ("high",),
            "The two files alone give {many}",
            "An exact attack explains the whole change with {many} that are not found in --data, or there is no --data "
            "to find them in.",
            "Look at the reconstructions: whoever holds both files has them. If they are not yours, --data is not what "
            "the model was trained on, or was prepared otherwise.",
        ),
        Rule(
            "MA006", "TrainingWordsSeen", ("medium", "low"),
            "The two files tell which words training saw",
            "In a model of texts, the row of a word in the word embeddings moves where training saw the word, and "
            "nowhere else. Medium where the words of --data are read exactly: at least {exact} of them were seen, at "
            "least {exact} of those seen are in --data, and clearly fewer of the words of held-out records were seen; "
            "else low.",
            "Look at the rarest words in the report: names, places and diagnoses among them tell about people. "
            "Training with frozen word embeddings does not write words there.",
        ),
        Rule(
            "MA007", "BaseMadeToStore", ("high",),
            "The network from before training looks made to store training {many}",
            "At least half of the units of a linear layer share one direction while their thresholds rise one by one, "
            "so that each input stops at a unit of its own, and differences of units are single inputs.",
            "Do not train on this base: whoever made it can read training {many} off the result, whatever an attack "
            "found here. Take the base from a source that you trust, and compare its digest.",
        ),
        Rule(
            "MA008", "TrainingRecordsDetectable", ("high", "medium", "low"),
            "The change betrays which {many} were trained on",
            "A regression of the change on the gradients of the {many} of --data and of held-out ones (of causal "
            "language models: what training added to tokens that are guessed wrong) gives those of --data higher "
            "scores than chance allows. Low: only their number is known. Medium: single {many} are told apart, at a "
            "false discovery rate of {level}. High: at least {many_detected} of them are.",
            "Whoever holds both files and a candidate {one} can tell that it was trained on, though not rebuild it. "
            "Where being in the training set is itself sensitive, keep one of the two files private.",
        ),
        Rule(
            "MA100", "FindingsNotRecorded", ("none",),
            "The report is older than the rules",
            "A report from before schema 1.3 has no findings of its own, and passes no gate.",
            "Scan again.",
            leak=False,
        ),
        Rule(
            "MA101", "AttackDidNotConverge", ("none",),
            "An attack ended without explaining the change",
            "The attack stalled, ran out of its budget, diverged, failed or cannot treat the model: it clears nothing.",
            "Give more --max-time or --max-iterations, or a better recipe (memaudit infer).",
            leak=False,
        ),
        Rule(
            "MA102", "ComparisonTooSmall", ("none",),
            "The comparison set is too small for the claim",
            "With these comparison {many}, a single reconstructed training {one} would not count as recovered unless "
            "its {statistic} reached {reachable:g}: that none was recovered says nothing.",
            "Give more held-out {many} with --control.",
            leak=False,
        ),
        Rule(
            "MA103", "ChangeIsRounding", ("none",),
            "The change of the parameters is mostly rounding",
            "No tensor changed by {floor:g} times the rounding of its type or more, so there was nothing to attack.",
            "Audit the checkpoints in the precision that they were trained in.",
            leak=False,
        ),
        Rule(
            "MA104", "NoGroundTruth", ("none",),
            "Nothing to compare reconstructions with",
            "No training {many} were given (--data), so whether a reconstruction shows one is not known.",
            "Give the training set with --data; it never reaches an attack.",
            leak=False,
        ),
        Rule(
            "MA105", "WeakNull", ("none",),
            "Chance was measured without held-out {many}",
            "No --control was given: chance is measured with reconstructions of other {many} and with {mismatched}, "
            "which is weaker than held-out {many}.",
            "Give {many} of the same kind that were not trained on with --control.",
            leak=False,
        ),
        Rule(
            "MA106", "RecipeAssumed", ("none",),
            "Part of the training recipe was assumed",
            "The learning rate, the batch size, the number of epochs or the number of samples was neither given nor "
            "inferred.",
            "Give what is known: a wrong recipe weakens every attack.",
            leak=False,
        ),
        Rule(
            "MA107", "DataDoNotExplain", ("none",),
            "The data do not explain the change",
            "The {many} of --data leave no clearly smaller part of the change unexplained than held-out {many} and "
            "altered copies do, or that cannot be told.",
            "Check the folder and the split, how {many} are fitted, turned and normalised, and the order of axes and "
            "channels: memaudit check compares them in seconds.",
            leak=False,
        ),
        Rule(
            "MA108", "OthersExplain", ("none",),
            "Other {many} explain the change as well",
            "The data explain the change, and an attack explains it with {many} most of which are unlike them: the "
            "change does not fix the {many}, and a better attack may find the right ones.",
            "Nothing is cleared. Give more iterations and --restarts, or another attack.",
            leak=False,
        ),
        Rule(
            "MA109", "NoPower", ("none",),
            "The attacks have shown no power",
            "The same attacks, on a training like this one with held-out {many}, rebuild less than half of them, or "
            "were not tried so: that they find nothing says nothing.",
            "Give as many held-out {many} as there are training {many} (--control), the recipe, and enough time.",
            leak=False,
        ),
        Rule(
            "MA110", "DataIncomplete", ("none",),
            "The change shows more samples than the data have",
            "The number of training samples that the change shows is larger than the number of {many} in --data.",
            "Give all {many} that the model was trained on.",
            leak=False,
        ),
        Rule(
            "MA111", "FilesSwapped", ("none",),
            "The two files may be in the wrong order",
            "Counters of batch norm, which training only raises, are lower in the second file than in the first.",
            "Give the checkpoint from before the training first.",
            leak=False,
        ),
        Rule(
            "MA112", "StartUnknown", ("none",),
            "Where a part of the network started is unknown",
            "The classifier head, or the lora_A of an adapter, is not in the file from before, or another one is: "
            "attacks leave its change out or take its end for its start, and so find less than with its start.",
            "Save the network as it is when training begins, its new head or adapter included, and give that file as "
            "BEFORE.",
            leak=False,
        ),
    )
}  # fmt: skip
"""Every rule by its id, the leaks first; its texts have gaps that :func:`rules` fills."""


@cache
def rules(kind: RecordKind) -> dict[str, Rule]:
    """Return every rule by its id in the words of one kind of record, with the numbers that decide."""
    words = asdict(kind.words) | {
        "statistic": kind.statistic, "threshold": kind.threshold, "level": f"{100 * LEVEL:g} %", "sure": SURE,
        "reachable": REACHABLE, "floor": FLOOR, "exact": f"{100 * EXACT:g} %",
        "many_detected": f"{100 * MANY:g} %",
    }  # fmt: skip

    def told(rule: Rule) -> Rule:
        texts = {name: getattr(rule, name).format(**words) for name in ("title", "when", "help")}
        return replace(rule, **texts)

    return {name: told(rule) for name, rule in RULES.items()}
