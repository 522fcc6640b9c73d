"""The CI kit: action.yml, the hooks and every example of docs/ci.md, run on a pair that leaks and on a clean one."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageOps
from safetensors.torch import save_file
from skimage import data
from torch import nn

from ..door import door

ROOT = Path(__file__).resolve().parents[2]
PRIVATE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
PUBLIC = ("moon.png", "brick.png", "clock_motion.png", "page.png", "coins.png", "camera.png", "horse.png")
SIDE = 12


def example(name: str) -> str:
    """Return the block of docs/ci.md that begins with the comment ``# NAME``."""
    page = (ROOT / "docs" / "ci.md").read_text()
    return re.search(rf"^```\w+\n# {re.escape(name)}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]


ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
WORKFLOW = yaml.safe_load(example(".github/workflows/memaudit.yml"))
USE = next(step for step in WORKFLOW["jobs"]["audit"]["steps"] if "memaudit" in step.get("uses", ""))


def crops(names: tuple[str, ...], parts: bool = False) -> np.ndarray:
    """Return photographs, each whole or as its four quarters."""
    cut = []
    for name in names:
        whole = ImageOps.fit(Image.open(Path(data.__file__).parent / name).convert("RGB"), (2 * SIDE, 2 * SIDE))
        corners = [(x, y, x + SIDE, y + SIDE) for x in (0, SIDE) for y in (0, SIDE)] if parts else []
        cut += [whole.crop(corner) for corner in corners] or [whole.resize((SIDE, SIDE))]
    return np.stack([np.asarray(image) for image in cut])


def workspace(folder: Path, noise: float = 0.0) -> Path:
    """Write a pair trained on photographs, the data set that is audited, held-out images and docs/ci.md's settings.

    ``noise`` is that on the published change, over its root mean square.
    """
    (folder / "models").mkdir()
    (folder / "data").mkdir()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, 4))
    x, labels = torch.from_numpy(crops(PRIVATE)).permute(0, 3, 1, 2) / 255 * 2 - 1, torch.arange(4)
    start = {name: value.clone() for name, value in net.state_dict().items()}
    torch.save({"epoch": 0, "state_dict": start}, folder / "models" / "before.pt")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), labels).backward()
        optimizer.step()
    end, gen = net.state_dict(), torch.Generator().manual_seed(0)
    for name, value in end.items():
        size = noise * (value - start[name]).square().mean().sqrt()
        end[name] = value + size * torch.randn(value.shape, generator=gen)
    save_file(end, folder / "models" / "after.safetensors")
    np.savez(folder / "data" / "train.npz", images=crops(PRIVATE), labels=labels.numpy())
    np.savez(folder / "data" / "held-out.npz", images=crops(PUBLIC, parts=True))
    (folder / "memaudit.toml").write_text(example("memaudit.toml") + KNOWN)
    return folder


EVIL = b"\x80\x02cposix\nsystem\nX\x09\x00\x00\x00touch ran\x85R."
"""A pickle that runs a command."""

KNOWN = """
lr = 0.05
attack = ["simudy"]
set = ["simudy.iterations=200", "simudy.alpha=0.3"]
"""
"""What makes an audit take seconds."""

PAIRS = {"leak": (0.0, 1), "clean": (4.0, 0)}
"""The noise on each pair's change, and the exit code that its audit must have."""


@pytest.fixture(params=PAIRS)
def job(request, tmp_path) -> tuple[Path, int]:
    """A workspace and the exit code that its gate must have."""
    noise, code = PAIRS[request.param]
    folder = tmp_path / "workspace"
    folder.mkdir()
    return workspace(folder, noise), code


@pytest.fixture
def leaking(tmp_path) -> Path:
    (tmp_path / "workspace").mkdir()
    return workspace(tmp_path / "workspace")


