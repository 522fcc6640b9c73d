import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from memaudit.audit.report.model import AuditReport
from memaudit.audit.report.verdict import NextStep
from memaudit.reports import markdown

from .samples import HOSTILE

NASTY = (
    "a|b", "`code`", "``", "two\nlines\n\n# heading", "[a](https://evil.example)", "![p](https://evil.example/p.png)",
    "https://evil.example/x", "www.evil.example", "@octocat", "a@evil.example", "#12", "GH-12", "<!-- -->", "a\\|b",
    "<https://evil.example>", "- item", "1. item", "***", "~~~", "$x$", "&lt;b&gt;", "\u202e", "\x00\x1b[31m",
)  # fmt: skip
NAMES = [*HOSTILE, *NASTY, "".join(NASTY)]


def tokens(text: str) -> list[Token]:
    """Return what a reader of Markdown that allows HTML makes of it, without nesting."""
    found = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    return [part for token in found for part in (token, *(token.children or []))]


def widths(text: str) -> list[int]:
    """Return the number of cells of each row of each table."""
    return [len(re.findall(r"(?<!\\)\|", line)) - 1 for line in text.splitlines() if line.startswith("|")]


def cell(text: str) -> str:
    """Return what a reader of a table shows of a cell."""
    (found,) = [
        token for token in tokens(f"| a |\n|---|\n| {text} |") if token.type == "inline" and token.content != "a"
    ]
    return "".join(part.content for part in found.children or [])


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE)


def test_the_sections_come_in_order(leak: AuditReport) -> None:
    assert headings(markdown.render(leak)) == [
        "3 of 10 training images can be rebuilt from these two files", "Findings", "Gates",
        "Leaderboard", "Against chance", "What that means",
        "Defences that were measured", "What would lower the leak", "Limitations", "Reproduce", "Digests",
    ]  # fmt: skip


def test_the_numbers_are_those_of_the_report(leak: AuditReport) -> None:
    text = markdown.render(leak)
    assert "**Verdict: fail** · severity: **high** · model `cifar-classifier`" in text
    assert "| **high** | MA001 TrainingRecordReconstructed | `simudy` |" in text
    assert "| note | MA106 RecipeAssumed | all |" in text
    assert "| `recovered>0` | **fail** |" in text
    assert re.search(r"\| 1 \| `simudy` \| converged \| 0\.399 \| 0\.971 \| 3 ", text)
    assert "| `simudy` | training images | 10 |" in text
    assert "| `simudy` | held-out images | 200 |" in text
    assert "Mann-Whitney" in text
    assert f"```text\n{leak.command}\n```" in text
    assert f"| `{leak.inputs.after.path}` | `{leak.inputs.after.sha256}` |" in text
    assert leak.content_sha256 in text


def test_the_next_step_and_what_the_verdict_rests_on_are_told(wrong: AuditReport, proven: AuditReport) -> None:
    text = markdown.render(wrong)
    assert text.startswith("# Nothing shows that the training images that were given changed this model\n")
    assert "**Next step.** Give the images that this model was trained on" in text
    assert "```text\nmemaudit check runs/cifar/before.safetensors" in text
    assert "Takes under a minute." in text
    assert re.search(r"\| Do the training images explain the change\? \| \*\*no\*\* \| .*images given 42.0 %", text)
    told = markdown.render(proven)
    assert "Next step" not in told
    assert "**What to do.** These attacks give no reason to withhold the two files." in told
    assert re.search(r"\*\*yes\*\* \| .* a training like this one 18 of 20, yours 0 of 10", told)


def test_missing_evidence_is_never_shown_as_clean(blind: AuditReport) -> None:
    text = markdown.render(blind)
    assert "**Verdict: inconclusive**" in text
    assert "| missing evidence | MA101" in text
    assert "pass" not in re.sub(r"pass \\?--", "", text)


@pytest.mark.parametrize(
    "name", ["leak", "clean", "blind", "many", "trust", "hostile", "hostile_many", "both", "hostile_exposed"]
)
def test_it_is_stable_and_has_no_picture_link_or_html(name: str, request: pytest.FixtureRequest) -> None:
    report: AuditReport = request.getfixturevalue(name)
    text = markdown.render(report)
    assert text == markdown.render(report.model_copy(deep=True))
    kinds = {token.type for token in tokens(text)}
    assert not kinds & {"image", "link_open", "html_inline", "html_block", "s_open", "blockquote_open"}


