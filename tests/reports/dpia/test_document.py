"""The compliance document: complete, inert, never more certain than the report."""

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from memaudit.audit.files import FormatError
from memaudit.audit.outputs import Look
from memaudit.audit.plugins import available
from memaudit.audit.report.card import AttackCard
from memaudit.audit.report.model import AuditReport
from memaudit.audit.report.verdict import Finding, Verdict
from memaudit.reports.dpia import document as dpia
from memaudit.reports.dpia.context import answers, questions
from memaudit.reports.dpia.outcomes import classes, exposed, outcomes, risk
from memaudit.reports.dpia.page import block, escape, page, slug
from memaudit.reports.dpia.threats import threats

ROOT = Path(__file__).resolve().parents[3]
DPIA = ROOT / "reports" / "dpia"
NAMES = ["leak", "clean", "blind", "many", "trust"]
SECTIONS = [
    "Summary for the data protection officer",
    "1. Verdict", "2. System and model", "3. Scope", "4. Threat model", "5. Attack coverage", "6. Method", "7. Results",
    "8. Sensitivity", "9. Residual risk", "10. Mitigations", "11. Limitations", "12. Control mapping", "13. Provenance",
    "Open points", "14. Sign-off",
]  # fmt: skip
HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'><svg onload=alert(1)>",
    "{{ 7 * 7 }}</style></title>", "[click](https://evil.example)", "![see](https://evil.example/x.png)", "| a | b |",
    "`code` ``` ~~~", "\n\n# Heading\n\n- item\n\n> quote\n\n1. one", "https://evil.example www.evil.example",
    "<https://evil.example>", "**bold** __init__ *x* ~~no~~", "&lt;b&gt; &#124; \\", "a@evil.example", "[ref]: /x",
    "\u202eright-to-left\u202c",
)  # fmt: skip
LOOSE = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
"""A reader that follows every markup it finds."""


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.style = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "style" and not self.style:
            self.style = data
        else:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def seen(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(params=NAMES)
def report(request: pytest.FixtureRequest) -> AuditReport:
    return request.getfixturevalue(request.param)


def html(report: AuditReport, context: dict[str, Any] | None = None) -> Page:
    return Page(page(dpia.markdown(report, Look(context=context or {})), "title"))


def flat(tokens: list[Any]) -> list[Any]:
    return [part for token in tokens for part in (token, *(token.children or []))]


def rows(text: str, section: str) -> dict[str, str]:
    """Return the rows of all tables of a section by their first cell."""
    found = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line.split(" | ", 1) for line in found.splitlines() if line.startswith("| ")]
    return {line[0].removeprefix("| "): line[1] for line in lines}


def full() -> dict[str, Any]:
    """Return a context that answers everything, in types as they are asked for."""
    example = re.search(r"```toml\n(.*?)```", (ROOT / "docs" / "compliance.md").read_text(), re.DOTALL)
    assert example
    return tomllib.loads(example[1])


