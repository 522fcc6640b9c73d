"""Reports to render: a leak, its opposite, the undecided, and one whose every string is hostile."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from PIL import Image

from memaudit.audit.report.exhibit import Picture
from memaudit.audit.report.facts import Architecture, Checkpoint, Delta, Inputs, Records, SearchPoint
from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.model import AuditReport, Environment
from memaudit.audit.report.results import Agreement, AttackResult, LeaderboardRow, Match, PlanStep
from memaudit.audit.report.verdict import Verdict
from memaudit.audit.run.cards import reported
from memaudit.audit.verdict import leaderboard

from .pairs import PHOTOS, SIDE, draw_pictures, dummy, match, metrics, picture, scores
from .parts import advice, defences, delta, finding, judged, leak_findings, recipe, search, wide_search

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "{{ 7 * 7 }}</style></title>",
)


def leak_report(root: Path) -> AuditReport:
    pairs = [match(root, i, name, label) for i, (name, label) in enumerate(PHOTOS.items())]
    simudy = AttackResult(
        name="simudy",
        status="converged",
        options={"optimizer": "adam", "alpha": 2e-3, "betas": [0.8, 0.9], "clip": None, "adjoint": "stepwise"},
        loss=0.00871,
        iterations=4000,
        seconds=5412.7,
        peak_memory_bytes=3_420_000_000,
        metrics=metrics(pairs),
        matches=pairs,
        reconstructions=[dummy(i) for i in range(len(pairs))],
        curve=[(i * 27, 0.0087 + 0.95 * float(np.exp(-i / 22)) * (1 + 0.04 * (-1) ** i)) for i in range(149)],
    )
    stalled = simudy.model_copy(
        update={
            "name": "gradient_inversion",
            "status": "stalled",
            "options": {},
            "loss": 0.412,
            "iterations": 2400,
            "metrics": metrics(pairs[7:]).model_copy(update={"recovered": 0, "recovered_fraction": 0.0}),
            "matches": [pair.model_copy(update={"recovered": False}) for pair in pairs[7:]],
            "reconstructions": [dummy(i, insignificant=i == 6) for i in range(5, 10)],
            "curve": [(i * 100, 0.41 + 0.1 / (1 + i)) for i in range(25)],
        }
    )
    refused = AttackResult(
        name="haim",
        status="unsupported",
        reason="haim needs a binary classifier; this model has 10 classes.",
        loss=None,
        **dict.fromkeys(("iterations", "seconds", "peak_memory_bytes"), 0),
    )
    reason = f"simudy: recovered is {simudy.metrics.recovered}, and recovered>0 is a leak."
    verdict = judged("fail", reason, "recovered>0").model_copy(update={"severity": "high"})
    found = [pair.sample for pair in pairs if pair.recovered]
    more = {"findings": leak_findings(found), "advice": advice(), "defences": defences()}
    return whole(verdict, [simudy, stalled, refused], wide_search(), delta()).model_copy(update=more)


def clean_report(root: Path) -> AuditReport:
    pairs = [match(root, i, name, label) for i, (name, label) in enumerate(PHOTOS.items())][6:]
    pairs = [pair.model_copy(update={"recovered": False, "p_value": 0.31}) for pair in pairs]
    attack = AttackResult(
        name="simudy",
        status="converged",
        loss=2.4e-05,
        iterations=1800,
        seconds=312.0,
        peak_memory_bytes=812_000_000,
        metrics=metrics(pairs),
        matches=pairs,
        reconstructions=[dummy(i) for i in range(10)],
        curve=[(0, 0.9), (600, 0.004), (1200, None), (1800, 2.4e-05)],
    )
    reason = "recovered>0 did not hold for any converged attack."
    return whole(verdict=judged("pass", reason, "recovered>0", "simudy.ssim_max>=0.9"), attacks=[attack])


def blind_report() -> AuditReport:
    attack = AttackResult(
        name="simudy",
        status="budget_spent",
        reason="10 min of 10 min used.",
        loss=0.184,
        iterations=310,
        seconds=600.0,
        peak_memory_bytes=812_000_000,
        reconstructions=[dummy(i, insignificant=i > 7) for i in range(10)],
        curve=[(i * 10, 0.9 / (1 + i / 6)) for i in range(31)],
    )
    reason = "No recovered was measured for any attack (no training data were given to match against; pass --data)."
    report = whole(judged("inconclusive", reason, "recovered>0"), [attack], search())
    inputs = report.inputs.model_copy(update={"data": None, "control": None})
    findings = [
        finding("MA101", "none", "It ended as budget spent: 10 min of 10 min used.", "simudy", blocks=True),
        finding("MA104", "none", "No training images were given, so nothing was compared with them."),
    ]
    return report.model_copy(update={"inputs": inputs, "findings": findings})


def many_report(root: Path) -> AuditReport:
    """Three attacks with three seeds each and what these agree on, one that refused, and a plan."""
    leak = leak_report(root)
    simudy = leak.attacks[0]
    attacks = []
    for name, less, status in (("simudy", 0.0, "converged"), ("span", 0.1, "converged"), ("dlg", 0.3, "stalled")):
        for seed in range(3):
            pairs = [worse(pair, less + 0.02 * seed + 0.05 * (pair.sample == seed)) for pair in simudy.matches]
            extra = {"status": status, "loss": 0.01 * (1 + seed) + less, "seed": seed, "name": name}
            attacks.append(simudy.model_copy(update={"matches": pairs, "metrics": metrics(pairs), **extra}))
        attacks.append(agreed(attacks[-3:]))
    plan = [
        PlanStep(attack="span", runs=True, reason="sees through the first layer", seconds=31.0, share=100.0,
                   peak_memory_bytes=600_000_000),
        PlanStep(attack="simudy", runs=True, reason="always applies", seconds=5400.0, start_from="span"),
        PlanStep(attack="dlg", runs=True, reason="asked for"),
        PlanStep(attack="gion", runs=False, reason="takes a day"),
    ]  # fmt: skip
    return ranked(leak.model_copy(update={"plan": plan}), [*attacks, leak.attacks[2]])


def trust_report(root: Path) -> AuditReport:
    """As :func:`many_report`, without training images."""
    report, bare = many_report(root), {"metrics": None, "matches": []}
    inputs = report.inputs.model_copy(update={"data": None, "control": None})
    verdict = judged("inconclusive", "recovered was not measured for any attack.", "recovered>0")
    report = report.model_copy(update={"inputs": inputs, "verdict": verdict, "plan": []})
    return ranked(report, [attack.model_copy(update=bare) for attack in report.attacks])


def crowd_report(root: Path, count: int = 120) -> AuditReport:
    """As many images as the paper has at most, of CIFAR's size and hard to compress, and five attacks on them."""
    noise = np.random.default_rng(1)
    source = Path(skimage.__file__).parent / "data"
    photos = [np.asarray(Image.open(source / name).convert("RGB").resize((128, 128))) for name in PHOTOS]
    first, pairs = leak_report_of(root), []
    for i in range(count):
        x, y = noise.integers(0, 128 - SIDE, 2)
        photo = photos[i % len(photos)][y : y + SIDE, x : x + SIDE]
        Image.fromarray(photo).save(picture(root, "originals", i))
        found = photo + noise.normal(0, 4 + i / 2, photo.shape)
        Image.fromarray(found.clip(0, 255).astype(np.uint8)).save(picture(root, "simudy", i))
        label = f"class {i % 10}"
        pairs.append(match(root, i, f"{label}/{i:05}.png", label))
    attacks = []
    for place, name in enumerate(("simudy", "span", "sme", "buzaglo", "dlg")):
        moved = [elsewhere(root, worse(pair, 0.03 * place), name, place) for pair in pairs] if place else pairs
        dummies = [dummy(i).model_copy(update={"exhibit": pair.reconstruction}) for i, pair in enumerate(moved)]
        more = {"name": name, "matches": moved, "metrics": metrics(moved, count), "reconstructions": dummies}
        attacks.append(first.attacks[0].model_copy(update=more))
    data = Records(path="train/", sha256="0c" * 32, count=count)
    inputs = first.inputs.model_copy(update={"data": data})
    return ranked(first.model_copy(update={"inputs": inputs}), attacks)


