"""Becoming somebody to the server."""

import click

from fl_client import signing_in
from fl_client.command.session import Session, command
from fl_client.errors import Unknown


@command("register")
@click.argument("name")
@click.option("--password", envvar="FL_PASSWORD", default="", help="Else one that nobody knows.")
@click.option("--invitation", default="", help="The code, where the server asks for one.")
def register(session: Session, name: str, password: str, invitation: str) -> None:
    """Be a new user, whose token is kept in a file that only you can read.

    Who has registered here before is that user again.
    """
    details = {"actor": True} | ({"invitation": invitation} if invitation else {})
    known = signing_in.by_kept_token(session.stranger, name)
    session.log_in(known or signing_in.register(session.stranger, name, password, **details))


@command("login")
@click.argument("name")
@click.option(
    "--password", envvar="FL_PASSWORD", prompt=True, hide_input=True, help="Asked for if missing."
)
def login(session: Session, name: str, password: str) -> None:
    """Be a user who registered elsewhere; the token is kept, the password isn't."""
    user = signing_in.by_password(session.stranger, name, password)
    if user is None:
        raise Unknown(f"The server knows no {name} with this password.")
    session.log_in(user)


@command("whoami")
def whoami(session: Session) -> None:
    """Tell as whom you speak to which server."""
    user = session.api.myself()
    session.say(f"You are {user['username']} at {session.url}.", user)
