"""A made-up kind of record, as a stranger would add it: short sequences of numbers in [0, 1], shown as text."""

import torch

from memaudit.audit.report.exhibit import Text
from memaudit.audit.report.kind import Detail, RecordKind, Words


class Numbers:
    """Sequences (n, length); similar where they are near each other, place by place."""

    about = RecordKind(
        name="numbers",
        statistic="nearness",
        threshold=0.8,
        stem="nearness",
        words=Words(
            one="sequence",
            many="sequences",
            axes="length",
            similarity="mean nearness",
            compared="numbers",
            scored="their mean distance, place by place",
            mismatched="reversed ones",
            copied="rounded",
            hints="their range",
            merged="the median at each place is taken",
        ),
        details=(Detail(name="worst", title="Worst", said="largest distance", digits=2, brief=True, best=True),),
    )

    def __init__(self, medium):
        self.medium = medium

    def matrix(self, truth, guess, told=lambda pairs: None):
        told(len(truth) * len(guess))
        return 1 - 2 * (truth[:, None] - guess[None]).abs().mean(2).double()

    def pairs(self, one, two):
        return 1 - 2 * (one - two).abs().mean(1).double()

    def details(self, truth, guess, inputs):
        return {"worst": float((truth - guess).abs().max()), "first": float(guess[0, 0])}

    def mismatches(self, records):
        return [records.flip(1)]

    def decoys(self, truth, count, rng):
        return {"a constant": torch.full((1, truth.shape[1]), 0.5), "noise": torch.rand(count, *truth.shape[1:])}

    def alignment(self, one, two):
        return -torch.cdist(one.double(), two.double())

    def merged(self, records):
        return records.median(0).values

    def near_copies(self, control, truth):
        return int((torch.cdist(control, truth).amin(1) < 0.01).sum())

    def show(self, record, folder, name, keep=True):
        return Text(text=" ".join(f"{number:.4f}" for number in record.tolist()) if keep else "")
