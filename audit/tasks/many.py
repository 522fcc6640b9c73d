"""``memaudit scan-many``: a list of checkpoint pairs from one file, a scan and a run folder each, and one summary.

::

    [defaults]                      # options of memaudit scan, for every pair
    data = "train/"
    normalise = "cifar10"

    [pairs.first]                   # the name of its run folder
    before = "first/before.pt"
    after = "first/after.pt"

    [pairs.second]
    before = "second/before.pt"
    after = "second/after.pt"
    epochs = 5

Paths count from the file. It may not say what a configuration file may not either (:mod:`.settings`).
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

from ... import __version__
from ..events import Event, Listener, silence
from ..files import read_toml, write_text
from ..machine.choose import check_executor, open_executor
from ..machine.executor import Together
from ..option import ConfigError, Option
from ..plugins import nearest
from ..printable import json_text
from ..report.model import AuditReport
from ..request import ScanRequest, from_options
from ..run.drive import Interrupted
from ..run.failure import in_words
from ..run.store import Store
from ..scan.pipeline import scan
from ..settings import from_table

DEFAULTS, PAIRS = "defaults", "pairs"
"""The tables of the file."""

FILES = ("before", "after")
"""What every pair has to say; ``defaults`` may say one of them."""

ELSEWHERE = frozenset(
    {"allow-inconclusive", "executor", "exit-zero", "json", "out", "output", "profile", "quiet", "verbose"}
)
"""Options of ``memaudit scan`` that a pair cannot have; the command line of ``scan-many`` has some of them."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What a pair may be called; its run folder has the same name."""

RESERVED = frozenset({"summary.json", "summary.md", "lock", "jobs"})
"""What lies beside the run folders."""

ORDER = ("error", "fail", "inconclusive", "pass")
"""The worst comes first."""


@dataclass(frozen=True)
class Result:
    """The outcome of one pair.

    Attributes:
        name: As in the file.
        status: Its verdict, or ``error``.
        summary: The verdict, or the error, in words.
        severity: Of the worst finding; ``none`` without a finding.
        recovered: Training records that any attack recovered; ``None`` where nothing was compared.
        records: Training records that were compared with.
        statistic: What the similarity of the pair's records is called.
        similarity_max: The best one of any attack.
        report: The report, from the folder of the summary; empty after an error.
    """

    name: str
    status: Literal["pass", "fail", "inconclusive", "error"]
    summary: str
    severity: str = "none"
    recovered: int | None = None
    records: int | None = None
    statistic: str = ""
    similarity_max: float | None = None
    report: str = ""


@dataclass(frozen=True)
class Summary:
    """All pairs, the worst first."""

    results: tuple[Result, ...]

    @property
    def status(self) -> str:
        """The worst verdict; ``error`` where a pair could not be audited."""
        return self.results[0].status

    def to_json(self) -> str:
        """Return the summary and a newline."""
        content = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "memaudit": __version__,
            "status": self.status,
            "pairs": [dataclasses.asdict(result) for result in self.results],
        }
        return json_text(content) + "\n"

    def to_markdown(self) -> str:
        """Return a table with one row for each pair."""
        counts = [(sum(found.status == status for found in self.results), status) for status in ORDER]
        told = ", ".join(f"{count} {status}" for count, status in counts if count)
        head = ["pair", "verdict", "severity", "recovered", "most similar", "what"]
        rows = [head, ["---"] * len(head), *(_row(result) for result in self.results)]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return f"# memaudit: {len(self.results)} checkpoint pairs\n\n{told}\n\n{table}\n"


def _row(result: Result) -> list[str]:
    name = f"[{result.name}]({result.report})" if result.report else result.name
    recovered = "" if result.recovered is None else f"{result.recovered} of {result.records}"
    best = "" if result.similarity_max is None else f"{result.statistic} {result.similarity_max:.3f}"
    what = " ".join(re.sub(r"([\\`*_\[\]<>|])", r"\\\1", result.summary).split())
    return [name, result.status, result.severity, recovered, best, what]


