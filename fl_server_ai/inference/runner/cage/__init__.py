"""What holds a model that has taken over its runner: layers that the kernel keeps.

Torch's kernels don't check every argument, so whoever wrote a model may run instructions of
their own in the runner. They find: no file but what each job hands over, already open and to be
read only, and the libraries; no network, no other process, no privilege to gain; system calls
for computing alone.

One file per layer, each a function that closes it behind this process and says in a few words
what holds; it raises OSError where the system doesn't let it. This tries them all and prints what
came of it:

    python -m fl_server_ai.inference.runner.cage
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fl_server_ai.inference.runner.cage import calls, files, privileges

LAYERS: dict[str, Callable[[bool], str]] = {
    "privileges": privileges.hold,
    "files": files.hold,
    "calls": calls.hold,  # the last: it forbids what the others need
}
"""By name, in the order of closing. Told is whether a GPU is to be used."""

MINIMUM = frozenset({"files", "calls"})
"""With these two the cage holds: neither makes up for the other, and together they leave nothing
to a user that its privileges would be needed for."""


@dataclass(frozen=True)
class Report:
    """What holds, and why the rest doesn't, by the layers' names."""

    held: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether all that must hold does."""
        return self.held.keys() >= MINIMUM

    def __str__(self) -> str:
        held = [f"{name} ({words})" for name, words in self.held.items()]
        missing = [f"{name} ({words})" for name, words in self.missing.items()]
        return f"holding: {', '.join(held) or 'none'}; missing: {', '.join(missing) or 'none'}"


def enter(*, gpu: bool) -> Report:
    """Close all layers behind this process, for good."""
    unfit = _unfit()
    if unfit:
        return Report(missing=dict.fromkeys(LAYERS, unfit))
    report = Report()
    for name, hold in LAYERS.items():
        try:
            report.held[name] = hold(gpu)
        except OSError as error:
            report.missing[name] = " ".join(str(error).split())
    return report


def has_gpu(device: str) -> bool:
    """Whether a runner with this `FL_DEVICE` will use a GPU."""
    return device != "cpu" and Path("/dev/nvidiactl").exists()


def _unfit() -> str:
    if sys.platform != "linux":
        return "only Linux has it"
    if len(os.listdir("/proc/self/task")) != 1:
        return "a thread is there already and would stay outside"
    return ""
