"""Why an audit is undecided, and what would bring a decision: one reason, one command, an estimate. No torch here."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..report.model import AuditReport
from ..report.verdict import Finding
from ..words import count
from .command import again, of_pair
from .tally import exposure_only, none_rebuilt, unlisted

_LIMITS = (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400)
"""Round times, in seconds, that a longer scan is given."""


class Cause(NamedTuple):
    """Why there is no decision, and what would bring one."""

    said: str
    reason: str
    command: str = ""
    estimate: str = ""


def main_cause(report: AuditReport) -> Cause:
    """Return the first cause that applies; its sentence has no full stop."""
    causes = _OF_EXPOSURE if exposure_only(report) else _CAUSES
    return next(found for cause in causes if (found := cause(report)) is not None)


def _look(report: AuditReport) -> Cause | None:
    number, words = unlisted(report), report.kind.words
    if not number:
        return None
    if report.inputs.data is None:
        reason = f"Look at the rebuilt {words.many}: where they are training data, this is a leak."
        reason += f" With the training {words.many} memaudit can tell."
        return Cause("", reason, _with_data(report), _as_long(report))
    reason = (
        f"Keep the two files private. The {words.many} given are not those in the change: look at the rebuilt ones, "
    )
    reason += "then check the data."
    return Cause("", reason, of_pair(report, "check"), "under a minute")


def _lost(report: AuditReport) -> Cause | None:
    if not _blocking(report, "MA103"):
        return None
    return Cause(
        "The two files differ by no more than rounding, so that there was nothing to attack",
        "Audit the checkpoints in the precision that they were trained in; files that were converted afterwards hide "
        "the change.",
    )


def _blind(report: AuditReport) -> Cause | None:
    if report.inputs.data is not None:
        return None
    many = report.kind.words.many
    reason = f"Whether what the attacks made shows training {many} can only be told beside these."
    said = f"No training {many} were given, so that nothing was compared"
    return Cause(said, reason, _with_data(report), _as_long(report))


def _unexplained(report: AuditReport) -> Cause | None:
    if report.check is None or report.check.explained is not False:
        return None
    many = report.kind.words.many
    return Cause(
        f"Nothing shows that the training {many} that were given changed this model",
        f"Give the {many} that this model was trained on, prepared as they were then: folder and split, size, crop, "
        "orientation, normalisation, order of the channels. Those given explain the change no better than others do, "
        "as after a long training or Adam even the right ones may. This command looks at them alone.",
        of_pair(report, "check"),
        "under a minute",
    )


def _incomplete(report: AuditReport) -> Cause | None:
    found = _blocking(report, "MA110")
    if found is None:
        return None
    many = report.kind.words.many
    said = f"The model was trained on more than the {many} given, so that some were not looked at"
    return Cause(said, f"{found.message} Give the whole training set.", _with_data(report), _as_long(report))


def _others(report: AuditReport) -> Cause | None:
    found = _blocking(report, "MA108")
    if found is None:
        return None
    many = report.kind.words.many
    said = f"{none_rebuilt(report)}, but other {many} explain the change as well, so that this says nothing"
    return Cause(said, found.message, _harder(report), "several times as long as this scan")


def _few(report: AuditReport) -> Cause | None:
    if not _blocking(report, "MA102"):
        return None
    many = report.kind.words.many
    return Cause(
        f"{none_rebuilt(report)}, but there are too few {many} to compare with",
        f"Only a nearly exact copy would have stood out. Give more {many} that were not trained on.",
        again(report, {"--control": 1}, "--control", f"HELD-OUT-{many.upper()}"),
        _as_long(report),
    )


def _unfinished(report: AuditReport) -> Cause | None:
    tried = [attack for attack in report.attacks if attack.kind == "run"]
    if any(attack.status == "converged" for attack in tried):
        return None
    refused, many = [attack for attack in tried if attack.status == "unsupported"], report.kind.words.many
    if len(refused) == len(tried):
        why = next((attack.reason for attack in refused if attack.reason), "")
        said = f"No attack could be run on this model, so that nothing is known of its training {many}"
        return Cause(said, _sentence(why or "No attack was run."), again(report, {"--attack": 1}, "--attack", "all"))
    cut = any(attack.status == "budget_spent" for attack in tried)
    return _late(report) if cut and report.power is None else None


def _stalled(report: AuditReport) -> Cause | None:
    if any(attack.status == "converged" for attack in report.attacks):
        return None
    return Cause(
        f"{none_rebuilt(report)}, but no attack could explain how the model changed",
        "The training recipe that the attacks went by may be wrong: see how it was found, and give what you know.",
        of_pair(report, "infer"),
        "a few minutes",
    )


def _late(report: AuditReport) -> Cause:
    planned = sum(step.seconds or 0.0 for step in report.plan if step.runs)
    wanted = max(1.25 * planned, 4 * _seconds(report))
    limit = next((limit for limit in _LIMITS if limit >= wanted), _LIMITS[-1])
    written = f"{limit // 3600}h" if limit >= 3600 else f"{limit // 60}m"
    return Cause(
        f"{none_rebuilt(report)}, but the time was over before any attack came to an end",
        "An attack that was cut short clears nothing. With more time it continues where it stopped.",
        again(report, {"--max-time": 1, "--max-iterations": 1}, "--max-time", written),
        f"up to {_roughly(limit).removeprefix('about ')}",
    )


def _powerless(report: AuditReport) -> Cause | None:
    found, many = report.power, report.kind.words.many
    if found is None or found.status == "leaks":
        return None
    if found.status == "silent" and report.check and report.check.recipe is False:
        return Cause(
            f"{none_rebuilt(report)}, but the attacks went by a recipe that does not give this change",
            "Training on the data by that recipe ends elsewhere: see how it was found, and give what you know.",
            of_pair(report, "infer"),
            "a few minutes",
        )
    if found.status == "silent":
        return Cause(
            f"No attack that was run can rebuild {many} from a training like this one",
            f"That none of yours was rebuilt is no evidence, then. {_sentence(found.reason)} More attacks with several "
            "seeds may have the power.",
            _harder(report),
            "several times as long as this scan",
        )
    return Cause(
        f"{none_rebuilt(report)}, but whether these attacks could have done so was not measured",
        _sentence(found.reason),
        again(report, {"--power": 1, "--max-time": 1}),
        _roughly(2 * _seconds(report)),
    )


def _untold(report: AuditReport) -> Cause | None:
    found = _blocking(report, "MA107")
    why = report.check.reason if report.check else found.message if found else ""
    if not why or (report.check and report.check.explained is not None):
        return None
    said = f"{none_rebuilt(report)}, but whether the {report.kind.words.many} given explain the change cannot be told"
    return Cause(said, _sentence(why), of_pair(report, "check"), "under a minute")


def _unknown_start(report: AuditReport) -> Cause | None:
    if not _blocking(report, "MA112"):
        return None
    return Cause(
        f"{none_rebuilt(report)}, but where a part of the network started is unknown",
        "With the network as it was when training began, its new head or adapter included, attacks may find more: give "
        "that file as BEFORE if you have it.",
    )


def _unread(report: AuditReport) -> Cause | None:
    """The exposure of records alone was asked for, and whether these are the right ones cannot be told."""
    found = _blocking(report, "MA107")
    if found is None or report.check is None or report.check.explained is not None:
        return None
    said, exposed = f"Whether the {report.kind.words.many} given explain the change cannot be told", report.exposure
    if exposed and exposed.measured and exposed.explained is None:  # no gradient was taken: nothing here can be checked
        return Cause(said, _sentence(report.check.reason))
    return Cause(said, _sentence(report.check.reason), of_pair(report, "check"), "under a minute")


def _unseen(report: AuditReport) -> Cause:
    found = report.exposure
    reason = next((gate.reason for gate in report.verdict.gates if gate.status == "inconclusive"), "")
    return Cause((found.reason if found else report.verdict.summary).removesuffix("."), _sentence(reason))


def _other(report: AuditReport) -> Cause:
    missing = next((finding.message for finding in report.findings if finding.blocks), report.verdict.summary)
    return Cause(f"{none_rebuilt(report)}, but the evidence is not enough to clear the model", _sentence(missing))


_CAUSES: Sequence[Callable[[AuditReport], Cause | None]] = (
    _look, _lost, _blind, _unexplained, _incomplete, _unfinished, _few, _others, _untold, _unknown_start, _powerless,
    _stalled, _other,
)  # fmt: skip
"""The first that applies is told: what makes everything after it moot comes first."""


_OF_EXPOSURE: Sequence[Callable[[AuditReport], Cause | None]] = (_lost, _unexplained, _incomplete, _unread, _unseen)
"""The same where the exposure of records was measured and no attack run."""


def _blocking(report: AuditReport, rule: str) -> Finding | None:
    return next((finding for finding in report.findings if finding.blocks and finding.rule == rule), None)


def _harder(report: AuditReport) -> str:
    return again(report, {"--attack": 1, "--restarts": 1}, "--attack", "all", "--restarts", "3")


def _with_data(report: AuditReport) -> str:
    return again(report, {"--data": 1}, "--data", f"TRAINING-{report.kind.words.many.upper()}")


def _as_long(report: AuditReport) -> str:
    return f"{_roughly(_seconds(report))}, as this scan" if _seconds(report) else ""


def _roughly(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "under a minute"
    return f"about {count(minutes, 'minute') if minutes < 90 else count(round(minutes / 60), 'hour')}"


def _seconds(report: AuditReport) -> float:
    return sum(attack.seconds for attack in report.attacks if attack.kind == "run")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""