def read_pairs(file: Path, options: Mapping[str, Option], out: Path) -> dict[str, ScanRequest]:
    """Read a list of pairs.

    Args:
        file: The TOML file.
        options: Those of ``memaudit scan``.
        out: Where the run folders go.

    Raises:
        ConfigError: It cannot be read, or has a key or a value that it may not have.
    """
    known = {key: option for key, option in options.items() if key not in ELSEWHERE}
    known |= {key: Option(key, str, False, None, None, {"scan": key}) for key in FILES}
    content = read_toml(file, "The list of pairs", ConfigError, "Name a TOML file of pairs.")
    for key in content:
        if key not in (DEFAULTS, PAIRS):
            raise ConfigError(f"{file}: there is no table {key[:80]!r}.", nearest(key, [DEFAULTS, PAIRS]))
    pairs = _table(content.get(PAIRS, {}), f"{file}: {PAIRS}")
    if not pairs:
        raise ConfigError(f"{file} lists no pair.", f"Give each a table [{PAIRS}.NAME] with before and after.")
    shared = from_table(known, file, _table(content.get(DEFAULTS, {}), f"{file}: {DEFAULTS}"), f"{DEFAULTS}.")
    found: dict[str, ScanRequest] = {}
    for name, table in pairs.items():
        where = f"{PAIRS}.{name[:80]}"
        if not NAME.fullmatch(name) or name.lower() in RESERVED or name.lower() in {n.lower() for n in found}:
            raise ConfigError(f"{file}: {where!r} cannot be the name of its folder.", "Use letters, digits, . _ and -.")
        own = from_table(known, file, _table(table, f"{file}: {where}"), f"{where}.")
        values = {known[key].commands["scan"]: setting.value for key, setting in {**shared, **own}.items()}
        if missing := [key for key in FILES if key not in values]:
            raise ConfigError(f"{file}: {where} has no {missing[0]}.", "Name the checkpoint before and after training.")
        found[name] = from_options({"name": name, **values, "out": out / name})
    return found


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is not a table.", "Write it as [...].")
    return value


def scan_many(
    requests: Mapping[str, ScanRequest], out: Path, executor: str = "local", listener: Listener = silence
) -> Summary:
    """Audit pairs, each in its run folder, and write ``summary.json`` and ``summary.md`` beside those.

    Running the same again resumes: every scan keeps its own state.

    Raises:
        MemauditError: Nothing can be written, or no executor is available. What is wrong with one pair is in its row.
        Interrupted: The user stopped it; the states are saved.
    """
    check_executor(executor)
    store, device = Store(out), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with store.held(), open_executor(executor, device) as runner:
        together = Together(listener) if runner.width > 1 else listener  # how many steps, the scans find out
        results = runner.map(_audit, requests.items(), together)
        found = Summary(tuple(sorted(results, key=lambda result: (ORDER.index(result.status), result.name))))
        for name, text in (("summary.json", found.to_json()), ("summary.md", found.to_markdown())):
            listener(Event("report", str(write_text(out / name, text))))
    return found


def _audit(asked: tuple[str, ScanRequest], listener: Listener) -> Result:
    """Scan one pair; an error is its result."""
    name, request = asked

    def told(event: Event) -> None:
        listener(dataclasses.replace(event, message=f"{name}: {event.message}", plan=()))

    try:
        return _result(name, scan(request, told))
    except Interrupted:
        raise
    except Exception as error:
        return Result(name, "error", str(in_words(error)))


def _result(name: str, report: AuditReport) -> Result:
    measured = [attack.metrics.similarity_max for attack in report.attacks if attack.metrics]
    data = report.inputs.data
    return Result(
        name=name,
        status=report.verdict.status,
        summary=report.verdict.headline,
        severity=report.verdict.severity,
        recovered=report.recovered_by_any if measured else None,
        records=data.count if data else None,
        statistic=report.kind.statistic,
        similarity_max=max(measured, default=None),
        report=f"{name}/report.html",
    )
