import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from memaudit.audit import words
from memaudit.audit.outputs import Look
from memaudit.audit.report.exhibit import Picture
from memaudit.audit.report.facts import Delta, Fact, SearchPoint
from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.model import SCHEMA_ID, AuditReport
from memaudit.audit.report.results import PlanStep
from memaudit.audit.report.terms import Evidence
from memaudit.audit.report.verdict import Finding
from memaudit.audit.verdict.advice import NO_BACKING
from memaudit.audit.verdict.sentence import phrased
from memaudit.audit.verdict.tally import UNLISTED
from memaudit.reports import html
from memaudit.reports.common import extracts, pictures, verdict
from memaudit.reports.page import chance, facts, plots, search


class Page(HTMLParser):
    """What a browser would find in a page: elements with attributes, and text by element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text.append((self.elements[-1][0] if self.elements else "", data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def values(self, *names: str) -> list[str]:
        return [a[name] for _, a in self.elements for name in names if name in a]

    def seen(self) -> str:
        return " ".join(" ".join(text for tag, text in self.text if tag not in ("style", "script")).split())


def page(report: AuditReport, folder: Path, evidence: Evidence = "full") -> Page:
    return Page(html.render(report, folder, Look(evidence)))


def with_picture(report: AuditReport, path: str) -> AuditReport:
    match = report.attacks[0].matches[0].model_copy(update={"reconstruction": Picture(path=path)})
    attack = report.attacks[0].model_copy(update={"matches": [match], "reconstructions": []})
    return report.model_copy(update={"attacks": [attack]})


def test_the_sections_come_in_order(leak: AuditReport, folder: Path) -> None:
    ids = [a["id"] for a in page(leak, folder).all("section")]
    assert ids == [
        "basis", "images", "advice", "findings", "limitations", "gates", "chance", "leaderboard", "classes", "attacks",
        "delta", "search", "recipe", "inputs", "method", "reproduce",
    ]  # fmt: skip
    folded = [a["id"] for a in page(leak, folder).all("section") if a.get("class") == "fold"]
    assert folded == ids[5:]


def test_every_id_is_unique_and_every_link_and_label_resolves(leak: AuditReport, folder: Path) -> None:
    found = page(leak, folder)
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    links = [a["href"] for a in found.all("a")]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert {name for names in found.values("aria-labelledby") for name in names.split()} <= set(ids)


def test_charts_tables_and_pictures_can_be_read_without_eyes(leak: AuditReport, folder: Path) -> None:
    found = page(leak, folder)
    charts = [a for a in found.all("svg") if "aria-hidden" not in a]
    assert len(charts) == 2 + 2 + 2 + 2
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in charts)
    assert len(found.all("caption")) == len(found.all("table")) == 5 + 1 + 2 + 1 + 1 + 1
    assert all(a.get("scope") in ("col", "row") for a in found.all("th"))
    assert all(a["alt"] for a in found.all("img"))
    assert found.all("html")[0]["lang"] == "en-GB"


@pytest.mark.parametrize(
    ("status", "recovered", "said"),
    [
        ("fail", True, "3 of 10 training images can be rebuilt from these two files"),
        ("fail", False, "A limit that was set is exceeded, though no training image was rebuilt"),
        ("pass", False, "None of 10 training images was rebuilt by the 1 attack that came to an end"),
        ("pass", True, "3 of 10 training images can be rebuilt from these two files; the limits that were set allow "
         "that"),
        ("inconclusive", False, "None of 10 training images was rebuilt, but the evidence is not enough to clear the "
         "model"),
    ],
)  # fmt: skip
def test_the_headline_agrees_with_the_evidence(
    status: str, recovered: bool, said: str, leak: AuditReport, clean: AuditReport
) -> None:
    report = leak if recovered else clean
    assert (
        verdict.headline(report.model_copy(update={"verdict": report.verdict.model_copy(update={"status": status})}))
        == said
    )


def test_key_numbers_are_of_all_attacks_together(leak: AuditReport, blind: AuditReport) -> None:
    rebuilt, alike, chance, ended = verdict.tiles(leak)
    assert (rebuilt.value, rebuilt.note) == ("3 of 10", "training images, by all attacks together")
    assert (alike.label, alike.value) == ("How alike, 0 to 1", "0.97")
    assert alike.note == "the closest pair (SSIM); counts from 0.4 on, if chance hardly gives as much"
    assert (chance.label, chance.value, chance.note) == ("By chance", "0.27", "the closest of 200 held-out images")
    assert (ended.value, ended.note) == ("1 of 3", "simudy")
    assert [(tile.value, tile.note) for tile in verdict.tiles(blind)] == [
        ("8", "nothing was there to compare them with"),
        ("0 of 1", "one that does not shows nothing by what it misses"),
    ]  # fmt: skip
    assert verdict.tiles(leak.model_copy(update={"attacks": []}))[1].note == "no attack was run"
    bare = leak.attacks[0].model_copy(update={"metrics": leak.attacks[0].metrics.model_copy(update={"null": []})})
    assert verdict.tiles(leak.model_copy(update={"attacks": [bare]}))[2].value == "0.20"


def test_pairs_come_most_similar_first(leak: AuditReport, folder: Path) -> None:
    names = [a["alt"] for a in page(leak, folder).all("img") if a["alt"].startswith("Training image")]
    matches = leak.attacks[0].matches
    ordered = [f"Training image {m.name}" for m in sorted(matches, key=lambda m: -m.scores.similarity)]
    assert names == ordered[:4] + ordered


def test_pictures_are_inside_and_the_file_stays_small(leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    destination = html.write(leak, folder, tmp_path / "new" / "report.html")
    found = Page(destination.read_text())
    assert len(found.all("img")) == 2 * 4 + 2 * 10
    assert all(a["src"].startswith("data:image/png;base64,") for a in found.all("img"))
    assert destination.stat().st_size < 1_000_000
    assert list(destination.parent.iterdir()) == [destination]


def test_without_training_images_only_reconstructions_are_shown(blind: AuditReport, folder: Path) -> None:
    found = page(blind, folder)
    assert len(found.all("img")) == 4 + 10
    assert "nothing here is scored" in found.seen()
    assert "influence 1.6" in found.seen()


def test_what_is_absent_leaves_no_trace(clean: AuditReport, folder: Path) -> None:
    attack = clean.attacks[0].model_copy(
        update={"matches": [], "reconstructions": [], "metrics": None, "curve": [(0, None)], "loss": None}
    )
    found = page(clean.model_copy(update={"attacks": [attack], "leaderboard": [], "limitations": []}), folder)
    assert [a["id"] for a in found.all("section")] == [
        "basis", "gates", "attacks", "recipe", "inputs", "method", "reproduce",
    ]  # fmt: skip
    assert "personal data" not in found.seen()
    assert [a for a in found.all("svg") if "aria-hidden" not in a] == []
    assert page(clean.model_copy(update={"attacks": []}), folder).seen().count("No attack was run.") == 1


def test_the_personal_data_notice_stands_wherever_pictures_do(
    leak: AuditReport, blind: AuditReport, folder: Path
) -> None:
    said = "This file shows training images beside what was made of them: personal data."
    assert said in page(leak, folder).seen()
    assert "This file may show training images: personal data." in page(blind, folder).seen()


def test_the_recipe_tells_provenance(leak: AuditReport, folder: Path) -> None:
    seen = page(leak, folder).seen()
    assert (
        "Learning rate 0.02 0.016 to 0.025 inferred high confidence, 90 % Lowest early loss of 7 candidates. --lr"
        in seen
    )
    assert "Nesterov momentum no assumed – --nesterov" in seen
    assert "Batch size 5 inferred low confidence, 55 % Lowest early loss of 3 batch sizes. --batch-size" in seen
    assert "Images of each class 1, 1, 2, 0, 1, 1, 1, 2, 0, 1 inferred fair confidence, 81 %" in seen
    assert "Warm-up 0 assumed" in seen
    assert "Gradient clipping" not in seen
    assert "Learning-rate schedule" not in seen


def row(name: str, value: Any, **options: Any) -> facts.Row:
    return facts.rows({name: Fact(value=value, source="inferred", **options)}, IMAGE.words)[0]


@pytest.mark.parametrize(
    ("value", "interval", "said"),
    [
        (0.02, (0.008, 0.013), ("0.02", "0.008 to 0.013")),
        (0.99998, (0.99997, 0.99999), ("0.99998", "0.99997 to 0.99999")),
        (12345, (11000.0, 13500.0), ("12345", "11000 to 13500")),
        (10, (10.0, 10.0), ("10", "")),
        (0.5, None, ("0.5", "")),
        ("sgd", (0.0, 0.5), ("sgd", "0 to 0.5")),
    ],
)
def test_an_interval_has_digits_enough_to_tell_its_ends_apart(
    value: Any, interval: tuple[float, float] | None, said: tuple[str, str]
) -> None:
    found = row("lr", value, interval=interval)
    assert (found.value, found.interval) == said


def test_label_counts_of_many_classes_are_summed_up() -> None:
    counts = [5] * 99 + [0]
    assert row("labels", [3, 3, 4]).value == "3, 3, 4"
    assert row("labels", counts).value == "0 to 5 in each of 100 classes, 495 in all"
    assert row("labels", "unknown").value == "unknown"
    assert row("classes_present", counts).value == ", ".join("5" * 20) + ", … (100 in all)"


def test_the_parameter_change_is_told(leak: AuditReport, folder: Path) -> None:
    found = page(leak, folder)
    seen = found.seen()
    assert "Linearity" not in seen
    assert "Shrinkage by weight decay 0.9995 0.9994 to 0.9996 inferred fair confidence, 72 % layer4.1.bn2.bias" in seen
    assert "Classes present 3, 8 inferred Rows of fc rose." in seen
    assert "attention.bias, … (31 in all) inferred certain, 100 %" in seen
    assert "21 tensors: 18 moved, 1 only decayed, 1 frozen, 1 mostly rounding" in seen
    assert "conv1.weight 64 × 3 × 3 × 3 float16 moved 0.0123 41.7" in seen
    assert "layer4.1.bn2.num_batches_tracked scalar float16 frozen – –" in seen
    assert "Tensors that training moved" not in seen


def test_a_part_of_the_parameter_change_is_enough(leak: AuditReport, folder: Path) -> None:
    facts = page(leak.model_copy(update={"delta": Delta(facts=leak.delta.facts)}), folder).seen()
    assert "Shrinkage by weight decay 0.9995" in facts
    assert "21 tensors" not in facts
    tensors = page(leak.model_copy(update={"delta": Delta(tensors=leak.delta.tensors[:1])}), folder).seen()
    assert "1 tensor: 1 moved, 0 frozen, 0 mostly rounding" in tensors
    assert "Readings from the change" not in tensors


def test_a_report_without_the_parameter_change_leaves_it_out(blind: AuditReport, folder: Path) -> None:
    found = page(blind, folder)
    assert "delta" not in {a.get("id") for _, a in found.elements}
    assert "#delta" not in {a["href"] for a in found.all("a")}
    assert "Tensors that training moved (17)" in found.seen()


def test_the_search_has_a_curve_for_each_batch_size_and_round(leak: AuditReport) -> None:
    found = search.curves(leak.search, lambda point: point.loss)
    assert list(search.groups(leak.search)) == ["batch 2", "batch 5", "batch 10"]
    assert [series.weight for series in found] == sorted(series.weight for series in found)
    by = {(series.name, series.weight): series for series in reversed(found)}
    assert [lr for lr, loss in by["batch 5", 2].points if loss is not None] == [0.02, 0.03]
    assert len(by["batch 5", 0].points) == 7
    assert {series.look for series in found if series.name == "batch 10"} == {2}


def test_only_points_after_equally_many_steps_are_joined(leak: AuditReport) -> None:
    found = [s for s in search.curves(leak.search, lambda point: point.loss) if (s.name, s.weight) == ("batch 10", 0)]
    drawn = [{lr for lr, loss in series.points if loss is not None} for series in found]
    assert drawn == [{0.06}, {0.003, 0.006, 0.01, 0.02, 0.03, 0.1}]
    assert (0.06, None) in found[1].points


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ([("sgd", None, None)], [""]),
        ([("sgd", 5, 20), ("adam", 20, 20)], ["adam, batch 20", "sgd, batch 5"]),
        ([("sgd", 5, 40), ("sgd", 5, 20)], ["epochs 20", "epochs 40"]),
        ([("sgd", 10, 20), ("sgd", 5, 20)], ["batch 5", "batch 10"]),
        ([], []),
    ],
)
def test_a_curve_is_named_by_what_sets_it_apart(
    settings: list[tuple[str, int | None, int | None]], names: list[str]
) -> None:
    points = [
        SearchPoint(lr=0.1, optimizer=o, batch_size=b, epochs=e, loss=1, change_ratio=1, iterations=1, status="stalled")
        for o, b, e in settings
    ]
    assert list(search.groups(points)) == names


def test_the_search_tells_its_choice_and_all_candidates(leak: AuditReport, blind: AuditReport, folder: Path) -> None:
    found = page(leak, folder)
    seen = found.seen()
    assert "Chosen: learning rate 0.02, sgd, batch size 5, epochs 20 , with a loss of 0.04 after 450 steps." in seen
    assert seen.count("had more attack steps: 50, then 150, then 450. Compare within a round only.") == 2
    assert all("legend" in drawn for drawn in search.search_charts(leak.search))
    assert f"All candidates ({len(leak.search)})" in seen
    assert "0.02 sgd 5 20 3 450 0.04 0.01333 1 chosen , stalled" in seen
    assert "0.1 sgd 2 20 1 7 – – – diverged" in seen
    assert seen.index("0.03 sgd 5 20 3 450") < seen.index("0.02 sgd 5 20 2 150") < seen.index("0.01 sgd 2 20 1 50")
    single = page(blind, folder)
    assert "later round" not in single.seen()
    assert "legend" not in single.values("class")
    assert "0.02 sgd – – 1 50 0.212" in single.seen()


def test_a_search_without_a_choice_says_so(blind: AuditReport, folder: Path) -> None:
    lost = [point.model_copy(update={"loss": None, "change_ratio": None, "chosen": False}) for point in blind.search]
    seen = page(blind.model_copy(update={"search": lost}), folder).seen()
    assert "None was chosen." in seen
    assert "All candidates (7)" in seen
    assert search.search_charts(lost) == search.search_charts([]) == []


def test_insignificant_dummies_stand_apart(leak: AuditReport, blind: AuditReport, folder: Path) -> None:
    stalled = leak.attacks[1]
    assert [dummy.dummy for dummy in extracts.unmatched(stalled)] == [5]
    assert [dummy.dummy for dummy in extracts.insignificant(stalled)] == [6]
    seen = page(leak.model_copy(update={"attacks": [stalled]}), folder).seen()
    assert "Reconstructions without a training image beside them (1)" in seen
    assert seen.count("Insignificant dummies (1)") == seen.count("Insignificant dummies") == 1
    alone = page(blind, folder).seen()
    assert "Insignificant dummies (2) The dummy set was larger than the training set" in alone
    assert alone.index("No. 7,") < alone.index("Insignificant dummies") < alone.index("No. 8,")


def test_with_many_results_the_best_leads_and_the_others_wait_closed(many: AuditReport, folder: Path) -> None:
    found = page(many, folder)
    assert [a["id"] for a in found.all("section")][4:11] == [
        "limitations", "gates", "chance", "leaderboard", "classes", "consensus", "plan",
    ]  # fmt: skip
    assert [(r.name, r.kind, r.seed) for r in extracts.evidence(many)] == [
        ("simudy", "run", 0), ("span", "run", 0), ("dlg", "run", 0),
    ]  # fmt: skip
    pictures = [a["alt"] for a in found.all("img") if a["alt"].startswith("Training image")]
    assert len(pictures) == 4 + 10
    assert "dlg (seed 0): 1 rebuilt" in found.seen()
    assert len([a for a in found.all("details") if "open" in a]) == 2


def test_the_leaderboard_has_every_result_with_all_its_numbers(many: AuditReport, folder: Path) -> None:
    seen = page(many, folder).seen()
    first = many.leaderboard[0]
    assert many.ranking in seen
    assert f"1 simudy (seed 0) converged {first.similarity_mean:.3f} , {first.similarity_max:.3f}" in seen
    assert "3 of 10 7 to 65 % 0.118, 0.204 none of 200 as high – 0.01 1 h 30 min 3.2 GiB" in seen
    assert "2 simudy (consensus) converged" in seen
    assert "13 haim unsupported – , –" in seen


def test_each_image_names_the_attack_that_recovered_it_best(many: AuditReport, folder: Path) -> None:
    found = page(many, folder)
    best = extracts.records(many)
    assert [row.match.scores.similarity for row in best] == sorted(
        (row.match.scores.similarity for row in best), reverse=True
    )
    assert "3 of 10 were rebuilt by at least one attack." in found.seen()
    name = best[0].match.name
    assert f"{name} person simudy (seed 1) {best[0].match.scores.similarity:.3f}" in found.seen()
    assert f"Reconstruction of {name}" in found.values("alt")
    assert "2 simudy, span" in found.seen()


def test_confidence_is_shown_for_each_image_without_training_images(trust: AuditReport, folder: Path) -> None:
    found = page(trust, folder)
    seen = found.seen()
    assert "simudy, 3 seeds: 5 confident, mean confidence 0.590" in seen
    assert (
        "Seeds 0, 1, 2, aligned to 0. Confident means a mean SSIM between the seeds of at least 0.6 (here 0.310)"
        in seen
    )
    assert seen.index("confidence 0.950") < seen.index("confidence 0.870")
    assert [tile.label for tile in verdict.tiles(trust)] == [
        "Runs agree on", "How far they agree, 0 to 1", "Converged attacks",
    ]  # fmt: skip
    assert verdict.tiles(trust)[0].value == "5 of 10"
    assert "Held-out SSIM" not in seen
    assert "Paper's SSIM" not in seen


def test_the_plan_tells_what_was_left_out(many: AuditReport, folder: Path) -> None:
    seen = page(many, folder).seen()
    assert "3 of 4 attacks ran." in seen
    assert "span sees through the first layer run 31.0 s, 572 MiB may take 1 min 40 s" in seen
    assert "simudy always applies; starts from what span found run 1 h 30 min" in seen
    assert "gion takes a day left out –" in seen


def test_seeds_share_a_chart(many: AuditReport, folder: Path) -> None:
    found = page(many, folder)
    assert "simudy 3 × converged" in found.seen()
    assert "Best seed 0 of 3; the numbers below are its own" in found.seen()
    chart = plots.loss_chart(extracts.by_attack(many)["simudy"], "x")
    assert "Of seed 0, the best: from" in chart
    assert chart.count('class="line"') == 2 * 3
    assert plots.loss_chart([many.attacks[-1]], "x") == ""


def test_the_same_said_of_several_attacks_is_said_once(leak: AuditReport, folder: Path) -> None:
    stalled = leak.findings[1]
    found = [stalled.model_copy(update={"attack": name}) for name in ("dlg", "idlg", "gion")]
    report = leak.model_copy(update={"findings": [*leak.findings, *found]})
    assert "note MA101 gradient_inversion, dlg, idlg, gion: It ended as stalled. haim:" in page(report, folder).seen()


def test_how_it_was_found_is_told_in_plain_words(leak: AuditReport, clean: AuditReport, blind: AuditReport) -> None:
    chance = "Of all that counts as rebuilt, at most 1 % is expected to be chance."
    assert verdict.tried(leak) == f"Found by simudy (3). {chance}"
    assert verdict.tried(clean) == "Tried: simudy (finished)."
    assert verdict.tried(blind) == "Tried: simudy (stopped at its limit)."
    assert verdict.tried(blind.model_copy(update={"attacks": []})) == ""
    left = [PlanStep(attack=f"a{i}", runs=False, reason="") for i in range(13)]
    said = verdict.tried(blind.model_copy(update={"plan": left}))
    assert said.endswith("13 other attacks were left out; nothing follows from that.")
    lost = leak.attacks[1].model_copy(update={"matches": []})
    exceeded = leak.model_copy(update={"attacks": [lost], "recovered_by_any": 0})
    assert verdict.tried(exceeded) == leak.verdict.summary


def test_an_undecided_report_says_what_next(wrong: AuditReport, proven: AuditReport, folder: Path) -> None:
    found = page(wrong, folder)
    seen = found.seen()
    assert "Next step Give the images that this model was trained on" in seen
    assert "memaudit check runs/cifar/before.safetensors runs/cifar/after.safetensors --data train/" in seen
    assert "Takes under a minute." in seen
    assert "Next step" not in page(proven, folder).seen()


def test_a_decided_report_says_what_follows(leak: AuditReport, proven: AuditReport, folder: Path) -> None:
    said = (
        "What to do. Keep these two files away from everybody who may not see the training set. What would help most: "
    )
    assert said in page(leak, folder).seen()
    assert "What to do. These attacks give no reason to withhold the two files." in page(proven, folder).seen()


def test_limits_that_allow_a_leak_do_not_make_it_harmless(leak: AuditReport) -> None:
    allowed = leak.model_copy(update={"verdict": leak.verdict.model_copy(update={"status": "pass"})})
    assert verdict.decided(allowed).reason.startswith("The limits that were set allow what was found here.")


def test_records_that_were_not_given_are_told_with_what_shows_them(wrong: AuditReport) -> None:
    exact = Finding(rule="MA005", name="Exact", severity="high", attack="spear", message="", fingerprint="0")
    found = wrong.model_copy(
        update={"findings": [exact], "attacks": [wrong.attacks[0].model_copy(update={"name": "spear"})]}
    )
    assert verdict.tried(found) == "Found by spear: together they make up the whole change between the two files."


def test_what_a_pass_rests_on_is_shown_with_numbers(proven: AuditReport, folder: Path) -> None:
    found = page(proven, folder)
    seen = found.seen()
    assert "None of 10 training images was rebuilt, and the same attacks rebuild 18 of 20 images from a" in seen
    assert "Do the training images explain the change? yes The data leave 3% of the change unexplained" in seen
    assert "held-out images, mean of 4 39.0 %" in seen
    assert "Was any training image rebuilt? no None of 10 training images, by any attack." in seen
    assert "a training like this one 18 of 20 yours 0 of 10" in seen
    widths = [a["width"] for a in found.all("rect") if "part" in a.get("class", "")]
    assert widths == ["97.0", "39.0", "52.0", "64.0", "90.0", "0.0"]
    assert [tile.value for tile in verdict.tiles(proven)] == ["0 of 10", "0.42", "0.27", "18 of 20"]


def test_a_pair_says_how_it_matches(turned: AuditReport, folder: Path) -> None:
    seen = page(turned, folder).seen()
    assert "matches once the original is mirrored" in seen
    assert "Some match only after this was done to the training image: mirrored; turned by 90 degrees." in seen


def test_a_pair_that_is_alike_by_chance_says_so(proven: AuditReport, folder: Path) -> None:
    seen = page(proven, folder).seen()
    assert "0.42 alike, maybe by chance" in seen
    assert seen.count("within chance") == 1


def test_records_beyond_those_given_lead_the_page(wrong: AuditReport, folder: Path) -> None:
    exact = wrong.findings[0].model_copy(update={"rule": UNLISTED, "severity": "high", "attack": "simudy"})
    report = wrong.model_copy(update={"findings": [exact]})
    report = report.model_copy(update={"verdict": phrased(report)})
    found = page(report, folder)
    assert "10 images that are not among those given can be rebuilt exactly from these two files" in found.seen()
    assert [a["alt"] for a in found.all("img")][:4] == [f"reconstruction {i}" for i in range(4)]
    assert verdict.tiles(report)[0][1:] == ("10", "images that are not among those given")
    assert "10 images beyond those given were rebuilt exactly." in found.seen()


def test_classes_are_called_by_their_names(leak: AuditReport, folder: Path) -> None:
    assert extracts.class_names(leak)[1] == "cat"
    assert extracts.class_names(leak.model_copy(update={"attacks": []})) == {}
    stalled = leak.model_copy(update={"attacks": [leak.attacks[1]]})
    seen = page(stalled, folder).seen()
    assert "No. 5, class no. 5" in seen


def test_held_out_copies_are_accounted_for(leak: AuditReport, folder: Path) -> None:
    control = leak.inputs.control.model_copy(update={"count": 203})
    report = leak.model_copy(update={"inputs": leak.inputs.model_copy(update={"control": control})})
    assert "(203 were given; exact copies count once)" in page(report, folder).seen()
    assert "exact copies" not in page(leak, folder).seen()


def test_together_may_recover_more_than_any_alone(many: AuditReport) -> None:
    assert verdict.tiles(many)[0].value == "3 of 10"
    more = many.model_copy(update={"recovered_by_any": 7})
    assert verdict.tiles(more)[0].value == "7 of 10"
    assert verdict.headline(more).startswith("7 of 10 training images")
    assert verdict.tried(more).startswith("Found by simudy (3), span (3) and dlg (1).")


def test_pictures_without_room_are_left_out_and_counted(
    leak: AuditReport, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "ROOM", 20_000)
    found = page(leak, folder)
    count = len(found.all("img")) - 2 * 4
    assert 0 < count < 20
    assert f"{20 - count} pictures did not fit into this page" in found.seen()


@pytest.mark.parametrize(("harmless", "poison"), [("leak", "hostile"), ("many", "hostile_many")])
def test_hostile_text_stays_text(harmless: str, poison: str, folder: Path, request: pytest.FixtureRequest) -> None:
    plain, found = (page(request.getfixturevalue(name), folder) for name in (harmless, poison))
    assert {tag for tag, _ in found.elements} == {tag for tag, _ in plain.elements}
    assert {name for _, a in found.elements for name in a} == {name for _, a in plain.elements for name in a}
    assert len(found.all("script")) == 1
    assert len(found.all("img")) == len(plain.all("img"))
    assert found.seen().count("<script>alert(1)</script>") > 50
    assert "{{ 7 * 7 }}" in found.seen()


def test_the_policy_admits_this_style_and_script_and_nothing_else(hostile: AuditReport, folder: Path) -> None:
    text = html.render(hostile, folder)
    found = Page(text)
    policy = next(a["content"] for a in found.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    hashes = [html.digest(text.split(f"<{tag}>")[-1].split(f"</{tag}>")[0]) for tag in ("style", "script")]
    assert policy == (
        f"default-src 'none'; img-src data:; style-src '{hashes[0]}'; script-src '{hashes[1]}'; base-uri 'none'; "
        "form-action 'none'"
    )
    assert not found.values("style")
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]


def test_nothing_points_outside(leak: AuditReport, folder: Path) -> None:
    text = html.render(leak, folder)
    assert all(v.startswith(("#", "data:")) for v in Page(text).values("src", "href", "xlink:href", "srcset", "action"))
    assert not any(word in text for word in ("http:", "https:", "url(", "@import", "//cdn", SCHEMA_ID))


def test_findings_come_by_rule_with_their_records(leak: AuditReport, folder: Path) -> None:
    found = page(leak, folder)
    seen = found.seen()
    assert "Verdict: fail severity high" in seen
    assert "Training images were reconstructed high MA001 simudy: 3 of 10 training images are recovered." in seen
    assert seen.count("An attack ended without explaining the change") == 1
    assert "note MA101 gradient_inversion: It ended as stalled. haim: It ended as unsupported" in seen
    best = leak.findings[0].records[0]
    assert f"#record-{best}" in {a["href"] for a in found.all("a")}
    assert "Next step" not in seen


def test_missing_evidence_never_looks_clean(blind: AuditReport, folder: Path) -> None:
    found = page(blind, folder)
    seen = found.seen()
    assert "Next step Whether what the attacks made shows training images can only be told beside these." in seen
    assert seen.index("Next step") < seen.index("What this shows") < seen.index("missing evidence MA101")
    assert "severity none" not in seen
    assert not [a for a in found.all("li") if "finding" in a.get("class", "") and "pass" in a["class"]]


def test_an_unknown_rule_is_shown_by_its_name(leak: AuditReport, folder: Path) -> None:
    finding = leak.findings[0].model_copy(update={"rule": "XX9", "name": "FromTheFuture", "records": [77]})
    seen = page(leak.model_copy(update={"findings": [finding]}), folder).seen()
    assert "FromTheFuture high XX9" in seen
    assert "Training images: no. 77." in seen


def test_chance_is_drawn_and_told(leak: AuditReport, folder: Path) -> None:
    found = page(leak, folder).seen()
    metrics = leak.attacks[0].metrics
    assert metrics
    assert f"a probability of {words.probability(metrics.p_value)} (Mann-Whitney, one-sided)." in found
    assert "50 % of the training images are above 99 % of the held-out images; chance gives 1 %." in found
    assert "A single image counts as recovered from SSIM 0.437 on." in found
    assert "5 of the 10 images that are nearest to a reconstruction, in a pool of 210, are training images" in found
    assert "mean of the training images 0.131 0.208 smoothed noise 0.067 0.112" in found
    assert "A weaker comparison" not in found
    chart = chance.held_against_chance(leak)[0].chart
    assert "0.4: needed to count" in chart
    assert "0.437: stands out alone" in chart


def test_a_weak_or_small_comparison_is_named(leak: AuditReport, folder: Path) -> None:
    attack = leak.attacks[0]
    assert attack.metrics
    weak = {
        "null_kind": "mismatched", "null": attack.metrics.null[:9], "null_size": 9, "detectable": 1.0,
        "tpr_at_1_fpr": None, "identifiable": None, "pool": None,
    }  # fmt: skip
    changed = attack.model_copy(update={"metrics": attack.metrics.model_copy(update=weak)})
    report = leak.model_copy(update={"attacks": [changed, *leak.attacks[1:]]})
    seen = page(report, folder).seen()
    assert "A weaker comparison. No held-out images were given." in seen
    assert "than mismatched images are" in seen
    assert "With 9 comparisons, the 99 % level is not known; that takes 100." in seen
    assert "too few comparisons for a single image" in seen
    assert "stands out alone" not in chance.held_against_chance(report)[0].chart
    assert "nearest to a reconstruction" not in " ".join(chance.held_against_chance(report)[0].statements)


def test_classes_are_compared_where_there_are_several(leak: AuditReport, folder: Path) -> None:
    parts = extracts.slices(extracts.records(leak))
    assert sum(part.records for part in parts) == 10
    person = next(part for part in parts if part.label == "person")
    assert (person.records, person.recovered) == (2, 1)
    assert [part.similarity_mean for part in parts] == sorted((part.similarity_mean for part in parts), reverse=True)
    assert extracts.slices(extracts.records(leak)[:1]) == []
    assert "person 2 1 50 %" in page(leak, folder).seen()


def test_advice_has_commands_and_defences_a_curve(leak: AuditReport, clean: AuditReport, folder: Path) -> None:
    seen = page(leak, folder).seen()
    assert (
        "What would lower the leak The strongest effect first, of equal ones the cheapest. Add noise to the change"
        in seen
    )
    assert "--noise 0.01,0.1,1" in seen
    assert "rounded to 2 bits 0.44 0.220 0.340 0 of 10 – 81.0 % inconclusive" in seen
    exposed = [point.model_copy(update={"exposed_at_least": 12345}) for point in leak.defences]
    assert "0 of 10 12345 81.0 %" in page(leak.model_copy(update={"defences": exposed}), folder).seen()
    leaked, used = plots.defence_charts(leak.defences, "SSIM")
    assert (leaked.drawn.count('class="dot"'), used.drawn.count('class="dot"')) == (3 + 3 + 2, 3 + 3 + 2)
    assert all("distortion of the change (log scale)" in curve.drawn for curve in (leaked, used))
    narrow = [point for point in leak.defences if point.kind == "none" or point.distortion > 0.1]
    assert "log scale" not in plots.defence_charts(narrow, "SSIM")[0].drawn
    assert NO_BACKING in seen
    bare = [point.model_copy(update={"accuracy": None}) for point in leak.defences]
    assert len(plots.defence_charts(bare, "SSIM")) == 1
    assert "What to do next" in page(clean.model_copy(update={"advice": leak.advice[:1]}), folder).seen()
    assert plots.defence_charts([], "SSIM") == []


def test_method_and_content_hash_are_told(leak: AuditReport, blind: AuditReport, folder: Path) -> None:
    seen = page(leak, folder).seen()
    assert "Training images never reach it" in seen
    assert "paired one to one ( hungarian )" in seen or "paired one to one (hungarian)" in seen
    assert f"sha256 {leak.content_sha256}" in seen
    assert "p-value of a training image" not in page(blind, folder).seen()


def test_evidence_may_be_blurred_or_left_out(leak: AuditReport, folder: Path) -> None:
    blurred, none = page(leak, folder, "blurred"), page(leak, folder, "none")
    assert blurred.all("html")[0]["data-evidence"] == "blurred"
    assert "The pictures are blurred on the screen and on paper, but the file holds them as they are." in blurred.seen()
    assert len(blurred.all("img")) == 8 + 20
    assert next(a for a in blurred.all("button") if a.get("id") == "reveal")["hidden"] == ""
    assert "data:image" not in html.render(leak, folder, Look("none"))
    assert not none.all("img") + none.all("dialog") + none.all("button")
    assert "All pictures were left out of this file." in none.seen()
    assert "train/person/astronaut.png person simudy" in none.seen()
    ids = none.values("id")
    assert {a["href"].removeprefix("#") for a in none.all("a")} <= set(ids)
    assert not [a for a in page(leak, folder).all("button") if a.get("id") == "reveal"]


def test_a_crowd_of_records_fits_in_three_megabytes_and_reads_each_picture_once(
    crowd: tuple[AuditReport, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, folder = crowd
    read: list[str] = []
    real = pictures.picture
    monkeypatch.setattr(pictures, "picture", lambda folder, path: read.append(path) or real(folder, path))
    file = html.write(report, folder, tmp_path / "report.html")
    assert len(read) == len(set(read)) >= 240
    assert file.stat().st_size < 3_000_000
    found = Page(file.read_text())
    sources = [a["src"] for a in found.all("img")]
    assert len(sources) - 2 * 4 == len(set(sources)) >= 240
    assert "108 more training images" in found.seen()
    assert list(tmp_path.iterdir()) == [file]


def test_records_without_a_card_are_in_the_table(
    leak: AuditReport, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "MOST", html.MOST | {"cards": 2, "rows": 4})
    found = page(leak, folder)
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    assert len([name for name in ids if name.startswith("record-")]) == 4
    assert "6 more are in report.json." in found.seen()


@pytest.mark.parametrize(
    "path",
    ["../outside.png", "/etc/hostname", "pictures/../../outside.png", "link.png", "missing.png", "text.png", "cut.png",
     "pictures", "", "a\0b.png", "x" * 5000],
)  # fmt: skip
def test_an_unsafe_or_unreadable_picture_becomes_a_placeholder(
    path: str, leak: AuditReport, folder: Path, tmp_path: Path
) -> None:
    whole = (folder / leak.attacks[0].matches[0].truth.path).read_bytes()
    run = tmp_path / "run"
    (run / "pictures").mkdir(parents=True)
    (tmp_path / "outside.png").write_bytes(whole)
    (run / "link.png").symlink_to(tmp_path / "outside.png")
    (run / "text.png").write_text("no picture")
    (run / "cut.png").write_bytes(whole[: len(whole) // 2])
    (run / "fine.png").write_bytes(whole)
    assert pictures.picture(run, path) is None
    assert pictures.picture(run, "pictures/../fine.png") is not None
    found = page(with_picture(leak, path), run)
    assert found.all("img") == []
    assert [a["class"] for a in found.all("div") if a.get("role") == "img"] == ["missing", "missing"]


def test_a_huge_picture_is_left_out(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_FILE_LIMIT", 10)
    assert pictures.picture(folder, "pictures/simudy/000.png") is None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (words.number(None), "–"),
        (words.number(float("nan")), "–"),
        (words.percent(0.641), "64 %"),
        (words.percent(None), "–"),
        (words.probability(0.0142), "0.014"),
        (words.probability(1.0), "1"),
        (words.probability(2.13e-5), "2.1·10⁻⁵"),
        (words.probability(1e-12), "< 10⁻⁶"),
        (words.probability(None), "–"),
        (words.count(1, "image"), "1 image"),
        (words.count(0, "image"), "0 images"),
        (words.text(None), ""),
        (words.text(0.1), "0.1"),
        (words.number(0.000012345), "1.234e-05"),
        (words.fixed(-0.0412), "−0.041"),
        (words.duration(8.31), "8.3 s"),
        (words.duration(250), "4 min 10 s"),
        (words.duration(7530), "2 h 5 min"),
        (words.memory(0), "–"),
        (words.memory(512 * 2**20), "512 MiB"),
        (words.memory(3_420_000_000), "3.2 GiB"),
        (words.moment("2026-11-22T14:24:05+01:00"), "22 November 2026, 13:24 UTC"),
        (words.moment("2026-11-22T13:24:05"), "22 November 2026, 13:24 UTC"),
        (words.moment("yesterday"), "yesterday"),
        (words.plain(True), "yes"),
        (words.plain(None), "none"),
        (words.plain([0.5, 1]), "0.5, 1"),
        (words.plain(["a"] * 6), "a, a, a, a, a, … (6 in all)"),
        (words.plain([]), ""),
        (words.confidence(None), ""),
        (words.confidence(0.9), "high confidence, 90 %"),
        (words.confidence(0.999), "high confidence, 99 %"),
        (words.confidence(1.0), "certain, 100 %"),
        (words.confidence(0.66), "fair confidence, 66 %"),
        (words.confidence(-3.0), "low confidence, 0 %"),
        (words.plain({"a": 1}), "{'a': 1}"),
    ],
)
def test_values_read_well(call: str, said: str) -> None:
    assert call == said


def test_rendering_never_loads_torch(leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(leak.to_json())
    code = (
        "import sys; from pathlib import Path; from memaudit.audit.report.file import load;"
        "from memaudit.reports import html, json; folder, out = map(Path, sys.argv[1:]);"
        "report = load(out); html.write(report, folder, out / 'a.html'); json.write(report, folder, out / 'a.json');"
        "sys.exit(bool({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), str(tmp_path)], check=True, timeout=60)
    assert (tmp_path / "a.json").read_text() == leak.to_json()
