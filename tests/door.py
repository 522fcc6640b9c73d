"""A command ``memaudit`` for the PATH of shell scripts: each call is forked from the process that has torch already."""

import json
import socketserver
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path

from .forked import Forked

COMMAND = """#!{python} -IS
import json, os, signal, socket, sys
door = socket.socket(socket.AF_UNIX)
door.connect({socket!r})
streams = [f"/proc/{{os.getpid()}}/fd/{{number}}" for number in (1, 2)]
asked = {{"words": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(), "streams": streams}}
door.sendall(json.dumps(asked).encode() + b"\\n")
code = int(door.makefile().readline() or 99)  # no code of memaudit's
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""
"""Asks for itself to be done elsewhere, with its own streams, and ends as that did."""

FOLDERS: list["tempfile.TemporaryDirectory[str]"] = []
"""Lives as long as this process."""


class Asked(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        done = Forked(asked["words"], asked["env"], Path(asked["cwd"]), streams=tuple(asked["streams"])).done()
        self.wfile.write(f"{done.returncode}\n".encode())


@cache
def door() -> Path:
    """Return the folder of the command. One call at a time, and none of `Forked`'s own beside it."""
    FOLDERS.append(tempfile.TemporaryDirectory(prefix="memaudit-door-"))
    folder = Path(FOLDERS[-1].name)
    (folder / "memaudit").write_text(COMMAND.format(python=sys.executable, socket=str(folder / "socket")))
    (folder / "memaudit").chmod(0o700)
    server = socketserver.UnixStreamServer(str(folder / "socket"), Asked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return folder
