"""The command line in processes of its own: the console script, or forked where how it starts is not the point."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import jsonschema
import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from memaudit.audit.report.file import load
from memaudit.audit.run.campaign import PROBE_STEPS

from ... import forked
from ...conftest import SCRIPT
from ...forked import Forked
from ..report.old import demo

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def script(*words):
    """Run the installed console script."""
    words = [SCRIPT, *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=ENVIRONMENT)


def memaudit(*words):
    return forked.memaudit(*words, env=ENVIRONMENT)


def scan_words(leak, out, *more):
    return ["scan", leak.before, leak.after, "--data", leak.data, "--normalise", "0.5;0.25", "--epochs", 10,
            "--lr", 0.02, "--attack", "simudy", "--set", "simudy.iterations=60", "--out", out, *more]  # fmt: skip


@pytest.fixture(scope="module")
def run(leak, tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "run"
    return script(
        *scan_words(leak, out, "--control", leak.control, "--json", "-o", f"html={out.parent / 'x.html'}")
    ), out


@pytest.mark.slow
def test_a_leak_is_exit_code_one_with_json_alone_on_stdout(run):
    done, out = run
    assert done.returncode == 1, done.stderr
    printed = json.loads(done.stdout)
    assert printed == json.loads((out / "report.json").read_text())
    assert printed["verdict"]["status"] == "fail"
    assert "FAIL" in done.stderr
    assert "Plan: 1 of 1 attacks" in done.stderr
    assert "named by --attack" in done.stderr
    assert "\x1b" not in done.stderr
    assert (out.parent / "x.html").read_text().startswith("<!")


@pytest.mark.slow
def test_the_json_validates_against_the_printed_schema(run):
    schema = json.loads(memaudit("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(run[0].stdout), schema)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gate", "code"),
    [
        ("simudy.ssim_max>=0.4", 1),
        ("recovered_fraction>=0.05", 1),
        ("ssim_mean>=0.9999", 0),
        ("loo.ssim_max>0.4", 3),
        ("simudi.ssim_max>0.4", 2),
    ],
)
def test_gate_decides_again(run, gate, code):
    done = memaudit("gate", run[1], "--fail-if", gate)
    assert done.returncode == code, done.stderr


@pytest.mark.slow
def test_gate_on_a_missing_metric_is_inconclusive(run, tmp_path):
    report = load(run[1])
    bare = report.attacks[0].model_copy(update={"metrics": None, "matches": []})
    path = tmp_path / "report.json"
    path.write_text(report.model_copy(update={"attacks": [bare]}).to_json())
    done = memaudit("gate", path, "--fail-if", "simudy.ssim_max>0.4", "--json")
    assert done.returncode == 3
    told = json.loads(done.stdout)
    assert told["status"] == "inconclusive"
    assert told["headline"]
    assert told["next_step"]["reason"]


@pytest.mark.slow
def test_report_renders_again_without_torch(run, tmp_path):
    code = (
        "import sys; sys.argv = ['memaudit', 'report', %r, '-o', 'html=' + %r, '-o', 'json=' + %r]\n"
        "from memaudit.audit.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules"
    ) % (str(run[1]), str(tmp_path / "a.html"), str(tmp_path / "a.json"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.html").read_bytes() == (run[1] / "report.html").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (run[1] / "report.json").read_bytes()


@pytest.mark.slow
def test_quiet_prints_the_verdict_and_the_page(leak, tmp_path):
    done = memaudit(*scan_words(leak, tmp_path / "run", "-q"))
    assert done.returncode == 1, done.stderr
    verdict, page = done.stdout.splitlines()
    assert verdict.startswith("FAIL")
    assert page == str(tmp_path / "run" / "report.html")
    assert done.stderr == ""


@pytest.mark.slow
def test_the_plan_names_what_runs_and_what_does_not(leak, tmp_path):
    words = ["scan", leak.before, leak.after, "--lr", 0.02, "--size", 4, "--epochs", 10, "--out", tmp_path / "run"]
    done = memaudit(*words, "--max-time", 60, "--json")
    assert done.returncode == 3, done.stderr
    plan = json.loads(done.stdout)["plan"]
    assert len(plan) >= 2
    table = done.stderr[done.stderr.index("Plan: ") : done.stderr.index("Attacking")]
    assert all(step["attack"] in table for step in plan)
    assert "simudy" in table[table.index("Left out") :]


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["simudi", "al"])
def test_an_attack_that_is_not_there_gets_the_nearest(leak, attack):
    done = memaudit("scan", leak.before, leak.after, "--attack", attack)
    assert done.returncode == 2
    assert attack in done.stderr


@pytest.mark.slow
def test_tf32_is_in_the_command_of_the_report_and_warned_of_on_a_cpu(leak, tmp_path):
    done = memaudit(*scan_words(leak, tmp_path, "--max-iterations", 2, "--device", "cpu", "--tf32"))
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("--tf32 changes nothing on a CPU.") == 1
    assert " --tf32 " in load(tmp_path).command


@pytest.mark.slow
def test_inspect_of_a_pair_and_of_one_file(leak):
    found = json.loads(memaudit("inspect", leak.before, leak.after, "--json").stdout)
    assert found["architecture"]["family"] == "mlp"
    assert found["architecture"]["score"] == 1
    assert found["moved"] == 4
    assert len(found["before"]["sha256"]) == 64
    assert all(row["change"] > 0 for row in found["tensors"])
    done = memaudit("inspect", leak.after)
    assert done.returncode == 0
    assert "safetensors" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_leak(closed):
    for words, code in (("rules", 0), ("gate nothing.json", 2)):
        done = subprocess.run(["bash", "-c", f"{SCRIPT} {words} {closed}"], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_terminal_can_show_the_tables(leak, encoding):
    words, environment = ["inspect", leak.before, leak.after], {**ENVIRONMENT, "PYTHONIOENCODING": encoding}
    if encoding == "ascii":  # what forks sets the encoding as Python does
        run = {"capture_output": True, "encoding": encoding, "check": False}
        done = subprocess.run([SCRIPT, *words], env=environment, **run)
    else:
        done = forked.memaudit(*words, env=environment)
    assert done.returncode == 0, done.stderr
    assert "read off the change" in done.stdout


@pytest.mark.slow
def test_inspect_of_an_unrecognised_network_says_so_and_goes_on(tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"odd.kernel": torch.ones(3, 3, 3)}, tmp_path / "odd.safetensors")
    done = memaudit("inspect", tmp_path / "odd.safetensors")
    assert done.returncode == 0
    assert "not recognised" in done.stdout
    assert "--model" in done.stdout


@pytest.mark.slow
def test_plugins_lists_options():
    found = json.loads(memaudit("plugins", "--json").stdout)
    assert {row["name"] for row in found["attacks"]} >= {"simudy"}
    simudy = next(row for row in found["attacks"] if row["name"] == "simudy")
    assert {option["name"] for option in simudy["options"]} >= {"iterations", "alpha"}
    assert {row["name"] for row in found["reports"]} >= {"html", "json"}
    assert [row["name"] for row in found["kinds"]] == ["image", "text"]


def state_file(out: Path) -> Path | None:
    return next(iter(out.glob("jobs/*/state.safetensors")), None)


def wait_for_state(process, out: Path) -> None:
    limit = time.monotonic() + 120
    while state_file(out) is None:
        assert process.running(), process.done()
        assert time.monotonic() < limit
        time.sleep(0.02)


def wait_for_step(process, out: Path, step: int) -> None:
    """Wait until a state is saved that is further than ``step``: beyond the first steps, which are only timed."""
    wait_for_state(process, out)
    limit = time.monotonic() + 120
    while True:
        with safe_open(state_file(out), framework="pt") as file:
            if json.loads(file.metadata()["state"])["step"] > step:
                return
        assert process.running(), process.done()
        assert time.monotonic() < limit
        time.sleep(0.02)


def long_words(leak, out):
    return scan_words(leak, out, "--set", "simudy.iterations=150", "-q")


@pytest.fixture(scope="module")
def whole(leak, tmp_path_factory):
    """The run folder of a scan that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert memaudit(*long_words(leak, out)).returncode == 1
    return out


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_and_run_again_is_the_uninterrupted_run(leak, tmp_path, whole, how):
    out = tmp_path / "run"
    words = long_words(leak, out)
    process = Forked(words, ENVIRONMENT, pause=0.05)
    wait_for_step(process, out, PROBE_STEPS)
    process.send_signal(how)
    done = process.done()
    assert done.returncode == (-how if how == signal.SIGKILL else 130), done.stderr
    assert not (out / "report.json").exists()
    assert memaudit(*words).returncode == 1
    if how != signal.SIGKILL:
        assert done.stderr == "Interrupted. Run the same command to continue from here.\n", "it is no error"
    a, b = load(out), load(whole)
    timeless = {"seconds": 0, "peak_memory_bytes": 0}
    assert a.attacks[0].model_copy(update=timeless) == b.attacks[0].model_copy(update=timeless)
    left, right = load_file(state_file(out)), load_file(state_file(whole))
    assert all(left[name].equal(value) for name, value in right.items())
    for picture in (out / "evidence").rglob("*.png"):
        assert picture.read_bytes() == (whole / picture.relative_to(out)).read_bytes()


