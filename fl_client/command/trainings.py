"""Trainings: begun, steered, listed, recorded."""

import json
import time
from pathlib import Path
from typing import Any

import click

from fl_client.api import Api, Json
from fl_client.command.models import TARGET, find_checkpoint
from fl_client.command.session import (
    Session,
    command,
    find,
    find_model,
    find_training,
    names_of,
    printable,
)
from fl_client.command.watching import watch_training
from fl_client.errors import Unfit, Unknown

STATES = {"I": "initial", "O": "ongoing", "S": "SWAG round", "C": "completed", "E": "error"}
STEP = 0.5


@command("train")
@click.option("--model", required=True, help="A file to upload, or a model's id or name.")
@click.option("--clients", required=True, help="Their names, such as alice,bob,carol.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--method", default="FedAvg", show_default=True, help="docs/aggregation.md has all.")
@click.option("--uncertainty", default="NONE", show_default=True, help="docs/uncertainty.md.")
@click.option("--metric", "metrics", multiple=True, default=["accuracy", "loss"])
@click.option("--option", "options", multiple=True, help="round.deadline_seconds=600, as often.")
@click.option("--wait", default=60, show_default=True, help="Seconds for clients to register.")
@click.option("--start/--no-start", default=True, show_default=True)
@click.option("--watch", is_flag=True, help="Stay, and show how it goes.")
def train(
    session: Session,
    model: str,
    clients: str,
    rounds: int,
    method: str,
    uncertainty: str,
    metrics: tuple[str, ...],
    options: tuple[str, ...],
    wait: int,
    start: bool,
    watch: bool,
) -> None:
    """Have a model trained by clients."""
    names = [name.strip() for name in clients.split(",") if name.strip()]
    created = session.api.create_training(
        _find_or_upload(session.api, model),
        find_clients(session.api, names, wait),
        rounds=rounds,
        method=method,
        uncertainty=uncertainty,
        metric_names=metrics,
        options=read_options(options),
    )
    training = created["training_id"]
    for name in created.get("unknown_options", []):
        click.echo(f"The server knows no option {name}; the clients see it.", err=True)
    if start:
        session.api.steer(training, "start")
    session.say(f"The training is {training}.", {"training_id": training})
    if watch:
        watch_training(session, training)


def _find_or_upload(api: Api, model: str) -> str:
    file = Path(model)
    if file.is_file():
        return api.upload_model(file, file.stem, "uploaded by fl")
    try:
        return str(find_model(api, model)["id"])
    except Unknown as unknown:
        raise Unknown(f"{unknown} There is no file of this name either.") from unknown


def find_clients(api: Api, names: list[str], wait: float) -> list[str]:
    """Return the ids of users, and wait for those who haven't registered yet, whom it names."""
    until, told = time.monotonic() + wait, None
    while True:
        known = {user["username"]: user["id"] for user in api.users()}
        missing = [name for name in names if name not in known]
        if not missing:
            return [known[name] for name in names]
        if time.monotonic() >= until:
            raise Unknown(
                f"Nobody has registered as {', '.join(missing)}. Do these clients run, and with "
                "this server? --wait SECONDS waits longer."
            )
        if missing != told:
            click.echo(printable(f"Waiting for {', '.join(missing)} to register."), err=True)
            told = missing
        time.sleep(STEP)


def read_options(texts: tuple[str, ...]) -> Json:
    """Return `a.b=1` as {"a": {"b": 1}}; what is no JSON is text."""
    options: Json = {}
    for text in texts:
        path, found, value = text.partition("=")
        if not found:
            raise Unfit(f"An option is a name and a value, such as round.quorum=2, not {text!r}.")
        *names, last = path.split(".")
        place = options
        for name in names:
            place = place.setdefault(name, {})
        place[last] = _value(value)
    return options


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _steered(name: str, done: str, help_text: str) -> None:
    @command(name)
    @click.argument("training", default="")
    def steer(session: Session, training: str) -> None:
        found = find_training(session.api, training)["id"]
        answer = session.api.steer(found, name)
        session.say(f"{done} ({found})", {"training_id": found} | answer)

    steer.help = f"{help_text} Without an id it is the newest."


_steered("start", "The training has begun.", "Start a training.")
_steered("stop", "The training is stopped.", "End a training for now.")
_steered("resume", "The training goes on.", "Go on with a training that was stopped or failed.")
_steered("notify", "They are told again.", "Call those who are awaited once more.")


@command("rollback")
@click.argument("training")
@click.argument("checkpoint")
def rollback(session: Session, training: str, checkpoint: str) -> None:
    """Go back to a version of the model: its id, or its round."""
    found = find_training(session.api, training)
    version = find_checkpoint(session, found["model"], checkpoint)
    answer = session.api.steer(found["id"], "rollback", checkpoint=version)
    session.say(f"The training goes on from {version}.", {"checkpoint": version} | answer)


@command("remove")
@click.argument("id")
@click.option("--yes", is_flag=True, help="Don't ask.")
def remove(session: Session, id: str, yes: bool) -> None:
    """Remove a training, or a model with its training."""
    trainings = [row["id"] for row in session.api.trainings() if row["id"].startswith(id)]
    kind = "training" if trainings else "model"
    if trainings:
        row = find_training(session.api, id)
    else:
        row = find(session.api.models(), id, "model", only=True)
    found, name = row["id"], row.get("name", "")
    if not yes:
        asked = f"Remove the {kind} {name} ({found})?" if name else f"Remove the {kind} {found}?"
        click.confirm(printable(asked), abort=True, err=True)
    (session.api.remove_training if trainings else session.api.remove_model)(found)
    session.say(f"The {kind} {found} is removed.", {"removed": found})


@command("list")
@click.argument(
    "what", type=click.Choice(["trainings", "models", "users", "checkpoints"]), default="trainings"
)
@click.option("--model", default="", help="Of which checkpoints are listed; else the newest.")
def list_all(session: Session, what: str, model: str) -> None:
    """List your trainings or models, all users, or a model's versions."""
    api = session.api
    if what == "trainings":
        rows = api.trainings()
        names = {} if session.as_json or not rows else names_of(api.models())
        shown = [
            [
                r["id"],
                STATES[r["state"]],
                r["aggregation_method"],
                names.get(r["model"], r["model"]),
            ]
            for r in rows
        ]
        session.tabulate(["training", "state", "method", "model"], shown, rows)
    elif what == "models":
        rows = api.models()
        shown = [[r["id"], r["round"], r.get("name", "")] for r in rows]
        session.tabulate(["model", "round", "name"], shown, rows)
    elif what == "users":
        rows = api.users()
        session.tabulate(["user", "name"], [[r["id"], r["username"]] for r in rows], rows)
    else:
        rows = api.checkpoints(find_model(api, model)["id"])
        shown = [[r["id"], r["round"], _listed(r["metric_means"])] for r in rows]
        session.tabulate(["checkpoint", "round", "metrics"], shown, rows)


def _listed(means: dict[str, float | None] | None) -> str:
    return ", ".join(f"{k} {v:.4g}" for k, v in (means or {}).items() if v is not None)


@command("record")
@click.argument("training", default="")
@click.option("--to", "target", type=TARGET, help="A file; else the terminal.")
def record(session: Session, training: str, target: Path | None) -> None:
    """Fetch who made what, signed, to be filed."""
    said = session.api.record(find_training(session.api, training)["id"])
    if target:
        target.write_text(json.dumps(said))
        session.say(f"The record is in {target}.", {"file": str(target)})
    else:
        click.echo(json.dumps(said, indent=2))
