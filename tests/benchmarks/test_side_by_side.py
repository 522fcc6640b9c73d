"""The page that has the paper beside ours: nothing stale, nothing left out, nothing without a record."""

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.cover import EARLIER, LAYERS
from benchmarks.side_by_side import __main__ as command
from benchmarks.side_by_side import costs, picture, printed
from benchmarks.side_by_side.lines import chosen, compared
from benchmarks.side_by_side.page import UNRECORDED, lines, page
from benchmarks.side_by_side.records import LABELS, RESULTS, Group, Records

DOCS = command.DOCS
STALE = "run: python -m benchmarks.side_by_side --write --figure"


@pytest.fixture(scope="module")
def made() -> str:
    return page(Records())


def test_the_page_has_what_the_results_have_now(made):
    text = (DOCS / "paper.md").read_text()
    assert made.rstrip() == re.search(r"<!-- side by side -->\n(.*)\n<!-- end side by side -->", text, re.DOTALL)[1], (
        STALE
    )


def test_the_picture_has_what_the_results_have_now():
    with Image.open(DOCS / "paper.png") as drawn:
        assert drawn.text["Description"] == picture.digest(Records()), STALE


def test_the_picture_shows_our_marks_where_its_first_panel_is(tmp_path):
    picture.draw(Records(), tmp_path / "paper.png")
    with Image.open(tmp_path / "paper.png") as drawn:
        width, height = drawn.size
        panel = drawn.convert("RGB").crop((width // 10, height // 8, width // 3, 3 * height // 8))
    ours = tuple(int(picture.OURS[i : i + 2], 16) for i in (1, 3, 5))
    assert sum(count for count, colour in panel.getcolors(2**24) if colour == ours) > 200


@pytest.mark.parametrize("item", sorted(set(printed.ITEMS)))
def test_every_table_and_figure_of_the_paper_is_on_the_page(item, made):
    assert re.search(rf"{re.escape(item)}\b", made)


@pytest.mark.parametrize("found", [part for rows in printed.RESNET.values() for part in rows.values()], ids=str)
def test_every_number_of_the_papers_large_comparison_has_a_line(found, made):
    assert re.search(
        rf"^\| {re.escape(found.item)}, {found.attack} \| {found.images} \| {found.value:.4f} \|", made, re.MULTILINE
    )


def test_every_appendix_is_there(made):
    assert [part for part in ("App. B", "C.1", "C.2", "C.3", "C.5", "C.6", "C.7") if part not in made] == []


def test_every_record_that_is_named_is_a_row_of_its_file_with_that_hardware(made):
    named = re.findall(r"^\| \d+ \| `(\w+)\.json`: (.+); seeds? ([\d, ]+) \| (.+) \|$", made, re.MULTILINE)
    assert len(named) > 60
    for file, label, seeds, machine in named:
        rows = [found for found in Records().rows(file) if LABELS[file](found) == label]
        assert sorted(found.get("seed", 0) for found in rows) == [int(seed) for seed in seeds.split(", ")]
        assert all(f"torch {found['torch']}" in machine and found["hardware"] in machine for found in rows)


def test_no_record_stands_in_a_table_and_not_in_the_list(made):
    tables, _, listed = made.partition("## Records")
    references = re.findall(r"\[(\d+)\]\(#records\)", tables)
    assert len(references) > 60
    assert set(references) <= set(re.findall(r"^\| (\d+) \| `", listed, re.MULTILINE))


def test_a_number_of_ours_comes_from_the_file(tmp_path, made):
    folder = Path(shutil.copytree(RESULTS, tmp_path / "results"))
    rows = json.loads((folder / "cover.json").read_text())
    for found in rows:
        found["ssim_paper"] = 0.1234
    (folder / "cover.json").write_text(json.dumps(rows))
    changed = page(Records(folder))
    assert "| Fig. 40, SimuDy | 120 | 0.1197 | 0.123 | +0.004 |" in changed
    assert re.search(r"\| SimuDy \| \d+ \| .* \| \d+: .*Fig\. 1\b.* \|", changed), "lower is said as plainly as higher"
    assert changed != made


def test_an_empty_folder_gives_a_page_on_which_all_is_missing(tmp_path):
    text = page(Records(tmp_path))
    assert "| SimuDy | 12 | 0 | 0 | 12: Fig. 1, " in text
    assert text.count("python -m benchmarks.questions") >= 4


def test_a_row_of_the_papers_own_attacks_takes_the_place_of_its_estimate(tmp_path):
    weights = "resnet18-cifarstem-fp16.safetensors"
    ours = {"n": 50, "attack": "twostep", "seed": 0, "weights": weights, "ssim_paper": 0.05,
            "ssim": 0.1, "ssim_strangers": 0.09, "recovered": 0, "seconds": 60.0, "peak_memory_bytes": 2e9,
            "hardware": "a GPU", "torch": "2", "options": "", "iterations": 300}  # fmt: skip
    (tmp_path / "paper.json").write_text(json.dumps([ours]))
    found = page(Records(tmp_path))
    assert "| Fig. 5a, Loo et al. | 50 | 0.0774 | 0.050 | -0.027 |" in found
    assert "`twostep` with the recipe known, 300 updates" in found


def test_the_first_line_is_not_the_best_but_the_plainest(tmp_path):
    rows = [row for row in json.loads((RESULTS / "cover.json").read_text()) if row["row"] == "n50"]
    newest = max((row["layers"] for row in rows), key=[*EARLIER, LAYERS].index)
    for row in rows:
        row["ssim_paper"] = 0.3 if row["layers"] == newest and not row["settings"] else 0.5
    (tmp_path / "cover.json").write_text(json.dumps(rows))
    (first,) = [line for line in lines(Records(tmp_path)) if line.printed and line.printed.item == "Fig. 5b"]
    assert first.group.mean("ssim_paper") == 0.3
    assert max(group.mean("ssim_paper") for group in Records(tmp_path).cover("n50")) == 0.5


def test_a_line_says_on_how_many_images_each_was():
    other = printed.Printed("Fig. 0", "SimuDy", 0, 0.5)
    text = compared(chosen(other, [], 20, "`cover`", "an hour"))
    assert text.endswith("| Fig. 0, SimuDy | 20 (there not said) | 0.5000 | `cover` | an hour |")
    assert text.startswith("Not run:")


def test_an_estimate_grows_with_the_images(tmp_path):
    timed = {"group": "cost", "asked": "onestep", "seed": 0, "n": 20, "seconds": 3.6, "schedule": 1000,
             "peak_memory_bytes": 1e9, "hardware": "a CPU", "torch": "2"}  # fmt: skip
    (tmp_path / "questions.json").write_text(json.dumps([timed]))
    assert costs.updates(Records(tmp_path), "onestep").startswith("about 1 h on one CPU thread")
    assert costs.updates(Records(tmp_path), "onestep", 120).startswith("about 6 h on one CPU thread")
    assert [costs.hours(seconds) for seconds in (5.04, 90, 7200)] == ["5 s", "1.5 min", "2 h"]


def test_what_is_recorded_leaves_the_list_of_what_is_not(tmp_path):
    (part,) = [part for part in UNRECORDED if part.file == "attacks"]
    assert part.still(Records(tmp_path))
    found = {
        "row": "mlp-500",
        "seed": 0,
        "asked": [],
        "strangers": False,
        "torch": "2",
        "hardware": "a CPU",
        "threads": 1,
    }
    line = {"attack": "span", "ssim_mean": 0.3, "ssim_paper_mean": 0.2, "control_ssim_mean": 0.1}
    (tmp_path / "attacks.json").write_text(json.dumps([{**found, "leaderboard": [line]}]))
    assert not part.still(Records(tmp_path))


def test_values_that_a_row_lacks_are_left_out():
    group = Group("vit", "n1", ({"ssim": None}, {"ssim": 0.5, "seed": 1}))
    assert (group.seeds, group.values("ssim"), group.text("psnr")) == ((0, 1), [0.5], "-")


def test_the_command_writes_page_and_picture(tmp_path, capsys):
    (tmp_path / "paper.md").write_text("above\n<!-- side by side -->\nTHE OLD PAGE\n<!-- end side by side -->\nbelow\n")
    command.main(["--write", "--figure", "--docs", str(tmp_path)])
    text = (tmp_path / "paper.md").read_text()
    assert text.startswith("above\n")
    assert text.endswith("below\n")
    assert "THE OLD PAGE" not in text
    assert (tmp_path / "paper.png").stat().st_size > 50_000
    command.main([])
    assert capsys.readouterr().out.strip() in text
