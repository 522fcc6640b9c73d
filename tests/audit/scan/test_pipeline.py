import dataclasses
import json
import time

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from memaudit.attacks.contract.attack import Reconstruction
from memaudit.attacks.contract.params import cosine_distance, subtract
from memaudit.attacks.simulation.adjoints import FullGraph
from memaudit.attacks.simulation.dynamics import batch_plan, simulate
from memaudit.attacks.simulation.losses import training_loss
from memaudit.audit import plugins
from memaudit.audit.data.base import DataError
from memaudit.audit.families.base import UnknownArchitecture
from memaudit.audit.report.facts import Delta
from memaudit.audit.report.file import load
from memaudit.audit.report.model import content_digest
from memaudit.audit.request import RequestError, ScanRequest
from memaudit.audit.run.campaign import Campaign
from memaudit.audit.scan import evidence
from memaudit.audit.scan.pipeline import scan
from memaudit.audit.scan.scene import RUNS
from memaudit.audit.scan.scene import load as load_scene
from memaudit.audit.scoring import effort as scoring
from memaudit.audit.verdict.expression import parse
from memaudit.audit.verdict.gate import judge

from ..conftest import PRIVATE, SIDE, photographs


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def audited(leak, tmp_path_factory):
    torch.set_num_threads(1)
    events, out = [], tmp_path_factory.mktemp("runs") / "run"
    request = ScanRequest(
        leak.before, leak.after, data=leak.data, control=leak.control, normalise="0.5;0.25", epochs=10,
        attacks=("simudy",), options=("simudy.iterations=60", "simudy.alpha=0.03"), out=out,
    )  # fmt: skip
    return scan(request, events.append), events, out, request


def test_finds_the_leak_with_the_learning_rate_unknown(audited):
    report, *_ = audited
    attack = report.attacks[0]
    assert report.verdict.status == "fail"
    assert attack.status == "converged"
    assert attack.metrics.similarity_mean > 0.8
    assert attack.metrics.recovered == 4
    assert all(match.scores.similarity > attack.metrics.control_similarity_max for match in attack.matches)
    assert [match.sample for match in attack.matches] == [0, 1, 2, 3]
    assert [match.label for match in attack.matches] == ["astronaut", "chelsea", "coffee", "rocket"]
    assert all(match.p_value <= match.q_value <= 0.01 and match.rank == 1 for match in attack.matches)
    assert all(finding.fingerprint for finding in report.findings)
    assert report.verdict.severity == report.findings[0].severity == "critical"
    assert report.content_sha256 == content_digest(json.loads(report.to_json()))
    assert {match.dummy for match in attack.matches} == {0, 1, 2, 3}


def test_search_trace_holds_every_candidate(audited):
    report, *_ = audited
    assert len(report.search) >= 3
    assert sum(point.chosen for point in report.search) == 1
    chosen = next(point for point in report.search if point.chosen)
    assert chosen.lr == report.recipe["lr"].value
    assert chosen.loss == min(point.loss for point in report.search)
    assert 0.005 < chosen.lr < 0.06
    assert report.recipe["lr"].source == "inferred"


def test_every_assumption_is_marked_and_warned_of_once(audited):
    report, events, *_ = audited
    warnings = [event.message for event in events if event.stage == "warning"]
    assert len(warnings) == 1
    for name, fact in report.assumptions().items():
        assert f"{name} = {fact.value} ({fact.option or fact.evidence})" in warnings[0]
    assert report.recipe["epochs"].source == "given"
    assert report.recipe["batch_size"].source == "assumed"


def test_run_folder_holds_reports_evidence_and_nothing_half_written(audited):
    report, _, out, _ = audited
    found = files(out)
    assert {"report.json", "report.html", "events.jsonl"} <= found
    pictures = {m.truth.path for m in report.attacks[0].matches}
    pictures |= {d.exhibit.path for d in report.attacks[0].reconstructions}
    assert len(pictures) == 8
    assert pictures <= found
    assert not any(name.endswith(".tmp") for name in found)
    assert load(out) == report
    assert "not given" not in json.loads((out / "report.json").read_text())["verdict"]["summary"]


