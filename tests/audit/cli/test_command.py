"""Help screens: panels, examples, and groups of options as parameters of commands."""

import re
import shlex
from typing import Annotated

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from memaudit.audit.cli.command import Command
from memaudit.audit.cli.flat import OptionGroup, flat
from memaudit.audit.cli.main import app

COMMANDS = get_command(app).commands
KNOWLEDGE = "What you know of the training"
PANELS = {
    "scan": ["Arguments", "Inputs", KNOWLEDGE, "Attacks", "Limits", "Output", "Gate", "Options"],
    "infer": ["Arguments", "Inputs", KNOWLEDGE, "Attacks", "Limits", "Output", "Options"],
    "defend": ["Arguments", "Inputs", KNOWLEDGE, "Attacks", "Limits", "Output", "Defences", "Options"],
    "linearity": ["Arguments", "Inputs", KNOWLEDGE, "Limits", "Output", "Options"],
    "gate": ["Arguments", "Gate", "Output", "Options"],
}


def shown(command: str) -> str:
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "100"})
    assert done.exit_code == 0
    return done.stdout


def panels(text: str) -> dict[str, str]:
    parts = re.split(r"^(\w.*):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("command", PANELS)
def test_options_stand_in_panels(command):
    found = panels(shown(command))
    assert list(found) == PANELS[command]
    for option in COMMANDS[command].params:
        where = [
            title for title, text in found.items() if re.search(rf"^  (-\w, )?{option.opts[0]}\b", text, re.MULTILINE)
        ]
        assert len(where) == 1 or option.param_type_name == "argument", option.opts


def test_the_panels_of_a_scan_hold_what_they_say():
    found = panels(shown("scan"))
    for panel, options in {
        "Inputs": "--data --control --model", KNOWLEDGE: "--recipe --lr --schedule --labels --normalise",
        "Attacks": "--attack --set --seed --restarts", "Limits": "--max-time --max-memory --device --profile",
        "Output": "--out --output --evidence --quiet --json", "Gate": "--fail-if --fail-on --exit-zero",
    }.items():  # fmt: skip
        assert set(options.split()) <= set(re.findall(r"--[\w-]+", found[panel])), panel


EXAMPLES = [
    (name, line.strip())
    for name, command in COMMANDS.items()
    for line in re.findall(r"^ +memaudit .*$", command.callback.__doc__ or "" if command.callback else "", re.MULTILINE)
]


def test_the_larger_commands_have_examples():
    assert {name for name, _ in EXAMPLES} >= {"scan", "infer", "defend", "linearity", "gate", "scan-many", "inspect"}


@pytest.mark.parametrize(("command", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_an_example_is_shown_as_it_is_written_and_can_be_parsed(command, line):
    assert f"\n      {line}\n" in shown(command)
    words = shlex.split(line.partition(" > ")[0])
    assert words[:2] == ["memaudit", command]
    known = {option.name: option for option in COMMANDS[command].params}
    context = COMMANDS[command].make_context(command, words[2:], resilient_parsing=False)
    given = {name for name in known if context.get_parameter_source(name).name == "COMMANDLINE"}
    assert given >= {option.name for option in known.values() if set(option.opts) & set(words)}


class Size(OptionGroup):
    """Two options."""

    width: Annotated[int, typer.Option(help="Across.")]
    height: Annotated[int, typer.Option("--high", help="Upwards.", rich_help_panel="More")] = 3

    @property
    def area(self) -> int:
        return self.width * self.height


def test_a_group_becomes_options_and_arrives_as_one_object():
    tool = typer.Typer(rich_markup_mode=None)

    @tool.command(cls=Command)
    @flat()
    def draw(name: str, size: Size, twice: bool = False) -> None:
        """Draw."""
        typer.echo(f"{name} {size.area} {twice}")

    runner = CliRunner()
    assert runner.invoke(tool, ["x", "--width", "2", "--twice"]).stdout == "x 6 True\n"
    assert runner.invoke(tool, ["x", "--width", "2", "--high", "5"]).stdout == "x 10 False\n"
    assert "--width" in runner.invoke(tool, ["x"]).output, "it is required"
    assert "--height" not in runner.invoke(tool, ["--help"]).stdout
    assert list(panels(runner.invoke(tool, ["--help"]).stdout)) == ["Arguments", "Options", "More"]
