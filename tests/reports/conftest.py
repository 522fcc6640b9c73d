"""The sample reports as fixtures, and the folder with their pictures."""

from pathlib import Path

import pytest

from memaudit.audit.report.model import AuditReport

from .exposures import both_report, drawn_report, exposed_report, few_report, hidden_report
from .pairs import draw_pictures
from .proofs import proven_report, silent_report, turned_report, wrong_report
from .samples import (
    blind_report,
    clean_report,
    crowd_report,
    leak_report,
    many_report,
    poisoned,
    told,
    trust_report,
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    draw_pictures(root)
    return root


@pytest.fixture(scope="session")
def leak(folder: Path) -> AuditReport:
    return leak_report(folder).sealed()


@pytest.fixture(scope="session")
def clean(folder: Path) -> AuditReport:
    return clean_report(folder).sealed()


@pytest.fixture(scope="session")
def blind() -> AuditReport:
    return blind_report().sealed()


@pytest.fixture(scope="session")
def many(folder: Path) -> AuditReport:
    return many_report(folder).sealed()


@pytest.fixture(scope="session")
def trust(folder: Path) -> AuditReport:
    return trust_report(folder).sealed()


@pytest.fixture(scope="session")
def texts(leak: AuditReport) -> AuditReport:
    return told(leak).sealed()


@pytest.fixture(scope="session")
def proven(folder: Path) -> AuditReport:
    return proven_report(folder).sealed()


@pytest.fixture(scope="session")
def wrong(folder: Path) -> AuditReport:
    return wrong_report(folder).sealed()


@pytest.fixture(scope="session")
def silent(folder: Path) -> AuditReport:
    return silent_report(folder).sealed()


@pytest.fixture(scope="session")
def turned(folder: Path) -> AuditReport:
    return turned_report(folder).sealed()


@pytest.fixture(scope="session")
def exposed() -> AuditReport:
    return exposed_report().sealed()


@pytest.fixture(scope="session")
def hidden() -> AuditReport:
    return hidden_report().sealed()


@pytest.fixture(scope="session")
def few() -> AuditReport:
    return few_report().sealed()


@pytest.fixture(scope="session")
def drawn() -> AuditReport:
    return drawn_report().sealed()


@pytest.fixture(scope="session")
def both(folder: Path) -> AuditReport:
    return both_report(folder).sealed()


@pytest.fixture(scope="session")
def hostile_exposed(exposed: AuditReport) -> AuditReport:
    return poisoned(exposed).sealed()


@pytest.fixture(scope="session")
def hostile(leak: AuditReport) -> AuditReport:
    return poisoned(leak).sealed()


@pytest.fixture(scope="session")
def hostile_many(many: AuditReport) -> AuditReport:
    return poisoned(many).sealed()


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditReport, Path]:
    root = tmp_path_factory.mktemp("crowd")
    return crowd_report(root), root