def test_the_same_request_again_reuses_everything(audited):
    report, _, _, request = audited
    events = []
    again = scan(request, events.append)
    assert not [event for event in events if event.step and event.stage != "match"]
    assert again.attacks == report.attacks
    assert again.search == report.search


def test_the_same_seed_gives_the_same_numbers_in_another_folder(audited, tmp_path):
    report, _, out, request = audited
    again = scan(dataclasses.replace(request, out=tmp_path / "other"))
    timeless = {"seconds": 0, "peak_memory_bytes": 0}
    assert again.attacks[0].model_copy(update=timeless) == report.attacks[0].model_copy(update=timeless)
    for picture in (out / "evidence").rglob("*.png"):
        assert picture.read_bytes() == (tmp_path / "other" / picture.relative_to(out)).read_bytes()


def test_without_data_there_is_no_claim(leak, options, tmp_path):
    report = scan(ScanRequest(leak.before, leak.after, lr=0.02, size=4, out=tmp_path / "run", **options))
    attack = report.attacks[0]
    assert report.verdict.status == "inconclusive"
    assert (attack.metrics, attack.matches) == (None, [])
    assert len(attack.reconstructions) == 4
    assert attack.loss < 0.1
    assert all(dummy.influence > 0 for dummy in attack.reconstructions)
    assert "--data" in report.verdict.summary
    assert report.leaderboard[0].similarity_mean is None
    assert report.search == []


def test_more_or_fewer_dummies_than_images(leak, options, tmp_path):
    for size in (2, 6):
        request = ScanRequest(
            leak.before, leak.after, data=leak.data, lr=0.02, size=size, out=tmp_path / str(size), **options
        )
        report = scan(request)
        assert len(report.attacks[0].matches) == min(size, 4)
        assert len(report.attacks[0].reconstructions) == size


def test_a_time_budget_that_is_too_short_claims_nothing(leak, options, tmp_path):
    events = []
    request = ScanRequest(leak.before, leak.after, data=leak.data, max_time=0.001, out=tmp_path / "run", **options)
    report = scan(request, events.append)
    assert report.attacks[0].status == "budget_spent"
    assert report.attacks[0].metrics is None
    assert report.verdict.status == "inconclusive"
    assert report.recipe["lr"].source == "assumed"
    assert not any(point.chosen for point in report.search)
    assert any("--lr" in event.message for event in events if event.stage == "warning")
    assert any("learning rate" in text for text in report.limitations)


def test_too_few_iterations_clear_nothing(leak, options, tmp_path):
    request = ScanRequest(leak.before, leak.after, data=leak.data, lr=0.02, max_iterations=3, out=tmp_path, **options)
    report = scan(dataclasses.replace(request, fail_if=("ssim_mean>0.99",)))
    assert report.attacks[0].status == "budget_spent"
    assert report.verdict.status == "inconclusive"


def test_control_images_that_are_members_are_refused_before_any_work(leak, tmp_path):
    events = []
    with pytest.raises(DataError, match="held out"):
        scan(
            ScanRequest(leak.before, leak.after, data=leak.data, control=leak.data, out=tmp_path / "run"), events.append
        )
    assert {event.stage for event in events} == {"load"}
    assert not (tmp_path / "x").exists()


def test_another_model_file_is_another_question(leak, options, tmp_path):
    """The user's own network may change between two scans: its behaviour is part of the job's key."""
    model, losses = tmp_path / "model.py", []
    for activation in ("ReLU", "Tanh"):
        model.write_text(
            "from torch import nn\ndef build():\n"
            f"    return nn.Sequential(nn.Flatten(), nn.Linear(432, 64), nn.{activation}(), nn.Linear(64, 4))\n"
        )
        request = ScanRequest(
            leak.before, leak.after, model=f"{model}:build", image_size=12, lr=0.02, size=4, out=tmp_path / "run",
            **options,
        )  # fmt: skip
        losses.append(scan(request).attacks[0].loss)
    assert losses[0] != losses[1]
    assert len(list((tmp_path / "run").glob("jobs/*"))) == 2


def test_greedy_matching_is_reachable_and_named(leak, options, tmp_path):
    request = ScanRequest(leak.before, leak.after, data=leak.data, lr=0.02, out=tmp_path, matching="greedy", **options)
    assert scan(request).attacks[0].metrics.matching == "greedy"


