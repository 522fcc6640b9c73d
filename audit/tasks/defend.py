"""``memaudit defend``: how much less a pair leaks once the published change is altered, and what that costs.

The pair is scanned as it is; then, for each defence, again with an altered checkpoint after training. The attacker of
an altered model is assumed to know the same recipe, and not to know of the defence.

::

    RUN/                            the scan of the pair as it is, and the report with the curve
    RUN/defences/recipe.toml        what that scan learned, and every other one is given
    RUN/defences/noise-0.1/         after.safetensors and the scan of it
"""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ... import MemauditError
from ...attacks.contract.params import Params
from ..checkpoints.pair import read
from ..data.base import TrainingSet
from ..data.opening import open_source
from ..events import Event, Listener, silence
from ..families.base import fitted
from ..files import write_text
from ..machine.numerics import exact_numerics
from ..recipe import file as recipe_file
from ..recipe.fields import SAID
from ..report.facts import Fact
from ..report.model import AuditReport
from ..report.verdict import DefencePoint
from ..request import ScanRequest, check
from ..run.store import Store
from ..scan.delivery import Delivery
from ..scan.pipeline import scan
from ..scan.place import run_folder
from ..scan.scene import Scene, load, prepared
from .alter import Defence, DefenceError, Distorted, publish

AFTER = "after.safetensors"
"""What an altered checkpoint is called in the folder of its scan."""

BATCH = 256
"""Test images that are classified at once."""

TOO_FEW = "MA102"
"""The rule that finds too few images to compare with."""


def defend(
    request: ScanRequest, defences: Sequence[Defence], test: str | None = None, listener: Listener = silence
) -> AuditReport:
    """Measure what a pair leaks as it is and after each defence, and write one report into the run folder.

    Running the same again resumes: every scan keeps its own state.

    Args:
        request: The scan of the pair as it is; it needs ``data``. ``max_time`` is that of each scan.
        defences: What to measure; at least one.
        test: Labelled images that the model's accuracy is measured on.
        listener: Hears one event for everything that happens.

    Returns:
        The report of the pair as it is, with its ``defences``: first ``none``, then one for each.

    Raises:
        MemauditError: Unusable input or options, in one sentence and a hint.
        Interrupted: The user stopped it; the state is saved.
    """
    check(request)
    if request.data is None:
        raise DefenceError("Without --data no leak can be measured.", "Give the data that the model was trained on.")
    if not defences:
        raise DefenceError("There is no defence to measure.", "Give --noise or --bits.")
    delivery = Delivery.of(request)
    with exact_numerics():
        scene = load(request)
        bench = None if test is None else _open_test(test, scene)
    with Store(run_folder(scene) / "defences").held():
        told, folder = _measure(request, defences, test, scene, bench, listener)
        delivery.write(told, folder, listener)
    return told


def _measure(
    request: ScanRequest,
    defences: Sequence[Defence],
    test: str | None,
    scene: Scene,
    bench: TrainingSet | None,
    listener: Listener,
) -> tuple[AuditReport, Path]:
    """Scan the pair as it is and after each defence; return the report with the curve, and the run folder."""
    if scene.pair.lora:
        raise MemauditError(
            f"{scene.pair.after.path} is a LoRA adapter, and defend alters whole weights.",
            "Run memaudit scan on it.",
        )
    folder = run_folder(scene)
    place = folder / "defences"
    runs = [Store(place / defence.name).folder for defence in defences]
    made = [
        publish(scene.pair, defence, request.seed, run / AFTER) for defence, run in zip(defences, runs, strict=True)
    ]
    plain = dataclasses.replace(request, out=folder, outputs=())
    listener(Event("defend", f"the pair as it is, then {_many(len(defences), 'defence')}, each scanned separately"))
    scans = [scan(plain, listener, search=True)]  # what no attack on the plain pair needs, those on the others may
    points = [_point(scans[0], Distorted("none", None, 0.0), _accuracy(scene, scene.pair.after.tensors, bench))]
    given = _informed(plain, scans[0], place / "recipe.toml")
    for number, (defence, run, distorted) in enumerate(zip(defences, runs, made, strict=True), 1):
        listener(Event("defend", f"{defence} ({number} of {len(defences)})"))
        scans.append(scan(dataclasses.replace(given, after=run / AFTER, out=run), listener))
        points.append(_point(scans[-1], distorted, _accuracy(scene, read(run / AFTER).tensors, bench)))
    _warn(scans, listener)
    told = scans[0].model_copy(update={"defences": points, "command": _command(request, defences, test)})
    return told.sealed(), folder