@pytest.mark.slow
def test_killed_during_the_search_and_run_again_is_the_uninterrupted_run(leak, tmp_path):
    def words(out):
        known = scan_words(leak, out, "-q")
        at = known.index("--lr")
        return known[:at] + known[at + 2 :]

    out = tmp_path / "run"
    process = Forked(words(out), ENVIRONMENT)
    wait_for_state(process, out)
    process.send_signal(signal.SIGKILL)
    process.done()
    assert not (out / "report.json").exists()
    assert memaudit(*words(out)).returncode == 1
    assert memaudit(*words(tmp_path / "whole")).returncode == 1
    a, b = load(out), load(tmp_path / "whole")
    timeless = {"seconds": 0, "peak_memory_bytes": 0}
    assert a.search == b.search
    assert a.recipe == b.recipe
    assert a.attacks[0].model_copy(update=timeless) == b.attacks[0].model_copy(update=timeless)


@pytest.mark.slow
@pytest.mark.parametrize(("extra", "drawn"), [({}, True), ({"CI": "true"}, False)])
def test_a_terminal_gets_a_bar_with_the_loss_and_ci_gets_plain_lines(leak, tmp_path, extra, drawn):
    parent, child = os.openpty()
    plain = {name: value for name, value in ENVIRONMENT.items() if name not in ("CI", "NO_COLOR")}
    environment = {**plain, "TERM": "xterm", "COLUMNS": "120", **extra}
    process = Forked(scan_words(leak, tmp_path / "run"), environment, terminal=os.ttyname(child))
    select.select([parent], [], [], 120)  # the terminal must not go before the process has opened it
    os.close(child)
    shown = b""
    with suppress(OSError):  # how Linux tells that the other side is closed
        while chunk := os.read(parent, 65536):
            shown += chunk
    os.close(parent)
    done = process.done()
    assert done.returncode == 1
    assert (re.search(rb"60/60.*loss", shown) is not None) == drawn
    assert "FAIL" in done.stdout
    assert "\x1b" not in done.stdout, "that is no terminal"


