"""The page of :mod:`.html` as PDF, through WeasyPrint: everything opened, light colours, numbered pages, no network."""

import gc
import importlib
import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType

from PIL import ImageFile

from ..audit.files import FormatError, write_bytes
from ..audit.outputs import Format, Look
from ..audit.report.model import AuditReport
from . import html

_SHEET = """
@page { size: A4; margin: 14mm 13mm 17mm;
  @bottom-left { content: "memaudit"; font: 8pt sans-serif; color: #666 }
  @bottom-right { content: counter(page) " / " counter(pages); font: 8pt sans-serif; color: #666 } }
.page { padding: 0 }
h1 { font-size: 20pt; line-height: 1.2 }
h2 { font-size: 14pt }
.banner { padding: 16pt }
.eyebrow { white-space: nowrap }
.meaning { display: block; padding: 14pt }
.meaning > * + * { margin-top: 10pt }
.meaning h2 { font-size: 11pt }
.tiles { display: table; width: 100%; table-layout: fixed }
.tiles > div { display: table-cell; padding: 12pt }
.gates, .gates li, .findings, .advice, .side, .side.even, .charts, .facts, .facts.long, .row, .scores { display: block }
.findings > li + li, .advice > li + li, .side > * + *, .charts > * + * { margin-top: 10pt }
.strip, .pillars, .pairs, .lone, .fold > details > summary { display: block }
.strip > li { display: inline-block; width: 23%; margin-right: 1%; vertical-align: top }
.strip .pair { display: block }
.strip .pair .picture { display: inline-block; width: 48% }
.pillars > li { display: inline-block; width: 31.6%; margin-right: .9%; padding: 8pt; vertical-align: top }
.pairs > li, .lone > li { display: inline-block; vertical-align: top; margin: 0 0 8pt }
.pairs > li { width: 31.6%; margin-right: .9% }
.lone > li { width: 15%; margin-right: .9% }
.pair { display: table; width: 100%; table-layout: fixed; border-spacing: 3pt 0 }
.pair figure { display: table-cell }
.scores > div { display: inline-block; margin-right: 8pt }
.facts dt { float: left; clear: left; width: 30% }
.facts dd { margin: 0 0 4pt 32% }
.legend { display: block }
.legend li { display: inline-block; margin-right: 14pt }
.key { display: inline-block; vertical-align: middle }
.sheet { table-layout: fixed; border-collapse: separate; border-spacing: 3pt; margin: 4pt -3pt 0 }
.sheet td { padding: 5pt; border: 1px solid #bbb; border-radius: 6pt; vertical-align: top }
.sheet td { font-size: 8pt; line-height: 1.4 }
.sheet td:empty { border: 0 }
.sheet .picture { display: inline; overflow: visible }
.sheet img, .sheet .missing { display: inline-block; width: 48% }
.sheet p, .sheet .mono { font-size: 8pt; margin-top: 1pt }
#images .tall table { table-layout: fixed }
#images .tall th:first-child { width: 27% }
#images .tall th:last-child { width: 20% }
#images .tall td.num { white-space: nowrap }
.badge, .command span { display: inline }
#images .tall td { overflow-wrap: anywhere }
.pairs, .lone { orphans: 1; widows: 1 }
table { font-size: 7.5pt }
th, td, .dense th, .dense td, .board th, .board td { padding: 2.5pt 3.5pt }
thead th, thead th.num { white-space: normal }
"""
"""What the page does not say for paper, or says in ways that WeasyPrint does not know or takes minutes for (grids)."""