def leak_report_of(root: Path) -> AuditReport:
    draw_pictures(root)
    return leak_report(root)


def elsewhere(root: Path, pair: Match, attack: str, shift: int) -> Match:
    """Return the pair with a picture of its own, a little different."""
    path = picture(root, attack, pair.sample)
    moved = np.roll(np.asarray(Image.open(root / pair.reconstruction.path)), shift, axis=1)
    Image.fromarray(moved).save(path)
    return pair.model_copy(update={"reconstruction": Picture(path=path.relative_to(root).as_posix())})


def ranked(report: AuditReport, attacks: list[AttackResult]) -> AuditReport:
    """Return the report with these results, ordered as a scan does."""
    found = {
        "attacks": attacks,
        "ranking": leaderboard.ranking(attacks, report.kind),
        "leaderboard": leaderboard.leaderboard(attacks),
        "per_record": leaderboard.per_record(attacks),
        "recovered_by_any": leaderboard.recovered_by_any(attacks),
    }
    return report.model_copy(update=found)


def worse(pair: Match, less: float) -> Match:
    ssim = pair.scores.similarity - less
    details = pair.scores.details
    return pair.model_copy(
        update={"scores": scores(ssim, details["psnr"], details["mse"]), "nearest": ssim, "recovered": ssim > 0.5}
    )


