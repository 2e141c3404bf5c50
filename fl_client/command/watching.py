"""Watching a training from a terminal."""

import json
import time
from collections.abc import Iterator

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fl_client.api import Json
from fl_client.command.metrics import Means, curve, means
from fl_client.command.session import Session, command, find_training, printable
from fl_client.errors import FlError

STEP = 0.5
PATIENCE = 600.0
PHASES = {"update": "training", "swag": "SWAG moments", "test": "testing", "": "merging"}


@command("watch")
@click.argument("training", default="")
def watch(session: Session, training: str) -> None:
    """Show how a training goes until it ends; without an id the newest."""
    watch_training(session, find_training(session.api, training)["id"])


def watch_training(session: Session, training: str) -> None:
    """Follow a training, over restarts of the server; raises FlError if it ends in an error."""
    session.api.transport.patience = PATIENCE
    try:
        last = (_print_lines if session.as_json else _draw)(session, training)
    except KeyboardInterrupt as interrupt:
        click.echo("The training goes on.", err=True)
        raise click.exceptions.Exit(130) from interrupt
    if last["state"] == "E":
        raise FlError(f"The training ended: {last['state_reason']}")


def changes(session: Session, training: str) -> Iterator[tuple[Json, Means]]:
    """Yield the training and the means of its metrics whenever something has changed."""
    before: Json = {}
    while True:
        now = session.api.training(training)
        if now != before:  # who reports metrics is awaited no more
            yield now, means(session.api.metrics(now["model"]))
        if now["state"] in "CE":
            return
        before = now
        time.sleep(STEP)


def _print_lines(session: Session, training: str) -> Json:
    last: Json = {}
    for last, numbers in changes(session, training):
        said = {key: last[key] for key in ("id", "state", "state_reason", "round")}
        click.echo(json.dumps(said | {"metrics": numbers}))
    return last


def _draw(session: Session, training: str) -> Json:
    names = {user["id"]: user["username"] for user in session.api.users()}
    last: Json = {}
    numbers: Means = {}
    told = 0
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=session.console) as progress:
        bar = progress.add_task("")
        for last, numbers in changes(session, training):
            now = last["round"]
            progress.update(
                bar,
                total=last["target_num_updates"],
                completed=now["number"] - (now["phase"] == "test" and last["state"] != "C"),
                description=describe(last, names),
            )
            told = _tell_rounds(
                session, numbers, told, upto=now["number"] - (now["phase"] == "test")
            )
    for key, by_round in numbers.items():
        session.console.print(printable(f"{key:>12} {curve(list(by_round.values()))}"))
    return last


def describe(training: Json, names: dict[str, str]) -> str:
    """Return in a few words what a training does, and whom it awaits."""
    if training["state"] in "IC":
        return "not started" if training["state"] == "I" else "completed"
    now = training["round"]
    awaited = sorted(names.get(user, user) for user in now["awaited"])
    shown = ", ".join(awaited[:5]) + (f" and {len(awaited) - 5} more" if len(awaited) > 5 else "")
    return PHASES[now["phase"]] + (f", awaiting {shown}" if shown else "")


def _tell_rounds(
    session: Session, numbers: dict[str, dict[int, float]], told: int, upto: int
) -> int:
    """Print a line for each round that has been tested since; return the last one's number."""
    for number in range(told + 1, upto + 1):
        values = {key: by_round.get(number) for key, by_round in numbers.items()}
        shown = ", ".join(f"{key} {v:.4f}" for key, v in values.items() if v is not None)
        if shown:
            session.console.print(printable(f"round {number}: {shown}"))
    return max(told, upto)
