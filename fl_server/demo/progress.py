"""What the demo knows: what each client holds, and how the training stands."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

CLASSES = 10
HELD_OUT = 5
"""A client tests with one sample in so many, as `examples/digits/client.py` has it."""


@dataclass(frozen=True)
class Shard:
    """A client and how many samples of each digit it holds."""

    name: str
    counts: tuple[int, ...]

    @property
    def samples(self) -> int:
        """Return how many it holds, those held out included."""
        return sum(self.counts)


def read_shards(folder: Path, clients: int) -> list[Shard]:
    """Read the files that `examples/digits/data.py` wrote."""
    names = [f"client-{number}" for number in range(1, clients + 1)]
    return [Shard(name, _counts(folder / f"{name}.npz")) for name in names]


def _counts(path: Path) -> tuple[int, ...]:
    with np.load(path) as file:
        return tuple(np.bincount(file["y"], minlength=CLASSES).tolist())


class Doing(StrEnum):
    """What a client is doing, as far as the server can tell."""

    READY = "ready"
    TRAINS = "trains"
    SENT = "update sent"
    TESTS = "tests"
    TESTED = "tested"
    DONE = "done"


@dataclass(frozen=True)
class Progress:
    """How the training stands; `round` counts local rounds, of which `period` make a merge.

    `accuracies` are by round, from the first merge on, and client.
    """

    clients: tuple[str, ...]
    state: str = "I"
    reason: str = ""
    round: int = 0
    merging: bool = False
    updated: frozenset[str] = frozenset()
    accuracies: dict[int, dict[str, float]] = field(default_factory=dict)
    period: int = 1

    @property
    def over(self) -> bool:
        """Return whether nothing more will happen."""
        return self.state in {"C", "E"}

    @property
    def tested(self) -> list[dict[str, float]]:
        """Return the accuracies of those rounds that every client has tested, in order."""
        reports = [report for _, report in sorted(self.accuracies.items())]
        return [report for report in reports if len(report) == len(self.clients)]

    @property
    def testing(self) -> bool:
        """Return whether the last merge hasn't been tested by all."""
        return self.round // self.period > len(self.tested)

    def history(self, client: str) -> list[float]:
        """Return this client's accuracies, in the order of the rounds."""
        reports = [report for _, report in sorted(self.accuracies.items())]
        return [report[client] for report in reports if client in report]

    def doing(self, client: str) -> Doing:
        """Return what this client is doing."""
        if self.over or self.state == "I":
            return Doing.DONE if self.over else Doing.READY
        if self.testing:
            return Doing.TESTED if client in self.accuracies.get(self.round, {}) else Doing.TESTS
        return Doing.SENT if client in self.updated or self.merging else Doing.TRAINS


def overall(progress: Progress, shards: list[Shard]) -> list[float]:
    """Return, for each tested round, the accuracy over all that the clients hold out."""
    weights = {shard.name: shard.samples // HELD_OUT for shard in shards}
    total = sum(weights.values())
    return [
        sum(accuracy * weights[name] for name, accuracy in report.items()) / total
        for report in progress.tested
    ]