def test_hostile_text_changes_no_structure(leak: AuditReport, hostile: AuditReport) -> None:
    tame, wild = markdown.render(leak), markdown.render(hostile)
    assert headings(wild)[1:] == headings(tame)[1:]
    assert len(headings(wild)) == len(headings(tame))
    assert widths(wild) == widths(tame)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_inert_wherever_it_stands(leak: AuditReport, name: str) -> None:
    finding = leak.findings[0].model_copy(update={"message": name, "attack": name, "name": name})
    gate = leak.verdict.gates[0].model_copy(update={"expression": name, "reason": name})
    update = {
        "model": name, "findings": [finding], "limitations": [name], "command": name, "ranking": name,
        "verdict": leak.verdict.model_copy(
            update={"summary": name, "headline": f"{name} x", "next_step": NextStep(reason=name, command=name),
                    "gates": [gate]}
        ),
        "attacks": [leak.attacks[0].model_copy(update={"name": name})],
        "leaderboard": [leak.leaderboard[0].model_copy(update={"attack": name})],
    }  # fmt: skip
    text = markdown.render(leak.model_copy(update=update))
    assert headings(text)[1:] == headings(markdown.render(leak))[1:]
    assert set(widths(text)) <= set(widths(markdown.render(leak)))
    found = tokens(text)
    kinds = {token.type for token in found}
    assert not kinds & {"image", "link_open", "html_inline", "html_block", "s_open", "ordered_list_open", "em_open"}
    shown = " ".join(token.content for token in found if token.type == "text")
    assert not re.search(r"https?://\w|www\.\w|@\w|#\d|GH-\d", shown)


@pytest.mark.parametrize("name", ["a `b` | c", "`", "1 < 2 & *x* [y] 50 %", "a\\b", "- a"])
def test_a_name_is_shown_as_it_is(name: str) -> None:
    assert cell(markdown.code(name)) == name
    assert cell(markdown.text(name)) == name


def test_it_is_cut_to_its_limit_and_says_what_is_missing(leak: AuditReport) -> None:
    finding = leak.findings[0].model_copy(update={"message": "Ünï " * 200})
    report = leak.model_copy(update={"findings": [finding] * 500, "limitations": ["ß" * 500] * 900})
    text = markdown.render(report)
    assert 0.9 * markdown.LIMIT < len(text.encode()) <= markdown.LIMIT
    kept = text.count("| **high** |")
    assert 0 < kept < 500
    last = text.splitlines()[-1]
    assert f"{500 - kept} of 500 rows of Findings" in last
    assert "rows of Limitations" in last
    assert headings(text)[-1] == "Digests"
    assert set(widths(text)) == set(widths(markdown.render(leak)))


def test_a_command_is_shown_whole_or_not_at_all(leak: AuditReport) -> None:
    text = markdown.render(leak.model_copy(update={"command": "memaudit scan " + "x" * 200_000}))
    assert "xxx" not in text
    assert "the section Reproduce" in text or "1 of 2 rows of Reproduce" in text
    assert len(text.encode()) <= markdown.LIMIT


def test_it_is_written(leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    path = markdown.write(leak, folder, tmp_path / "new" / "summary.md")
    assert path.read_text(encoding="utf-8") == markdown.render(leak)


def test_exposure_is_told_with_its_scores_and_the_most_exposed(
    exposed: AuditReport, hostile_exposed: AuditReport, few: AuditReport
) -> None:
    text = markdown.render(exposed)
    assert headings(text)[1:6] == [
        "What the verdict rests on", "Findings", "Gates", "Exposure", "The most exposed images",
    ]  # fmt: skip
    assert exposed.exposure is not None
    first, last = exposed.exposure.per_record[0], exposed.exposure.per_record[20]
    assert f"| `{first.name}` | `{first.label}` | {first.score:.2f} |" in text
    assert f"`{last.name}`" not in text
    assert "It does not mean that the image can be rebuilt" in text
    assert "memaudit scan runs/before.pt runs/after.pt" in text
    wild = markdown.render(hostile_exposed)
    assert headings(wild)[1:] == headings(text)[1:]
    assert widths(wild) == widths(text)
    assert "| regression on gradients | – | – |" in markdown.render(few)
