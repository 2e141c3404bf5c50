"""What is measured at which size, and how a row of the table looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Sizes:
    """How much of everything; megabytes are millions of bytes.

    `crowds` are of clients, `millions` of parameters, `marks` of rounds, for the curves.
    """

    merges: tuple[tuple[int, float], ...] = ((10, 100.0), (100, 4.8))
    update: float = 4.8
    people: int = 10
    rounds: int = 10
    uploads: int = 160
    download: float = 100.0
    models: int = 200
    trainings: int = 50
    crowd: int = 2000
    large: float = 3400.0
    crowds: tuple[int, ...] = (10, 30, 100, 300, 1000, 2000)
    millions: tuple[float, ...] = (1, 10, 100, 900)
    marks: tuple[int, ...] = (3, 10, 30, 100, 300, 1000)
    repeats: int = 30
    settle_seconds: int = 5


SMOKE = Sizes(
    merges=((3, 1.0),), update=0.5, people=2, rounds=2, uploads=9, download=2.0, models=3,
    trainings=2, crowd=20, large=4.0, crowds=(2,), millions=(0.1,), marks=(1, 2), repeats=2,
    settle_seconds=0,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A line of the table; `naive` is the same work done in the obvious way in the same run."""

    work: str
    figure: str
    naive: str = ""
    of_copying: float | None = None

    def __str__(self) -> str:
        """Return the line as Markdown."""
        share = "" if self.of_copying is None else f"{self.of_copying:.2f}"
        return f"| {self.work} | {self.figure} | {self.naive} | {share} |"


HEAD = "| work | measured | naive way | x copying |\n| --- | --- | --- | --- |"


def milliseconds(times: Sequence[float]) -> str:
    """Return the median and the range of some seconds."""
    low, middle, high = (f"{1000 * t:.0f}" for t in (min(times), median(times), max(times)))
    return f"{middle} ms ({low}-{high})"


def percentile(times: Sequence[float], share: float) -> float:
    """Return the time that this share of them stays within."""
    return sorted(times)[min(int(share * len(times)), len(times) - 1)]