def _open_test(spec: str, scene: Scene) -> TrainingSet:
    request = scene.request
    found = open_source(spec, scene.architecture.shape, prepared(request), request.skip_unreadable, scene.victim.medium)
    most = scene.architecture.categories
    if bool((found.labels < 0).any()):
        raise DefenceError(f"--test {spec} has images without a label.", "Accuracy needs one for each image.")
    if int(found.labels.max()) >= most:
        raise DefenceError(
            f"--test {spec} has the label {int(found.labels.max())}; the network has {most} classes.",
            "Number the classes from 0, as in training.",
        )
    return found


def _warn(scans: Sequence[AuditReport], listener: Listener) -> None:
    if not scans[0].recovered_by_any:
        listener(Event("warning", "Nothing was recovered from the pair as it is, so no defence can improve on it."))
    if any(finding.rule == TOO_FEW for scan in scans for finding in scan.findings):
        kind, words = scans[0].kind, scans[0].kind.words
        told = f"There are so few {words.many} to compare with that a defended one hardly ever counts as recovered."
        more = f"Compare the {kind.statistic} instead, or give more {words.many} with --control."
        listener(Event("warning", f"{told} {more}"))


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _informed(request: ScanRequest, report: AuditReport, path: Path) -> ScanRequest:
    """Return a request whose recipe is what a scan knew, learned and assumed, all of it given; nothing is searched for.

    Label counts that the scan made up are not part of it, as its own attacks did not use them either.
    """
    facts = {
        name: Fact(value=fact.value, source="given", evidence=f"{fact.source} by the scan of the pair as it is")
        for name, fact in report.recipe.items()
        if name != "labels" or fact.source == "given"
    }
    unsaid: dict[str, Any] = dict.fromkeys(name for name in SAID if name in recipe_file.FILED)
    recipe = write_text(path, recipe_file.dump(facts))
    return dataclasses.replace(request, **unsaid, recipe=recipe, name=report.model)


def _accuracy(scene: Scene, tensors: Params, test: TrainingSet | None) -> float | None:
    """Return the share of the test images that the network classifies correctly with these tensors, in eval mode."""
    if test is None:
        return None
    victim = scene.victim
    whole, like = fitted(tensors, victim.module), victim.like
    params = {name: whole[name].to(like.device) for name in (*victim.theta0, *victim.buffers)}
    params = {name: value.to(like.dtype) if value.is_floating_point() else value for name, value in params.items()}
    right = 0
    with torch.no_grad(), exact_numerics():
        for start in range(0, len(test.labels), BATCH):
            part = slice(start, start + BATCH)
            logits = victim.logits(params, victim.medium.encode(test.records[part].to(like)))
            guess = logits.argmax(1) if victim.classes > 1 else (logits[:, 0] > 0).long()
            right += int((guess.cpu() == test.labels[part]).sum())
    return right / len(test.labels)


def _point(report: AuditReport, made: Distorted, accuracy: float | None) -> DefencePoint:
    """Return what an attacker gets: the best result of any attack, and all that they recover together."""
    measured = [attack.metrics for attack in report.attacks if attack.metrics]
    data = report.inputs.data
    return DefencePoint(
        kind=made.kind,
        value=made.value,
        distortion=made.distortion,
        records=data.count if data else 0,
        similarity_mean=max((metrics.similarity_mean for metrics in measured), default=None),
        similarity_max=max((metrics.similarity_max for metrics in measured), default=None),
        recovered=report.recovered_by_any if measured else None,
        exposed_auc=report.exposure.own.auc if report.exposure else None,
        exposed_at_least=report.exposure.at_least if report.exposure else None,
        verdict=report.verdict.status,
        accuracy=accuracy,
    )


def _command(request: ScanRequest, defences: Sequence[Defence], test: str | None) -> str:
    words = ["memaudit", "defend", *shlex.split(request.command())[2:]]
    for kind in ("noise", "bits"):
        if values := [f"{defence.value:.10g}" for defence in defences if defence.kind == kind]:
            words += [f"--{kind}", ",".join(values)]
    return shlex.join([*words, *(["--test", test] if test else [])])
