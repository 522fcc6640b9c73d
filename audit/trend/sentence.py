"""The one sentence that says whether it got better or worse, and what it rests on. No torch here."""

from collections.abc import Iterator

from ..words import fixed, number
from .found import place
from .ground import listed
from .model import Change, Diff, FindingChange, Measure

MOST = 3
"""Clauses of the sentence; the comparison lists them all."""

TITLES = {"better": "Better", "worse": "Worse", "same": "No clear change", "unknown": "Cannot be told"}
"""How people call each change."""


def judged(found: Diff, same_pair: bool) -> Diff:
    """Return the comparison with what it comes to.

    Args:
        found: Everything that was compared.
        same_pair: Whether both audits are of the same two files.
    """
    worse = list(_clauses(found, "worse"))
    better = list(_clauses(found, "better"))
    change = _change(found, worse, better, same_pair)
    told = found.model_copy(update={"worse": worse, "better": better, "change": change})
    return told.model_copy(update={"sentence": sentence(told)})


def sentence(found: Diff) -> str:
    """Return what changed in one or two sentences."""
    match found.change:
        case "worse":
            why = [contrast.name for contrast in found.contrasts if contrast.effect == "doubt"]
            other = f" The audits differ as well, which may be why: {listed(why)}." if why else ""
            return f"{_said(found.worse)}.{other}"
        case "better":
            return f"{_said(found.better)}."
        case "same":
            return _same(found)
        case _:
            return _unknown(found)


def _change(found: Diff, worse: list[str], better: list[str], same_pair: bool) -> Change:
    if not found.comparable:
        return "unknown"
    if worse:
        return "worse"
    undecided = "inconclusive" in (found.earlier.status, found.later.status)
    settled = same_pair and found.earlier.status == found.later.status
    if (undecided and not settled) or any(True for _ in _clauses(found, "unknown")):
        return "unknown"
    return "better" if better else "same"


def _clauses(found: Diff, change: Change) -> Iterator[str]:
    """Return what changed in this way, in words, what weighs most first."""
    if found.verdict == change:
        yield f"the verdict went from {found.earlier.status} to {found.later.status}"
    yield from (_finding(one) for one in found.findings if one.change == change)
    many = found.kind.words.many
    if found.together and found.together.change == change:
        yield f"the attacks together recover {_counts(found.together, many)}"
    for attack in found.attacks:
        if attack.recovered and attack.recovered.change == change:
            yield f"{attack.attack} recovers {_counts(attack.recovered, many)}"
    if seen := found.exposure:
        if seen.detected.change == change:
            yield f"told from held-out ones, one by one, are {_counts(seen.detected, many)}"
        if seen.tpr_at_1_fpr and seen.tpr_at_1_fpr.change == change:
            yield f"the share of {many} above 99 % of held-out ones went {_went(seen.tpr_at_1_fpr)}"
        if seen.auc and seen.auc.change == change:
            yield f"the AUC of the exposure went {_went(seen.auc)}"


def _finding(one: FindingChange) -> str:
    if place(one.later) == 0:
        return f"{one.rule} ({one.earlier}) is no longer found"
    if place(one.earlier) == 0:
        return f"{one.rule} is new ({one.later}): {one.title[:1].lower()}{one.title[1:]}"
    return f"{one.rule} went from {one.earlier} to {one.later}"


def _counts(measure: Measure, many: str) -> str:
    of = f" of {measure.of[1]}" if measure.of else ""
    return f"{number(measure.later)}{of} {many} (before: {number(measure.earlier)})"


def _went(measure: Measure) -> str:
    return f"from {fixed(measure.earlier)} to {fixed(measure.later)}"


def _said(clauses: list[str]) -> str:
    said = "; ".join(clauses[:MOST])
    more = f"; and {len(clauses) - MOST} more" if len(clauses) > MOST else ""
    return f"{said[:1].upper()}{said[1:]}{more}"


def _same(found: Diff) -> str:
    match found.later.status:
        case "fail":
            return "What leaked before leaks still."
        case "pass":
            return "Nothing that was measured is clearly better or worse."
        case _:
            return "Both audits of these two files are inconclusive: neither says that the training data are safe."


def _unknown(found: Diff) -> str:
    """Say why it cannot be told, the weightiest reason alone."""
    bars = [contrast.name for contrast in found.contrasts if contrast.effect == "bar"]
    if bars:
        return f"The two audits cannot be compared, as these differ: {listed(bars)}."
    if found.later.status == "inconclusive":
        leaked = " That is no improvement." if found.earlier.status == "fail" else ""
        return f"The later audit is inconclusive: what it did not find may be there all the same.{leaked}"
    if found.earlier.status == "inconclusive":
        return "The earlier audit is inconclusive, so whether the later one is better is not known."
    less = list(_clauses(found, "unknown"))
    why = [*found.doubts, *reasons(found), *(found.exposure.doubts if found.exposure else ())]
    return f"{_said(less)}. That is no improvement. {' '.join(why[:MOST])}".rstrip()


def reasons(found: Diff) -> list[str]:
    """Return why less that the attacks found is not safer: of those that found less, and of no other."""
    less = [one for one in found.attacks if _fell(one.recovered) or _fell(one.similarity)]
    said = [doubt for one in found.findings if one.change == "unknown" for doubt in one.doubts]
    return list(dict.fromkeys([*said, *(doubt for one in less for doubt in one.doubts)]))


def _fell(measure: Measure | None) -> bool:
    return measure is not None and (measure.later or 0) < (measure.earlier or 0)
