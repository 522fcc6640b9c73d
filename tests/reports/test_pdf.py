import gc
import logging
import subprocess
import sys
from pathlib import Path

import pypdfium2
import pytest
from PIL import ImageFile

from memaudit.audit.files import FormatError
from memaudit.audit.outputs import Look
from memaudit.audit.report.model import AuditReport
from memaudit.reports import html, pdf

from .samples import HOSTILE, poisoned


def text(path: Path) -> str:
    document = pypdfium2.PdfDocument(path)
    return "\n".join(page.get_textpage().get_text_range() for page in document)


def pictures(path: Path) -> list[int]:
    """Return of each picture in the document how many colours it has."""
    found = []
    for page in pypdfium2.PdfDocument(path):
        for item in page.get_objects([pypdfium2.raw.FPDF_PAGEOBJ_IMAGE]):
            drawn = item.get_bitmap().to_pil().convert("RGB")
            found.append(len(drawn.getcolors(2**24)))
    return found


@pytest.fixture(scope="module")
def printed(leak: AuditReport, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pdf.write(leak, folder, tmp_path_factory.mktemp("pdf") / "new" / "report.pdf")


def test_it_holds_what_the_page_holds(printed: Path, leak: AuditReport) -> None:
    found = " ".join(text(printed).split())
    pages = len(pypdfium2.PdfDocument(printed))
    assert 5 < pages < 40
    assert f"1 / {pages}" in found
    assert f"{pages} / {pages}" in found
    for said in ("can be rebuilt from these two files", "severity high", "MA001", "personal data", "Limitations"):
        assert said in found
    assert "adjoint" in found  # inside details
    assert leak.attacks[2].reason in found
    seen = pictures(printed)
    assert len(seen) >= 20
    assert max(seen) > 100


def test_it_is_stable(clean: AuditReport, folder: Path, tmp_path: Path) -> None:
    one = pdf.write(clean, folder, tmp_path / "one.pdf")
    two = pdf.write(clean.model_copy(deep=True), folder, tmp_path / "two.pdf")
    assert one.read_bytes() == two.read_bytes()


def test_nothing_is_cut_off_at_the_side(printed: Path) -> None:
    for page in pypdfium2.PdfDocument(printed):
        drawn = page.render().to_pil().convert("L")
        width, height = drawn.size
        for side in ((0, 0, 25, height), (width - 25, 0, width, height)):
            assert drawn.crop(side).getextrema() == (255, 255)


def test_drawings_have_the_colours_of_the_page(printed: Path, leak: AuditReport, folder: Path) -> None:
    ink = pdf._ink(html.render(leak, folder))
    assert "var(" not in ink
    assert ".series-1 *{color:#ad4a12}" in ink
    blue = (0x1B, 0x49, 0x65)
    seen = {colour for page in pypdfium2.PdfDocument(printed) for _, colour in page.render().to_pil().getcolors(2**24)}
    assert blue in {colour[:3] for colour in seen}


def test_blurred_pictures_are_not_in_it(clean: AuditReport, folder: Path, tmp_path: Path) -> None:
    path = pdf.write(clean, folder, tmp_path / "report.pdf", Look(evidence="blurred"))
    seen = pictures(path)
    assert len(seen) >= 8
    assert max(seen) <= 16
    found = " ".join(text(path).split())
    assert "as they are" not in found
    assert "blurred beyond recognition" in found


def test_without_evidence_there_is_no_picture(clean: AuditReport, folder: Path, tmp_path: Path) -> None:
    assert not pictures(pdf.write(clean, folder, tmp_path / "report.pdf", Look(evidence="none")))


def test_hostile_text_is_text_and_nothing_is_fetched(
    clean: AuditReport,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*arguments: object) -> None:
        pytest.fail(f"a connection to {arguments}")

    monkeypatch.setattr("socket.socket.connect", refuse)
    pdf.check(Look())  # WeasyPrint logs while it is imported, once in a process
    with caplog.at_level(logging.DEBUG):
        path = pdf.write(poisoned(clean), folder, tmp_path / "report.pdf")
    assert not [record for record in caplog.records if record.name.startswith(("weasyprint", "fontTools"))]
    assert HOSTILE[0] in text(path)


def test_an_address_outside_the_page_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr("urllib.request.FileHandler.file_open", lambda *arguments: opened.append(arguments))
    monkeypatch.setattr("socket.getaddrinfo", lambda *arguments: opened.append(arguments))
    page = '<style>@import "http://evil.example/a.css"</style><img src="file:///etc/passwd"><img src="http://evil.example">'
    assert pdf._printed(pdf._weasyprint(), page).startswith(b"%PDF")
    assert not opened


def test_nothing_is_said_on_standard_error(clean: AuditReport, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(clean.to_json())
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from memaudit.audit.report.file import load\nfrom memaudit.reports import pdf\n"
        f"pdf.write(load(Path({str(tmp_path)!r})), Path({str(folder)!r}), Path({str(tmp_path / 'report.pdf')!r}))\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'scipy')))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_missing_package_is_said_with_its_cure(
    leak: AuditReport, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(FormatError, match="PDF needs WeasyPrint") as caught:
        pdf.write(leak, folder, tmp_path / "report.pdf")
    assert "pip install '.[pdf]'" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_said_with_its_cure(
    leak: AuditReport,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = tmp_path / "weasyprint.py"
    fake.write_text(
        "print('long advice')\nraise OSError('cannot load library \\'libpango-1.0-0\\': not found\\nmore')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    with pytest.raises(FormatError, match=r"libpango-1\.0-0") as caught:
        pdf.write(leak, folder, tmp_path / "report.pdf")
    assert "apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0" in caught.value.hint
    assert "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_a_failure_of_the_renderer_is_no_traceback(
    leak: AuditReport, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("box\ntree")

    monkeypatch.setattr(pdf._weasyprint().HTML, "write_pdf", fail)
    with pytest.raises(FormatError, match=r"WeasyPrint failed on this report \(AssertionError: box\)"):
        pdf.write(leak, folder, tmp_path / "report.pdf")


def test_damaged_pictures_are_still_refused_afterwards(leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    """WeasyPrint has Pillow accept truncated pictures in the whole process: training images are read there, too."""
    pdf.check(Look())
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    pdf.write(leak, folder, tmp_path / "report.pdf")
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("before", [True, False])
def test_the_collector_is_as_it_was_afterwards_after_a_failure_too(
    before: bool, clean: AuditReport, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gc.enable if before else gc.disable)()
    try:
        pdf.write(clean, folder, tmp_path / "one.pdf")
        assert gc.isenabled() is before
        monkeypatch.setattr("weasyprint.HTML.write_pdf", lambda self: 1 / 0)
        with pytest.raises(FormatError):
            pdf.write(clean, folder, tmp_path / "two.pdf")
        assert gc.isenabled() is before
    finally:
        gc.enable()


def test_the_page_for_paper_has_nothing_that_only_a_browser_runs(leak: AuditReport, folder: Path) -> None:
    page, paper = (html.render(leak, folder, Look(), paper=paper) for paper in (False, True))
    assert "<script" in page
    assert "<dialog" in page
    assert "<script" not in paper
    assert "<dialog" not in paper