def agreed(runs: list[AttackResult]) -> AttackResult:
    trust = [0.95 - 0.08 * i for i in range(len(PHOTOS))]
    found = Agreement(
        seeds=[0, 1, 2], reference=0, criterion="a mean SSIM between the seeds of at least 0.6",
        confidence_mean=float(np.mean(trust)), confidence_max=max(trust), confident=5, chance=0.31,
    )  # fmt: skip
    dummies = [
        dummy.model_copy(update={"confidence": c}) for dummy, c in zip(runs[0].reconstructions, trust, strict=True)
    ]
    update = {"kind": "consensus", "seed": None, "agreement": found, "reconstructions": dummies, "curve": []}
    return runs[1].model_copy(update=update)


def told(report: AuditReport) -> AuditReport:
    """Return the report with a text in the place of every picture."""

    def spoken(value: Any) -> Any:
        if isinstance(value, dict) and value.get("form") == "picture":
            return {"form": "text", "text": f"the record in {value['path']} " * 20}
        if isinstance(value, dict):
            return {name: spoken(item) for name, item in value.items()}
        return [spoken(item) for item in value] if isinstance(value, list) else value

    return AuditReport.model_validate(spoken(report.model_dump(by_alias=True)))


def poisoned(report: AuditReport) -> AuditReport:
    kept = {"status", "source", "severity", "null_kind", "path", "form", "schema_version", "$schema", "kind",
            "evidence", "basis"}  # fmt: skip

    def poison(value: Any, key: str = "") -> Any:
        if key == "options":
            return {"".join(HOSTILE): "".join(HOSTILE)}
        if key == "defences" or (key == "kind" and isinstance(value, dict)):  # its words cannot be hostile
            return value
        if isinstance(value, dict):
            return {name: poison(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [poison(item, key) for item in value]
        return value + "".join(HOSTILE) if isinstance(value, str) and key not in kept else value

    return AuditReport.model_validate(poison(report.model_dump(by_alias=True)))


def whole(
    verdict: Verdict,
    attacks: list[AttackResult],
    search: Sequence[SearchPoint] = (),
    delta: Delta = Delta(),  # noqa: B008
) -> AuditReport:
    return AuditReport(
        created="2026-11-22T13:24:05+00:00",
        kind=IMAGE,
        model="cifar-classifier",
        command="memaudit scan runs/cifar/before.safetensors runs/cifar/after.safetensors --data train/ "
        "--batch-size 5 --epochs 20 --attack simudy --attack gradient_inversion --attack haim --seed 7",
        seed=7,
        verdict=verdict,
        inputs=Inputs(
            before=Checkpoint(
                path="runs/cifar/before.safetensors", format="safetensors", sha256="3f" * 32, dtypes=["float32"]
            ),
            after=Checkpoint(path="runs/cifar/after.safetensors", format="safetensors", sha256="a7" * 32),
            data=Records(path="train/", sha256="0c" * 32, count=10, resized=True),
            control=Records(path="held-out/", sha256="d9" * 32, count=200),
        ),
        architecture=Architecture(
            family="resnet",
            name="ResNet-18 with a 3 × 3 stem",
            score=1.0,
            classes=10,
            shape=(3, SIDE, SIDE),
            parameters=11_173_962,
            tensors=122,
            moved=[f"layer{a}.{b}.conv{c}.weight" for a in range(1, 5) for b in range(2) for c in (1, 2)] + ["fc.bias"],
        ),
        recipe=recipe(),
        delta=delta,
        search=list(search),
        cards=reported(),
        attacks=attacks,
        leaderboard=[row(rank, attack) for rank, attack in enumerate(attacks, 1)],
        limitations=[
            "The absence of a reconstruction is no proof of anonymity.",
            "The momentum was assumed to be 0; with another one the attack may fail on data that are at risk.",
        ],
        environment=Environment(
            memaudit="0.1.0", python="3.11.2", torch="2.13.0", platform="Linux-6.1-x86_64", device="cpu", threads=2
        ),
    )


def row(rank: int, attack: AttackResult) -> LeaderboardRow:
    found = {name: getattr(attack.metrics, name, None) for name in ("similarity_mean", "similarity_max", "recovered")}
    return LeaderboardRow(
        rank=rank, attack=attack.name, status=attack.status, loss=attack.loss, seconds=attack.seconds, **found
    )


EVERY = [
    "leak",
    "clean",
    "blind",
    "many",
    "trust",
    "hostile",
    "hostile_many",
    "exposed",
    "few",
    "both",
    "hostile_exposed",
]
"""Fixtures that give a report; formats are tried on each."""