_CHART = re.compile(r'<svg class="(?:chart|key|gauge)\b[^>]*>')
_TIP = re.compile(
    r"(<svg\b[^>]*>|<(?:path|circle|rect|g)\b[^>]*>)<title\b[^>]*>[^<]*</title>(?:<desc\b[^>]*>[^<]*</desc>)?"
)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_MEDIA = re.compile(r"@media([^{]*)\{((?:[^{}]*\{[^{}]*\})*)[^{}]*\}")
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_DRAWN = re.compile(r"\.(?:chart|key|line|dot|gauge|series-\d)\b")
_SERIES = re.compile(r"\.series-\d")
_VARIABLE = re.compile(r"var\((--[\w-]+)\)")
_OVER = ".chart text{font-size:11px;font-family:sans-serif}.chart .note,.dot{stroke:none}"
"""Of a drawing, WeasyPrint does not style the root, and cannot paint a text's outline behind it."""


def write(report: AuditReport, folder: Path, destination: Path, look: Look = Look()) -> Path:  # noqa: B008 - frozen
    """Write the page as one PDF.

    Raises:
        FormatError: WeasyPrint or one of its libraries is missing or fails, or the destination cannot be written.
    """
    weasyprint = _weasyprint()
    veiled = look.evidence == "blurred"  # WeasyPrint knows no blur
    page = html.render(report, folder, look, veiled=veiled, paper=True)
    ink = f"<style>{_ink(page)}</style>"
    paper = _CHART.sub(lambda found: found[0] + ink, _TIP.sub(r"\1", page)).replace(
        "</head>", f"<style>{_SHEET}</style></head>", 1
    )
    return write_bytes(destination, _printed(weasyprint, paper), private=look.evidence != "none")


def _weasyprint() -> ModuleType:
    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with redirect_stdout(io.StringIO()):  # it prints how to install its libraries
            return importlib.import_module("weasyprint")
    except OSError as error:
        raise FormatError(
            f"WeasyPrint cannot load a system library ({_first_line(error)}).",
            "On Debian and Ubuntu: apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0. "
            "Elsewhere install Pango, or print the HTML report from a browser.",
        ) from None
    except ImportError as error:
        raise FormatError(
            f"PDF needs WeasyPrint, which cannot be imported ({_first_line(error)}).",
            "Run pip install '.[pdf]' in a checkout of memaudit, or print the HTML report from a browser.",
        ) from None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = strict  # it lets Pillow take damaged pictures everywhere


def _printed(weasyprint: ModuleType, page: str) -> bytes:
    fetcher = importlib.import_module("weasyprint.urls").URLFetcher(allowed_protocols={"data"})
    try:
        with _quiet("weasyprint", "fontTools"), _uncollected():
            return bytes(weasyprint.HTML(string=page, url_fetcher=fetcher).write_pdf())
    except Exception as error:  # a bug of the renderer is not a reason for a traceback: the page can be had without it
        raise FormatError(
            f"WeasyPrint failed on this report ({type(error).__name__}: {_first_line(error)}).",
            "Print the HTML report from a browser.",
        ) from None


def _ink(page: str) -> str:
    """Return the page's rules for drawings, in its colours for paper: WeasyPrint reads those inside a drawing alone."""
    style = _STYLE.search(page)
    sheet = style[1] if style else ""
    everywhere = _MEDIA.sub("", sheet)
    paper = "".join(block[2] for block in _MEDIA.finditer(sheet) if "print" in block[1])
    roots = [rule[2] for rule in _RULE.finditer(everywhere + paper) if rule[1].strip() == ":root"]
    said = [line.partition(":") for root in roots for line in root.split(";")]
    values = {name.strip(): value.strip() for name, _, value in said}
    rules = [(rule[1].strip(), rule[2]) for rule in _RULE.finditer(everywhere) if _DRAWN.search(rule[1])]
    drawn = "".join(f"{name}{' *' * bool(_SERIES.fullmatch(name))}{{{rule}}}" for name, rule in rules)
    return _VARIABLE.sub(lambda found: values.get(found[1], ""), drawn) + _OVER


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Keep notes on styles that only browsers know out of the log."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python's collector still: WeasyPrint's boxes live to the end; searching them is a quarter of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def check(look: Look) -> None:
    """Raise :class:`FormatError` where WeasyPrint or one of its libraries is missing."""
    _weasyprint()


FORMAT = Format(write, check)
"""The format by its entry point."""
