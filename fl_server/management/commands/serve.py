"""`manage.py serve`: the whole server on one machine."""

import fcntl
import json
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils.termcolors import colorize

from fl_server import reach
from fl_server.metrics import begin_counting
from fl_server.processes import COMMANDS
from fl_server.supervisor import KeepsDyingError, Show, supervise
from fl_server_core.connections import close_all
from fl_server_core.log_lines import as_time

COLOURS = dict(
    zip(
        ("serve", *COMMANDS),
        ("red", "green", "magenta", "cyan", "blue", "white", "yellow"),
        strict=True,
    )
)


class Command(BaseCommand):
    """Prints `ready <url>` on stdout when all its processes work, and logs on stderr."""

    help = "Migrate the database, then run web, workers and beat until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:  # noqa: D102
        parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
        parser.add_argument(
            "--port", type=int, default=8000, help="default: %(default)s; 0 picks a free one"
        )
        parser.add_argument("--data-dir", help="where all data are kept; default: FL_DATA_DIR, var")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run until a signal; CommandError where that can't begin or go on."""
        with _lock(settings.DATA_DIR), _listener(options["host"], options["port"]) as listener:
            if not settings.FL_ACCEL_PREFIX:  # else a proxy's user has to read models
                _close_to_others(settings.DATA_DIR)
            _migrate()
            # Old messages aren't needed: the sweeper finds the work in the database.
            shutil.rmtree(settings.BROKER_DIR, ignore_errors=True)
            begin_counting(settings.DATA_DIR / "metrics")
            try:
                supervise(
                    listener, show=_shown(), ready=lambda: self._ready(options["host"], listener)
                )
            except KeepsDyingError as error:
                raise CommandError(str(error)) from error

    def _ready(self, host: str, listener: socket.socket) -> None:
        self.stdout.write(f"ready {reach.local_url(host, listener)}")
        hosts, port = reach.remote_hosts(host, listener), listener.getsockname()[1]
        for name in hosts:
            self.stdout.write(f"From other machines: {reach.url(name, port)}")
        if refused := reach.refused_hosts(hosts):
            self.stdout.write(_how_to_allow(refused))
        self.stdout.flush()


def _how_to_allow(hosts: list[str]) -> str:
    """Only say how, because the names that a server answers to are its owner's choice."""
    names = shlex.quote(",".join((*settings.ALLOWED_HOSTS, *hosts)))
    again = f"FL_DJANGO_ALLOWED_HOSTS={names} {shlex.join((sys.executable, *sys.argv))}"
    return f"It refuses requests to {', '.join(hosts)} until you start it again with:\n  {again}"


def _close_to_others(folder: Path) -> None:
    """Let other users of the machine read neither the files that exist nor those to come."""
    os.umask(0o077)  # of all processes that are started
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if mode & 0o077 and not path.is_symlink():
                path.chmod(mode & 0o700)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Lock the data folder; the system unlocks it however this process ends."""
    with (folder / "serve.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(f"Another server is running on the folder {folder}.") from error
        yield


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise CommandError(f"Can't listen on {reach.url(host, port)}: {error}.") from error


def _migrate() -> None:
    try:
        call_command("migrate", verbosity=0, interactive=False)
    except DatabaseError as error:
        raise CommandError(f"The database can't be used: {error}") from error
    finally:
        close_all()


def _shown() -> Show:
    return show_json if settings.FL_LOG_FORMAT == "json" else _shown_as_text()


def show_json(name: str, line: str) -> None:
    """Show a line of the log as it is, and as one whatever else a process writes: its end, say."""
    if not line.startswith('{"time": '):
        level = "WARNING" if name == "serve" else "INFO"
        said = {"level": level, "logger": "output", "process": name, "message": line}
        line = json.dumps({"time": as_time(time.time())} | said)
    with suppress(OSError):  # nobody reads any more; the server goes on
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def _shown_as_text() -> Show:
    coloured = sys.stderr.isatty()

    def show(name: str, line: str) -> None:
        label = f"{name:10}"
        label = colorize(label, fg=COLOURS[name]) if coloured else label
        with suppress(OSError):  # nobody reads any more; the server goes on
            print(label + line, file=sys.stderr, flush=True)  # noqa: T201

    return show