def test_pictures_that_no_report_shows_are_deleted(leak, options, tmp_path):
    request = ScanRequest(leak.before, leak.after, data=leak.data, lr=0.02, out=tmp_path / "run", **options)
    first = scan(request)
    own = tmp_path / "run" / "evidence" / "holiday.png"
    own.write_bytes(b"the user's own")
    second = scan(dataclasses.replace(request, size=2))
    left = {name for name in files(tmp_path / "run") if name.endswith(".png")}
    assert left == second.pictures() | {"evidence/holiday.png"}
    assert left != first.pictures()


def test_a_report_of_a_newer_minor_version_still_loads_and_gates(audited, tmp_path):
    _, _, out, _ = audited
    content = json.loads((out / "report.json").read_text())
    content |= {"schema_version": "2.9", "novelty": 1}
    content["attacks"][0]["novelty"] = {"a": 2}
    (tmp_path / "report.json").write_text(json.dumps(content))
    found = load(tmp_path)
    assert judge(found.attacks, [parse("simudy.recovered>=4")], found.kind).status == "fail"


def test_the_command_in_the_report_asks_the_same(audited):
    report, _, out, request = audited
    assert f"--data {request.data} --control {request.control}" in report.command
    assert "--normalise '0.5;0.25'" in report.command
    assert "--set simudy.iterations=60" in report.command
    assert f"--out {out}" in report.command


@pytest.mark.parametrize("spec", ["mlp", "conv", "resnet18"])
def test_oracle_through_files_the_true_images_explain_the_change(spec, tmp_path):
    """Files, recognition, normalisation and simulation together: with the true data the cosine distance vanishes."""
    torch.manual_seed(0)
    network = {
        "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3072, 20), nn.ReLU(), nn.Linear(20, 4)),
        "conv": lambda: nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(392, 4)),
        "resnet18": lambda: torchvision.models.resnet18(num_classes=4),
    }[spec]()
    x, labels = torch.rand(3, 3, 32, 32), torch.tensor([0, 2, 3])
    torch.save({"model": network.state_dict()}, tmp_path / "a.pth")
    network.eval()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network((x - 0.4) / 0.3), labels).backward()
        optimizer.step()
    save_file(network.state_dict(), tmp_path / "b.safetensors")
    (tmp_path / "own.py").write_text(
        "from torch import nn\ndef build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(392, 4))\n"
    )
    model = f"{tmp_path / 'own.py'}:build" if spec == "conv" else "auto"
    request = ScanRequest(
        tmp_path / "a.pth", tmp_path / "b.safetensors", model=model, image_size=32, normalise="0.4;0.3", size=3,
        lr=0.01, epochs=4,
    )  # fmt: skip
    scene = load_scene(request)
    victim, recipe = scene.victim, scene.known.recipe
    plan = batch_plan(recipe, 3, torch.Generator())
    final = simulate(victim, recipe, victim.medium.encode(x), labels, plan, adjoint=FullGraph())
    assert cosine_distance(subtract(final, victim.theta0), victim.delta).item() < 1e-6


def test_a_diverged_attack_never_stops_the_run(leak, options, tmp_path):
    settings = (*options["options"], "simudy.step_size=1e30", "simudy.distance=euclidean")
    request = ScanRequest(
        leak.before, leak.after, data=leak.data, lr=0.02, out=tmp_path / "run", **{**options, "options": settings}
    )
    report = scan(request)
    assert report.attacks[0].status == "diverged"
    assert report.verdict.status in ("inconclusive", "fail")
    assert any("diverged" in text for text in report.limitations)


def narrow_vgg():
    """VGG-11 with a narrow head: the real one has a hundred million weights more."""
    with torch.device("meta"):
        network = torchvision.models.vgg11_bn(num_classes=2)
    network.features = network.features.to_empty(device="cpu")
    for value in network.features.state_dict().values():
        value.copy_(0.05 * torch.randn(value.shape).abs() if value.ndim < 2 else 0.05 * torch.randn(value.shape))
    layers = (nn.Linear(512 * 49, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 8), nn.ReLU(), nn.Dropout())
    network.classifier = nn.Sequential(*layers, nn.Linear(8, 2))
    return network


