"""Forks the processes of a server, watches over them, and ends them together.

This process has imported what most of them need: they share its memory and start at once. It has to
stay a single thread, because nobody would release what another one holds while it forks.
"""

import gc
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from multiprocessing.context import ForkProcess
from typing import Any

from fl_server.processes import COMMANDS, become, die_with_parent, preload
from fl_server.readiness import READY_PIPE

RESTART_PAUSE = 0.5
SHORT_LIFE = 30.0
SHORT_LIVES = 5
END_WITHIN = 10.0
LOOK_EVERY = 0.1
PIECE = 1 << 11

ENDING: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""The signals that end a server, and what they do to a process that hasn't decided that yet."""

Take = Callable[[str], None]
Show = Callable[[str, str], None]
"""Takes the name of a process and a line that it wrote."""


class KeepsDyingError(Exception):
    """A process ended several times soon after its start."""


class Pipes:
    """Pipes through which processes send lines."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._takes: dict[int, Take] = {}
        self._rests: dict[int, bytes] = {}

    def open(self, take: Take) -> int:
        """Return the end of a new pipe to write to; `take` gets the lines."""
        heard, said = os.pipe()
        self._poll.register(heard, select.POLLIN)
        self._takes[heard], self._rests[heard] = take, b""
        return said

    def read(self, seconds: float) -> bool:
        """Wait that long for something to read, and read some of it; False if there was nothing."""
        ready = self._poll.poll(seconds * 1000)
        for pipe, _ in ready:
            piece = os.read(pipe, PIECE)
            if not piece and self._rests[pipe]:
                piece = b"\n"  # the last line may have no end
            *lines, self._rests[pipe] = (self._rests[pipe] + piece).split(b"\n")
            for line in lines:
                self._takes[pipe](line.decode(errors="replace").rstrip())
            if not piece:
                self._close(pipe)
        return bool(ready)

    def _close(self, pipe: int) -> None:
        self._poll.unregister(pipe)
        os.close(pipe)
        del self._takes[pipe], self._rests[pipe]


class Child:
    """One process: started, started again when it dies, ended with all it has started."""

    def __init__(
        self,
        name: str,
        *,
        show: Show,
        outputs: Pipes,
        report: int,
        listener: socket.socket | None = None,
    ) -> None:
        """Of what is open here it gets `report`, to tell when it works, and `listener`."""
        self.name = name
        self._show = show
        self._outputs = outputs
        self._report = report
        self._listener = listener
        self._short_lives = 0
        self._start_at = 0.0
        self._started_at = 0.0
        self._process: ForkProcess | None = None

    def watch(self) -> None:
        """Start the process if it isn't running; KeepsDyingError if it keeps ending."""
        if self._process is None:
            if time.monotonic() >= self._start_at:
                self._start()
        elif (code := self._process.exitcode) is not None:
            self.end()
            self._restart_later(code)

    def _start(self) -> None:
        output = self._outputs.open(partial(self._show, self.name))
        self._process = ForkProcess(target=self._run, args=(output, os.getpid()), name=self.name)
        # A signal is for this process, or it waits until the new one can be ended by it.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        self._process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        os.close(output)
        self._started_at = time.monotonic()

    def _run(self, output: int, supervisor: int) -> None:
        """Be the process."""
        for number, handler in ENDING.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        die_with_parent()
        if os.getppid() != supervisor:  # it died before
            sys.exit(1)
        os.setsid()  # so that a Ctrl-C reaches the supervisor alone
        os.dup2(output, sys.stdout.fileno())
        os.dup2(output, sys.stderr.fileno())
        os.environ[READY_PIPE] = f"{self._report}:{self.name}"
        if self._listener is None:
            _close_all_but(0, 1, 2, self._report)
            become(self.name)
        else:
            _close_all_but(0, 1, 2, self._report, self._listener.fileno())
            become(self.name, "--bind", f"fd://{self._listener.fileno()}")

    def _restart_later(self, code: int) -> None:
        lived = time.monotonic() - self._started_at
        self._short_lives = self._short_lives + 1 if lived < SHORT_LIFE else 1
        if self._short_lives >= SHORT_LIVES:
            raise KeepsDyingError(
                f"{self.name} died {SHORT_LIVES} times, each time within {SHORT_LIFE:.0f} seconds "
                f"of its start; the last time with {_described(code)}."
            )
        self._show("serve", f"{self.name} died with {_described(code)}, it starts again")
        self._start_at = time.monotonic() + RESTART_PAUSE

    def ask_to_end(self) -> None:
        """Ask the process to finish what it has in hand."""
        if self._process is not None:
            self._process.terminate()

    def is_running(self) -> bool:
        """Whether the process hasn't ended."""
        return self._process is not None and self._process.exitcode is None

    def end(self) -> None:
        """Kill what is left of the process and of all that it has started."""
        if self._process is not None and self._process.pid:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()  # it may not have had a group of its own yet
            self._process.join()
            self._process = None


def supervise(listener: socket.socket, *, show: Show, ready: Callable[[], None]) -> None:
    """Run all processes until SIGINT, SIGTERM or SIGHUP; call `ready` once when all work.

    `listener` goes to the web process; being ours, it stays open while that restarts.
    """
    stop: list[int] = []
    for number in ENDING:
        signal.signal(number, lambda number, _: stop.append(number))
    preload()
    if threading.active_count() > 1:
        raise RuntimeError(f"Threads would be lost in what is forked: {threading.enumerate()}")
    gc.collect()
    gc.freeze()  # the collector would write to memory that is shared
    reports, outputs = Pipes(), Pipes()
    report = reports.open(awaiting(set(COMMANDS), ready))
    children = [
        Child(
            name,
            show=show,
            outputs=outputs,
            report=report,
            listener=listener if name == "web" else None,
        )
        for name in COMMANDS
    ]
    try:
        while not stop:
            for child in children:
                child.watch()
            reports.read(0)
            _show_some(outputs, LOOK_EVERY)
    finally:
        _end(children, outputs)


def awaiting(missing: set[str], ready: Callable[[], None]) -> Take:
    """Return what hears the names of those who have begun, and calls `ready` once all have."""

    def hear(name: str) -> None:
        if name in missing:
            missing.remove(name)
            if not missing:
                ready()

    return hear


def _show_some(outputs: Pipes, within: float) -> bool:
    """Show what processes write; while nobody reads that they have to wait, but not this one."""
    can_write = select.select([], [sys.stderr], [], within)[1]
    return bool(can_write) and outputs.read(within)


def _end(children: list[Child], outputs: Pipes) -> None:
    deadline = time.monotonic() + END_WITHIN
    for child in children:
        child.ask_to_end()
    while children and time.monotonic() < deadline:
        _show_some(outputs, LOOK_EVERY)
        for child in [child for child in children if not child.is_running()]:
            child.end()
            children.remove(child)
    for child in children:
        child.end()
    while _show_some(outputs, 0):
        pass


def _close_all_but(*kept: int) -> None:
    for low, high in pairwise((*sorted(kept), os.sysconf("SC_OPEN_MAX"))):
        os.closerange(low + 1, high)


def _described(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"
