"""What work costs as clients, parameters and rounds become many, and a picture of it."""

import shutil
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean

from benchmarks.bench import files
from benchmarks.bench.crowd import TINY, Crowd
from benchmarks.bench.merging import in_child, merged, write_updates
from benchmarks.bench.rows import Row
from benchmarks.bench.topologies import Stage
from benchmarks.bench.turning import round_times

MERGED = 2
"""Updates of each merge whose parameters are counted."""
PEOPLE = 3
"""Participants of the training whose rounds are counted."""
TITLES = (
    ("a round, ms for each client", "clients"),
    ("merging 2 updates, ms for a million parameters", "millions of parameters"),
    ("the same, MB of anonymous memory", "millions of parameters"),
    ("ms for a round of one training", "rounds"),
)
Curve = dict[float, float]
"""Costs by how many there are."""


def rows(stage: Stage) -> Iterator[Row]:
    """Measure the three, and draw them."""
    with stage.running() as site:
        clients = {n: 1000 * Crowd(site).hold_round(n) / n for n in stage.sizes.crowds}
        yield row("round of clients who poll: ms for each", clients, "{:.0f}")
    merges = {n: merge(stage.new_folder(), n) for n in stage.sizes.millions}
    parameters = {n: seconds for n, (seconds, _) in merges.items()}
    memory = {n: growth for n, (_, growth) in merges.items()}
    yield row("merge of 2 updates, millions of parameters: ms for a million", parameters, "{:.2f}")
    yield row("the same: MB of anonymous memory", memory, "{:.0f}")
    marks = stage.sizes.marks
    with stage.running() as site:
        times = round_times(site, PEOPLE, files.state_dict(TINY), marks[-1])
    rounds = {mark: 1000 * mean(times[before:mark]) for before, mark in pairwise((0, *marks))}
    yield row("rounds of one training, up to which: ms for each", rounds, "{:.0f}")
    if stage.picture:
        draw(stage.picture, [clients, parameters, memory, rounds])


def row(work: str, curve: Curve, form: str) -> Row:
    """Return the costs with what they belong to."""
    return Row(work, ", ".join(f"{n:g}: {form.format(cost)}" for n, cost in curve.items()))


def merge(folder: Path, millions: float) -> tuple[float, float]:
    """Return milliseconds for a million parameters, and megabytes of memory."""
    write_updates(folder, MERGED, 4 * millions)
    seconds, growth = in_child(partial(merged, folder, MERGED))
    shutil.rmtree(folder)
    return 1000 * seconds / millions, growth / 1e6


def draw(picture: Path, curves: list[Curve]) -> None:
    """Draw each curve over how many there are."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    for axes, curve, (title, what) in zip(figure.subplots(2, 2).flat, curves, TITLES, strict=True):
        axes.plot(curve.keys(), curve.values(), "o-", color="#0b6fb8")
        axes.set_title(title, loc="left")
        axes.set_xlabel(what)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=110)