BARE = {
    "mlp": lambda: torch.nn.Sequential(torch.nn.Linear(784, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)),
    "tabular": lambda: nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2)),
    "resnet18": lambda: torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=2),
    "vgg11_bn": lambda: narrow_vgg(),
}
KNOWN = {"resnet18": {"image_size": 32, "optimizer": "sgd"}, "vgg11_bn": {"lr": 0.01}}
"""What is given so that the larger networks take seconds."""


@pytest.mark.parametrize("name", BARE)
def test_the_bare_command_runs_to_a_report(name, tmp_path):
    """Hardly more known than the two files: every recognised architecture gets to a report."""
    network = BARE[name]()
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    after = {
        k: v + 1e-3 * torch.randn_like(v) if v.is_floating_point() else v
        for k, v in load_file(tmp_path / "a.safetensors").items()
    }
    save_file(after, tmp_path / "b.safetensors")
    request = ScanRequest(
        tmp_path / "a.safetensors", tmp_path / "b.safetensors", max_iterations=1, out=tmp_path / "run",
        attacks=("simudy",), options=("simudy.epochs=1",), **KNOWN.get(name, {}),
    )  # fmt: skip
    report = scan(request)
    assert bool(report.search) == (request.lr is None)
    assert report.recipe["size"].value == 4
    assert report.recipe["size"].source == "assumed"
    assert report.architecture.shape == {"mlp": (1, 28, 28), "tabular": (1, 1, 10)}.get(
        name, (3, 32, 32) if name == "resnet18" else (3, 64, 64)
    )
    assert report.attacks[0].loss is not None
    assert report.verdict.status == "inconclusive"
    assert (tmp_path / "run" / "report.html").stat().st_size > 5000


def test_a_colour_conv_net_scanned_twice_gives_the_same_report(tmp_path):
    """Large enough that the memory layout of a live and of a loaded image would show in the last bit of a sum."""
    network = nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 10))
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    images, labels = torch.rand(10, 3, 32, 32), torch.arange(10)
    nn.functional.cross_entropy(network(images * 4 - 2), labels).backward()
    after = {name: value.detach() - 0.01 * value.grad for name, value in network.named_parameters()}
    save_file(after, tmp_path / "b.safetensors")
    save_file({"images": images, "labels": labels}, tmp_path / "data.safetensors")
    (tmp_path / "own.py").write_text(
        "from torch import nn\ndef build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 10))\n"
    )
    request = ScanRequest(
        tmp_path / "a.safetensors", tmp_path / "b.safetensors", data=tmp_path / "data.safetensors", lr=0.01, epochs=1,
        model=f"{tmp_path / 'own.py'}:build", normalise="0.5;0.25", attacks=("simudy",), max_iterations=12,
        out=tmp_path / "run",
    )  # fmt: skip
    assert scan(request).attacks == scan(request).attacks


def trained(folder, network, optimizer, steps=10, train=False, dtype=torch.float32):
    """Train ``network`` on the four photographs with plain torch, save it before and after; return scan's arguments."""
    x, labels = torch.from_numpy(photographs(PRIVATE)).permute(0, 3, 1, 2) / 255 * 4 - 2, torch.arange(4)
    save_file(network.state_dict(), folder / "a.safetensors")
    updates = optimizer(network.parameters())
    network.train(train)
    for _ in range(steps):
        updates.zero_grad()
        nn.functional.cross_entropy(network(x), labels).backward()
        updates.step()
    after = {k: v.to(dtype) if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save_file(after, folder / "b.safetensors")
    np.savez(folder / "data.npz", images=photographs(PRIVATE), labels=labels.numpy())
    return {"before": folder / "a.safetensors", "after": folder / "b.safetensors", "data": folder / "data.npz",
            "normalise": "0.5;0.25", "attacks": ("simudy",), "options": ("simudy.iterations=60", "simudy.alpha=0.03"),
            "out": folder / "run"}  # fmt: skip


def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, 4))


