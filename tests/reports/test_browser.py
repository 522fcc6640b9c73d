"""The report as a real browser shows it, and as it answers to the mouse and the keyboard."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from memaudit.audit.outputs import Look
from memaudit.audit.report.model import AuditReport
from memaudit.audit.trend.compare import diff
from memaudit.reports import diff_html, html

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the dev extra)")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe (the dev extra)")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium on PATH")

SHAPES = [(width, scheme) for width in (360, 1280) for scheme in ("light", "dark")]

OPEN = "document.querySelectorAll('details').forEach(part => part.open = true)"

CONTRASTS = """() => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = c => parse(c).slice(0, 3).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if ((parse(c)[3] ?? 1) > 0) return c; } return 'rgb(255,255,255)'; };
  const weak = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.matches('title, desc, script')) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(e.matches('text') ? style.fill : style.color), light(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) weak.push(`${e.tagName}.${e.className}: ${ratio.toFixed(2)}`);
  }
  return weak;
}"""


class Tab(NamedTuple):
    """A page of the browser with what it complained about and asked for."""

    page: Any
    complaints: list[str]
    asked: list[str]

    def show(self, report: AuditReport, folder: Path, file: Path, evidence: str = "full") -> Any:
        """Open a report."""
        html.write(report, folder, file, Look(evidence))
        self.complaints.clear()
        self.asked.clear()
        self.page.goto(file.as_uri())
        return self.page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--headless"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def only_tab(browser: Any) -> Tab:
    tab = Tab(browser.new_page(), [], [])
    tab.page.on("console", lambda message: tab.complaints.append(message.text) if message.type == "error" else None)
    tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.page.on("dialog", lambda dialog: (tab.complaints.append(dialog.message), dialog.dismiss()))
    tab.page.on("request", lambda request: tab.asked.append(request.url))
    return tab


@pytest.fixture
def tab(only_tab: Tab) -> Tab:
    only_tab.page.set_viewport_size({"width": 1280, "height": 800})
    only_tab.page.emulate_media(media="screen", color_scheme="light")
    return only_tab


@pytest.mark.parametrize(
    "name", ["leak", "proven", "wrong", "blind", "many", "trust", "hostile_many", "exposed", "hostile_exposed"]
)
def test_the_page_works_offline_in_every_shape(
    name: str, tab: Tab, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = tmp_path / "report.html"
    page = tab.show(request.getfixturevalue(name), folder, file)
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("document.images.length") > 0
    for opened in (False, True):
        page.evaluate("open => document.querySelectorAll('details').forEach(d => d.open ||= open)", opened)
        for width, scheme in SHAPES:
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert not opened or page.evaluate(CONTRASTS) == []
    assert tab.complaints == []
    assert [url for url in tab.asked if url != file.as_uri() and not url.startswith("data:")] == []


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("many", "full"),
        ("leak", "blurred"),
        ("leak", "none"),
        ("blind", "full"),
        ("texts", "full"),
        ("proven", "full"),
        ("wrong", "full"),
        ("exposed", "full"),
        ("few", "blurred"),
        ("both", "none"),
    ],
)
def test_axe_finds_nothing(
    name: str, evidence: str, tab: Tab, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    page = tab.show(request.getfixturevalue(name), folder, tmp_path / "report.html", evidence)
    for width, scheme in ((1280, "light"), (360, "dark")):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(page).response["violations"]
        assert [(item["id"], item["impact"], item["nodes"][0]["html"][:120]) for item in found] == []


@pytest.mark.parametrize(
    ("one", "two"), [("proven", "leak"), ("exposed", "hidden"), ("leak", "hostile"), ("many", "many")]
)
def test_a_comparison_fits_every_screen_and_axe_finds_nothing(
    one: str, two: str, tab: Tab, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found = diff(request.getfixturevalue(one), request.getfixturevalue(two)).printable()
    tab.page.goto(diff_html.write(found, tmp_path / "diff.html").as_uri())
    for width, scheme in SHAPES:
        tab.page.set_viewport_size({"width": width, "height": 800})
        tab.page.emulate_media(color_scheme=scheme)
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.page.evaluate(CONTRASTS) == []
        assert axe.Axe().run(tab.page).response["violations"] == []


def test_axe_finds_nothing_in_the_open_viewer(tab: Tab, leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    page = tab.show(leak, folder, tmp_path / "report.html")
    page.get_by_role("button", name="Compare").first.click()
    found = axe.Axe().run(page).response["violations"]
    assert [(item["id"], item["nodes"][0]["html"][:120]) for item in found] == []


def test_the_style_is_admitted_and_a_foreign_script_is_not(
    tab: Tab, leak: AuditReport, folder: Path, tmp_path: Path
) -> None:
    text = html.render(leak, folder).replace("</main>", "<script>document.title = 'owned'</script></main>")
    (tmp_path / "report.html").write_text(text)
    tab.page.goto((tmp_path / "report.html").as_uri())
    assert "owned" not in tab.page.title()
    assert tab.page.evaluate("getComputedStyle(document.querySelector('.tiles')).display") == "grid"
    assert tab.page.locator("button.sort").count() > 0


def test_nothing_needs_the_script(browser: Any, leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    html.write(leak, folder, tmp_path / "report.html", Look("blurred"))
    page = browser.new_page(java_script_enabled=False)
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("button:visible").count() == 0
    assert page.locator("#images .pairs img:visible").count() == 20
    page.locator("#leaderboard summary").click()
    assert page.locator("#leaderboard tbody tr:visible").count() == 3
    page.get_by_text("Which attack rebuilt which image").click()
    assert page.locator("#images tbody tr:visible").count() == 10
    page.close()


def test_a_table_sorts_by_any_column_and_says_so(tab: Tab, many: AuditReport, folder: Path, tmp_path: Path) -> None:
    page = tab.show(many, folder, tmp_path / "report.html")

    def column(place: int) -> list[str]:
        return page.locator(f"#leaderboard tbody tr > :nth-child({place})").all_inner_texts()

    def sorted_by() -> list[str | None]:
        return [head.get_attribute("aria-sort") for head in page.locator("#leaderboard thead th").all()]

    page.locator("#leaderboard summary").click()
    ranks = column(1)
    assert sorted_by() == [None] * len(sorted_by())
    page.locator("#leaderboard").get_by_role("button", name="Loss").click()
    losses = [float(text) for text in column(9) if text != "–"]
    assert losses == sorted(losses)
    assert column(9)[-1] == "–"
    assert sorted_by()[8] == "ascending"
    page.keyboard.press("Enter")
    assert [float(text) for text in column(9) if text != "–"] == losses[::-1]
    assert column(9)[-1] == "–"
    assert sorted_by()[8] == "descending"
    page.locator("#leaderboard").get_by_role("button", name="Result").click()
    assert column(2) == sorted(column(2))
    assert sorted_by().count(None) == len(sorted_by()) - 1
    page.locator("#leaderboard").get_by_role("button", name="#").click()
    assert column(1) == ranks


def test_a_pair_is_enlarged_and_wiped_by_keyboard(tab: Tab, leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    page = tab.show(leak, folder, tmp_path / "report.html")
    button = page.get_by_role("button", name="Compare: train/person/astronaut.png")
    button.focus()
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog", name="train/person/astronaut.png")
    sync_api.expect(viewer).to_be_visible()
    assert viewer.locator("img").count() == 6
    assert viewer.locator("img").first.bounding_box()["width"] > 280
    assert page.evaluate("getComputedStyle(document.querySelector('dialog img')).imageRendering") == "pixelated"
    slider = viewer.get_by_label("Overlay")
    slider.focus()
    before = page.evaluate("getComputedStyle(document.querySelector('.wipe img + img')).clipPath")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    sync_api.expect(slider).to_have_value("55")
    assert slider.get_attribute("aria-valuetext").startswith("55 %")
    assert page.evaluate("getComputedStyle(document.querySelector('.wipe img + img')).clipPath") != before
    page.keyboard.press("Escape")
    sync_api.expect(viewer).to_be_hidden()
    sync_api.expect(page.locator("dialog img")).to_have_count(0)  # the browser tells of the end when it finds the time
    assert button.evaluate("e => e === document.activeElement")


def test_the_mouse_enlarges_wipes_and_closes(tab: Tab, leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    page = tab.show(leak, folder, tmp_path / "report.html")
    page.locator("#images img").nth(3).click()
    sync_api.expect(page.get_by_role("dialog", name="train/cat/chelsea.png")).to_be_visible()
    box = page.locator(".wipe").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + 20)
    sync_api.expect(page.locator("#viewer-cut")).to_have_value("25")
    page.locator("#viewer-close").click()
    sync_api.expect(page.locator("dialog img")).to_have_count(0)


def test_the_viewer_goes_from_pair_to_pair(tab: Tab, turned: AuditReport, folder: Path, tmp_path: Path) -> None:
    page = tab.show(turned, folder, tmp_path / "report.html")
    page.locator(".strip a").first.click()
    viewer, place = page.locator("#viewer"), page.locator("#viewer-place")
    sync_api.expect(place).to_have_text("1 of 10")
    assert "mirrored" in viewer.locator(".scoreboard").inner_text()
    assert viewer.get_by_role("button", name="Previous").is_disabled()
    assert page.evaluate("getComputedStyle(document.querySelector('.differ img + img')).mixBlendMode") == "difference"
    viewer.get_by_role("button", name="Next").click()
    sync_api.expect(viewer.get_by_role("heading")).to_have_text("train/cat/chelsea.png")
    page.keyboard.press("ArrowRight")
    sync_api.expect(place).to_have_text("3 of 10")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    sync_api.expect(place).to_have_text("1 of 10")
    page.keyboard.press("Escape")
    sync_api.expect(page.locator("dialog img")).to_have_count(0)


def test_the_first_screen_shows_verdict_pairs_and_numbers(
    tab: Tab, leak: AuditReport, folder: Path, tmp_path: Path
) -> None:
    page = tab.show(leak, folder, tmp_path / "report.html")
    for width, last in ((1280, ".tiles"), (360, ".strip")):
        page.set_viewport_size({"width": width, "height": 800})
        box = page.locator(last).bounding_box()
        assert box["y"] + box["height"] <= 800
    page.set_viewport_size({"width": 1280, "height": 800})
    page.locator("#recipe").scroll_into_view_if_needed()
    assert page.locator("nav").bounding_box()["y"] == 0
    page.get_by_role("link", name="Details", exact=True).click()
    assert page.locator("#technical").bounding_box()["y"] >= page.locator("nav").bounding_box()["height"]


def test_blurred_pictures_are_revealed_one_by_one_or_all(
    tab: Tab, leak: AuditReport, folder: Path, tmp_path: Path
) -> None:
    page = tab.show(leak, folder, tmp_path / "report.html", "blurred")

    def clear() -> int:
        return page.evaluate("[...document.images].filter(i => getComputedStyle(i).filter === 'none').length")

    assert clear() == 0
    page.get_by_role("button", name="Reveal: train/person/astronaut.png").press("Enter")
    assert clear() == 4
    assert not page.locator("dialog").is_visible()
    page.get_by_role("button", name="Compare: train/person/astronaut.png").press("Enter")
    sync_api.expect(page.locator("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    sync_api.expect(page.locator("dialog img")).to_have_count(0)
    page.locator("#images img").nth(2).click()
    assert clear() == 8
    toggle = page.get_by_role("button", name="Reveal all pictures")
    toggle.click()
    assert clear() == 28
    assert toggle.get_attribute("aria-pressed") == "true"
    page.emulate_media(media="print")
    assert clear() == 0
    page.emulate_media(media="screen")
    toggle.click()
    assert clear() == 0


def test_a_link_opens_the_part_that_it_leads_into(tab: Tab, crowd: tuple[AuditReport, Path], tmp_path: Path) -> None:
    report, folder = crowd
    page = tab.show(report, folder, tmp_path / "report.html")
    card = page.locator("#images .pairs > li").last
    assert not card.is_visible()
    page.get_by_text("Which attack rebuilt which image").click()
    page.locator("#images tbody tr a").last.click()
    card.wait_for(state="visible")
    assert page.url.endswith("#" + card.get_attribute("id"))


def test_paper_shows_everything_but_controls(tab: Tab, many: AuditReport, folder: Path, tmp_path: Path) -> None:
    page = tab.show(many, folder, tmp_path / "report.html")
    page.set_viewport_size({"width": 703, "height": 1000})
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator(".action:visible, nav:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll')].every(e => e.scrollHeight <= e.clientHeight + 1 &&"
        "e.firstElementChild.getBoundingClientRect().right <= 704)"
    )
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_curves_differ_in_colour_and_dash_and_the_legend_fits(
    scheme: str, tab: Tab, leak: AuditReport, folder: Path, tmp_path: Path
) -> None:
    tried = [(optimizer, batch) for optimizer in ("adam", "sgd") for batch in (5, 10, 20)]
    point = leak.search[0]
    search = [
        point.model_copy(update={"optimizer": optimizer, "batch_size": batch, "lr": lr, "loss": lr + batch})
        for optimizer, batch in tried
        for lr in (0.01, 0.1)
    ]
    tab.page.set_viewport_size({"width": 360, "height": 800})
    tab.page.emulate_media(color_scheme=scheme)
    page = tab.show(leak.model_copy(update={"search": search}), folder, tmp_path / "report.html")
    page.evaluate(OPEN)
    styles = page.evaluate(
        "[...document.querySelectorAll('#search .plot:first-child .chart .line')].map(e => "
        "{ const s = getComputedStyle(e); return [s.stroke, s.strokeDasharray]; })"
    )
    assert len({colour for colour, _ in styles}) == len({dash for _, dash in styles}) == len(styles) == 6
    card = page.evaluate("getComputedStyle(document.querySelector('#search .plot')).backgroundColor")
    assert all(contrast(colour, card) >= 4.5 for colour, _ in styles)
    assert page.evaluate(
        "[...document.querySelectorAll('.plot')].every(e => { const edge = e.getBoundingClientRect().right;"
        "return [...e.querySelectorAll('.legend li, text')].every(n => n.getBoundingClientRect().right <= edge) })"
    )
    drawn = page.evaluate(
        "['.bar', '.area'].map(name => getComputedStyle(document.querySelector(`#chance .chart ${name}`)))"
        ".map(style => [style.fill, style.stroke])"
    )
    assert contrast(drawn[0][0], card) >= 3
    assert contrast(drawn[1][1], card) >= 3


def contrast(*colours: str) -> float:
    def light(colour: str) -> float:
        values = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(light, colours))
    return (high + 0.05) / (low + 0.05)


def test_the_keyboard_reaches_links_tables_buttons_and_details(
    tab: Tab, leak: AuditReport, folder: Path, tmp_path: Path
) -> None:
    page = tab.show(leak, folder, tmp_path / "report.html")
    page.evaluate(OPEN)
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.className.split(' ')[0] || document.activeElement.tagName"))
    assert {"A", "scroll", "SUMMARY", "action", "sort"} <= reached


def test_texts_are_hidden_revealed_and_compared_like_pictures(
    tab: Tab, texts: AuditReport, folder: Path, tmp_path: Path
) -> None:
    page = tab.show(texts, folder, tmp_path / "report.html", "blurred")

    def clear() -> int:
        shown = "[...document.querySelectorAll('#images .said')]"
        return page.evaluate(f"{shown}.filter(e => getComputedStyle(e).filter === 'none').length")

    total = page.locator("#images .said").count()
    assert total >= 20
    assert clear() == 0
    page.get_by_role("button", name="Reveal: train/person/astronaut.png").press("Enter")
    assert clear() == 2
    page.get_by_role("button", name="Compare: train/person/astronaut.png").press("Enter")
    viewer = page.get_by_role("dialog", name="train/person/astronaut.png")
    sync_api.expect(viewer).to_be_visible()
    assert viewer.locator(".said").count() == 2
    assert viewer.locator(".wipe").count() == 0
    assert [shown.inner_text() for shown in viewer.locator("figcaption").all()] == ["original", "reconstruction"]
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Reveal all texts").click()
    assert clear() == total
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.complaints == []


def test_a_finding_leads_to_the_exposed_record_whose_table_sorts(
    tab: Tab, exposed: AuditReport, folder: Path, tmp_path: Path
) -> None:
    page = tab.show(exposed, folder, tmp_path / "report.html", "blurred")
    assert exposed.exposure is not None
    rows, first = exposed.exposure.per_record[:200], exposed.exposure.per_record[0]
    row = page.locator(f"#exposed-{first.record}")
    assert not row.is_visible()
    page.locator(f"#findings a[href='#exposed-{first.record}']").click()
    assert row.is_visible()
    page.get_by_role("button", name="Stands alone").click()
    shown = page.locator("#exposure tr[id] td:nth-of-type(5)").all_inner_texts()
    assert shown == [f"{value:.2f}" for value in sorted((row.leverage or 0 for row in rows), reverse=True)]
    item = page.locator("#exposure .lone li").first
    assert "blur" in item.locator("img").evaluate("image => getComputedStyle(image).filter")
    item.get_by_role("button").click()
    assert item.locator("img").evaluate("image => getComputedStyle(image).filter") == "none"
    item.get_by_role("button").click()
    assert page.locator("#viewer h2").inner_text() == first.name
    assert tab.complaints == []