def test_markdown_by_name_and_a_page_otherwise(leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    text = dpia.write(leak, folder, tmp_path / "annex.MD").read_text()
    assert text.startswith("# Training-data reconstruction")
    assert dpia.write(leak, folder, tmp_path / "annex.html").read_text().startswith("<!doctype html>")
    assert dpia.markdown(leak) == text


@pytest.mark.slow
def test_all_sections_in_order_in_both(report: AuditReport) -> None:
    text, found = dpia.markdown(report), html(report)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert [a["id"] for a in found.all("h2")] == [slug(name) for name in SECTIONS]
    anchors = {a["href"] for a in found.all("a") if a["href"].startswith("#")}
    assert anchors == {f"#{slug(name)}" for name in SECTIONS[1:]}


@pytest.mark.slow
@pytest.mark.parametrize("context", [{}, {"system": {"name": "x"}}])
def test_nothing_is_claimed(report: AuditReport, context: dict[str, Any]) -> None:
    for text in (dpia.markdown(report, Look(context=context)), html(report, context).seen()):
        assert not re.search(r"compliant|is anonymous|are anonymous|is safe\b", text, re.IGNORECASE)
        assert "not proof of anonymity" in text
        assert "about 120 images" in text


def test_the_verdict_stands_first_and_with_its_bounds(report: AuditReport) -> None:
    text = dpia.markdown(report)
    assert text.index(f"**{report.verdict.status}**") < 500
    assert "- What this shows: " in text
    assert "- What it does not show: " in text


@pytest.mark.parametrize("name", ["blind", "trust"])
def test_inconclusive_is_inconclusive_everywhere(name: str, request: pytest.FixtureRequest) -> None:
    report = request.getfixturevalue(name)
    assert report.verdict.status == "inconclusive"
    text = dpia.markdown(report)
    assert "> **This audit is inconclusive.**" in text
    bold = set(re.findall(r"\*\*([a-z ]+)\*\*", text))
    assert not bold & {"pass", "ran", "not observed", "none", "recovered"}
    assert "Affected records: **not determined**." in text
    assert "| Likelihood | **not determined**" in text
    assert "**inconclusive**" in rows(text, "5. Attack coverage")["(v) Reconstruction attacks"]


def test_a_clean_run_that_is_judged_inconclusive_clears_nothing(clean: AuditReport) -> None:
    verdict = clean.verdict.model_copy(update={"status": "inconclusive"})
    states = {end.state for _, end in classes(clean.model_copy(update={"verdict": verdict}))}
    assert states == {"inconclusive", "not run", "not measured"}


def test_missing_evidence_bars_an_attack_from_clearing(clean: AuditReport) -> None:
    assert outcomes(clean)["simudy"].state == "ran"
    finding = Finding(
        rule="MA102", name="ComparisonTooSmall", severity="none", attack="simudy", message="Too few.", blocks=True
    )
    barred = clean.model_copy(update={"findings": [finding]})
    assert outcomes(barred)["simudy"] == ("inconclusive", "It explained the change, but too few.")


def test_the_coverage_comes_from_the_report(leak: AuditReport, many: AuditReport) -> None:
    states = {kind["key"]: end.state for kind, end in classes(leak)}
    assert states == {
        "membership": "not measured", "attribute": "not run", "exfiltration": "not run", "regurgitation": "not run",
        "inversion": "not applicable", "reconstruction": "ran", "property": "not run",
    }  # fmt: skip
    found = outcomes(leak)
    assert found["simudy"].state == "recovered"
    assert found["gradient_inversion"].state == "inconclusive"
    assert outcomes(many)["gion"] == ("not run", "takes a day")
    coverage = rows(dpia.markdown(leak), "5. Attack coverage")
    assert "not measured in this audit" in coverage["(i) Membership inference"]
    assert "Not run by this tool" in coverage["(i) Attribute inference"]


def test_a_converged_attack_without_a_comparison_is_inconclusive(trust: AuditReport) -> None:
    end = outcomes(trust)["simudy"]
    assert end.state == "inconclusive"
    assert "not compared" in end.said


def test_the_risk_follows_the_findings(leak: AuditReport, clean: AuditReport) -> None:
    assert risk(leak).likelihood == "demonstrated"
    assert risk(clean).likelihood == "not observed"
    hint = Finding(rule="MA002", name="TrainingSetResembled", severity="medium", message="Alike.")
    assert risk(clean.model_copy(update={"findings": [hint]})).likelihood == "indicated"
    undecided = Verdict(status="inconclusive", summary="")
    found = risk(clean.model_copy(update={"verdict": undecided, "findings": [hint]}))
    assert (found.likelihood, found.severity) == ("not determined", "not determined")
    assert "points to a leak anyway" in found.why


def test_affected_records_are_numbers_not_names(leak: AuditReport) -> None:
    text = dpia.markdown(leak)
    recovered = [match.sample for match in leak.attacks[0].matches if match.recovered]
    assert recovered
    for sample in recovered:
        assert f"| No. {sample} | " in text
    assert not any(match.name in text for match in leak.attacks[0].matches)


def test_every_builtin_attack_has_a_threat_model_and_a_stranger_has_none(leak: AuditReport) -> None:
    stranger = leak.attacks[0].model_copy(update={"name": "a_strangers"})
    found = threats(leak.model_copy(update={"attacks": [*leak.attacks, stranger]}))
    builtin = {name for name, entry in available("memaudit.attacks").items() if entry.value.startswith("memaudit.")}
    assert set(leak.cards) == builtin < set(found)
    for name in builtin:
        assert all(found[name])
        assert found[name].kind == ("inversion" if name in ("haim", "buzaglo") else "reconstruction")
    assert "plugin" in found["a_strangers"].goal
    assert found["a_strangers"].kind == found["a_strangers"].nist == ""


def test_what_a_strangers_card_tells_stands_in_the_document(leak: AuditReport) -> None:
    card = AttackCard(
        reads="weights", goal="Odd things.", access="One odd file.", knowledge="Oddly little.", source="Odd et al."
    )
    stranger = leak.attacks[0].model_copy(update={"name": "odd"})
    told = leak.model_copy(update={"attacks": [*leak.attacks, stranger], "cards": {**leak.cards, "odd": card}})
    text = dpia.markdown(told)
    assert "- Goal: Odd things." in text
    assert "- Access: One odd file." in text
    assert "odd" in rows(text, "5. Attack coverage")["(iv) Model inversion"]
    assert "- Goal: Odd things." not in dpia.markdown(leak)


def test_each_control_has_an_edition_and_shows_whether_it_was_verified(clean: AuditReport) -> None:
    data = tomllib.loads((DPIA / "compliance.toml").read_text())
    text = dpia.markdown(clean).split("## 12. Control mapping")[1].split("## 13.")[0]
    lines = [line for line in text.splitlines() if line.startswith("| [")]
    assert len(lines) == len(data["control"])
    for control, line in zip(data["control"], lines, strict=True):
        assert control["edition"]
        assert control["url"].startswith("https://")
        assert set(control["sections"]) <= set(range(1, 15))
        assert ("**unverified**" in line) is not control["verified"]
    wanted = (
        "35(7)", "15(5)", "A.6.2.4", "ML03:2023", "AML.T0024.001", "AML.T0044", "MEASURE 2.7", "MEASURE 2.10",
        "28/2024", "NISTAML.032",
    )  # fmt: skip
    for identifier in wanted:
        assert identifier in text


def test_one_page_says_what_was_found_how_sure_and_what_next(
    leak: AuditReport, wrong: AuditReport, proven: AuditReport
) -> None:
    def summary(report: AuditReport) -> str:
        return dpia.markdown(report).partition("## Summary")[2].partition("**Contents:**")[0]

    undecided = summary(wrong)
    assert "**What was found.** Nothing shows that the training images that were given changed this model." in undecided
    assert "the images given 42.0 %, held-out images, mean of 4 39.0 %" in undecided
    assert "**What next.** Give the images that this model was trained on" in undecided
    assert "memaudit check runs/cifar/before.safetensors" in undecided
    assert "0 of 30 questions that only people can answer are answered" in undecided
    assert "a training like this one 18 of 20, yours 0 of 10" in summary(proven)
    assert "- Add noise to the change before publishing" in summary(leak)
    assert "Section 9 lists the images by number" in summary(leak)
    assert all(len(summary(report).split()) < 420 for report in (leak, wrong, proven))


def test_open_points_are_listed_counted_and_marked(leak: AuditReport) -> None:
    told = {"system": {"purpose": "Sorting photographs.", "release": "internal", "name": "  "}, "data": {"persons": 0}}
    text = dpia.markdown(leak, Look(context=told))
    listed = re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)
    marked = {key.replace("\\", "") for key in re.findall(r"\*\*\\\[open: \w+ / ([\w.\\]+)\\\]\*\*", text)}
    assert set(listed) == marked
    assert len(listed) == len(set(listed))
    assert f"| Open points | {len(listed)}, listed before the" in text
    assert text.index("## 13. Provenance") < text.index("points are open")
    assert f"**{len(listed)} points are open.**" in text
    assert not {"system.purpose", "system.release", "data.persons"} & marked
    assert "system.name" in marked
    assert "| Intended purpose | Sorting photographs. |" in text