def test_labels_that_are_given_are_used_and_stay(leak, options, tmp_path):
    request = ScanRequest(leak.before, leak.after, data=leak.data, lr=0.02, labels="data", out=tmp_path, **options)
    report = scan(request)
    assert (report.recipe["labels"].value, report.recipe["labels"].source) == ([1, 1, 1, 1], "given")
    assert sorted(dummy.label for dummy in report.attacks[0].reconstructions) == [0, 1, 2, 3]
    wrong = scan(dataclasses.replace(request, labels="0:3,2:1"))
    assert sorted(dummy.label for dummy in wrong.attacks[0].reconstructions) == [0, 0, 0, 2]
    assert wrong.attacks[0].loss > report.attacks[0].loss
    assert "--labels 0:3,2:1" in wrong.command


def test_idle_dummies_of_too_large_a_set_are_set_apart(leak, options, tmp_path):
    options["options"] = (*options["options"], "simudy.coarse=0")
    request = ScanRequest(
        leak.before,
        leak.after,
        data=leak.data,
        lr=0.02,
        size=6,
        labels="0:1,1:2,2:1,3:2",
        out=tmp_path,
        seed=2,  # others leave images that two dummies share
        **options,
    )
    attack = scan(request).attacks[0]
    idle = {dummy.dummy for dummy in attack.reconstructions if dummy.insignificant}
    kept = {dummy.dummy for dummy in attack.reconstructions} - idle
    assert len(idle) == 2
    assert {match.dummy for match in attack.matches} == kept
    assert attack.metrics.recovered == 4
    weight = {dummy.dummy: dummy.influence for dummy in attack.reconstructions}
    assert max(weight[i] for i in idle) < min(weight[i] for i in kept)
    for match in attack.matches:
        assert match.reconstruction == attack.reconstructions[match.dummy].exhibit


def test_as_many_dummies_as_the_change_shows_images_are_never_set_apart(leak, options, tmp_path):
    """An image with a small influence is an image: it must not drop out of the comparison."""
    request = ScanRequest(leak.before, leak.after, data=leak.data, lr=0.02, max_iterations=2, out=tmp_path, **options)
    scene = load_scene(request)

    def idle(*values, scene=scene, twins=None, loss=0.05):
        count = len(values)
        found = Reconstruction(torch.zeros(count, 3, 12, 12), torch.zeros(count, 3, 12, 12),
                               torch.zeros(count, dtype=torch.long), torch.tensor(values), loss,
                               None if twins is None else torch.tensor(twins))  # fmt: skip
        return evidence._idle(scene, found).tolist()

    assert not any(idle(90.0, 80.0, 70.0, 60.0, 9.0, 8.0))
    larger = dataclasses.replace(scene, request=dataclasses.replace(request, size=6))
    assert scene.delta.facts["size"].value == 4
    assert not any(idle(90.0, 80.0, 70.0, 10.0, scene=larger))
    assert idle(90.0, 80.0, 70.0, 10.0, 9.0, scene=larger) == [False, False, False, False, True]
    assert idle(90.0, 80.0, 70.0, 60.0, 9.0, 8.0, scene=larger) == [False] * 4 + [True] * 2
    assert not any(idle(90.0, 80.0, 70.0, 60.0, 9.0, 8.0, scene=larger, loss=0.2))
    twins = [False, True, False, False, False]
    assert idle(90.0, 80.0, 70.0, 60.0, 59.0, scene=larger, twins=twins) == twins
    unread = dataclasses.replace(larger, delta=Delta())
    assert idle(90.0, 80.0, 70.0, 10.0, scene=unread) == [False, False, False, True]


def test_fewer_dummies_than_the_change_shows_images_are_too_few(leak, options, tmp_path):
    report = scan(ScanRequest(leak.before, leak.after, lr=0.02, size=2, out=tmp_path / "run", **options))
    assert report.delta.facts["size"].value == 4
    said = [text for text in report.limitations if "too small" in text]
    assert len(said) == 1
    assert "2 images" in said[0]
    assert "--size 4" in said[0]
    report = scan(ScanRequest(leak.before, leak.after, lr=0.02, size="auto", out=tmp_path / "auto", **options))
    assert (report.recipe["size"].value, report.recipe["size"].source) == (4, "inferred")
    assert not any("too small" in text for text in report.limitations)


