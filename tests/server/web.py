"""The web processes alone, on SQLite."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fl_server.processes import COMMANDS
from tests.compose import ROOT
from tests.servers import free_port
from tests.waiting import wait_until


@contextmanager
def running_web(
    folder: Path, configuration: str = "fl_server.gunicorn", *, workers: int = 1, threads: int = 8
) -> Iterator[int]:
    """Start them, with all data in this folder, and yield the port that they listen on."""
    settings = os.environ | {
        "FL_DATA_DIR": str(folder),
        "FL_WEB_WORKERS": str(workers),
        "FL_WEB_THREADS": str(threads),
    }
    migrate = [sys.executable, "manage.py", "migrate", "-v0"]
    subprocess.run(migrate, cwd=ROOT, env=settings, check=True)
    command = [word.replace("fl_server.gunicorn", configuration) for word in COMMANDS["web"]]
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--bind", f"127.0.0.1:{port}"],
        cwd=ROOT,
        env=settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: listens(port))
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def listens(port: int) -> bool | None:
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return None
