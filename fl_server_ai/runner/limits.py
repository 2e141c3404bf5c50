"""What a runner may use of the machine. Linux enforces all of it, other systems parts."""

import os
import resource
import time
from contextlib import suppress
from pathlib import Path


def limit_memory(size: int) -> None:
    """Allow so many bytes beyond what is in use now, and files of at most that size.

    Counted is writable private memory: torch reserves address space by the gigabyte that it
    never uses, and stored files are mapped without a copy.
    """
    used = _writable_memory()
    if used:
        resource.setrlimit(resource.RLIMIT_DATA, (used + size, used + size))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


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


def _writable_memory() -> int:
    """Return the bytes that RLIMIT_DATA counts; 0 where the system doesn't tell."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0
