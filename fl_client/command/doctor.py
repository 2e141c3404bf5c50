"""What may be wrong between here and the server."""

import platform
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from fl_client.command.session import Session, command, find_model
from fl_client.errors import FlError
from fl_client.weights import open_model

PACKAGES = ("fl-client", "fl-server", "numpy", "requests", "safetensors", "torch")
TOLERATED_SECONDS = 60
"""A message's signature is good for 300."""


@command("doctor")
@click.option("--model", default="", help="Also whether this model can be loaded here.")
def doctor(session: Session, model: str) -> None:
    """Look at what a client needs: the server, the token, the clock, a model."""
    checks: dict[str, Callable[[], str]] = {
        "versions": _versions,
        "server": lambda: _server(session),
        "ready": lambda: _ready(session),
        "clock": lambda: _clock(session),
        "token": lambda: _token(session),
    }
    if model:
        checks["model"] = lambda: _model(session, model)
    found = {name: _looked(check) for name, check in checks.items()}
    rows = [[name, "ok" if ok else "WRONG", said] for name, (ok, said) in found.items()]
    data = {name: {"ok": ok, "said": said} for name, (ok, said) in found.items()}
    session.tabulate(["", "", ""], rows, data)
    if not all(ok for ok, _ in found.values()):
        raise click.exceptions.Exit(1)


def _looked(check: Callable[[], str]) -> tuple[bool, str]:
    try:
        return True, check()
    except FlError as error:
        return False, str(error)


def _versions() -> str:
    return ", ".join(
        [f"Python {platform.python_version()}", *filter(None, map(_package, PACKAGES))]
    )


def _package(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return ""


def _server(session: Session) -> str:
    began = time.monotonic()
    session.stranger.transport.ask("GET", "/health/")
    return f"{session.url} answers in {(time.monotonic() - began) * 1000:.0f} ms"


def _ready(session: Session) -> str:
    session.stranger.transport.ask("GET", "/health/ready/", once=True)
    return "it can work"


def _clock(session: Session) -> str:
    answer = session.stranger.transport.ask("GET", "/health/")
    skew = time.time() - parsedate_to_datetime(answer.headers["Date"]).timestamp()
    if abs(skew) > TOLERATED_SECONDS:
        raise FlError(f"The clock here and the server's are {skew:.0f} s apart.")
    return "as the server's"


def _token(session: Session) -> str:
    return f"you are {session.api.myself()['username']}"


def _model(session: Session, wanted: str) -> str:
    model = find_model(session.api, wanted)["id"]
    with TemporaryDirectory(prefix="fl-doctor-") as folder:
        file = session.api.download_model(model, Path(folder) / "model")
        with open_model(file.path) as opened:
            code = "weights alone" if opened.weights_only else "with code"
            return f"{len(opened.tensors)} tensors, {code} ({opened.format})"
