"""What the clients report of a model: as a table, as CSV or JSON, as a picture, for TensorBoard."""

import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from statistics import fmean
from typing import Any

import click

from fl_client.api import Json
from fl_client.command.session import Session, command, find_training
from fl_client.errors import FlError

BLOCKS = "▁▂▃▄▅▆▇█"
COLUMNS = ("step", "key", "value_float", "reporter", "identifier")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

Means = dict[str, dict[int, float]]


@command("metrics")
@click.argument("training", default="")
@click.option("--csv", "as_csv", is_flag=True, help="Print each number as a line.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw a picture, such as out.png.")
@click.option("--tensorboard", type=click.Path(path_type=Path), help="Write events to a folder.")
def metrics(
    session: Session, training: str, as_csv: bool, plot: Path | None, tensorboard: Path | None
) -> None:
    """Show what the clients of a training report; without an id the newest's."""
    rows = session.api.metrics(find_training(session.api, training)["model"])
    if as_csv:
        _write_csv(rows)
    elif plot:
        _draw(means(rows), plot)
        session.say(f"The picture is in {plot}.", {"file": str(plot)})
    elif tensorboard:
        _write_events(rows, tensorboard)
        session.say(f"The events are in {tensorboard}.", {"folder": str(tensorboard)})
    else:
        numbers = means(rows)
        rounds = sorted({number for by_round in numbers.values() for number in by_round})
        shown = [
            [number, *(_shown(by.get(number)) for by in numbers.values())] for number in rounds
        ]
        shown.append(["", *(curve(list(by_round.values())) for by_round in numbers.values())])
        session.tabulate(["round", *numbers], shown, rows)


def means(rows: Sequence[Json]) -> Means:
    """Return for each metric its mean over the clients by round, in order."""
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["value_float"] is not None:
            values[row["key"]][row["step"]].append(row["value_float"])
    return {
        key: {number: fmean(by_round[number]) for number in sorted(by_round)}
        for key, by_round in sorted(values.items())
    }


def curve(values: Sequence[float]) -> str:
    """Return a curve that one line of a terminal can show, with its ends in numbers."""
    if not values:
        return ""
    low, high = min(values), max(values)
    steps = [round((value - low) / ((high - low) or 1) * (len(BLOCKS) - 1)) for value in values]
    return f"{''.join(BLOCKS[step] for step in steps)} {values[0]:.4g} → {values[-1]:.4g}"


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _write_csv(rows: Sequence[Json]) -> None:
    writer = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"key": _inert(row["key"])} for row in rows)


def _inert(text: str) -> str:
    """Return a name that no spreadsheet takes for a formula: the clients have chosen it."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _draw(numbers: Means, target: Path) -> None:
    try:
        figure_class = import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise FlError("Pictures need matplotlib: pip install matplotlib.") from error
    figure = figure_class(figsize=(6, 2.5 * max(len(numbers), 1)), layout="constrained")
    for place, (key, by_round) in enumerate(numbers.items(), start=1):
        axes = figure.add_subplot(len(numbers), 1, place)
        axes.plot(list(by_round), list(by_round.values()), marker=".")
        axes.set(xlabel="round", ylabel=key)
    figure.savefig(target)


def _write_events(rows: Sequence[Json], folder: Path) -> None:
    with _writer_class()(str(folder)) as writer:
        for key, by_round in means(rows).items():
            for number, value in by_round.items():
                writer.add_scalar(key, value, number)


def _writer_class() -> Any:
    for module in ("tensorboardX", "torch.utils.tensorboard"):
        try:
            return import_module(module).SummaryWriter
        except ImportError:
            continue
    raise FlError("Events need tensorboardX or tensorboard: pip install tensorboardX.")
