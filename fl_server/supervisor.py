"""Starts the processes of a server, watches over them, and ends them together."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from django.conf import settings

from fl_server.processes import COMMANDS, SUPERVISOR
from fl_server.readiness import READY_PIPE

RESTART_PAUSE = 0.5
SHORT_LIFE = 30.0
SHORT_LIVES = 5
END_WITHIN = 10.0

Show = Callable[[str, str], None]
"""Takes the name of a process and a line that it wrote."""


class KeepsDyingError(Exception):
    """A process ended several times soon after its start."""


class Child:
    """One process: started, started again when it dies, ended with all it has started."""

    def __init__(
        self, name: str, show: Show, pipe: int, *arguments: str, inherit: tuple[int, ...] = ()
    ):
        """Report to `pipe` whenever the process has begun its work."""
        self.name = name
        self._show = show
        self._environment = _environment() | {READY_PIPE: f"{pipe}:{name}"}
        self._arguments = arguments
        self._inherit = (pipe, *inherit)
        self._short_lives = 0
        self._start_at = 0.0
        self._started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self) -> None:
        """Start the process if it isn't running; KeepsDyingError if it keeps ending."""
        if self._process is None:
            if time.monotonic() >= self._start_at:
                self._start()
        elif self._process.poll() is not None:
            self._restart_later(self._process)

    def _start(self) -> None:
        # From the main thread: Linux ties a child to the thread that started it. A session
        # of its own, so that a Ctrl-C reaches the supervisor alone.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "fl_server.processes", self.name, *self._arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=self._inherit,
            start_new_session=True,
        )
        self._started_at = time.monotonic()
        threading.Thread(target=self._copy, args=(self._process.stdout,), daemon=True).start()

    def _copy(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._show(self.name, line.decode(errors="replace").rstrip())

    def _restart_later(self, process: subprocess.Popen[bytes]) -> None:
        self._kill_group(process)
        self._process = None
        how = _described(process.returncode)
        lived = time.monotonic() - self._started_at
        self._short_lives = self._short_lives + 1 if lived < SHORT_LIFE else 1
        if self._short_lives >= SHORT_LIVES:
            raise KeepsDyingError(
                f"{self.name} died {SHORT_LIVES} times, each time within {SHORT_LIFE:.0f} seconds "
                f"of its start; the last time with {how}."
            )
        self._show("serve", f"{self.name} died with {how}, it starts again")
        self._start_at = time.monotonic() + RESTART_PAUSE

    def ask_to_end(self) -> None:
        """Ask the process to finish what it has in hand."""
        if self._process is not None:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait for the end until then, and kill what is left of the process's group."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=max(0.0, deadline - time.monotonic()))
        self._kill_group(self._process)
        self._process.wait()

    @staticmethod
    def _kill_group(process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def supervise(listener: socket.socket, *, show: Show, ready: Callable[[], None]) -> None:
    """Run all processes until SIGINT, SIGTERM or SIGHUP; call `ready` once when all work.

    `listener` goes to the web process; being ours, it stays open while that restarts.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    bind = {"web": ("--bind", f"fd://{listener.fileno()}")}
    inherit = {"web": (listener.fileno(),)}
    heard, said = os.pipe()
    children = [
        Child(name, show, said, *bind.get(name, ()), inherit=inherit.get(name, ()))
        for name in COMMANDS
    ]
    threading.Thread(target=_announce, args=(heard, ready), daemon=True).start()
    try:
        while not stop.wait(0.1):
            for child in children:
                child.watch()
    finally:
        _end(children)


def _end(children: list[Child]) -> None:
    deadline = time.monotonic() + END_WITHIN
    for child in children:
        child.ask_to_end()
    for child in children:
        child.end(deadline)


def _announce(pipe: int, ready: Callable[[], None]) -> None:
    """Wait until each process has reported once, then close the pipe."""
    missing = set(COMMANDS)
    with os.fdopen(pipe) as reports:
        while missing:
            missing.discard(reports.readline().rstrip())
    ready()


def _environment() -> dict[str, str]:
    """Return what a child needs to read the same settings from any working directory."""
    path = os.pathsep.join(filter(None, [str(settings.BASE_DIR), os.environ.get("PYTHONPATH")]))
    return os.environ | {
        "FL_DATA_DIR": str(settings.DATA_DIR),
        "PYTHONPATH": path,
        SUPERVISOR: str(os.getpid()),
    }


def _described(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"
