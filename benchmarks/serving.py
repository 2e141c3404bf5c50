"""A server of the benchmarks' own: `manage.py serve` in a folder that is theirs."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """Have Linux kill this process when its parent ends, however that ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True)
class Serving:
    """A server that runs: how to reach it, its first process, its data and settings."""

    url: str
    pid: int
    data: Path
    settings: dict[str, str]


@contextmanager
def running_server(folder: Path, **settings: str) -> Iterator[Serving]:
    """Run a server on `folder/var`, with its log in `folder/log`; it ends however this one does."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "var"
    command = [sys.executable, "manage.py", "serve", "--port", "0", "--data-dir", data]
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=die_with_parent,
        )
    with process:
        try:
            ready = next((line for line in process.stdout if line.startswith("ready ")), None)
            if ready is None:
                sys.exit(f"The server didn't start; {folder / 'log'} says why.")
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield Serving(ready.split()[1], process.pid, data, settings)
        finally:
            process.terminate()
            process.wait()
