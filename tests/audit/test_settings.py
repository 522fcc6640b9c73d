"""Options from files and the environment, through the command line and through the functions."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.main import get_command
from typer.testing import CliRunner

from memaudit.audit import settings as config
from memaudit.audit.cli.catalogue import ONCE, collected
from memaudit.audit.cli.group import CONFIGURED
from memaudit.audit.cli.main import app
from memaudit.audit.option import ConfigError
from memaudit.audit.plugins import PluginError
from memaudit.audit.profiles import PROFILES
from memaudit.audit.settings import read
from memaudit.audit.times import written

from .. import forked

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = collected({name: get_command(app).commands[name].callback for name in CONFIGURED})


def memaudit(folder, *words, **variables):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MEMAUDIT_")}
    environment = {**clean, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **variables}
    return forked.memaudit(*words, env=environment, cwd=folder)


def settings(folder, profile=None, **variables):
    return read(OPTIONS, folder, variables).complete(OPTIONS, profile)


def refused(folder, text, name="memaudit.toml"):
    (folder / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        read(OPTIONS, folder, {})
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def seen(monkeypatch):
    """What a scan would be asked, through Typer's own parsing: call with words, get the request."""
    from memaudit.audit.scan import pipeline

    def asked(*words):
        found = []

        def scan(request, listener, end):
            found.append(request)
            raise PluginError("enough")

        monkeypatch.setattr(pipeline, "scan", scan)
        for name in ("a.pt", "b.pt"):
            Path(name).touch()  # that they are there is all that is looked at
        done = CliRunner().invoke(app, ["scan", "a.pt", "b.pt", *words])
        assert found, done.output or done.exception
        return found[0]

    return asked


def test_the_nearest_source_wins_option_by_option(tmp_path, monkeypatch, seen):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.memaudit]\nlr = 1\nepochs = 1\nbatch-size = 1\nseed = 1\n")
    (tmp_path / "memaudit.toml").write_text("lr = 2\nepochs = 2\nbatch_size = 2\nmax-time = 2\n")
    monkeypatch.setenv("MEMAUDIT_LR", "3")
    monkeypatch.setenv("MEMAUDIT_EPOCHS", "3")
    request = seen("--lr", "4", "--profile", "smoke")
    assert (request.lr, request.epochs, request.batch_size, request.seed) == (4.0, 3, 2, 1)
    assert request.max_time == 2.0
    assert request.max_iterations == PROFILES["smoke"]["max-iterations"]
    assert request.momentum is None
    found = settings(tmp_path, "smoke", MEMAUDIT_LR="3", MEMAUDIT_EPOCHS="3")
    assert [found[key].where for key in ("lr", "batch-size", "seed", "max-iterations", "momentum", "profile")] == [
        "MEMAUDIT_LR", "memaudit.toml:batch_size", "pyproject.toml:seed", "profile smoke", "default", "--profile",
    ]  # fmt: skip
    assert {item.source for item in found.values()} == {"command line", "environment", "file", "profile", "default"}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_may_come_from_anywhere_and_gives_way(tmp_path, monkeypatch, seen, profile):
    assert PROFILES[profile].keys() <= OPTIONS.keys()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "memaudit.toml").write_text(f'profile = "{profile}"\nrestarts = 7\n')
    for request in (seen(), seen("--profile", profile)):
        assert request.restarts == 7
        assert request.max_time == PROFILES[profile].get("max-time")
        assert request.attacks == tuple(PROFILES[profile].get("attack", ()))
    assert seen("--attack", "simudy").attacks == ("simudy",)


def test_the_search_goes_up_and_ends_at_the_first_folder_that_says_anything(tmp_path, monkeypatch):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "memaudit.toml").write_text("lr = 1\nseed = 5\n")
    assert settings(deep)["lr"].value == 1.0
    (deep / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert settings(deep)["lr"].value == 1.0
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.memaudit]\nlr = 2\n")
    found = settings(deep)
    assert found["lr"].value == 2.0
    assert found["seed"].source == "default"
    monkeypatch.chdir(deep)
    assert settings(deep)["lr"].where == "../pyproject.toml:lr"