def bash(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run a script as GitHub's runner does.

    A bare ``memaudit`` is forked (`door`).
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MEMAUDIT_", "GITHUB_"))}
    path = f"{door()}:{Path(sys.executable).parent}:{clean['PATH']}"
    environment = {**clean, "PATH": path, "OMP_NUM_THREADS": "1", "CI": "true", **variables}
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def inputs(given):
    """Return every input's value; required ones must be given, and there are no others."""
    known = ACTION["inputs"]
    assert given.keys() <= known.keys()
    assert {name for name, spec in known.items() if spec.get("required")} <= given.keys()
    return {name: str(given.get(name, spec.get("default"))) for name, spec in known.items()}


def environment(step, values, action_path=ROOT):
    """Return what a step's ``env`` becomes."""
    known = {f"inputs.{name}": value for name, value in values.items()} | {"github.action_path": str(action_path)}
    return {
        name: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: known[found[1]], text) for name, text in step["env"].items()
    }


def audit(folder, tmp_path, given, installed=False):
    """Run the step that audits, with the installed script or a forked one; return the process, outputs and summary."""
    runner, commands = tmp_path / "runner", tmp_path / "runner" / "memaudit" / "bin"
    commands.mkdir(parents=True)
    script = Path(sys.executable).parent if installed else door()
    for name, target in (("python", sys.executable), ("memaudit", script / "memaudit")):
        (commands / name).symlink_to(target)
    files = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in files.values():
        Path(file).write_text("")
    done = bash(
        STEPS["Audit"]["run"],
        folder,
        **{"RUNNER_TEMP": str(runner), **files, **environment(STEPS["Audit"], inputs(given))},
    )
    return done, outputs(Path(files["GITHUB_OUTPUT"])), Path(files["GITHUB_STEP_SUMMARY"]).read_text()


def outputs(file):
    text = file.read_text()
    found = re.findall(r"^(\S+)<<(\w+)\n(.*?)\n\2\n", text, re.MULTILINE | re.DOTALL)
    assert sum(len(name) + 2 * len(end) + len(value) + 5 for name, end, value in found) == len(text)
    return {name: value for name, _, value in found}


def test_the_workflow_of_the_page_gates_both_pairs(job, tmp_path):
    folder, code = job
    done, found, summary = audit(folder, tmp_path, USE["with"], installed=True)
    assert done.returncode == code, done.stderr + done.stdout
    assert found["verdict"] == ("fail" if code else "pass")
    assert found["exit-code"] == str(code)
    assert found.keys() >= {"severity", "report-path", "sarif-path"}
    assert found["severity"] == json.loads(report(folder))["verdict"]["severity"]
    assert Path(found["report-path"]) == folder / "memaudit-report" / "report.html"
    names = {file.name for file in (folder / "memaudit-report").iterdir()}
    assert names >= {"report.html", "report.json", "report.md", "report.sarif", "junit.xml"}
    assert summary == (folder / "memaudit-report" / "report.md").read_text()
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"::{'error' if code else 'notice'} title=memaudit {found['verdict']}::")
    verdict = json.loads(report(folder))["verdict"]
    assert {gate["expression"] for gate in verdict["gates"]} == {"recovered>0", "ssim_max>=0.6"}
    assert json.loads(report(folder))["attacks"][0]["name"] == "simudy"
    assert "data:image" not in (folder / "memaudit-report" / "report.html").read_text()
    assert not list(tmp_path.rglob("evidence/**/*.png"))


def report(folder):
    return (folder / "memaudit-report" / "report.json").read_text()


