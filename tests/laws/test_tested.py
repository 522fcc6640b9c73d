"""Every module has a test file of its own, in the same place under tests/, or stands in this table."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from .source import FILES, MODULES, ROOT, arrows, imports, place
from .test_rooms import room

TABLE = {
    "__main__.py": "audit/cli/test_main.py",
    "attacks/contract/medium.py": "attacks/images/test_medium.py",
    "attacks/contract/params.py": "attacks/simulation/test_dynamics.py",
    "attacks/contract/recipe.py": "attacks/contract/test_attack.py",
    "attacks/explain/gradients.py": "attacks/explain/test_regression.py",
    "attacks/explain/kkt.py": "attacks/test_haim.py",
    "attacks/explain/multipliers.py": "attacks/test_loo.py",
    "attacks/firstlayer/candidates.py": "attacks/test_pursuit.py",
    "attacks/firstlayer/certificate.py": "attacks/test_span.py",
    "attacks/firstlayer/features.py": "attacks/test_span.py",
    "attacks/firstlayer/held.py": "attacks/test_span.py",
    "attacks/firstlayer/reduced.py": "attacks/test_spear.py",
    "attacks/images/colours.py": "attacks/images/test_priors.py",
    "attacks/layers/decay.py": "attacks/layers/test_spectrum.py",
    "attacks/optimise/optim.py": "attacks/explain/test_inversion.py",
    "attacks/simulation/footprint.py": "attacks/simulation/test_plans.py",
    "attacks/simulation/trainstep.py": "attacks/simulation/test_adjoints.py",
    "attacks/text/adding.py": "attacks/text/test_whole.py",
    "attacks/text/candidates.py": "attacks/test_tokens.py",
    "attacks/text/evidence.py": "attacks/test_tokens.py",
    "attacks/text/filling.py": "attacks/test_tokens.py",
    "attacks/text/frozen.py": "attacks/test_tokens.py",
    "attacks/text/refilling.py": "attacks/text/test_whole.py",
    "attacks/text/settling.py": "attacks/test_tokens.py",
    "audit/change/linearity.py": "audit/change/test_facts.py",
    "audit/change/movement.py": "audit/change/test_facts.py",
    "audit/change/optimizer.py": "audit/change/test_facts.py",
    "audit/change/readings.py": "audit/change/test_facts.py",
    "audit/change/samples.py": "audit/change/test_facts.py",
    "audit/change/training.py": "audit/change/test_facts.py",
    "audit/check/measures.py": "audit/check/test_data.py",
    "audit/checkpoints/calls.py": "audit/checkpoints/test_program.py",
    "audit/checkpoints/checkpoint.py": "audit/checkpoints/test_pair.py",
    "audit/checkpoints/copies.py": "audit/checkpoints/test_pair.py",
    "audit/checkpoints/refusal.py": "audit/checkpoints/test_pair.py",
    "audit/checkpoints/unpacking.py": "audit/checkpoints/test_program.py",
    "audit/checkpoints/weights.py": "audit/checkpoints/test_pair.py",
    "audit/cli/baseline.py": "audit/verdict/test_baseline.py",
    "audit/cli/catalogue.py": "audit/test_settings.py",
    "audit/cli/check.py": "audit/tasks/test_check.py",
    "audit/cli/defend.py": "audit/tasks/test_defend.py",
    "audit/cli/demo.py": "audit/cli/test_command.py",
    "audit/cli/exits.py": "audit/cli/test_main.py",
    "audit/cli/exposed.py": "audit/tasks/test_exposure.py",
    "audit/cli/exposure.py": "audit/tasks/test_exposure.py",
    "audit/cli/flat.py": "audit/cli/test_command.py",
    "audit/cli/gate.py": "audit/cli/test_main.py",
    "audit/cli/group.py": "audit/cli/test_main.py",
    "audit/cli/infer.py": "audit/tasks/test_infer.py",
    "audit/cli/inspect.py": "audit/cli/test_main.py",
    "audit/cli/linearity.py": "audit/cli/test_command.py",
    "audit/cli/many.py": "audit/tasks/test_many.py",
    "audit/cli/markup.py": "audit/cli/test_console.py",
    "audit/cli/numbers.py": "audit/cli/test_main.py",
    "audit/cli/opened.py": "audit/cli/test_main.py",
    "audit/cli/options.py": "audit/cli/test_main.py",
    "audit/cli/outcome.py": "audit/cli/test_main.py",
    "audit/cli/panels.py": "audit/cli/test_command.py",
    "audit/cli/plan.py": "audit/cli/test_console.py",
    "audit/cli/plugins.py": "audit/cli/test_main.py",
    "audit/cli/report.py": "audit/cli/test_main.py",
    "audit/cli/rules.py": "audit/cli/test_command.py",
    "audit/cli/runs.py": "audit/tasks/test_runs.py",
    "audit/cli/scan.py": "audit/cli/test_main.py",
    "audit/cli/schema.py": "audit/cli/test_main.py",
    "audit/cli/show.py": "audit/tasks/test_infer.py",
    "audit/cli/show_config.py": "audit/test_settings.py",
    "audit/cli/verdicts.py": "audit/verdict/test_leaderboard.py",
    "audit/cli/verify.py": "audit/verdict/test_verify.py",
    "audit/data/assembly.py": "audit/data/test_opening.py",
    "audit/data/records.py": "audit/data/test_base.py",
    "audit/data/room.py": "audit/data/test_parquet.py",
    "audit/events.py": "audit/run/test_store.py",
    "audit/exposure/kept.py": "audit/tasks/test_exposure.py",
    "audit/exposure/measure.py": "audit/tasks/test_exposure.py",
    "audit/exposure/pools.py": "audit/tasks/test_exposure.py",
    "audit/exposure/sentences.py": "audit/tasks/test_exposure.py",
    "audit/families/building.py": "audit/families/test_torchvision.py",
    "audit/families/detect.py": "audit/families/test_base.py",
    "audit/families/endings.py": "audit/families/test_torchvision.py",
    "audit/families/patches.py": "audit/families/test_torchvision.py",
    "audit/families/victim.py": "audit/families/test_base.py",
    "audit/families/weightless.py": "audit/families/test_torchvision.py",
    "audit/files.py": "reports/test_json.py",
    "audit/machine/choose.py": "audit/machine/test_executor.py",
    "audit/machine/device.py": "audit/recipe/test_known.py",
    "audit/machine/interrupt.py": "audit/run/test_drive.py",
    "audit/machine/processes.py": "audit/machine/test_executor.py",
    "audit/machine/ray_cluster.py": "audit/machine/test_executor.py",
    "audit/option.py": "audit/test_settings.py",
    "audit/outputs.py": "reports/test_html.py",
    "audit/profiles.py": "audit/test_settings.py",
    "audit/recipe/decay.py": "audit/recipe/test_known.py",
    "audit/recipe/given.py": "audit/recipe/test_fields.py",
    "audit/recipe/labels.py": "audit/recipe/test_known.py",
    "audit/recipe/shapes.py": "audit/recipe/test_known.py",
    "audit/recipe/sources.py": "audit/recipe/test_known.py",
    "audit/recipe/text_files.py": "audit/recipe/test_artefacts.py",
    "audit/recipe/told.py": "audit/recipe/test_known.py",
    "audit/recipe/torch_files.py": "audit/recipe/test_artefacts.py",
    "audit/report/card.py": "audit/run/test_cards.py",
    "audit/report/exhibit.py": "audit/scoring/test_kind.py",
    "audit/report/exposure.py": "audit/tasks/test_exposure.py",
    "audit/report/facts.py": "audit/report/test_model.py",
    "audit/report/file.py": "audit/report/test_model.py",
    "audit/report/pictures.py": "audit/verdict/test_verify.py",
    "audit/report/proof.py": "audit/verdict/test_gate.py",
    "audit/report/results.py": "audit/verdict/test_leaderboard.py",
    "audit/report/terms.py": "audit/report/test_model.py",
    "audit/report/verdict.py": "audit/verdict/test_gate.py",
    "audit/run/session.py": "audit/run/test_drive.py",
    "audit/scan/asked.py": "audit/scan/test_pipeline.py",
    "audit/scan/assumed.py": "audit/scan/test_pipeline.py",
    "audit/scan/attack.py": "audit/scan/test_pipeline.py",
    "audit/scan/compose.py": "audit/scan/test_results.py",
    "audit/scan/delivery.py": "audit/scan/test_pipeline.py",
    "audit/scan/evidence.py": "audit/scan/test_results.py",
    "audit/scan/exposure.py": "audit/tasks/test_exposure.py",
    "audit/scan/learn.py": "audit/scan/test_pipeline.py",
    "audit/scan/limitations.py": "audit/scan/test_pipeline.py",
    "audit/scan/place.py": "audit/scan/test_pipeline.py",
    "audit/scan/proof.py": "audit/scan/test_mock.py",
    "audit/scan/scene.py": "audit/scan/test_pipeline.py",
    "audit/scan/workplace.py": "audit/scan/test_pipeline.py",
    "audit/scoring/decoys.py": "audit/scan/test_results.py",
    "audit/scoring/effort.py": "audit/scan/test_results.py",
    "audit/scoring/levels.py": "audit/scoring/test_match.py",
    "audit/scoring/metrics.py": "audit/scan/test_results.py",
    "audit/tasks/inspect.py": "audit/cli/test_main.py",
    "audit/trend/attacks.py": "audit/trend/test_compare.py",
    "audit/trend/conditions.py": "audit/trend/test_compare.py",
    "audit/trend/exposed.py": "audit/trend/test_compare.py",
    "audit/trend/found.py": "audit/trend/test_compare.py",
    "audit/trend/ground.py": "audit/trend/test_compare.py",
    "audit/trend/model.py": "audit/trend/test_compare.py",
    "audit/trend/sentence.py": "audit/trend/test_compare.py",
    "audit/trend/tables.py": "audit/trend/test_compare.py",
    "audit/verdict/causes.py": "audit/verdict/test_sentence.py",
    "audit/verdict/command.py": "audit/verdict/test_advice.py",
    "audit/verdict/exposed.py": "audit/tasks/test_exposure.py",
    "audit/verdict/expression.py": "audit/verdict/test_gate.py",
    "audit/verdict/levels.py": "audit/cli/test_main.py",
    "audit/verdict/rules.py": "audit/verdict/test_findings.py",
    "audit/verdict/tally.py": "audit/verdict/test_sentence.py",
    "reports/common/extracts.py": "reports/test_html.py",
    "reports/common/pillars.py": "reports/test_html.py",
    "reports/common/verdict.py": "reports/test_html.py",
    "reports/diff_json.py": "reports/test_diff_markdown.py",
    "reports/dpia/answers.py": "reports/dpia/test_document.py",
    "reports/dpia/context.py": "reports/dpia/test_document.py",
    "reports/dpia/outcomes.py": "reports/dpia/test_document.py",
    "reports/dpia/page.py": "reports/dpia/test_document.py",
    "reports/dpia/sensitivity.py": "reports/dpia/test_document.py",
    "reports/dpia/threats.py": "reports/dpia/test_document.py",
    "reports/page/chance.py": "reports/test_html.py",
    "reports/page/facts.py": "reports/test_html.py",
    "reports/page/histogram.py": "reports/page/test_charts.py",
    "reports/page/plots.py": "reports/test_html.py",
    "reports/page/search.py": "reports/test_html.py",
}
"""Where a module without a test file of its own is tested: the file under tests/ that would fail first if it broke."""

TESTS = ROOT / "tests"
MODULE_FILES = [file for file in FILES if file.name != "__init__.py"]


def own(file: Path) -> str:
    """Return where the test file of a module would be, under tests/."""
    path = file.relative_to(ROOT)
    return path.with_name(f"test_{path.name}").as_posix()


@pytest.mark.parametrize("file", MODULE_FILES, ids=place)
def test_a_module_is_tested_somewhere(file):
    if (TESTS / own(file)).exists():
        assert place(file) not in TABLE, f"{own(file)} is there: take the line out of the table"
        return
    assert place(file) in TABLE, f"write tests/{own(file)}, or say in the table where it is tested"
    tested = TESTS / TABLE[place(file)]
    assert tested.exists(), f"{TABLE[place(file)]} is not there"
    assert file in reached(tested), f"{TABLE[place(file)]} neither imports nor runs it"


def test_the_table_has_no_line_too_many():
    assert [name for name in TABLE if not (ROOT / name).exists()] == []


def fast() -> list[str]:
    """Return the files and folders of `make fast`."""
    told = subprocess.run(["make", "-n", "fast"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return re.findall(r"tests/[\w./]+", told)


def test_the_fast_tests_are_there_and_touch_every_room():
    chosen = [ROOT / name for name in fast()]
    assert [place(path) for path in chosen if not path.exists()] == []
    touched = set()
    for file in MODULE_FILES:
        tested = TESTS / TABLE.get(place(file), own(file))
        if tested.exists() and any(tested.is_relative_to(path) for path in chosen):
            touched.add(room(file))
    assert touched == {room(file) for file in MODULE_FILES}


@cache
def reached(test: Path) -> set[Path]:
    """Return what a test file imports, directly or not, and what the commands that it starts import."""
    found, waiting = set[Path](), [*_named(test), *_named(*test.parent.glob("conftest.py"))]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += arrows(file)
    return found


def _named(*tests: Path) -> list[Path]:
    names = [name for test in tests for name in imports(test)]
    files = [MODULES.get(name) or MODULES.get(name.rpartition(".")[0]) for name in names]
    text = "".join(test.read_text() for test in tests)
    started = ["memaudit.audit.cli.main"] * bool(re.search(r"\b(SCRIPT|forked)\b", text))
    started += ["memaudit.__main__"] * ('"-m", "memaudit"' in text)
    return [file for file in (*files, *map(MODULES.get, started)) if file]