def test_with_everything_told_nothing_is_open(leak: AuditReport, clean: AuditReport) -> None:
    context = full()
    assert "No point is open; every question that only people can answer is answered." in dpia.markdown(
        clean, Look(context=context)
    )
    affected = [best.match.sample for best in exposed(leak)]
    context["assessment"] |= {"identifiable": affected[:1], "not_identifiable": affected[1:]}
    text = dpia.markdown(leak, Look(context=context))
    assert "No point is open; " in text
    assert "## Open points" not in text
    assert "open:" not in text
    for value in answers(context).values():
        if isinstance(value, str):
            assert escape(value) in text
    del context["assessment"]["not_identifiable"]
    assert "**1 point is open.**" in dpia.markdown(leak, Look(context=context))


@pytest.mark.parametrize(
    ("context", "message", "hint"),
    [
        ({"sistem": {}}, "no section [sistem]", "system"),
        ({"system": "x"}, "system is not a section", "[system]"),
        ({"system": {"purpos": "x"}}, "no key system.purpos", "system.purpose"),
        ({"data": {"purpose": "x"}}, "no key data.purpose", "system.purpose"),
        ({"system": {"purpose": 3}}, "system.purpose is 3", "text"),
        ({"system": {"release": "publik-api"}}, "system.release is 'publik-api'", "public-api"),
        ({"system": {"release": ["internal"]}}, "system.release", "internal"),
        ({"data": {"persons": True}}, "data.persons is True", "whole number"),
        ({"data": {"persons": -1}}, "data.persons is -1", "whole number"),
        ({"data": {"categories": "faces"}}, "data.categories", "list of texts"),
        ({"data": {"special_categories": "yes"}}, "data.special_categories", "true or false"),
        ({"signoff": {"dpo_date": "2026-01-01"}}, "signoff.dpo_date", "without quotes"),
        ({"assessment": {"identifiable": [1.5]}}, "assessment.identifiable", "whole numbers"),
        ({"assessment": {"identifiable": [9]}}, "record 9 is tagged, but not affected", "Section 9"),
        ({"assessment": {"identifiable": [0], "not_identifiable": [0]}}, "record 0 is in", "once"),
    ],
)
def test_a_context_that_is_not_understood_is_an_error(
    leak: AuditReport, context: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(FormatError) as caught:
        dpia.markdown(leak, Look(context=context))
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("bad", HOSTILE)
def test_escaped_text_is_shown_as_it_is(bad: str) -> None:
    wanted = " ".join("".join(mark if mark.isprintable() else " " for mark in bad).split())
    for line in (f"before {escape(bad)}", escape(bad), f"# {escape(bad)}", f"- {escape(bad)}", f"| {escape(bad)} |"):
        source = f"| head |\n|---|\n{line}" if line.startswith("|") else line
        tokens = flat(LOOSE.parse(source))
        inside = {"paragraph", "heading", "bullet_list", "list_item", "table", "thead", "tbody", "tr", "th", "td"}
        kinds = {re.sub("_(open|close)$", "", token.type) for token in tokens}
        assert kinds <= {*inside, "inline", "text", "text_special"}
        seen = "".join(token.content for token in tokens if token.type in ("text", "text_special"))
        assert " ".join(seen.removeprefix("head").removeprefix("before").split()) == wanted


def test_a_block_of_code_cannot_be_closed() -> None:
    tokens = LOOSE.parse(f"{block('a ```` b' + chr(10) + '```' + chr(10) + '# c')}\n\nafter")
    assert [token.type for token in tokens][:2] == ["fence", "paragraph_open"]
    assert tokens[0].content == "a ```` b ``` # c\n"


@pytest.mark.parametrize("name", ["hostile", "hostile_many", "hostile_exposed"])
def test_hostile_strings_are_inert_in_both(name: str, request: pytest.FixtureRequest) -> None:
    report = request.getfixturevalue(name)
    bad = "".join(HOSTILE)
    report = report.model_copy(update={"model": bad, "command": bad, "limitations": [bad, "- " + bad]})
    texts = {key.split(".")[1]: bad for key, about in questions().items() if about.type == "text" and not about.choices}
    context: dict[str, Any] = {}
    for key, about in questions().items():
        section, word = key.split(".")
        if about.type == "texts":
            context.setdefault(section, {})[word] = [bad, bad]
        elif word in texts:
            context.setdefault(section, {})[word] = bad
    text = dpia.markdown(report, Look(context=context))
    tokens = flat(LOOSE.parse(text))
    assert not {"html_inline", "html_block", "image", "s_open", "hr"} & {token.type for token in tokens}
    links = {token.attrs["href"] for token in tokens if token.type == "link_open"}
    ours = {control["url"] for control in tomllib.loads((DPIA / "compliance.toml").read_text())["control"]}
    assert links == ours | {f"#{slug(name)}" for name in SECTIONS[1:]}
    titles = [after.content for one, after in pairwise(tokens) if one.tag == "h2" and one.nesting == 1]
    assert titles == SECTIONS
    found = Page(page(text, bad))
    tags = {tag for tag, _ in found.elements}
    assert not tags & {"script", "img", "svg", "link", "iframe", "form", "object", "base"}
    assert not any(name.startswith("on") or name == "style" for _, a in found.elements for name in a)
    assert "{{ 7 * 7 }}" in found.seen()


@pytest.mark.slow
def test_every_row_of_every_table_is_whole(report: AuditReport, hostile: AuditReport) -> None:
    for text in (dpia.markdown(report), dpia.markdown(hostile)):
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            counts = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}
            assert len(counts) == 1, table


