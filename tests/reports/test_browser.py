"""The report as a real browser shows it."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memaudit.reports import html

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the dev extra)")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium on PATH")

CONTRASTS = """() => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = c => parse(c).slice(0, 3).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if ((parse(c)[3] ?? 1) > 0) return c; } return 'rgb(255,255,255)'; };
  const weak = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.matches('title, desc')) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(e.matches('text') ? style.fill : style.color), light(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) weak.push(`${e.tagName}.${e.className}: ${ratio.toFixed(2)}`);
  }
  return weak;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--headless"])
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["leak", "clean", "blind", "many", "trust", "hostile_many"])
def test_the_page_works_offline_in_every_shape(
    name: str, width: int, scheme: str, browser: Any, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = html.write(request.getfixturevalue(name), folder, tmp_path / "report.html")
    complaints: list[str] = []
    asked: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_load_state("load")
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("document.images.length") > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRASTS) == []
    assert complaints == []
    assert [url for url in asked if url != file.as_uri() and not url.startswith("data:")] == []
    page.close()


def test_the_style_is_admitted_and_a_script_would_not_be(browser: Any, leak: Any, folder: Path, tmp_path: Path) -> None:
    text = html.render(leak, folder).replace("</main>", "<script>document.title = 'owned'</script></main>")
    (tmp_path / "report.html").write_text(text)
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    assert "owned" not in page.title()
    assert page.evaluate("getComputedStyle(document.querySelector('.tiles')).display") == "grid"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_curves_differ_in_colour_and_dash_and_the_legend_fits(
    scheme: str, browser: Any, leak: Any, folder: Path, tmp_path: Path
) -> None:
    tried = [(optimizer, batch) for optimizer in ("adam", "sgd") for batch in (5, 10, 20)]
    point = leak.search[0]
    search = [
        point.model_copy(update={"optimizer": optimizer, "batch_size": batch, "lr": lr, "loss": lr + batch})
        for optimizer, batch in tried
        for lr in (0.01, 0.1)
    ]
    page = browser.new_page(viewport={"width": 360, "height": 800}, color_scheme=scheme)
    report = leak.model_copy(update={"search": search})
    page.goto(html.write(report, folder, tmp_path / "report.html").as_uri())
    styles = page.evaluate(
        "[...document.querySelectorAll('#search .plot:first-child .chart .line')].map(e => "
        "{ const s = getComputedStyle(e); return [s.stroke, s.strokeDasharray]; })"
    )
    assert len({colour for colour, _ in styles}) == len({dash for _, dash in styles}) == len(styles) == 6
    card = page.evaluate("getComputedStyle(document.querySelector('#search .plot')).backgroundColor")
    assert all(contrast(colour, card) >= 4.5 for colour, _ in styles)
    assert page.evaluate(
        "[...document.querySelectorAll('#search .plot')].every(e => { const edge = e.getBoundingClientRect().right;"
        "return [...e.querySelectorAll('.legend li, text')].every(n => n.getBoundingClientRect().right <= edge) })"
    )
    page.close()


def contrast(*colours: str) -> float:
    def light(colour: str) -> float:
        values = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(light, colours))
    return (high + 0.05) / (low + 0.05)


def test_the_keyboard_reaches_links_tables_and_details(browser: Any, leak: Any, folder: Path, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto(html.write(leak, folder, tmp_path / "report.html").as_uri())
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.className.split(' ')[0] || document.activeElement.tagName"))
    assert {"A", "scroll", "SUMMARY"} <= reached
    page.close()