def test_batch_norm_that_was_in_train_mode_is_scanned_so(tmp_path):
    def build():
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(200, 4)
        )  # fmt: skip

    words = trained(tmp_path, build(), lambda p: torch.optim.SGD(p, 0.02), train=True)
    (tmp_path / "own.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), "
        "nn.ReLU(), nn.Flatten(), nn.Linear(200, 4))\n"
    )
    request = ScanRequest(**words, model=f"{tmp_path / 'own.py'}:build", image_size=12, lr=0.02)
    scene = load_scene(request)
    assert (scene.known.recipe.batch_norm, scene.known.recipe.epochs) == ("train", 10)
    assert len(scene.victim.running) == 2
    report = scan(request)
    fact = report.recipe["batch_norm"]
    assert (fact.value, fact.source) == ("train", "inferred")
    assert "running statistics" in fact.evidence
    assert report.recipe["epochs"].source == "inferred"
    assert report.attacks[0].loss < 0.05
    other = scan(dataclasses.replace(request, batch_norm="eval", out=tmp_path / "eval"))
    assert (other.recipe["batch_norm"].value, other.recipe["batch_norm"].source) == ("eval", "given")
    assert other.attacks[0].loss > report.attacks[0].loss


def test_what_bf16_rounded_away_is_left_out_and_named(tmp_path):
    words = trained(tmp_path, small(), lambda p: torch.optim.SGD(p, 8e-4), dtype=torch.bfloat16)
    request = ScanRequest(**words, lr=8e-4, epochs=10)
    scene = load_scene(request)
    assert "3.bias" in scene.victim.masked
    assert "3.bias" not in scene.victim.delta
    assert scene.victim.masked < scene.victim.theta0.keys()
    report = scan(request)
    rounding = {row.name for row in report.delta.tensors if row.status == "rounding"}
    assert rounding == scene.victim.masked
    assert {row.dtype for row in report.delta.tensors} == {"bfloat16"}
    said = [text for text in report.limitations if "rounding" in text]
    assert len(said) == 1
    assert f"{len(rounding)} tensor" in said[0]
    assert report.inputs.after.dtypes == ["bfloat16"]


def test_an_adamw_pair_is_recognised_and_simulated_as_adam(tmp_path):
    words = trained(tmp_path, small(), lambda p: torch.optim.AdamW(p, 2e-3, weight_decay=0.01))
    report = scan(ScanRequest(**words, epochs=10))
    recipe = report.recipe
    assert recipe["optimizer"].value in ("adam", "adamw")
    assert recipe["optimizer"].source == "inferred"
    assert recipe["momentum"].evidence == "Adam has none"
    low, high = recipe["lr"].interval
    assert low < 2e-3 < high
    assert recipe["lr"].value == pytest.approx(2e-3, rel=0.3)
    assert {point.optimizer for point in report.search} <= {"adam", "adamw"}
    assert sum(point.chosen for point in report.search) == 1
    assert report.attacks[0].metrics.similarity_mean > 0.4
    given = scan(ScanRequest(**{**words, "out": tmp_path / "sgd"}, epochs=10, optimizer="sgd", lr=0.02))
    assert given.recipe["optimizer"].source == "given"
    assert given.attacks[0].loss > report.attacks[0].loss


CHOSEN = {"normalise": "0.5;0.25", "epochs": 10}
"""What the auditor of the leaking pair knows, and lets the planner choose."""


def choices(report):
    return [(step.attack, step.runs, step.reason, step.start_from) for step in report.plan]


def test_the_planner_runs_what_is_exact_and_leaves_out_the_rest_with_a_reason(leak, tmp_path):
    events = []
    request = ScanRequest(leak.before, leak.after, data=leak.data, lr=0.02, out=tmp_path / "run", **CHOSEN)
    report = scan(request, events.append)
    assert {step.attack for step in report.plan} == set(plugins.available("memaudit.attacks"))
    assert all(step.reason for step in report.plan)
    ran = [step for step in report.plan if step.runs]
    assert [attack.name for attack in report.attacks] == [step.attack for step in ran]
    assert ran[-1].attack in ("spear", "span")
    assert report.attacks[-1].status == "converged"
    assert report.attacks[-1].metrics.similarity_mean > 0.95
    assert all(step.seconds > 0 and step.peak_memory_bytes > 0 and step.share is None for step in ran)
    simudy = next(step for step in report.plan if step.attack == "simudy")
    assert f"{ran[-1].attack} converged" in simudy.reason
    (told,) = [event for event in events if event.plan]
    assert [step["attack"] for step in told.plan] == [step.attack for step in report.plan]
    assert [step["attack"] for step in told.plan if step["runs"]] == [step.attack for step in ran]
    assert choices(scan(dataclasses.replace(request, out=tmp_path / "again"))) == choices(report)
    assert load(tmp_path / "run") == report