def test_the_page_allows_its_own_style_alone(leak: AuditReport) -> None:
    found = html(leak)
    policy = next(a["content"] for a in found.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(found.style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in found.style
    assert "@import" not in found.style


def test_text_of_the_report_reaches_the_document(leak: AuditReport) -> None:
    text = dpia.markdown(leak)
    assert leak.inputs.before.sha256 in text
    assert leak.command in text
    for advice in leak.advice:
        assert advice.command in text
    for finding in leak.findings:
        assert finding.rule in text


def test_the_guide_names_every_key_and_its_example_is_valid() -> None:
    guide = (ROOT / "docs" / "compliance.md").read_text()
    for key in questions():
        assert f"`{key}`" in guide
    told = answers(full())
    assert set(told) >= set(questions()) - {"assessment.identifiable", "assessment.not_identifiable"}


@pytest.mark.slow
def test_the_command_writes_it_without_numerics(leak: AuditReport, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(leak.to_json())
    (tmp_path / "context.toml").write_text('[system]\npurpos = "x"\n')
    code = (
        "import sys; sys.argv = ['memaudit', 'report', %r, '-o', 'dpia=%s', *%r]\n"
        "from memaudit.audit.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as stop: status = stop.code or 0\n"
        "assert not {'torch', 'numpy', 'scipy', 'skimage'} & set(sys.modules)\n"
        "sys.exit(status)"
    )
    extra = ["--context", str(tmp_path / "context.toml")]
    for options, status in (([], 0), (extra, 2)):
        script = code % (str(tmp_path), tmp_path / "annex.html", options)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
    assert "system.purpose" in " ".join(done.stderr.split())
    assert (tmp_path / "annex.html").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the dev extra)")
    chromium = shutil.which("chromium") or pytest.skip("needs a chromium on PATH")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--headless"])
        yield opened
        opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["leak", "blind", "many", "hostile_many", "exposed"])
def test_a_browser_shows_it_without_complaint(
    name: str, width: int, browser: Any, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = dpia.write(request.getfixturevalue(name), folder, tmp_path / "annex.html")
    complaints: list[str] = []
    asked: list[str] = []
    shown = browser.new_page(viewport={"width": width, "height": 800})
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(file.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shown.close()
    assert complaints == []
    assert asked == [file.as_uri()]


def test_membership_is_answered_from_the_exposure_of_records(
    exposed: AuditReport, hidden: AuditReport, few: AuditReport, both: AuditReport
) -> None:
    states = {}
    for name, report in (("exposed", exposed), ("hidden", hidden), ("few", few), ("both", both)):
        ((_, end),) = [(kind, end) for kind, end in classes(report) if kind["key"] == "membership"]
        states[name] = end.state
        assert report.exposure is not None
        assert report.exposure.reason in end.said
        assert report.exposure.reason in rows(dpia.markdown(report), "5. Attack coverage")["(i) Membership inference"]
    assert states == {"exposed": "ran", "hidden": "ran", "few": "inconclusive", "both": "ran"}
    open_ = hidden.model_copy(update={"verdict": hidden.verdict.model_copy(update={"status": "inconclusive"})})
    ((_, end),) = [(kind, end) for kind, end in classes(open_) if kind["key"] == "membership"]
    assert end.state == "inconclusive"


def test_the_risk_of_exposure_is_not_that_of_a_reconstruction(
    exposed: AuditReport, hidden: AuditReport, few: AuditReport
) -> None:
    found = {name: risk(report) for name, report in (("exposed", exposed), ("hidden", hidden), ("few", few))}
    assert {name: end.likelihood for name, end in found.items()} == {
        "exposed": "demonstrated", "hidden": "not observed", "few": "not determined",
    }  # fmt: skip
    assert all("Whether images can be rebuilt was not tried." in end.why for end in found.values())
    assert exposed.exposure is not None
    bound = exposed.exposure.model_copy(update={"detected": 0, "at_least": 7})
    assert risk(exposed.model_copy(update={"exposure": bound})).likelihood == "indicated"


def test_a_document_on_exposure_alone_speaks_of_what_was_measured(exposed: AuditReport, few: AuditReport) -> None:
    text = dpia.markdown(exposed)
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    assert text.startswith("# Training-data exposure: technical input")
    assert "NISTAML.033 of NIST AI 100-2 E2025" in text
    assert "Reconstruction: **not run**." in text
    assert "No result was compared" not in text
    assert "Each attack returns" not in text
    assert exposed.exposure is not None
    told = [str(row.record) for row in exposed.exposure.per_record if row.detected]
    assert f"the most exposed first: No. {', '.join(told)}." in text
    assert "train/0" not in text
    bold = set(re.findall(r"\*\*([a-z ]+)\*\*", dpia.markdown(few)))
    assert not bold & {"pass", "ran", "not observed", "demonstrated", "recovered"}


def test_of_many_told_records_only_the_first_are_named(exposed: AuditReport) -> None:
    assert exposed.exposure is not None
    row = exposed.exposure.per_record[0]
    rows_ = [row.model_copy(update={"record": place}) for place in range(1234)]
    found = exposed.exposure.model_copy(update={"per_record": rows_})
    text = dpia.markdown(exposed.model_copy(update={"exposure": found}))
    assert ", 199 and 1034 more (report.json has them all)." in text
