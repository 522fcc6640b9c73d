"""Reports of schema 1.x in the form of schema 2.0: a pure function from JSON to JSON.

Version 1 knew images only. Its numbers are carried over as they are; what it did not measure stays out.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .kind import IMAGE

READ = ("1",)
"""Older major versions that can be read."""

FINDINGS_SINCE = 3
"""The minor version of schema 1 that brought findings, and the digest of the content."""

_PAPER, _PSNR = "ssim_paper", "psnr"


def upgraded(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the content of a report as schema 2.0 has it; that of 2.x and later is returned as it is."""
    if str(content["schema_version"]).split(".")[0] not in READ:
        return content
    kept = {name: value for name, value in content.items() if name not in ("$schema", "schema_version", "per_image")}
    if not told_findings(content):
        kept |= _unjudged(content)
    return kept | {
        "kind": asdict(IMAGE),
        "attacks": [_result(attack) for attack in content.get("attacks", [])],
        "leaderboard": [_numbers(row) for row in content.get("leaderboard", [])],
        "per_record": [{**best, "match": _match(best["match"])} for best in content.get("per_image", [])],
        "defences": [_numbers(point) for point in content.get("defences", [])],
        "delta": _delta(content.get("delta", {})),
    }


def told_findings(content: Mapping[str, Any]) -> bool:
    """Return whether a report's version has findings and a digest of its content."""
    major, _, minor = str(content["schema_version"]).partition(".")
    return major not in READ or int(minor.partition(".")[0] or 0) >= FINDINGS_SINCE


def _unjudged(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return findings for a report that has none: it passes no gate, and a leak stays a leak."""
    version = content["schema_version"]
    message = f"A report of schema {version} has no findings: scan again to have it judged."
    unknown = {"rule": "MA100", "name": "FindingsNotRecorded", "severity": "none", "message": message, "blocks": True}
    results = content.get("attacks", [])
    leaking = dict.fromkeys(result["name"] for result in results if (result.get("metrics") or {}).get("recovered"))
    leaks = [
        {
            "rule": "MA001",
            "name": "TrainingRecordReconstructed",
            "severity": "high",
            "attack": name,
            "message": f"{name} recovered training images, as a report of schema {version} counts them.",
        }
        for name in leaking
    ]
    severity = "high" if leaks else "none"
    return {"findings": [*leaks, unknown], "verdict": {**content.get("verdict", {}), "severity": severity}}


def _result(attack: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **attack,
        "metrics": attack.get("metrics") and _metrics(attack["metrics"]),
        "matches": [_match(match) for match in attack.get("matches", [])],
        "reconstructions": [
            _renamed(dummy, picture="exhibit") | {"exhibit": _picture(dummy["picture"])}
            for dummy in attack.get("reconstructions", [])
        ],
    }


def _metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return _numbers(metrics) | {"decoys": [_numbers(decoy) for decoy in metrics.get("decoys", [])]}


def _match(match: Mapping[str, Any]) -> dict[str, Any]:
    scores = match["scores"]
    return _renamed(match, nearest_ssim="nearest", original="truth") | {
        "scores": {"similarity": scores["ssim"], "details": {n: v for n, v in scores.items() if n != "ssim"}},
        "truth": _picture(match["original"]),
        "reconstruction": _picture(match["reconstruction"]),
    }


def _numbers(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return any part with the numbers of several images: metrics, a row, a decoy, a defence."""
    found = _renamed(
        part,
        images="records",
        ssim_mean="similarity_mean",
        ssim_max="similarity_max",
        control_ssim_mean="control_similarity_mean",
        control_ssim_max="control_similarity_max",
        detectable_ssim="detectable",
    )
    for name in ("details_mean", "details_max"):
        end = name.removeprefix("details")
        told = {detail: found.pop(f"{detail}{end}", None) for detail in (_PAPER, _PSNR)}
        found[name] = {detail: value for detail, value in told.items() if value is not None}
    return found


def _delta(delta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the readings without those of no finite value, which version 1 wrote as null."""
    facts = {name: fact for name, fact in delta.get("facts", {}).items() if fact["value"] is not None}
    return {**delta, "facts": facts}


def _picture(path: str) -> dict[str, str]:
    return {"form": "picture", "path": path}


def _renamed(part: Mapping[str, Any], **names: str) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in part.items()}
