"""Cases in forked children, one after another, and what came of them."""

import json
import mmap
import os
import random
import resource
import signal
import struct
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import sympy  # noqa: F401 - torch imports it at its first error, and each child would do it again
import torch

from tests.fuzz.arguments import Arguments
from tests.fuzz.cases import Overload, checked, overloads, run
from tests.fuzz.scripts import ADMITTED, Script, scripts

Subject = Overload | Script
Case = tuple[Subject, str]
CASES = 3000  # by one child
SECONDS = 1.0  # of computing, for a case
HANGS = 60.0  # seconds of waiting
MEMORY = 3 << 30  # beyond what the imports take
FILLERS = (0x5A, 0xA5)
SLOW = ("SIGPROF", "SIGALRM")


@dataclass
class Report:
    """How often what was answered, and how often what fell, with a seed that does it again."""

    names: list[str]
    cases: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    slow: Counter[str] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    seeds: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, name: str, seed: str, fault: str) -> None:
        """Count one case's answer, where there is no fault, or its fault."""
        if not fault:
            self.answered[name] += 1
        elif fault in SLOW:
            self.slow[name] += 1
        else:
            self.faults[name, fault] += 1
            self.seeds.setdefault((name, fault), seed)

    def __str__(self) -> str:
        silent = [name for name in self.names if not self.answered[name]]
        rows = [
            f"{fault} {n}x: {name} {self.seeds[name, fault]}"
            for (name, fault), n in self.faults.items()
        ]
        return "\n".join(
            [
                f"{self.cases} cases of {len(self.names)} overloads and scripts",
                f"{self.answered.total()} answered, {self.slow.total()} took too long",
                *(["Never answered: " + ", ".join(silent)] if silent else []),
                *sorted(rows),
            ]
        )


def admitted() -> list[Subject]:
    """All that a model may call."""
    return [*overloads((ADMITTED / "operators.txt").read_text().split()), *checked(), *scripts()]


def fuzz(subjects: Sequence[Subject], seed: str, seconds: float, rounds: int) -> Report:
    """Until the time is over, or so many cases of each."""
    torch.set_num_threads(1)
    report = Report([str(subject) for subject in subjects])
    rng, ends = random.Random(seed), time.monotonic() + seconds
    for number in range(rounds):
        todo: list[Case] = [(subject, f"{seed}.{number}") for subject in subjects]
        rng.shuffle(todo)
        while todo and time.monotonic() < ends:
            done = one_child(todo[:CASES], report)
            report.cases += done
            todo = todo[done:]
        if time.monotonic() >= ends:
            break
    return report


def one_child(todo: Sequence[Case], report: Report) -> int:
    """How many of the cases are done: all, or those up to the one that ended the child."""
    place = mmap.mmap(-1, 8)
    with tempfile.TemporaryFile() as found, tempfile.TemporaryFile() as errors:
        fault = in_child(lambda: work(todo, place, found), errors)
        found.seek(0)
        for line in found.read().splitlines():
            report.add(*json.loads(line))
    if not fault:
        return len(todo)
    last = struct.unpack("q", place[:8])[0]
    subject, seed = todo[last]
    report.add(str(subject), seed, fault)
    return last + 1


def in_child(function: Callable[[], None], errors: IO[bytes]) -> str:
    """What ended the child that calls the function, or nothing."""
    pid = os.fork()
    if not pid:
        os.dup2(errors.fileno(), 1)
        os.dup2(errors.fileno(), 2)
        try:
            function()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    errors.seek(0)
    said = (errors.read().decode(errors="replace").strip().splitlines() or [""])[-1][:100]
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return f"{name} {said}" if name == "SIGABRT" else name
    return said if status else ""


def work(todo: Sequence[Case], place: mmap.mmap, found: IO[bytes]) -> None:
    """Each case with two fillings of fresh memory: a result that differs was never written."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    for number, (subject, seed) in enumerate(todo):
        place[:8] = struct.pack("q", number)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, HANGS)
        results = [run(subject, seed, filler) for filler in FILLERS]
        if results[0]:
            os.write(found.fileno(), line(subject, seed, ""))
        if results[0] != results[1] and results == [run(subject, seed, f) for f in FILLERS]:
            os.write(found.fileno(), line(subject, seed, "uninitialised"))


def line(subject: Subject, seed: str, fault: str) -> bytes:
    return json.dumps([str(subject), seed, fault]).encode() + b"\n"


def show(name: str, seed: str) -> None:
    """Print a case's arguments and run it in this process."""
    operator = name.partition(" ")[0].replace("aten::", "torch.").replace("prim::", "ops.prim.")
    known = overloads([".".join(operator.split(".")[: 3 if "prim" in operator else 2])])
    for subject in [*known, *checked(), *scripts()]:
        if str(subject) == name:
            print(*subject.drawn(Arguments(seed, FILLERS[0])), flush=True)
            print([run(subject, seed, filler) for filler in FILLERS])