def test_repeatable_options_are_lists_and_lines(tmp_path, monkeypatch, seen):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "memaudit.toml").write_text('fail-if = ["recovered>0", "ssim_max>0.3"]\nset = ["simudy.alpha=1"]\n')
    monkeypatch.setenv("MEMAUDIT_SET", "\nsimudy.alpha=2\n\n  simudy.beta=3  \n")
    request = seen("--fail-if", "recovered>1")
    assert request.fail_if == ("recovered>1",)
    assert request.options == ("simudy.alpha=2", "simudy.beta=3")
    assert seen().fail_if == ("recovered>0", "ssim_max>0.3")


def test_paths_of_a_file_count_from_its_folder(tmp_path, monkeypatch, seen):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    lines = 'data = "train"\ncontrol = "torchvision:CIFAR10:root:test"\nout = "run"\noutput = ["html=x.html"]\n'
    (tmp_path / "memaudit.toml").write_text(lines + 'recipe = "/etc/recipe.toml"\n')
    request = seen()
    assert (request.data, request.control, request.out) == ("../train", "torchvision:CIFAR10:../root:test", "../run")
    assert request.outputs == (("html", "../x.html"),)
    assert request.recipe == "/etc/recipe.toml"
    monkeypatch.setenv("MEMAUDIT_DATA", "here")
    monkeypatch.setenv("MEMAUDIT_OUT", "/somewhere")
    assert (seen().data, seen().out) == ("here", "/somewhere")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lrr = 1", "memaudit.toml:lrr: there is no such option. Did you mean lr"),
        ("max-tim = 1", "Did you mean max-time"),
        ("help = true", "no such option"),
        ("[scan]\nlr = 1", "memaudit.toml:scan: there is no such option"),
        ('lr = "fast"', "memaudit.toml:lr must be a number, and is 'fast'."),
        ("lr = true", "must be a number, and is True"),
        ("epochs = 1.5", "must be a whole number, and is 1.5"),
        ("epochs = []", "must be a whole number"),
        ("nesterov = 1", "must be true or false, and is 1"),
        ('optimizer = "sdg"', "must be one of sgd, adam, adamw, and is 'sdg'"),
        ('fail-if = "recovered>0"', "must be a list of texts. Write it as [..., ...]."),
        ("fail-if = [1.5]", "must be a list of texts"),
        ("size = 1.5", "must be a text, written as N|auto, and is 1.5"),
        ("max_time = 1\nmax-time = 2", "twice"),
        ("lr = ", "memaudit.toml is not TOML"),
        ("lr = 1" + "0" * 400, "must be a number"),
        ("epochs = 1" + "0" * 5000, "not TOML"),
        ("x = " + "[" * 5000, "not TOML"),
        ('data = "a\\u0000b"', "must be a text"),
        ('"\\u001b[31mred" = 1', r"memaudit.toml:\x1b[31mred: there is no such option"),
        ("# " + "x" * 2**20, "too large"),
        ('profile = "fast"', "must be one of smoke, ci, full"),
    ],
)
def test_what_a_file_gets_wrong_is_one_sentence(tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(tmp_path)
    assert says in refused(tmp_path, text)


def test_a_table_of_the_wrong_kind_and_a_broken_pyproject(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "pyproject.toml: tool.memaudit is not a table" in refused(tmp_path, "[tool]\nmemaudit = 1", "pyproject.toml")
    assert "pyproject.toml:epoch: there is" in refused(tmp_path, "[tool.memaudit]\nepoch = 1", "pyproject.toml")
    assert "pyproject.toml is not TOML" in refused(tmp_path, "[tool", "pyproject.toml")
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not TOML"):
        read(OPTIONS, tmp_path, {})


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("MEMAUDIT_LRR", "1", "MEMAUDIT_LRR: there is no such option. Did you mean MEMAUDIT_LR"),
        ("MEMAUDIT_LR", "fast", "MEMAUDIT_LR must be a number, and is 'fast'"),
        ("MEMAUDIT_EXIT_ZERO", "perhaps", "MEMAUDIT_EXIT_ZERO must be true or false"),
        ("MEMAUDIT_FAIL_ON", "hihg", "must be one of"),
    ],
)
def test_what_a_variable_gets_wrong_is_one_sentence(tmp_path, name, text, says):
    with pytest.raises(ConfigError) as caught:
        read(OPTIONS, tmp_path, {name: text})
    assert says in str(caught.value)


