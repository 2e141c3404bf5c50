"""What processes use, as Linux tells it: processor time and memory."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def family_of(pid: int) -> list[int]:
    """Return a process with all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def web_processes(pid: int) -> list[int]:
    """Return those of a server that answer requests, and their master, which is the first."""
    return [one for one in family_of(pid) if b"gunicorn" in _read(one, "cmdline")]


def seconds_used(pids: list[int]) -> float:
    """Return the processor's time that these have taken so far, in user and kernel mode."""
    fields = (_read(pid, "stat").rpartition(b")")[2].split() for pid in pids)
    return sum(int(field[11]) + int(field[12]) for field in fields if field) / TICKS


@dataclass
class Memory:
    """Bytes of several processes; what they share is counted once."""

    all: int = 0
    anonymous: int = 0


def memory_of(pids: list[int]) -> Memory:
    """Add up the proportional set sizes; of them what is no file's pages."""
    total = Memory()
    for pid in pids:
        lines = (line.split() for line in _read(pid, "smaps_rollup").splitlines())
        sizes = {line[0]: int(line[1]) * 1024 for line in lines if len(line) == 3}
        total.all += sizes.get(b"Pss:", 0)
        total.anonymous += sizes.get(b"Pss_Anon:", 0) + sizes.get(b"Pss_Shmem:", 0)
    return total


@contextmanager
def peak_memory(pid: int, pause: float = 0.25) -> Iterator[Memory]:
    """Yield what a process and its descendants take at most, looked at every so many seconds."""
    peak, done = Memory(), threading.Event()

    def watch() -> None:
        while not done.wait(pause):
            now = memory_of(family_of(pid))
            peak.all = max(peak.all, now.all)
            peak.anonymous = max(peak.anonymous, now.anonymous)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _read(pid: int, name: str) -> bytes:
    """Return a file of a process's; nothing of one that has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""
