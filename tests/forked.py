"""Command lines of memaudit as processes of their own, forked from one that has imported torch already.

What a process is asked, and what comes back, is what the installed console script would get and give: its words, its
environment and folder, its two streams, signals and exit code. Importing torch anew would take seconds each time.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .conftest import SCRIPT

SERVER = """
import atexit, contextlib, gc, importlib.resources, json, os, resource, sys
sys.path[0] = os.path.dirname(sys.argv[1])
from memaudit.audit import plugins
from memaudit.audit.cli import main as cli
from memaudit.audit.run import drive
from memaudit.audit.scan import pipeline
from memaudit.audit.tasks import defend, infer, many
from memaudit.audit.cli import catalogue, console, outcome, plan, verdicts
import torch._dynamo, torch.fx.experimental.symbolic_shapes, torch.utils.serialization
from skimage.restoration import denoise_tv_chambolle
from memaudit.reports import html, page
for file in importlib.resources.files(page).iterdir():
    if file.name.endswith(".j2"):
        html.environment().get_template(file.name)
for group in plugins.KINDS:
    plugins.load_all(group)
gc.collect(), gc.freeze()
for line in sys.stdin:
    asked = json.loads(line)
    for name in asked["load"]:
        with contextlib.suppress(ImportError):  # the command says so itself
            importlib.import_module(name)
    if not (child := os.fork()):
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(asked["env"])
        os.chdir(asked["cwd"])
        for stream, name in (1, "stdout"), (2, "stderr"):
            os.dup2(os.open(asked[name], os.O_WRONLY | os.O_APPEND | os.O_NOCTTY), stream)
            lines = stream == 2 or os.isatty(stream)
            way = {"buffering": 1 if lines else -1, "encoding": os.environ.get("PYTHONIOENCODING"), "closefd": False}
            setattr(sys, name, open(stream, "w", **way))
        if asked["limit"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (asked["limit"], asked["limit"]))
        drive.SAVE_SECONDS, sys.argv = asked["pause"] or drive.SAVE_SECONDS, asked["words"]
        try:
            cli.main()
        except SystemExit as stop:
            if not isinstance(stop.code, int):
                raise
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(stop.code)  # taking a thousand modules down takes longer than the command
        sys.exit()
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Forks for each line of its input: tells the child's id, and, once it may forget that id, its exit code."""


class Server:
    """The process that forks; it ends when its input does. One child at a time."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        words = [sys.executable, "-c", SERVER, str(SCRIPT)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(words, text=True, env=environment, **pipes)
        atexit.register(self.close)

    def ask(self, line: str) -> int:
        print(line, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


SERVERS: list[Server] = []
"""The one of this process, from its first use on."""


class Forked:
    """One command line that runs: in ``env`` and ``cwd``, where given, and with ``terminal`` as its standard error.

    With ``pause``, an attack's state is saved every so many seconds; with ``limit``, no file that it writes may have
    more than so many bytes. The modules ``load`` take seconds to import: what forks imports them first. What it says
    goes to ``streams``, where given.
    """

    def __init__(self, words: Iterable[object], env: Mapping[str, str] | None = None, cwd: Path | None = None,
                 terminal: str = "", pause: float = 0.0, limit: int = 0, load: Iterable[str] = (),
                 streams: tuple[str, str] | None = None) -> None:  # fmt: skip
        if not SERVERS:
            SERVERS.append(Server())
        self.args = ["memaudit", *map(str, words)]
        self.streams = tempfile.TemporaryDirectory(prefix="memaudit-streams-")
        self.out, self.err = (Path(self.streams.name) / name for name in ("out", "err"))
        self.out.touch()
        self.err.touch()
        asked = {
            "words": [str(SCRIPT), *self.args[1:]], "env": dict(os.environ if env is None else env),
            "cwd": str(cwd or Path.cwd()), "stdout": str(self.out), "stderr": terminal or str(self.err),
            "pause": pause, "limit": limit, "load": list(load),
        }  # fmt: skip
        self.encoding = asked["env"].get("PYTHONIOENCODING")
        asked |= dict(zip(("stdout", "stderr"), streams or (), strict=False))
        self.pid = SERVERS[0].ask(json.dumps(asked))

    def running(self) -> bool:
        """Return whether it has not ended."""
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def done(self) -> "subprocess.CompletedProcess[str]":
        """Wait for its end; return its exit code and what it said."""
        code = SERVERS[0].ask("")
        told = (file.read_text(self.encoding) for file in (self.out, self.err))
        done = subprocess.CompletedProcess(self.args, code, *told)
        self.streams.cleanup()
        return done


def memaudit(*words: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run ``memaudit WORDS...`` to its end; return its exit code and what it said. Options are those of `Forked`."""
    return Forked(words, **options).done()
