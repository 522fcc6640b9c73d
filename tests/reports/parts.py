"""The parts of a sample report that are not about its records: findings, advice, search, change, recipe."""

from typing import Any

import numpy as np

from memaudit.audit.report.facts import Delta, Fact, SearchPoint, TensorReading
from memaudit.audit.report.verdict import Advice, DefencePoint, Finding, GateResult, Verdict
from memaudit.audit.verdict.rules import RULES

from .pairs import PHOTOS, SIDE


def finding(rule: str, severity: str, message: str, attack: str = "", **options: Any) -> Finding:
    name = RULES[rule].name
    return Finding(rule=rule, name=name, severity=severity, message=message, attack=attack, **options)


def leak_findings(records: list[int]) -> list[Finding]:
    message = f"{len(records)} of {len(PHOTOS)} training images are recovered."
    return [
        finding("MA001", "high", message, "simudy", records=records, fingerprint="5e" * 32),
        finding("MA101", "none", "It ended as stalled.", "gradient_inversion"),
        finding("MA101", "none", "It ended as unsupported: haim needs a binary classifier.", "haim"),
        finding("MA106", "none", "Assumed, neither given nor inferred: learning rate."),
    ]


def advice() -> list[Advice]:
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


def defences() -> list[DefencePoint]:
    measured = [
        ("none", None, 0.0, 0.521, 0.94, 3, "fail", 0.871), ("noise", 0.01, 0.01, 0.52, 0.93, 3, "fail", 0.871),
        ("noise", 0.1, 0.1, 0.41, 0.71, 2, "fail", 0.868), ("noise", 1.0, 1.0, 0.14, 0.21, 0, "inconclusive", 0.74),
        ("bits", 8, 0.004, 0.52, 0.94, 3, "fail", 0.871), ("bits", 4, 0.07, 0.46, 0.83, 2, "fail", 0.869),
        ("bits", 2, 0.44, 0.22, 0.34, 0, "inconclusive", 0.81),
    ]  # fmt: skip
    names = ("kind", "value", "distortion", "similarity_mean", "similarity_max", "recovered", "verdict", "accuracy")
    return [DefencePoint(records=10, **dict(zip(names, row, strict=True))) for row in measured]


def search() -> list[SearchPoint]:
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


def wide_search() -> list[SearchPoint]:
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


def delta() -> Delta:
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
            "weight_decay_factor": Fact(
                value=0.99949,
                source="inferred",
                evidence="layer4.1.bn2.bias got no gradient and shrank by 0.1 %.",
                confidence=0.72,
                interval=(0.99937, 0.99959),
            ),
            "classes_present": Fact(value=[3, 8], source="inferred", evidence="Rows of fc rose."),
        },
    )


def recipe() -> dict[str, Fact]:
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


def judged(status: str, reason: str, *gates: str) -> Verdict:
    found = [GateResult(expression=gate, status=status, reason=reason) for gate in gates]
    return Verdict(status=status, summary=reason, gates=found)