def test_a_plugin_that_ends_the_program_does_not_end_it_well(tmp_path):
    """No audit was done, so that exit code 0 would be a false clean."""
    info = tmp_path / "leaving-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: leaving\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[memaudit.reports]\nleave = leaving:leave\n")
    (tmp_path / "leaving.py").write_text("def leave(*given): raise SystemExit(0)\n")
    (tmp_path / "report.json").write_text(json.dumps(demo()))
    environment = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [SCRIPT, "report", tmp_path, "-o", f"leave={tmp_path / 'out'}"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "ended the program" in done.stderr


def test_version_and_no_arguments():
    version = script("--version").stdout
    assert version.startswith("memaudit 0.")
    module = subprocess.run([sys.executable, "-m", "memaudit", "--version"], capture_output=True, text=True, check=True)
    assert module.stdout == version
    bare = script()
    assert bare.returncode == 2
    assert len(bare.stdout.splitlines()) > 10
    assert "scan" in bare.stdout


@pytest.mark.slow
def test_brackets_in_a_path_are_printed_as_they_are():
    done = memaudit("inspect", "[bold]missing[/bold].pt")
    assert done.returncode == 2
    assert "[bold]missing[/bold].pt" in done.stderr


def test_cli_reference_is_up_to_date():
    root = Path(__file__).resolve().parents[3]
    words = [sys.executable, "-m", "typer", "memaudit.audit.cli.main", "utils", "docs", "--name", "memaudit"]
    made = subprocess.run(words, capture_output=True, text=True, check=True, env={**ENVIRONMENT, "COLUMNS": "100"})
    assert (root / "docs" / "cli.md").read_text().strip() == made.stdout.strip(), "run: make docs"
