"""Reports that memaudit 0.1.0 wrote (schema 1.3), and the same as earlier versions had them."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def demo() -> dict[str, Any]:
    """Return the report of its demo, as it stood in the file."""
    return json.loads((FOLDER / "report-1.3-demo.json").read_text(encoding="utf-8"))


def seeds() -> dict[str, Any]:
    """Return one of several attacks with two seeds and no control set; shortened, then sealed again."""
    return json.loads((FOLDER / "report-1.3-seeds.json").read_text(encoding="utf-8"))


def schema_1_2() -> dict[str, Any]:
    """Return a report as schema 1.2 had it: no severity, no finding, and no null but a mean and a maximum."""
    content = seeds()
    content |= {"$schema": "urn:memaudit:schema:report:1.2", "schema_version": "1.2"}
    for name in ("model", "content_sha256", "cards", "findings", "advice", "defences"):
        content.pop(name, None)
    later = {"null_kind", "null", "null_size", "observed", "p_value", "detectable_ssim", "tpr_at_1_fpr",
             "identifiable", "nearest", "identifiable_p_value", "pool", "decoys", "severity"}  # fmt: skip
    _drop(later, [content["verdict"]], [attack["metrics"] or {} for attack in content["attacks"]])
    matches = [match for attack in content["attacks"] for match in attack["matches"]]
    _drop({"nearest_ssim", "q_value", "rank"}, matches, [best["match"] for best in content["per_image"]])
    return content


def schema_1_1() -> dict[str, Any]:
    """Return a report as schema 1.1 had it: one result for each attack, and nothing that tells several apart."""
    content = schema_1_2()
    content |= {"$schema": "urn:memaudit:schema:report:1.1", "schema_version": "1.1"}
    for name in ("plan", "ranking", "per_image", "recovered_by_any"):
        content.pop(name, None)
    later = {"kind", "seed", "agreement", "pairs", "ssim_paper_max", "recovered_interval", "control_pairs",
             "control_recovered"}  # fmt: skip
    _drop(later, content["attacks"], [attack["metrics"] or {} for attack in content["attacks"]])
    _drop({"confidence"}, *(attack["reconstructions"] for attack in content["attacks"]))
    first = {"rank", "attack", "status", "ssim_mean", "ssim_max", "recovered", "loss", "seconds"}
    content["leaderboard"] = [{name: row[name] for name in first} for row in content["leaderboard"]]
    return content


def schema_1_0() -> dict[str, Any]:
    """Return a report as schema 1.0 had it: one search over learning rates, and nothing of what came later."""
    content = schema_1_1()
    content |= {"$schema": "urn:memaudit:schema:report:1.0", "schema_version": "1.0"}
    del content["delta"]
    content["search"] = content["search"][:7]
    for name in ("schedule", "warmup", "clip", "labels", "dampening", "beta1", "beta2", "eps"):
        content["recipe"].pop(name, None)
    later = {"confidence", "interval", "optimizer", "batch_size", "epochs", "rung"}
    _drop(later, [fact for fact in content["recipe"].values() if fact], content["search"])
    _drop({"insignificant"}, *(attack["reconstructions"] for attack in content["attacks"]))
    return content


def _drop(names: set[str], *lists: list[dict[str, Any]]) -> None:
    for part in [part for parts in lists for part in parts]:
        for name in names & part.keys():
            del part[name]
