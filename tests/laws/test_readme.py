"""What the README and docs say is what there is."""

import re
from pathlib import Path

from typer.main import get_command

from memaudit.audit.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = get_command(app).commands


def test_exactly_two_commands_for_a_fresh_machine():
    found = re.findall(r"^    (python3 -m venv .*)$", README, re.MULTILINE)
    assert len(found) == 2
    assert "memaudit demo" in found[0]
    assert "make check" in found[1]


def test_every_command_has_help_and_stands_in_the_reference():
    reference = (ROOT / "docs" / "cli.md").read_text()
    for name, command in COMMANDS.items():
        assert command.help, name
        assert f"## `memaudit {name}`" in reference
        assert all(option.help for option in command.params if option.name != "help"), name


def test_every_option_in_the_readme_exists():
    for line in re.findall(r"^\$ memaudit (.*?)(?:\s+#.*)?$", README, re.MULTILINE):
        name = line.split()[0]
        known = {text for option in COMMANDS[name].params for text in option.opts}
        assert set(re.findall(r"--[\w-]+", line)) <= known, line


def test_every_local_link_leads_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_one_line_says_that_the_pypi_project_is_another():
    assert re.search(r"PyPI project .* is a different one", README.replace("\n", " "))