def test_the_planner_searches_for_the_learning_rate_by_simulation(leak, tmp_path):
    options = ("simudy.iterations=60",)  # asked for, so that it runs although spear explains the change
    report = scan(ScanRequest(leak.before, leak.after, data=leak.data, options=options, out=tmp_path, **CHOSEN))
    assert len(report.search) >= 3
    assert report.recipe["lr"].source == "inferred"
    assert report.attacks[0].name in ("spear", "span")
    assert report.command.split()[:2] == ["memaudit", "scan"]
    assert "--attack" not in report.command


def test_a_gate_that_names_an_attack_has_it_run(leak, tmp_path):
    request = ScanRequest(leak.before, leak.after, data=leak.data, lr=0.02, max_iterations=20, out=tmp_path, **CHOSEN)
    report = scan(dataclasses.replace(request, fail_if=("simudy.ssim_mean<-1",)))
    assert "simudy" in {attack.name for attack in report.attacks}
    assert report.verdict.gates[0].expression == "simudy.ssim_mean<-1"


def test_the_time_is_split_between_the_attacks(leak, tmp_path):
    report = scan(ScanRequest(leak.before, leak.after, lr=0.02, size=4, max_time=60, out=tmp_path, **CHOSEN))
    shares = [step.share for step in report.plan if step.runs]
    assert all(0 < share < 60 for share in shares)


def test_restarts_run_every_seed_and_resume(leak, options, tmp_path):
    request = ScanRequest(
        leak.before, leak.after, data=leak.data, lr=0.02, out=tmp_path / "run", seed=3, restarts=2,
        max_iterations=30, **options,
    )  # fmt: skip
    report = scan(request)
    runs = [attack for attack in report.attacks if attack.kind == "run"]
    assert [(attack.name, attack.seed) for attack in runs] == [("simudy", 3), ("simudy", 4)]
    assert runs[0].loss != runs[1].loss
    assert len(list((tmp_path / "run").glob("jobs/*"))) == 2
    assert "--restarts 2" in report.command
    events = []
    again = scan(request, events.append)
    assert not [event for event in events if event.step and event.stage != "match"]
    assert again.attacks == report.attacks
    alone = scan(dataclasses.replace(request, seed=4, restarts=1, out=tmp_path / "alone"))
    assert alone.attacks[0].loss == runs[1].loss


def test_a_change_that_is_all_rounding_runs_nothing_and_says_so(tmp_path):
    first = {name: value.to(torch.bfloat16) for name, value in small().state_dict().items()}
    second = {name: value.clone() for name, value in first.items()}
    second["1.weight"].view(-1)[::50] *= 1 + 2**-7
    save_file(first, tmp_path / "a.safetensors")
    save_file(second, tmp_path / "b.safetensors")
    request = ScanRequest(tmp_path / "a.safetensors", tmp_path / "b.safetensors", out=tmp_path / "run")
    report = scan(request)
    assert (report.attacks, report.search) == ([], [])
    assert report.verdict.status == "inconclusive"
    assert all(not step.runs and "rounding" in step.reason for step in report.plan)
    assert "rounding" in report.recipe["lr"].evidence
    asked = scan(dataclasses.replace(request, attacks=("simudy",), lr=0.01, max_iterations=2))
    assert asked.attacks[0].name == "simudy"


def test_out_of_range_restarts_are_refused():
    with pytest.raises(RequestError, match="--restarts 0"):
        scan(ScanRequest("a", "b", restarts=0))
    with pytest.raises(RequestError, match="--restarts 100"):
        scan(ScanRequest("a", "b", restarts=100))


