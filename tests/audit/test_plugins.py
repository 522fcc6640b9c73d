"""Entry points by name: what exists, what does not, and what is broken."""

import sys
from pathlib import Path

import pytest

from memaudit.audit.families.mlp import MLP
from memaudit.audit.plugins import PluginError, available, load, load_all, one_line

GROUP = "memaudit.families"


@pytest.fixture
def _stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with one plugin that works and one that does not."""
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{GROUP}]\nodd = stranger_plugin:Odd\nrotten = stranger_plugin:Absent\nleaving = leaving_plugin\n"
    )
    (tmp_path / "leaving_plugin.py").write_text("raise SystemExit(0)\n")
    (tmp_path / "stranger_plugin.py").write_text("class Odd:\n    name = 'odd'\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


def test_built_ins_are_entry_points() -> None:
    assert {"mlp", "resnet", "vgg"} <= set(available(GROUP))
    assert list(available(GROUP)) == sorted(available(GROUP))
    assert load(GROUP, "mlp") is MLP


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(PluginError, match="'resnt'") as caught:
        load(GROUP, "resnt")
    assert caught.value.hint == "Did you mean resnet?"


def test_a_name_unlike_any_other_gets_the_list() -> None:
    with pytest.raises(PluginError) as caught:
        load(GROUP, "zzzzz")
    assert all(name in caught.value.hint for name in ("mlp", "resnet", "vgg"))


def test_an_empty_group_says_so() -> None:
    with pytest.raises(PluginError) as caught:
        load("memaudit.nothing", "x")
    assert "nothing" in caught.value.hint


@pytest.mark.usefixtures("_stranger")
def test_a_broken_plugin_is_named_and_hides_nothing() -> None:
    working, broken = load_all(GROUP)
    assert {"odd", "mlp", "resnet", "vgg"} <= set(working)
    leaving, rotten = broken
    assert "'rotten'" in rotten.message
    assert "stranger_plugin:Absent" in rotten.message
    assert "stranger" in rotten.hint
    assert "SystemExit" in leaving.message, "a plugin that ends the process must not end an audit with exit code 0"


def test_one_line_keeps_the_first_line_printable() -> None:
    assert one_line(ValueError("first\x1b[31m.\nsecond")) == r"ValueError: first\x1b[31m"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 999))) < 250
