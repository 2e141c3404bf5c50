"""The demo's child processes: output in files, all ended together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from fl_server.processes import die_with_parent

PATIENCE_SECONDS = 120
"""How long the demo waits for the next step before it gives up."""
GRACE_SECONDS = 15
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """What went wrong, in a sentence for the user."""


class Children:
    """Python scripts run for the demo, each with a log `<name>.log` in the folder.

    None outlives the context, which a signal to end interrupts as Ctrl-C does. The server
    keeps its data in the folder, and the clients their tokens, whatever the caller's environment
    says of databases, brokers and homes: a demo must not touch them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("FL_", "CORS_"))}
        self.environment = kept | {
            "FL_DATA_DIR": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
            "OMP_NUM_THREADS": "1",  # because there are more processes than cores
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, _interrupt) for number in ENDING}
        return self

    def __exit__(self, *_: object) -> None:
        for number in ENDING:  # a second Ctrl-C must not cut the ending short
            signal.signal(number, signal.SIG_IGN)
        self.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def log(self, name: str) -> Path:
        """Return where this child's output goes."""
        return self.folder / f"{name}.log"

    def start(self, name: str, *command: object, **environment: str) -> None:
        """Start a script in a session of its own, where Ctrl-C doesn't reach it."""
        with self.log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(  # noqa: S603 (our own scripts)
                [sys.executable, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment | environment,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def run(self, name: str, *command: object, **environment: str) -> str:
        """Run a script to its end and return what it printed."""
        self.start(name, *command, **environment)
        self.running[name].wait()
        self.check()
        return self.log(name).read_text()

    def check(self) -> None:
        """Raise DemoError if a child has failed."""
        for name, child in self.running.items():
            if child.poll():
                lines = self.log(name).read_text().split("\n")
                said = next((line for line in reversed(lines) if line.strip()), "no word")
                raise DemoError(f"{name} failed: {said}")

    def ask_to_end(self, name: str) -> None:
        """Let a child finish what it has in hand; `stop` waits for its end."""
        self.running[name].terminate()

    def stop(self) -> None:
        """End all; what takes too long is killed, with the processes it started."""
        for name in reversed(self.running):
            self.ask_to_end(name)
        deadline = time.monotonic() + GRACE_SECONDS
        for child in self.running.values():
            try:
                child.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
