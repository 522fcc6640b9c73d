"""The matches of one result, in numbers."""

import statistics
from typing import Any

from ..report.kind import RecordKind
from ..report.results import Decoy, Metrics
from . import chance
from .match import Matching
from .null import Null
from .pairing import Method


def metrics(paired: Matching, kind: RecordKind, method: Method, level: float, floor: list[Decoy]) -> Metrics:
    """Describe all matches of one result, and what chance gives.

    Args:
        paired: The matches; at least one.
        kind: What the records are.
        method: How they were paired.
        level: False discovery rate at which a record counted as recovered.
        floor: What records score that no attack made.
    """
    similarity = [match.similarity for match in paired.matches]
    details = {name: [match.details[name] for match in paired.matches] for name in paired.matches[0].details}
    recovered, count = sum(match.recovered for match in paired.matches), len(paired.observed)
    return Metrics(
        records=count,
        pairs=len(similarity),
        matching=method,
        criterion=_criterion(kind, level, paired.null),
        similarity_mean=statistics.fmean(similarity),
        similarity_max=max(similarity),
        details_mean={name: statistics.fmean(values) for name, values in details.items()},
        details_max={detail.name: max(details[detail.name]) for detail in kind.details if detail.best},
        recovered=recovered,
        recovered_fraction=recovered / count,
        recovered_interval=chance.interval(recovered, count),
        decoys=floor,
        **_held_against(paired, kind.threshold, level),
    )


def _criterion(kind: RecordKind, level: float, null: Null) -> str:
    many = kind.words.many
    what = {
        "control": f"held-out {many}",
        "mismatched": f"reconstructions of other {many}, {kind.words.mismatched}",
    }
    return (
        f"{kind.statistic} of at least {kind.threshold:g} and higher than {len(null.values)} comparisons with "
        f"{what[null.kind]} allow at a false discovery rate of {level:.1%}"
    )


def _held_against(paired: Matching, threshold: float, level: float) -> dict[str, Any]:
    """Return those metrics that say what chance gives."""
    null, observed = paired.null, paired.observed
    found: dict[str, Any] = {
        "null_kind": null.kind,
        "null": chance.kept(null.values),
        "null_size": len(null.values),
        "observed": chance.kept(observed),
        "detectable": max(chance.detectable(null.values, len(observed), level), threshold),
        "tpr_at_1_fpr": chance.tpr_at_1_fpr(observed, null.values),
    }
    if null.kind == "control":
        found |= {
            "control_pairs": len(null.matched),
            "control_recovered": int((null.matched >= threshold).sum()),
            "control_similarity_mean": float(null.matched.mean()),
            "control_similarity_max": float(null.matched.max()),
            "p_value": chance.shifted(observed, null.values),
        }
    if paired.nearest is not None:
        drawn, trained = paired.nearest
        pool = len(observed) + len(null.values)
        found |= {
            "identifiable": trained,
            "nearest": drawn,
            "pool": pool,
            "identifiable_p_value": chance.pointed(trained, drawn, len(observed), pool),
        }
    return found
