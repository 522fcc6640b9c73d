"""Reports to render: a leak, its opposite, the undecided, and one whose every string is hostile."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from PIL import Image
from scipy.stats import mannwhitneyu
from skimage.metrics import structural_similarity

from memaudit.audit.report.facts import (
    Architecture,
    Checkpoint,
    Delta,
    Fact,
    Images,
    Inputs,
    SearchPoint,
    TensorReading,
)
from memaudit.audit.report.model import AuditReport, Environment
from memaudit.audit.report.results import (
    Agreement,
    AttackResult,
    Decoy,
    Dummy,
    LeaderboardRow,
    Match,
    Metrics,
    PlanStep,
    Scores,
)
from memaudit.audit.report.verdict import Advice, DefencePoint, Finding, GateResult, Verdict
from memaudit.audit.run.cards import reported
from memaudit.audit.verdict import leaderboard
from memaudit.audit.verdict.rules import RULES

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "{{ 7 * 7 }}</style></title>",
)
PHOTOS = {
    "astronaut.png": "person",
    "chelsea.png": "cat",
    "coffee.png": "cup",
    "rocket.jpg": "rocket",
    "camera.png": "person",
    "hubble_deep_field.jpg": "sky",
    "coins.png": "coin",
    "ihc.png": "tissue",
    "moon.png": "moon",
    "retina.jpg": "retina",
}
SIDE = 32


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    draw_pictures(root)
    return root


@pytest.fixture(scope="session")
def leak(folder: Path) -> AuditReport:
    return leak_report(folder).sealed()


@pytest.fixture(scope="session")
def clean(folder: Path) -> AuditReport:
    return clean_report(folder).sealed()


@pytest.fixture(scope="session")
def blind() -> AuditReport:
    return blind_report().sealed()


@pytest.fixture(scope="session")
def many(folder: Path) -> AuditReport:
    return many_report(folder).sealed()


@pytest.fixture(scope="session")
def trust(folder: Path) -> AuditReport:
    return trust_report(folder).sealed()


@pytest.fixture(scope="session")
def hostile(leak: AuditReport) -> AuditReport:
    return poisoned(leak).sealed()


@pytest.fixture(scope="session")
def hostile_many(many: AuditReport) -> AuditReport:
    return poisoned(many).sealed()


@pytest.fixture
def old(leak: AuditReport) -> dict[str, Any]:
    return old_content(leak)


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditReport, Path]:
    root = tmp_path_factory.mktemp("crowd")
    return crowd_report(root), root


@pytest.fixture
def recent(leak: AuditReport) -> dict[str, Any]:
    return recent_content(leak)


@pytest.fixture
def previous(leak: AuditReport) -> dict[str, Any]:
    return previous_content(leak)


def draw_pictures(root: Path) -> None:
    noise = np.random.default_rng(0)
    source = Path(skimage.__file__).parent / "data"
    for i, name in enumerate(PHOTOS):
        photo = Image.open(source / name).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        photo.save(_picture(root, "originals", i))
        strength = 0.1 + 0.07 * i
        pixels = np.asarray(photo) / 255
        blurred = (1 - strength) * pixels + strength * pixels.mean((0, 1))
        found = blurred + strength * 0.35 * noise.standard_normal(pixels.shape)
        Image.fromarray((found.clip(0, 1) * 255).astype(np.uint8)).save(_picture(root, "simudy", i))


def leak_report(root: Path) -> AuditReport:
    pairs = [_match(root, i, name, label) for i, (name, label) in enumerate(PHOTOS.items())]
    simudy = AttackResult(
        name="simudy",
        status="converged",
        options={"optimizer": "adam", "alpha": 2e-3, "betas": [0.8, 0.9], "clip": None, "adjoint": "stepwise"},
        loss=0.00871,
        iterations=4000,
        seconds=5412.7,
        peak_memory_bytes=3_420_000_000,
        metrics=_metrics(pairs),
        matches=pairs,
        reconstructions=[_dummy(i) for i in range(len(pairs))],
        curve=[(i * 27, 0.0087 + 0.95 * float(np.exp(-i / 22)) * (1 + 0.04 * (-1) ** i)) for i in range(149)],
    )
    stalled = simudy.model_copy(
        update={
            "name": "gradient_inversion",
            "status": "stalled",
            "options": {},
            "loss": 0.412,
            "iterations": 2400,
            "metrics": _metrics(pairs[7:]).model_copy(update={"recovered": 0, "recovered_fraction": 0.0}),
            "matches": [pair.model_copy(update={"recovered": False}) for pair in pairs[7:]],
            "reconstructions": [_dummy(i, insignificant=i == 6) for i in range(5, 10)],
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
    verdict = _verdict("fail", reason, "recovered>0").model_copy(update={"severity": "high"})
    found = [pair.sample for pair in pairs if pair.recovered]
    more = {"findings": _leak_findings(found), "advice": _advice(), "defences": _defences()}
    return _report(verdict, [simudy, stalled, refused], _wide_search(), _delta()).model_copy(update=more)


def clean_report(root: Path) -> AuditReport:
    pairs = [_match(root, i, name, label) for i, (name, label) in enumerate(PHOTOS.items())][6:]
    pairs = [pair.model_copy(update={"recovered": False, "p_value": 0.31}) for pair in pairs]
    attack = AttackResult(
        name="simudy",
        status="converged",
        loss=2.4e-05,
        iterations=1800,
        seconds=312.0,
        peak_memory_bytes=812_000_000,
        metrics=_metrics(pairs),
        matches=pairs,
        reconstructions=[_dummy(i) for i in range(10)],
        curve=[(0, 0.9), (600, 0.004), (1200, None), (1800, 2.4e-05)],
    )
    reason = "recovered>0 did not hold for any converged attack."
    return _report(verdict=_verdict("pass", reason, "recovered>0", "simudy.ssim_max>=0.9"), attacks=[attack])


def blind_report() -> AuditReport:
    attack = AttackResult(
        name="simudy",
        status="budget_spent",
        reason="10 min of 10 min used.",
        loss=0.184,
        iterations=310,
        seconds=600.0,
        peak_memory_bytes=812_000_000,
        reconstructions=[_dummy(i, insignificant=i > 7) for i in range(10)],
        curve=[(i * 10, 0.9 / (1 + i / 6)) for i in range(31)],
    )
    reason = "No recovered was measured for any attack (no training data were given to match against; pass --data)."
    report = _report(_verdict("inconclusive", reason, "recovered>0"), [attack], _search())
    inputs = report.inputs.model_copy(update={"data": None, "control": None})
    findings = [
        _finding("MA101", "none", "It ended as budget spent: 10 min of 10 min used.", "simudy", blocks=True),
        _finding("MA104", "none", "No training images were given, so nothing was compared with them."),
    ]
    return report.model_copy(update={"inputs": inputs, "findings": findings})


def many_report(root: Path) -> AuditReport:
    """Three attacks with three seeds each and what these agree on, one that refused, and a plan."""
    leak = leak_report(root)
    simudy = leak.attacks[0]
    attacks = []
    for name, worse, status in (("simudy", 0.0, "converged"), ("span", 0.1, "converged"), ("dlg", 0.3, "stalled")):
        for seed in range(3):
            pairs = [_worse(pair, worse + 0.02 * seed + 0.05 * (pair.sample == seed)) for pair in simudy.matches]
            extra = {"status": status, "loss": 0.01 * (1 + seed) + worse, "seed": seed, "name": name}
            attacks.append(simudy.model_copy(update={"matches": pairs, "metrics": _metrics(pairs), **extra}))
        attacks.append(_agreed(attacks[-3:]))
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
    verdict = _verdict("inconclusive", "recovered was not measured for any attack.", "recovered>0")
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
        Image.fromarray(photo).save(_picture(root, "originals", i))
        found = photo + noise.normal(0, 4 + i / 2, photo.shape)
        Image.fromarray(found.clip(0, 255).astype(np.uint8)).save(_picture(root, "simudy", i))
        label = f"class {i % 10}"
        pairs.append(_match(root, i, f"{label}/{i:05}.png", label))
    attacks = []
    for place, name in enumerate(("simudy", "span", "sme", "buzaglo", "dlg")):
        worse = [_elsewhere(root, _worse(pair, 0.03 * place), name, place) for pair in pairs] if place else pairs
        dummies = [_dummy(i).model_copy(update={"picture": pair.reconstruction}) for i, pair in enumerate(worse)]
        more = {"name": name, "matches": worse, "metrics": _metrics(worse, count), "reconstructions": dummies}
        attacks.append(first.attacks[0].model_copy(update=more))
    data = Images(path="train/", sha256="0c" * 32, count=count)
    inputs = first.inputs.model_copy(update={"data": data})
    return ranked(first.model_copy(update={"inputs": inputs}), attacks)


def leak_report_of(root: Path) -> AuditReport:
    draw_pictures(root)
    return leak_report(root)


def _elsewhere(root: Path, pair: Match, attack: str, shift: int) -> Match:
    """Return the pair with a picture of its own, a little different."""
    path = _picture(root, attack, pair.sample)
    moved = np.roll(np.asarray(Image.open(root / pair.reconstruction)), shift, axis=1)
    Image.fromarray(moved).save(path)
    return pair.model_copy(update={"reconstruction": path.relative_to(root).as_posix()})


def ranked(report: AuditReport, attacks: list[AttackResult]) -> AuditReport:
    """Return the report with these results, ordered as a scan does."""
    found = {
        "attacks": attacks,
        "ranking": leaderboard.ranking(attacks),
        "leaderboard": leaderboard.leaderboard(attacks),
        "per_image": leaderboard.per_image(attacks),
        "recovered_by_any": leaderboard.recovered_by_any(attacks),
    }
    return report.model_copy(update=found)


def _worse(pair: Match, less: float) -> Match:
    ssim = pair.scores.ssim - less
    scores = pair.scores.model_copy(update={"ssim": ssim, "ssim_paper": ssim * 0.9})
    return pair.model_copy(update={"scores": scores, "nearest_ssim": ssim, "recovered": ssim > 0.5})


def _agreed(runs: list[AttackResult]) -> AttackResult:
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


def recent_content(report: AuditReport) -> dict[str, Any]:
    """Return a report as schema 1.2 had it: no severity, no finding, and no null but a mean and a maximum."""
    content = report.model_dump(mode="json", by_alias=True)
    content |= {"$schema": "urn:memaudit:schema:report:1.2", "schema_version": "1.2"}
    for name in ("model", "content_sha256", "cards", "findings", "advice", "defences"):
        del content[name]
    later = {"null_kind", "null", "null_size", "observed", "p_value", "detectable_ssim", "tpr_at_1_fpr",
             "identifiable", "nearest", "identifiable_p_value", "pool", "decoys", "severity"}  # fmt: skip
    _drop(later, [content["verdict"]], [attack["metrics"] or {} for attack in content["attacks"]])
    matches = [match for attack in content["attacks"] for match in attack["matches"]]
    _drop({"nearest_ssim", "q_value", "rank"}, matches, [best["match"] for best in content["per_image"]])
    return content


def previous_content(report: AuditReport) -> dict[str, Any]:
    """Return a report as schema 1.1 had it: one result for each attack, and nothing that tells several apart."""
    content = recent_content(report)
    content |= {"$schema": "urn:memaudit:schema:report:1.1", "schema_version": "1.1"}
    for name in ("plan", "ranking", "per_image", "recovered_by_any"):
        del content[name]
    later = {"kind", "seed", "agreement", "pairs", "ssim_paper_max", "recovered_interval", "control_pairs",
             "control_recovered"}  # fmt: skip
    _drop(later, content["attacks"], [attack["metrics"] or {} for attack in content["attacks"]])
    _drop({"confidence"}, *(attack["reconstructions"] for attack in content["attacks"]))
    first = {"rank", "attack", "status", "ssim_mean", "ssim_max", "recovered", "loss", "seconds"}
    content["leaderboard"] = [{name: row[name] for name in first} for row in content["leaderboard"]]
    return content


def old_content(report: AuditReport) -> dict[str, Any]:
    """Return a report as schema 1.0 had it: one search over learning rates, and nothing of what came later."""
    content = previous_content(report)
    content |= {"$schema": "urn:memaudit:schema:report:1.0", "schema_version": "1.0"}
    del content["delta"]
    content["search"] = content["search"][:7]
    for name in ("schedule", "warmup", "clip", "labels", "dampening", "beta1", "beta2", "eps"):
        content["recipe"].pop(name, None)
    later = {"confidence", "interval", "optimizer", "batch_size", "epochs", "rung"}
    _drop(later, list(content["recipe"].values()), content["search"])
    _drop({"insignificant"}, *(attack["reconstructions"] for attack in content["attacks"]))
    return content


def _drop(names: set[str], *lists: list[dict[str, Any]]) -> None:
    for part in [part for parts in lists for part in parts]:
        for name in names & part.keys():
            del part[name]


def poisoned(report: AuditReport) -> AuditReport:
    kept = {"status", "source", "severity", "null_kind", "original", "reconstruction", "picture", "schema_version",
            "$schema", "kind", "evidence"}  # fmt: skip

    def poison(value: Any, key: str = "") -> Any:
        if key == "options":
            return {"".join(HOSTILE): "".join(HOSTILE)}
        if key == "facts":
            return {f"{name} {''.join(HOSTILE)}": poison(item, name) for name, item in value.items()}
        if key == "defences":
            return value
        if isinstance(value, dict):
            return {name: poison(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [poison(item, key) for item in value]
        return value + "".join(HOSTILE) if isinstance(value, str) and key not in kept else value

    return AuditReport.model_validate(poison(report.model_dump(by_alias=True)))


def _picture(root: Path, kind: str, i: int) -> Path:
    path = root / "pictures" / kind / f"{i:03}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _match(root: Path, i: int, name: str, label: str) -> Match:
    paths = [_picture(root, kind, i) for kind in ("originals", "simudy")]
    one, two = (np.asarray(Image.open(path)) / 255 for path in paths)
    ssim = float(structural_similarity(one, two, channel_axis=2, data_range=1.0))
    mse = float(((one - two) ** 2).mean())
    original, reconstruction = (path.relative_to(root).as_posix() for path in paths)
    return Match(
        sample=i,
        name=f"train/{label}/{name}",
        label=label,
        dummy=i,
        scores=Scores(ssim=ssim, ssim_paper=ssim * 0.9, psnr=-10 * float(np.log10(mse)), mse=mse),
        nearest_ssim=ssim,
        p_value=0.0099 if ssim > 0.5 else 0.14,
        q_value=0.033 if ssim > 0.5 else 0.2,
        rank=1 if ssim > 0.3 else 2 + i,
        recovered=ssim > 0.5,
        original=original,
        reconstruction=reconstruction,
    )


def _dummy(i: int, insignificant: bool = False) -> Dummy:
    picture = f"pictures/simudy/{i:03}.png"
    return Dummy(dummy=i, label=i % 10, influence=3.2 / (1 + i), picture=picture, insignificant=insignificant)


def _metrics(pairs: list[Match], images: int = len(PHOTOS)) -> Metrics:
    ssim = [pair.scores.ssim for pair in pairs]
    recovered = sum(pair.recovered for pair in pairs)
    null = np.sort(np.random.default_rng(2).normal(0.15, 0.05, 200)).tolist()
    observed = sorted(pair.nearest_ssim for pair in pairs)
    return Metrics(
        images=images,
        matching="hungarian",
        criterion="SSIM of at least 0.4",
        ssim_mean=float(np.mean(ssim)),
        ssim_max=max(ssim),
        ssim_paper_mean=float(np.mean(ssim)) * 0.9,
        psnr_mean=float(np.mean([pair.scores.psnr for pair in pairs])),
        recovered=recovered,
        recovered_fraction=recovered / images,
        recovered_interval=(0.067, 0.652),
        pairs=len(pairs),
        ssim_paper_max=max(ssim) * 0.9,
        control_pairs=200,
        control_recovered=0,
        control_ssim_mean=0.118,
        control_ssim_max=0.204,
        null_kind="control",
        null=null,
        null_size=len(null),
        observed=observed,
        p_value=float(mannwhitneyu(observed, null, alternative="greater").pvalue),
        detectable_ssim=0.437,
        tpr_at_1_fpr=float(np.mean(np.array(observed) > np.quantile(null, 0.99))),
        identifiable=sum(pair.rank == 1 for pair in pairs),
        nearest=images,
        pool=images + len(null),
        decoys=[
            Decoy(name="mean of the training images", ssim_mean=0.131, ssim_max=0.208),
            Decoy(name="smoothed noise", ssim_mean=0.067, ssim_max=0.112),
        ],
    )


def _finding(rule: str, severity: str, message: str, attack: str = "", **options: Any) -> Finding:
    name = RULES[rule].name
    return Finding(rule=rule, name=name, severity=severity, message=message, attack=attack, **options)


def _leak_findings(records: list[int]) -> list[Finding]:
    message = f"{len(records)} of {len(PHOTOS)} training images are recovered."
    return [
        _finding("MA001", "high", message, "simudy", records=records, fingerprint="5e" * 32),
        _finding("MA101", "none", "It ended as stalled.", "gradient_inversion"),
        _finding("MA101", "none", "It ended as unsupported: haim needs a binary classifier.", "haim"),
        _finding("MA106", "none", "Assumed, neither given nor inferred: lr."),
    ]


def _advice() -> list[Advice]:
    command = "memaudit defend runs/cifar/before.safetensors runs/cifar/after.safetensors --data train/"
    return [
        Advice(
            id="noise-change",
            title="Add noise to the change before publishing",
            effect="Costs accuracy, which --test measures. It is no differential privacy.",
            command=f"{command} --noise 0.01,0.1,1",
        ),
        Advice(
            id="dp-sgd",
            title="Train again with differential privacy (DP-SGD)",
            effect="Clips the gradient of each image and adds noise in every step. Audit the new pair all the same.",
        ),
    ]


def _defences() -> list[DefencePoint]:
    measured = [
        ("none", None, 0.0, 0.521, 0.94, 3, "fail", 0.871), ("noise", 0.01, 0.01, 0.52, 0.93, 3, "fail", 0.871),
        ("noise", 0.1, 0.1, 0.41, 0.71, 2, "fail", 0.868), ("noise", 1.0, 1.0, 0.14, 0.21, 0, "inconclusive", 0.74),
        ("bits", 8, 0.004, 0.52, 0.94, 3, "fail", 0.871), ("bits", 4, 0.07, 0.46, 0.83, 2, "fail", 0.869),
        ("bits", 2, 0.44, 0.22, 0.34, 0, "inconclusive", 0.81),
    ]  # fmt: skip
    names = ("kind", "value", "distortion", "ssim_mean", "ssim_max", "recovered", "verdict", "accuracy")
    return [DefencePoint(images=10, **dict(zip(names, row, strict=True))) for row in measured]


def _search() -> list[SearchPoint]:
    tried = [
        (0.001, 0.91, 0.04), (0.003, 0.78, 0.13), (0.01, 0.42, 0.46), (0.02, 0.212, 0.97), (0.03, 0.31, 1.48),
        (0.1, 0.66, 6.1), (0.3, None, None),
    ]  # fmt: skip
    return [
        SearchPoint(
            lr=lr,
            loss=loss,
            change_ratio=ratio,
            iterations=50 if loss else 7,
            status="budget_spent" if loss else "diverged",
            chosen=lr == 0.02,
        )
        for lr, loss, ratio in tried
    ]


def _wide_search() -> list[SearchPoint]:
    """Return three batch sizes in three rounds: all candidates, the best five, the best two; one diverged, one cut."""
    tried = [(lr, batch) for batch in (2, 5, 10) for lr in (0.003, 0.006, 0.01, 0.02, 0.03, 0.06, 0.1)]

    def point(lr: float, batch: int, rung: int) -> SearchPoint:
        off = float(np.log(lr / 0.02)) - 0.35 * float(np.log(batch / 5))
        lost, cut = (lr, batch) == (0.1, 2), (lr, batch) == (0.06, 10)
        loss = (0.12 + 0.3 * off**2 / (1 + off**2 / 3) + 0.05 * abs(float(np.log(batch / 5)))) / (1 + rung)
        return SearchPoint(
            lr=lr,
            optimizer="sgd",
            batch_size=batch,
            epochs=20,
            rung=rung,
            loss=None if lost else loss,
            cosine=None if lost else loss / 3,
            change_ratio=None if lost else float(np.exp(1.1 * off)),
            iterations=7 if lost else 31 if cut else 50 * 3**rung,
            status="diverged" if lost else "budget_spent" if cut else "stalled",
            chosen=(lr, batch, rung) == (0.02, 5, 2),
        )

    rounds = [tried, [(0.02, 5), (0.01, 5), (0.02, 10), (0.01, 2), (0.03, 5)], [(0.02, 5), (0.03, 5)]]
    return [point(lr, batch, rung) for rung, kept in enumerate(rounds) for lr, batch in kept]


def _delta() -> Delta:
    def tensor(name: str, shape: list[int], status: str, relative: float | None, snr: float | None) -> TensorReading:
        change = 0.0 if status == "frozen" else 0.4
        return TensorReading(
            name=name, shape=shape, dtype="float16", status=status, change=change, relative_change=relative, snr=snr
        )

    blocks = [f"layer{a}.{b}" for a in range(1, 5) for b in range(2)]
    return Delta(
        tensors=[
            tensor("conv1.weight", [64, 3, 3, 3], "moved", 0.0123, 41.7),
            *(
                tensor(f"{block}.conv{c}.weight", [64, 64, 3, 3], "moved", 0.021, 88.0)
                for block in blocks
                for c in (1, 2)
            ),
            tensor("layer4.1.bn2.weight", [512], "rounding", 4.1e-4, 1.2),
            tensor("layer4.1.bn2.bias", [512], "decayed", 9.9e-4, 3.4),
            tensor("layer4.1.bn2.num_batches_tracked", [], "frozen", None, None),
            tensor("fc.weight", [10, 512], "moved", 0.3, 1240.0),
        ],
        facts={
            "frozen": Fact(
                value=[f"encoder.layers.{i}.attention.bias" for i in range(31)], source="inferred", confidence=1.0
            ),
            "optimizer": Fact(
                value="sgd",
                source="inferred",
                option="--optimizer",
                evidence="The first layer's change is of low rank, and its entries are not of equal size.",
                confidence=0.97,
            ),
            "weight_decay": Fact(
                value=5e-4,
                source="inferred",
                evidence="layer4.1.bn2.bias got no gradient and shrank by 0.1 %.",
                confidence=0.72,
                interval=(4.1e-4, 6.3e-4),
            ),
            "classes_without_images": Fact(value=[3, 8], source="inferred", evidence="Rows of fc only decayed."),
        },
    )


def _recipe() -> dict[str, Fact]:
    facts = {
        "optimizer": ("sgd", "assumed", "The only one supported."),
        "size": (10, "inferred", "--data holds 10 images."),
        "lr": (0.02, "inferred", "Lowest early loss of 7 candidates.", 0.9, (0.016, 0.025)),
        "batch_size": (5, "inferred", "Lowest early loss of 3 batch sizes.", 0.55, None),
        "epochs": (20, "given", ""),
        "momentum": (0.0, "assumed", "Plain SGD unless told otherwise."),
        "nesterov": (False, "assumed", ""),
        "weight_decay": (0.0, "assumed", ""),
        "warmup": (0, "assumed", ""),
        "labels": ([1, 1, 2, 0, 1, 1, 1, 2, 0, 1], "inferred", "Bias of the last layer.", 0.81, None),
        "batch_norm": ("eval", "inferred", "The running statistics did not move."),
        "image_size": (SIDE, "inferred", "A 3 × 3 stem without pooling."),
        "normalise": (
            [0.4914, 0.4822, 0.4465, 0.247, 0.2435, 0.2616], "assumed", "The usual numbers for 32 × 32 images.",
        ),
    }  # fmt: skip
    keys = ("value", "source", "evidence", "confidence", "interval")
    return {
        name: Fact(option="--" + name.replace("_", "-"), **dict(zip(keys, fact, strict=False)))
        for name, fact in facts.items()
    }


def _report(
    verdict: Verdict,
    attacks: list[AttackResult],
    search: Sequence[SearchPoint] = (),
    delta: Delta = Delta(),  # noqa: B008
) -> AuditReport:
    return AuditReport(
        created="2026-11-22T13:24:05+00:00",
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
            data=Images(path="train/", sha256="0c" * 32, count=10, resized=True),
            control=Images(path="held-out/", sha256="d9" * 32, count=200),
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
        recipe=_recipe(),
        delta=delta,
        search=list(search),
        cards=reported(),
        attacks=attacks,
        leaderboard=[_row(rank, attack) for rank, attack in enumerate(attacks, 1)],
        limitations=[
            "The absence of a reconstruction is no proof of anonymity.",
            "The momentum was assumed to be 0; with another one the attack may fail on data that are at risk.",
        ],
        environment=Environment(
            memaudit="0.1.0", python="3.11.2", torch="2.13.0", platform="Linux-6.1-x86_64", device="cpu", threads=2
        ),
    )


def _verdict(status: str, reason: str, *gates: str) -> Verdict:
    found = [GateResult(expression=gate, status=status, reason=reason) for gate in gates]
    return Verdict(status=status, summary=reason, gates=found)


def _row(rank: int, attack: AttackResult) -> LeaderboardRow:
    found = {name: getattr(attack.metrics, name, None) for name in ("ssim_mean", "ssim_max", "recovered")}
    return LeaderboardRow(
        rank=rank, attack=attack.name, status=attack.status, loss=attack.loss, seconds=attack.seconds, **found
    )