def test_variables_are_read_as_their_types_and_empty_ones_say_nothing(tmp_path):
    found = settings(
        tmp_path, MEMAUDIT_NESTEROV="No", MEMAUDIT_EXIT_ZERO="1", MEMAUDIT_SIZE="auto", MEMAUDIT_VERBOSE="2",
        MEMAUDIT_DATA="  ", MEMAUDIT_FAIL_IF="",
    )  # fmt: skip
    assert [found[key].value for key in ("nesterov", "exit-zero", "size", "verbose")] == [False, True, "auto", 2]
    assert found["data"].source == found["fail-if"].source == "default"


@pytest.mark.parametrize(
    "text",
    [
        "evil.py:make", "./evil.py:make", "os:system", "torchvision:", "torchvision:a:b", "", "timm:", "timm:a:b",
        "timm.evil:make", "timm:local-dir:.", "timm:../evil.py:make", "timm:hf-hub:a/b", "torchvision:a.b.c", "evil:a",
        "timm:a\nb", "timm:vit.py:make", "autoevil:make",
    ],
)  # fmt: skip
def test_a_file_may_not_name_code_to_run(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    assert "code to run" in refused(tmp_path, f"model = {json.dumps(text)}")
    (tmp_path / "memaudit.toml").unlink()
    assert "code to run" in refused(tmp_path, f"[tool.memaudit]\nmodel = {json.dumps(text)}", "pyproject.toml")
    if text:
        (tmp_path / "pyproject.toml").unlink()
        assert settings(tmp_path, MEMAUDIT_MODEL=text)["model"].value == text


def test_a_file_may_not_start_workers_or_name_a_cluster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for spec in ("ray", "ray:10.0.0.1:6379", "slurm"):
        assert "may name only local" in refused(tmp_path, f'executor = "{spec}"')
    (tmp_path / "memaudit.toml").write_text('executor = "local"')
    assert settings(tmp_path)["executor"].value == "local"
    assert settings(tmp_path, MEMAUDIT_EXECUTOR="ray:10.0.0.1:6379")["executor"].value == "ray:10.0.0.1:6379"


def test_a_hostile_checkpoint_folder_runs_nothing(tmp_path):
    torch.save({"weight": torch.ones(2, 2)}, tmp_path / "a.pt")
    torch.save({"weight": torch.zeros(2, 2)}, tmp_path / "b.pt")
    (tmp_path / "evil.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    (tmp_path / "memaudit.toml").write_text('model = "evil.py:make"\nquiet = true\n')
    done = memaudit(tmp_path, "scan", "a.pt", "b.pt")
    assert done.returncode == 2
    assert "memaudit.toml:model" in done.stderr
    assert not (tmp_path / "ran").exists()
    done = memaudit(tmp_path, "scan", "a.pt", "b.pt", "--model", "torchvision:resnet18")
    assert done.returncode == 2, "the file is refused even where the command line wins"


@pytest.mark.parametrize(
    "model", ["auto", "torchvision:resnet18", "timm:resnet50_gn", "timm:vit_tiny_patch16_224.augreg_in21k"]
)
def test_a_file_may_name_networks_that_libraries_build(tmp_path, model):
    (tmp_path / "memaudit.toml").write_text(f'model = "{model}"')
    assert settings(tmp_path)["model"].value == model


@pytest.mark.parametrize(
    "text",
    [
        'out = "../run"', 'out = "a/../../run"', 'output = ["json=/tmp/x.json"]', 'output = ["html=link/x.html"]',
        'out = "own"', 'out = "own/run"', 'out = "link/../../run"', 'out = "gone"',
    ],
)  # fmt: skip
def test_a_file_may_have_nothing_written_outside_its_folder(tmp_path, text):
    (tmp_path / "link").symlink_to("/tmp")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    (tmp_path / "own").symlink_to("folder")
    assert "only in its own folder" in refused(tmp_path, text)


def test_folders_are_no_configuration(tmp_path):
    (tmp_path / "memaudit.toml").mkdir()
    (tmp_path / "pyproject.toml").mkdir()
    assert read(OPTIONS, tmp_path, {}).files == ()


@pytest.mark.parametrize("name", ["memaudit.toml", "pyproject.toml"])
@pytest.mark.parametrize("kind", ["pipe", "device", "endless", "nowhere", "loop"])
def test_a_configuration_that_is_no_ordinary_file_is_refused_and_not_opened(tmp_path, name, kind):
    place = tmp_path / name
    os.mkfifo(place) if kind == "pipe" else place.symlink_to(
        {"device": "/dev/null", "endless": "/dev/zero", "nowhere": "gone", "loop": name}[kind]
    )
    with pytest.raises(ConfigError, match=rf"{name} cannot be read \(") as stop:
        read(OPTIONS, tmp_path, {})
    assert str(stop.value).isprintable()


@pytest.mark.slow
def test_the_file_that_is_used_is_named_and_cannot_hide(tmp_path):
    (tmp_path / "memaudit.toml").write_text("quiet = true\n")
    (tmp_path / "pyproject.toml").write_text("[tool.memaudit]\nlr = 1\n")
    told = "Configuration: memaudit.toml, pyproject.toml\n"
    assert memaudit(tmp_path, "scan", "a", "b").stderr.startswith(told)
    assert told not in memaudit(tmp_path, "scan", "a", "b", "-q").stderr
    assert told not in memaudit(tmp_path, "scan", "a", "b", MEMAUDIT_QUIET="1").stderr
    assert "Configuration" not in memaudit(tmp_path, "schema").stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", CONFIGURED)
def test_help_works_with_a_broken_configuration(tmp_path, command):
    (tmp_path / "memaudit.toml").write_text("[[[")
    done = memaudit(tmp_path, command, "--help")
    assert done.returncode == 0
    assert "Usage: memaudit" in done.stdout
    assert memaudit(tmp_path, "--help").returncode == 0
    done = memaudit(tmp_path, "gate", "x")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_config_prints_values_and_origins(tmp_path):
    (tmp_path / "memaudit.toml").write_text('lr = 0.5\nset = ["simudy.alpha=1", "simudy.beta=2"]\n')
    done = memaudit(tmp_path, "config", "--json", MEMAUDIT_SEED="3", MEMAUDIT_PROFILE="ci")
    found = json.loads(done.stdout)
    assert found["files"] == [str(tmp_path / "memaudit.toml")]
    rows = found["options"]
    assert rows["lr"] == {
        "value": 0.5, "source": "file", "where": "memaudit.toml:lr", "commands": ["scan", "infer", "defend"],
    }  # fmt: skip
    assert (rows["seed"]["value"], rows["seed"]["where"]) == (3, "MEMAUDIT_SEED")
    assert (rows["max-time"]["value"], rows["max-time"]["where"]) == (1200.0, "profile ci")
    assert (rows["matching"]["value"], rows["matching"]["source"]) == ("hungarian", "default")
    assert rows.keys() == OPTIONS.keys()
    done = memaudit(tmp_path, "config", "--profile", "smoke")
    assert done.returncode == 0
    assert done.stderr == ""
    for text in ("simudy.beta=2", "memaudit.toml:lr", "profile smoke", "--profile"):
        assert text in done.stdout


def test_every_option_of_scan_can_be_configured():
    scan = get_command(app).commands["scan"]
    long = {text.removeprefix("--") for option in scan.params for text in option.opts if text.startswith("--")}
    assert long - {"help", *ONCE, *config.SPELLINGS} <= OPTIONS.keys()
    assert not ONCE & OPTIONS.keys(), "a file in a downloaded folder cannot have a gate left out"
    assert config.WRITTEN < config.PATHS <= OPTIONS.keys() | {"before", "after"}, "scan-many has those two"
    assert "infer" not in OPTIONS["output"].commands, "its --output is another thing"
    assert "infer" not in OPTIONS["attack"].commands


def test_normalise_may_be_spelt_in_two_ways(tmp_path, monkeypatch, seen):
    monkeypatch.chdir(tmp_path)
    assert seen("--normalize", "half").normalise == seen("--normalise", "half").normalise == "half"
    assert settings(tmp_path, MEMAUDIT_NORMALIZE="half")["normalise"].value == "half"
    (tmp_path / "memaudit.toml").write_text('normalize = "half"\n')
    assert seen().normalise == "half"
    assert "is there twice" in refused(tmp_path, 'normalize = "half"\nnormalise = "half"')


def test_an_output_without_a_format_counts_from_its_file_too(tmp_path, monkeypatch, seen):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    (tmp_path / "memaudit.toml").write_text('output = ["x.html"]\n')
    assert seen().outputs == (("html", "../x.html"),)
    assert "written only in its own folder" in refused(tmp_path, 'output = ["../x.html"]')


def test_the_page_holds_the_same_profiles():
    page = (ROOT / "docs" / "configuration.md").read_text()
    names = [f"`{name}`" for name in PROFILES]
    assert f"| option | {' | '.join(names)} |" in page
    for key in {key for values in PROFILES.values() for key in values}:
        cells = []
        for values in PROFILES.values():
            value = values.get(key)
            value = written(value) if key == "max-time" and value else value
            shown = ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
            cells.append(f" {shown} " if shown else " ")
        assert f"| `--{key}` |{'|'.join(cells)}|" in page


@pytest.mark.parametrize("words", [["config"], ["gate", "missing"], ["report", "missing"]])
def test_no_torch(tmp_path, words):
    (tmp_path / "memaudit.toml").write_text("lr = 1\n")
    code = (
        f"import sys; sys.argv = ['memaudit', *{words!r}]\n"
        "from memaudit.audit.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("status", "words", "code"),
    [
        ("fail", [], 1), ("inconclusive", [], 3), ("pass", [], 0),
        ("fail", ["--exit-zero"], 0), ("inconclusive", ["--exit-zero"], 0),
        ("fail", ["--allow-inconclusive"], 1), ("inconclusive", ["--allow-inconclusive"], 0),
    ],
)  # fmt: skip
def test_exit_codes_of_a_scan(monkeypatch, tmp_path, status, words, code):
    from types import SimpleNamespace

    from memaudit.audit.cli import verdicts
    from memaudit.audit.scan import pipeline

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "scan", lambda *_: SimpleNamespace(verdict=SimpleNamespace(status=status)))
    monkeypatch.setattr(verdicts, "print_summary", lambda *_: None)
    (tmp_path / "a").touch(), (tmp_path / "b").touch()
    assert CliRunner().invoke(app, ["scan", "a", "b", *words]).exit_code == code


@pytest.mark.parametrize("value", ["90", "90.0", '"90s"', '"1m30s"', '"90"'])
def test_a_time_may_be_written_as_people_do(tmp_path, monkeypatch, seen, value):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "memaudit.toml").write_text(f"max-time = {value}\n")
    assert seen().max_time == 90.0
    assert settings(tmp_path, MEMAUDIT_MAX_TIME="2h")["max-time"].value == 7200.0
    assert seen("--max-time", "1h30m").max_time == 5400.0
    assert "│ 1m30s " in memaudit(tmp_path, "config").stdout


def test_what_is_no_time_is_told_by_example(tmp_path):
    form = "'15x' is not a time; write it as 90s, 15m, 2h or 1h30m."
    assert refused(tmp_path, 'max-time = "15x"').endswith(f"memaudit.toml:max-time: {form} Correct it.")
    (tmp_path / "memaudit.toml").unlink()
    told = memaudit(tmp_path, "scan", "a.pt", "b.pt", "--max-time", "15x")
    assert (told.returncode, told.stderr) == (2, f"error: --max-time: {form} See memaudit scan --help.\n")
    with pytest.raises(ConfigError, match="MEMAUDIT_MAX_TIME: '15x' is not a time"):
        settings(tmp_path, MEMAUDIT_MAX_TIME="15x")
