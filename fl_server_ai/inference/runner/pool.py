"""The worker's runners: some at work, some idle with their model loaded."""

import json
import logging
import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from fl_server_ai import failures
from fl_server_ai.failures import Failure, JobRefused, RunnerDied, RunnerSpent, TooSlow
from fl_server_ai.inference.protocol import Job, send
from fl_server_ai.inference.runner.launcher import Launcher
from fl_server_core import counters

logger = logging.getLogger(__name__)

MAX_REPLY = 1 << 16
MAX_PART = 1 << 20


class Runner:
    """A process that does jobs. `used` tells whether it has done one, and so has loaded.

    Not to be shared by threads.
    """

    def __init__(self, key: str, launcher: Launcher) -> None:
        self.key = key
        self.used = False
        self._launcher = launcher
        self._largest = launcher.terms.memory_bytes
        self._status: int | None = None
        self.pid, self._socket = launcher.launch()

    @property
    def alive(self) -> bool:
        """Whether the idle runner still waits for a job: it has nothing to say, not even EOF."""
        return not select.select([self._socket], [], [], 0)[0]

    def do(self, job: Job, deadline: float, result: BinaryIO | None = None) -> None:
        """Have the job done by `deadline`, in `time.monotonic`'s seconds, and write its result.

        Raises a `Failure`. After `RunnerDied`, `TooSlow` and `RunnerSpent` the runner is of no
        more use.
        """
        try:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            send(self._socket, job)
            reply, begun = self._read_reply(deadline)
            failure = None if "done" in reply else failures.read(reply)
            self._copy_result(reply, begun, deadline, result)
        except TimeoutError as error:
            raise TooSlow("The model took too long.") from error
        except (OSError, ValueError) as error:
            raise RunnerDied(_describe_end(self.end())) from error
        if failure:
            raise failure
        self.used = True

    def end(self) -> int:
        """End the process; return how it ended, as `wait` says it. Again changes nothing."""
        if self._status is None:
            self._socket.close()
            self._status = self._launcher.end(self.pid)
        return self._status

    def _read_reply(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        """Return a line of JSON and what came after. Raises ValueError otherwise: no trust here."""
        line, end = b"", b""
        while not end:
            line += self._read(MAX_REPLY, deadline)
            if len(line) > 2 * MAX_REPLY:
                raise ValueError("the runner talks too much")
            line, end, rest = line.partition(b"\n")
        reply = json.loads(line)
        if not isinstance(reply, dict):
            raise ValueError("the runner talks nonsense")
        return reply, rest

    def _copy_result(
        self, reply: dict[str, Any], begun: bytes, deadline: float, result: BinaryIO | None
    ) -> None:
        """Write as many bytes as the reply announces. Raises ValueError for impossible ones."""
        left = reply.get("done", 0)
        if type(left) is not int or not 0 <= left <= (self._largest if result else 0):
            raise ValueError("the runner announces nonsense")
        part = begun
        while True:
            left -= len(part)
            if left < 0:
                raise ValueError("the runner talks too much")
            if result:
                result.write(part)
            if not left:
                return
            part = self._read(min(left, MAX_PART), deadline)

    def _read(self, size: int, deadline: float) -> bytes:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        part = self._socket.recv(size)
        if not part:
            raise ValueError("the runner ended")
        return part


class Pool:
    """Runners by key; up to `idle` of them stay when there is nothing to do.

    The one that has been idle longest goes first. Threads may share a pool.
    """

    def __init__(self, launcher: Launcher, idle: int) -> None:
        self._launcher = launcher
        self._size = idle
        self._lock = threading.Lock()
        self._idle: list[Runner] = []

    @contextmanager
    def runner(self, key: str) -> Iterator[Runner]:
        """Yield a runner that has had no other key than this one.

        It stays for the next job if this one is left without an error or by what the runner
        itself said, and if it has loaded.
        """
        runner = self._take(key) or Runner(key, self._launcher)
        keep = False
        try:
            yield runner
            keep = True
            counters.count_run("done")
        except Failure as failure:
            keep = isinstance(failure, JobRefused) and not isinstance(failure, RunnerSpent)
            counters.count_run(failure.code)
            raise
        finally:
            self._put(runner) if keep else runner.end()

    def close(self) -> None:
        """End all idle runners."""
        with self._lock:
            idle, self._idle = self._idle, []
        for runner in idle:
            runner.end()

    def _take(self, key: str) -> Runner | None:
        with self._lock:
            found = [runner for runner in self._idle if runner.key == key]
            for runner in found:
                self._idle.remove(runner)
                if runner.alive:
                    return runner
                runner.end()
        return None

    def _put(self, runner: Runner) -> None:
        with self._lock:
            self._idle.append(runner)
            surplus = self._idle[: -self._size] if self._size else self._idle[:]
            del self._idle[: len(surplus)]
        for old in surplus:
            old.end()


def _describe_end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    logger.warning("a runner ended with status %s", code)
    return "The model ended the process that ran it: it may need more memory than is allowed."
