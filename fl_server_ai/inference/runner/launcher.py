"""The worker's handle on the fork server."""

import json
import os
import select
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from fl_server_ai.failures import NoRunner
from fl_server_ai.inference.runner.cage import Report
from fl_server_ai.inference.terms import Terms

ROOT = Path(__file__).resolve().parents[3]

KEPT = (
    # What the system's libraries and CUDA's need; nothing that the server is configured by.
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
)


NEEDED = {
    "PYTHONPATH": str(ROOT),
    # BLAS would start threads on import, and what has threads can't be forked safely.
    "OPENBLAS_NUM_THREADS": "1",
    # torchvision's import makes this folder, which a caged runner could not.
    "TORCHINDUCTOR_CACHE_DIR": "/",
}
"""What has to be set where a fork server imports torch."""


class Launcher:
    """Starts and ends runners; starts the fork server when there is none. Threads may share it.

    With `host`, a socket of `runner.host`, the fork server is there, else it is a child.
    """

    def __init__(self, terms: Terms, host: str = "") -> None:
        self.terms = terms
        self._host = host
        self._lock = threading.Lock()
        self._fork_server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def launch(self) -> tuple[int, socket.socket]:
        """Return a new runner's process id and our end of the socket to it.

        Raises `NoRunner`.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                return self._order(b"fork", [theirs.fileno()]), ours
            except OSError as error:
                ours.close()
                raise NoRunner(f"No runner can be started: {error}") from error

    def end(self, pid: int) -> int:
        """End a runner and return how it did, as `wait` says it; it may have ended before."""
        try:
            return self._order(json.dumps(pid).encode())
        except OSError:  # the fork server is gone, and its runners with it
            return 0

    def close(self) -> None:
        """End the fork server and, by that, all runners."""
        with self._lock:
            self._close()

    def _order(self, order: bytes, descriptors: list[int] | None = None) -> int:
        """Return the fork server's reply; a new fork server knows nothing of another's runners."""
        with self._lock:
            if descriptors and not self._is_there():
                self._start()
            return self._ask(order, descriptors or [])

    def _ask(self, order: bytes, descriptors: list[int]) -> int:
        if self._control is None:
            raise ConnectionError("there is no fork server")
        socket.send_fds(self._control, [order], descriptors)
        reply = self._control.recv(64)
        if not reply:
            raise ConnectionError("the fork server ended")
        return int(reply)

    def _is_there(self) -> bool:
        """Whether the fork server waits for an order: it has nothing to say, not even EOF."""
        return self._control is not None and not select.select([self._control], [], [], 0)[0]

    def _start(self) -> None:
        self._close()
        if self._host:
            self._control = _connect(self._host)
        else:
            self._control, theirs = socket.socketpair()
            with theirs:
                self._fork_server = _start_fork_server(theirs)
        self._ask(json.dumps(asdict(self.terms)).encode(), [])

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._fork_server is not None:
            self._fork_server.wait()
        self._control = self._fork_server = None


def _connect(path: str) -> socket.socket:
    with ExitStack() as stack:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX))
        connection.connect(path)
        stack.pop_all()
    return connection


def try_cage(device: str) -> Report:
    """Return what holds runners on this machine, as tried by a process without torch."""
    command = [sys.executable, "-m", "fl_server_ai.inference.runner.cage", device]
    done = subprocess.run(command, env=_environment(), cwd="/", capture_output=True, check=True)  # noqa: S603
    return Report(**json.loads(done.stdout))


def _start_fork_server(theirs: socket.socket) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 (nothing in it comes from outside)
        [sys.executable, "-m", "fl_server_ai.inference.runner.fork_server", str(theirs.fileno())],
        env=_environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        start_new_session=True,  # a terminal's Ctrl-C is for the worker
    )


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in KEPT if name in os.environ} | NEEDED
