"""What every experiment tracker takes in."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import BinaryIO


class TrackerError(Exception):
    """It took something not in, for now or for good: in words, without its address or a secret."""


class RunState(Enum):
    """What has become of a run."""

    RUNNING = "It goes on."
    FINISHED = "It came to its end."
    FAILED = "It ended in an error."
    KILLED = "Somebody ended it."


@dataclass(frozen=True)
class Run:
    """What is told as a training begins. `key` finds the run again that was made for it."""

    key: str
    name: str
    user: str
    started_at: datetime
    tags: Mapping[str, str]
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Point:
    """A number under a name, at a step; the same point is the same, however often it is told."""

    name: str
    value: float
    step: int
    time: datetime


class Tracker(ABC):
    """A place where runs are kept. Each method may be called twice, and raises TrackerError."""

    takes_files: bool = False
    """Whether the files of versions are kept there, too."""

    @abstractmethod
    def open(self, run: Run) -> str:
        """Return the id of this run, which is made unless there is one of its key."""

    @abstractmethod
    def log(self, run: str, points: Iterable[Point], tags: Mapping[str, str]) -> None:
        """Add points, and replace tags."""

    @abstractmethod
    def keep(self, run: str, name: str, file: BinaryIO) -> None:
        """Keep a file with the run, in place of another of this name."""

    @abstractmethod
    def mark(self, run: str, state: RunState, reason: str, at: datetime | None) -> None:
        """Note how the run stands: since when, unless it goes on, and why."""

    @abstractmethod
    def check(self) -> str:
        """Return in a few words that it answers, and takes our credentials."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""
