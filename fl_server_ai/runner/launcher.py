"""The worker's handle on the nursery."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

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


class Launcher:
    """Starts and ends runners; starts the nursery when there is none. Threads may share it."""

    def __init__(self, memory_bytes: int, seconds: int) -> None:
        self._arguments = (str(memory_bytes), str(seconds))
        self._lock = threading.Lock()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def launch(self) -> tuple[int, socket.socket]:
        """Return a new runner's process id and our end of the socket to it."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                return self._order(b"fork", [theirs.fileno()]), ours
            except OSError:
                ours.close()
                raise

    def end(self, pid: int) -> int:
        """End a runner and return how it did, as `wait` says it; it may have ended before."""
        try:
            return self._order(json.dumps(pid).encode())
        except OSError:  # the nursery is gone, and its runners with it
            return 0

    def close(self) -> None:
        """End the nursery and, by that, all runners."""
        with self._lock:
            self._close()

    def _order(self, order: bytes, descriptors: list[int] | None = None) -> int:
        """Return the nursery's reply; a new nursery knows nothing of another's runners."""
        with self._lock:
            if descriptors and (self._nursery is None or self._nursery.poll() is not None):
                self._start()
            if self._control is None:
                raise ConnectionError("there is no nursery")
            socket.send_fds(self._control, [order], descriptors or [])
            reply = self._control.recv(64)
        if not reply:
            raise ConnectionError("the nursery ended")
        return int(reply)

    def _start(self) -> None:
        self._close()
        self._control, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        # BLAS would start threads on import, and what has threads can't be forked safely.
        environment |= {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            self._nursery = subprocess.Popen(  # noqa: S603 (nothing in it comes from outside)
                [
                    sys.executable,
                    "-m",
                    "fl_server_ai.runner.nursery",
                    str(theirs.fileno()),
                    *self._arguments,
                ],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a terminal's Ctrl-C is for the worker
            )

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._nursery is not None:
            self._nursery.wait()
        self._control = self._nursery = None