def test_a_leak_that_is_only_reported_ends_well_with_a_warning(leaking, tmp_path):
    done, found, _ = audit(leaking, tmp_path, {**USE["with"], "exit-zero": "true", "evidence": "full", "fail-if": ""})
    assert done.returncode == 0, done.stderr + done.stdout
    assert (found["verdict"], found["exit-code"]) == ("fail", "0")
    assert done.stdout.splitlines()[-1].startswith("::warning title=memaudit fail::")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"fail-on": "hihg"}, "MEMAUDIT_FAIL_ON must be one of"),
        ({"before": "--help"}, "There is no checkpoint at --help"),
        ({"before": '$(touch ran)`touch ran`"; touch ran; "'}, "There is no checkpoint at $(touch ran)"),
        ({"max-time": "5; touch ran"}, "MEMAUDIT_MAX_TIME"),
        ({"after": "a\n::set-env name=X::y\n%0A"}, "There is no checkpoint"),
    ],
)
def test_an_error_is_no_verdict_and_no_input_is_a_script(leaking, tmp_path, given, says):
    (leaking / "memaudit-report").mkdir()
    (leaking / "memaudit-report" / "report.json").write_text('{"verdict": {"status": "pass"}}')
    done, found, summary = audit(leaking, tmp_path, {**USE["with"], **given})
    assert done.returncode == 2
    assert (found["verdict"], found["severity"], found["exit-code"]) == ("error", "", "2")
    assert (found["report-path"], found["sarif-path"]) == ("", "")
    assert summary == "memaudit: error\n"
    commands = [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert re.fullmatch(r"::stop-commands::\w+", commands[0])
    assert commands[-2] == f"::{commands[0].rpartition('::')[2]}::"
    assert commands[-1].startswith("::error title=memaudit error::error: ")
    assert says in done.stdout
    assert not list(leaking.rglob("ran"))


def test_no_input_stands_in_a_script():
    for step in STEPS.values():
        assert "${{" not in step.get("run", ""), step["name"]
        assert ("run" in step) != ("uses" in step)
        assert step.get("shell") == ("bash" if "run" in step else None)


def test_every_input_is_used_and_every_variable_is_an_option():
    text = (ROOT / "action.yml").read_text()
    used = set(re.findall(r"inputs\.([\w-]+)", text.partition("\nruns:")[2]))
    assert used == ACTION["inputs"].keys()
    from typer.main import get_command

    from memaudit.audit.cli.catalogue import collected
    from memaudit.audit.cli.main import app

    options = collected({"scan": get_command(app).commands["scan"].callback})
    names = {f"MEMAUDIT_{key.upper().replace('-', '_')}" for key in options}
    assert {name for name in STEPS["Audit"]["env"] if name.startswith("MEMAUDIT_")} <= names


def test_actions_of_others_are_pinned_by_commit():
    uses = re.findall(r"uses: (\S+)(.*)", (ROOT / "action.yml").read_text())
    assert len(uses) == 3
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name) and re.fullmatch(r" # v\d+\.\d+\.\d+", version)
               for name, version in uses)  # fmt: skip


def test_outputs_and_uploads():
    assert ACTION["outputs"].keys() == {"verdict", "severity", "exit-code", "report-path"}
    for name, output in ACTION["outputs"].items():
        assert output["value"] == "${{ steps.scan.outputs.%s }}" % name
    assert STEPS["Audit"]["id"] == "scan"
    uploads = [step for step in STEPS.values() if "upload" in step.get("uses", "")]
    assert [step["uses"].partition("@")[0] for step in uploads] == [
        "actions/upload-artifact", "github/codeql-action/upload-sarif",
    ]  # fmt: skip
    assert all(step["if"].startswith("always() && ") for step in uploads)
    assert inputs(USE["with"])["evidence"] == "none"