@pytest.mark.parametrize("outputs", [10, 1])
def test_a_linear_classifier_of_one_image_is_scanned_to_the_end(outputs, tmp_path):
    """Spear finds no direction there, or nothing to look at; the others still report."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, outputs))
    torch.save(network.state_dict(), tmp_path / "before.pt")
    x, labels = torch.rand(1, 3, 8, 8), torch.tensor([0])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        training_loss(network((x - 0.5) / 0.25), labels).backward()
        optimizer.step()
    torch.save(network.state_dict(), tmp_path / "after.pt")
    np.savez(tmp_path / "data.npz", images=(x * 255).byte().permute(0, 2, 3, 1).numpy(), labels=labels.numpy())
    request = ScanRequest(
        tmp_path / "before.pt", tmp_path / "after.pt", data=tmp_path / "data.npz", normalise="0.5;0.25", image_size=8,
        lr=0.05, epochs=3, max_iterations=20, restarts=2, out=tmp_path / "run",
    )  # fmt: skip
    report = scan(request)
    results = {attack.name: attack for attack in report.attacks}
    assert "simudy" in results or "span" in results
    assert all(attack.reconstructions for attack in results.values() if attack.metrics)


@pytest.mark.parametrize(("kept_free", "warned"), [(300.0, False), (900.0, True)])
def test_attacks_end_early_enough_for_what_they_find_to_be_scored(leak, tmp_path, monkeypatch, kept_free, warned):
    events, kept, carry_out = [], [], Campaign.carry_out

    def watched(campaign, plan):
        end = campaign.means.limits.end
        kept.append((end.at - campaign.deadline.at, end.at - began, end.left))
        return carry_out(campaign, plan)

    monkeypatch.setattr(scoring, "seconds", lambda kind, truth, control, counts: kept_free)
    monkeypatch.setattr(Campaign, "carry_out", watched)
    request = ScanRequest(
        leak.before, leak.after, data=leak.data, lr=0.02, normalise="0.5;0.25", epochs=10, attacks=("simudy",),
        max_iterations=2, max_time=1000.0, out=tmp_path,
    )  # fmt: skip
    began = time.monotonic()
    scan(request, events.append)
    ((free, earlier, later),) = kept
    half = free * 2  # at most half of the time that was left when it was decided is kept for scoring
    assert free == pytest.approx(kept_free) if not warned else later <= half <= earlier
    assert any("will exceed --max-time" in event.message for event in events) is warned


def test_without_training_images_no_time_is_kept_for_scoring(leak, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "seconds", lambda *_: pytest.fail("there is nothing to score"))
    events = []
    request = ScanRequest(
        leak.before, leak.after, size=4, lr=0.02, normalise="0.5;0.25", epochs=10, attacks=("simudy",),
        max_iterations=2, max_time=1000.0, out=tmp_path,
    )  # fmt: skip
    assert scan(request, events.append).attacks[0].iterations == 2
    assert not [event for event in events if event.stage == "match" and event.step]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("could not create a primitive"), "the search with simudy ended: It ran out of memory"),
        (IndexError("tuple index"), "the search with simudy ended: It failed (IndexError: tuple index)"),
    ],
)
def test_a_search_that_breaks_does_not_end_the_scan(leak, tmp_path, monkeypatch, error, words):
    def search(*_):
        raise error

    events = []
    monkeypatch.setattr("memaudit.audit.scan.learn.search", search)
    found = scan(
        ScanRequest(
            leak.before, leak.after, data=leak.data, normalise="0.5;0.25", epochs=10, attacks=("sme",),
            max_iterations=3, out=tmp_path,
        ),
        events.append,
    )  # fmt: skip
    assert words in found.recipe["lr"].evidence
    assert found.recipe["lr"].source == "assumed"
    assert any(words in event.message for event in events if event.stage == "warning")
    assert found.attacks[0].iterations == 3
    assert found.verdict.status == "inconclusive"


def test_a_model_file_is_said_to_run_before_it_does(leak, tmp_path):
    file, events = tmp_path / "net.py", []
    file.write_text("raise SystemExit")
    with pytest.raises(UnknownArchitecture):
        load_scene(ScanRequest(leak.before, leak.after, model=f"{file}:make"), events.append)
    assert [event.message for event in events if "with your rights" in event.message] == [f"architecture{RUNS}"]
