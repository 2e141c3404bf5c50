"""What all commands share: whom they speak as, how they print, and how they fail.

Exit codes: 0 done; 1 refused, or a training that ended in an error; 2 a wrong command line; 3 the
server can't be reached; 130 interrupted.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property, wraps
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fl_client import places
from fl_client.api import Api, Json
from fl_client.errors import FlError, Unknown, Unreachable
from fl_client.transport import Transport

PATIENCE = 5.0
"""Seconds that somebody at a terminal waits for a server that doesn't answer."""

WIDTH = 200
"""Columns of a table that goes to a file or a program, which shall find ids in one line."""

SHORT = 8
"""Characters of an id that tell it from others."""

SHOWN = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), "?")
"""What stands for control characters: others name models and metrics, and a terminal would obey."""


def printable(text: object) -> str:
    """Return a text that only prints, whoever wrote it."""
    return str(text).translate(SHOWN)


class Failed(click.ClickException):
    """An error as its sentence, or as JSON."""

    exit_code = 1

    def __init__(self, sentence: str, *, as_json: bool) -> None:
        super().__init__(sentence)
        self._as_json = as_json

    def show(self, file: Any = None) -> None:
        """Print it."""
        said = json.dumps({"error": self.message}) if self._as_json else printable(self.message)
        click.echo(said, file=file, err=file is None)


class NoServer(Failed):
    """The same where nobody has answered."""

    exit_code = 3


class Session:
    """One call of the command: its user's line to the server, and its terminal."""

    def __init__(self, url: str, name: str, *, as_json: bool) -> None:
        login = places.kept_login()
        self.url = url or os.environ.get("FL_URL") or login.get("url") or places.SERVER
        self.name, self.as_json = name or login.get("name", ""), as_json
        self.console = Console(highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal:
            self.console.width = WIDTH

    @cached_property
    def stranger(self) -> Api:
        """The server, for who has no token yet."""
        return Api(Transport(self.url, patience=PATIENCE))

    @cached_property
    def api(self) -> Api:
        """The server, as the user that the environment or the login names."""
        api = self.stranger
        token = os.environ.get("FL_TOKEN") or places.kept(self.name, api.transport.url, "token")
        if not token:
            raise Unknown(
                f"Nobody is logged in at {self.url}: `fl register NAME`, `fl login NAME` or set "
                "FL_TOKEN."
            )
        api.transport.be(token)
        return api

    def log_in(self, user: Json) -> None:
        """Go on as this user, and say so."""
        places.keep_login(user["username"], self.stranger.transport.url)
        shown = {key: user[key] for key in ("id", "username")}
        self.say(f"You are {user['username']} at {self.url}.", shown)

    def say(self, sentence: str, data: Any) -> None:
        """Print a sentence, or for programs what it is about."""
        click.echo(json.dumps(data, indent=2) if self.as_json else printable(sentence))

    def tabulate(self, titles: Sequence[str], rows: Sequence[Sequence[Any]], data: Any) -> None:
        """Print a table, or for programs what it is made of."""
        if self.as_json:
            self.say("", data)
            return
        table = Table(box=None, pad_edge=False, show_header=any(titles))
        for title in titles:
            table.add_column(printable(title), overflow="fold")
        for row in rows:
            table.add_row(*map(printable, row))
        self.console.print(table)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", default="", help="The server; else FL_URL, else where you logged in.")
@click.option("--name", default="", help="Who you are there; else who logged in last.")
@click.pass_context
def fl(context: click.Context, url: str, name: str) -> None:
    """Have models trained by others, on data that you never see.

    FL_TOKEN makes you its user, without any login.
    """
    context.obj = {"url": url, "name": name}


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function a command: it gets the session and what its own options say."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @wraps(function)
        def called(as_json: bool, **options: Any) -> None:
            try:
                who = click.get_current_context().obj
                function(Session(**who, as_json=as_json), **options)
            except (FlError, OSError) as error:
                raise _failure(error, as_json=as_json) from error

        flag = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
        return fl.command(name)(flag(called))

    return decorate


def _failure(error: Exception, *, as_json: bool) -> Failed:
    if isinstance(error, Unreachable):
        return NoServer(f"{error} --url or FL_URL says where the server is.", as_json=as_json)
    return Failed(_sentence(error), as_json=as_json)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    return str(error)


def find(rows: Sequence[Json], wanted: str, what: str, *, only: bool = False) -> Json:
    """Return the row whose id begins so, or that has this name; the newest if nothing is wanted.

    Of several of this name it is the newest, but where it is to be the only one.
    """
    named = [row for row in rows if row.get("name") == wanted]
    found = named or [row for row in rows if row["id"].startswith(wanted)]
    if not found:
        raise Unknown(
            f"There is no {what} {wanted!r} of yours." if wanted else f"There is no {what}."
        )
    if wanted and len(found) > 1 and (only or not named):
        more = "give an id" if named else "give more of the id"
        raise Unknown(f"There are {len(found)} {what}s {wanted!r}: {more}.")
    return found[-1]


def names_of(rows: Sequence[Json]) -> dict[str, str]:
    """Return what to call each row: its name, and how its id begins where others have that too."""
    times = Counter(row.get("name") for row in rows)
    return {row["id"]: _name_of(row, times[row.get("name")]) for row in rows}


def _name_of(row: Json, times: int) -> str:
    identity, name = str(row["id"]), row.get("name")
    if not name:
        return identity
    return str(name) if times == 1 else f"{name} ({identity[:SHORT]})"


def find_training(api: Api, wanted: str = "") -> Json:
    """Return the training that is meant."""
    rows = api.trainings()
    if not rows:
        raise Unknown("You have no trainings yet: `fl train`.")
    return find(rows, wanted, "training")


def find_model(api: Api, wanted: str) -> Json:
    """Return the model that is meant: by its id or name, or by its training's id."""
    models = api.models()
    trained = {row["id"]: row["model"] for row in api.trainings()}
    of_training = [model for training, model in trained.items() if training.startswith(wanted)]
    if wanted and len(of_training) == 1:
        wanted = of_training[0]
    return find(models, wanted, "model")