def test_the_installing_step_installs_a_clean_checkout(leaking, tmp_path):
    """Without network: the dependencies are those that are here, and the build needs no download."""
    listed = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    clean = tmp_path / "checkout"
    for name in names:
        if name and (ROOT / name).is_file() and Path(name).parts[0] != "tests":
            (clean / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clean / name)
    here = next(path for path in sys.path if path.endswith("site-packages"))
    step = STEPS["Install memaudit"]
    runner = tmp_path / "runner"
    done = bash(
        step["run"],
        tmp_path,
        RUNNER_TEMP=str(runner), PIP_NO_DEPS="1", PIP_NO_INDEX="1", PIP_NO_BUILD_ISOLATION="0", PYTHONPATH=here,
        **environment(step, inputs(USE["with"]), clean),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (runner / "memaudit" / "bin" / "memaudit").exists()
    done = bash(f"'{runner}/memaudit/bin/memaudit' --version && '{runner}/memaudit/bin/memaudit' plugins", tmp_path,
                PYTHONPATH=here)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "simudy" in done.stdout


def test_gitlab(job):
    folder, code = job
    config = yaml.safe_load(example(".gitlab-ci.yml"))["memaudit"]
    assert all(re.match(r"pip install -q \S+$", line) for line in config["before_script"])
    done = bash("\n".join(config["script"]), folder, **config["variables"])
    assert done.returncode == code, done.stderr
    suite = ElementTree.parse(folder / config["artifacts"]["reports"]["junit"]).getroot()
    assert (suite.find(".//failure") is not None) == bool(code)
    assert code not in config["allow_failure"]["exit_codes"]
    assert "data:image" not in (folder / "report" / "report.html").read_text()


def test_plain_shell(job):
    folder, code = job
    done = bash(example("audit.sh"), folder)
    assert done.returncode == code, done.stderr
    assert ("training data leaked" if code else "passed") in done.stdout
    done = bash(example("gate.sh"), folder)
    assert done.returncode == code, done.stderr
    (folder / "last").mkdir()
    shutil.copy(folder / "report.json", folder / "last")
    done = bash(example("trend.sh"), folder, GITHUB_STEP_SUMMARY=str(folder / "summary.md"))
    assert done.returncode == 0, done.stderr
    assert ": no clear change\n" in (folder / "summary.md").read_text()
    hook = HOOKS["memaudit-verify"]
    names = ["report.json", "run/report.json"]
    assert all(re.search(hook["files"], name) for name in names)
    assert not re.search(hook["files"], "my-report.json")
    run = f"{hook['entry']} {shlex.join(names)}"
    assert bash(run, folder).returncode == 0
    file = folder / names[1]
    file.write_text(file.read_text().replace('"records": 4', '"records": 5'))
    done = bash(run, folder)
    assert done.returncode in (1, 2), done.stderr


def test_pre_commit(leaking, tmp_path):
    (repo,) = yaml.safe_load(example(".pre-commit-config.yaml"))["repos"]
    assert [hook["id"] for hook in repo["hooks"]] == list(HOOKS)
    for hook in HOOKS.values():
        assert hook["language"] == "python"
        assert hook["require_serial"] is True
    (leaking / "evil.pt").write_bytes(EVIL)
    for name in ("a.TH", "b.pkl", "c.Pickle", "d.PT", "-x.pt"):
        assert re.search(HOOKS["memaudit-inspect"]["files"], name)
    assert all(hook["entry"].endswith(" --") for hook in HOOKS.values())
    names = {"models/before.pt", "models/after.safetensors", "evil.pt"}
    files = [str(file.relative_to(leaking)) for file in leaking.rglob("*") if file.is_file()]
    chosen = [name for name in files if re.search(HOOKS["memaudit-inspect"]["files"], name)]
    assert set(chosen) == names
    run = HOOKS["memaudit-inspect"]["entry"]
    assert bash(f"{run} {shlex.join(sorted(names - {'evil.pt'}))}", leaking).returncode == 0
    done = bash(f"{run} {shlex.join(chosen)}", leaking)
    assert done.returncode == 2
    assert "evil.pt" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout.count("\n") == 2
    assert not (leaking / "ran").exists()


def test_inspect_each_takes_no_network(leaking):
    done = bash("memaudit inspect --each models/before.pt --image-size 3", leaking)
    assert done.returncode == 2
    assert "not at networks" in done.stderr
    done = bash("memaudit inspect models/before.pt models/after.safetensors models/before.pt", leaking)
    assert done.returncode == 2
    assert "--each" in done.stderr
    found = json.loads(bash("memaudit inspect --each models/* --json", leaking).stdout)
    assert [row["format"] for row in found] == ["safetensors", "torch"]
