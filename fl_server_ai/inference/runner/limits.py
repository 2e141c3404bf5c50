"""What a runner may use of the machine. Linux enforces all of it, other systems parts."""

import os
import resource
import time
from contextlib import suppress
from pathlib import Path

THREADS = 4096
FILES = 1024


class Memory:
    """What this process may take; to be made while it can open a file."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._limited = False
        self._status = -1
        with suppress(OSError):
            self._status = os.open("/proc/self/status", os.O_RDONLY)

    def limit(self) -> None:
        """Allow so many bytes beyond what is in use now, and files of at most that size, once.

        Counted is writable private memory: torch reserves address space by the gigabyte that
        it never uses, and stored files are mapped without a copy.
        """
        if self._limited:
            return
        used = self._used()
        if used:
            limit = used + self.size
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))
        self._limited = True

    def _used(self) -> int:
        """Return the bytes that RLIMIT_DATA counts; 0 where the system doesn't tell."""
        with suppress(OSError):
            for line in os.pread(self._status, 1 << 16, 0).splitlines():
                if line.startswith(b"VmData:"):
                    return int(line.split()[1]) * 1024
        return 0


def limit_numbers() -> None:
    """Allow so many open files, and no threads once so many more are there than now.

    The system counts the threads of a user, of whatever process, and tells only how many there
    are of all users.
    """
    _lower(resource.RLIMIT_NOFILE, FILES)
    with suppress(OSError):
        there = int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])
        _lower(resource.RLIMIT_NPROC, there + THREADS)


def allow_processor(seconds: float) -> None:
    """Allow as much processor time from now as all cores have in so many seconds.

    Beyond it the system kills the process: whoever waits for a job does so too, but not for
    a thread that a job left behind.
    """
    allowed = time.process_time() + seconds * (os.cpu_count() or 1)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(allowed) + 1, hard))


def volunteer_for_death() -> None:
    """Have the system take this process first when it runs out of memory; leave no core."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (limit, limit))
