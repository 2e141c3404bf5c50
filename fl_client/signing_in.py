"""Being somebody to the server: by a token, also a kept one, by a password, or as a new user."""

import secrets
from typing import Any

from fl_client import places
from fl_client.api import Api
from fl_client.errors import Refused, Unknown

UNAUTHORIZED = 401


def by_token(api: Api, token: str) -> dict[str, Any] | None:
    """Return the token's user; nothing where the server knows none."""
    api.transport.be(token)
    return _known(api)


def by_kept_token(api: Api, name: str) -> dict[str, Any] | None:
    """Return the user whose token lies on this machine; nothing where none does that is good."""
    token = places.kept(name, api.transport.url, "token")
    return by_token(api, token) if token else None


def by_password(api: Api, name: str, password: str) -> dict[str, Any] | None:
    """Return the user of this name and password, whose token is kept; nothing if it is none."""
    api.transport.be_by_password(name, password)
    user = _known(api)
    if user is None:
        return None
    token = api.user(user["id"])["token"]  # null once it has expired
    keep(api, name, token or api.renew_token())
    return user


def register(api: Api, name: str, password: str = "", **details: Any) -> dict[str, Any]:
    """Return a new user, whose token is kept; without a password it gets one that nobody knows.

    An answer that was lost on its way doesn't lose the name: the password tells that it is ours.
    """
    places.config_folder()  # who can't keep a token shouldn't take the name
    password = (
        password or places.kept(name, api.transport.url, "password") or _new_password(api, name)
    )
    api.transport.be_nobody()
    try:
        user = api.register(name, password, **details)
    except Refused as refused:
        known = by_password(api, name, password) if refused.status == 400 else None
        if known is None:
            places.forget(name, api.transport.url, "password")
            raise _advised(refused) from refused
        user = known
    else:
        keep(api, name, user["token"])
    places.forget(name, api.transport.url, "password")
    return user


def _advised(refused: Refused) -> Refused:
    if not str(refused).startswith("username:"):
        return refused
    advice = "Choose another name, or give the password if it is yours."
    return Refused(refused.status, f"{refused} {advice}")


def keep(api: Api, name: str, token: str) -> None:
    """Be this token's user, here and after a restart."""
    places.keep(name, api.transport.url, "token", token)
    api.transport.be(token)


def nobody(api: Api, name: str) -> Unknown:
    """Return the error for a name that it takes a password to be."""
    return Unknown(
        f"Nothing here says that you are {name} at {api.transport.url}: give the password, or "
        "register=True if the name is new there."
    )


def _new_password(api: Api, name: str) -> str:
    password = secrets.token_urlsafe()
    places.keep(name, api.transport.url, "password", password)  # before its first use
    return password


def _known(api: Api) -> dict[str, Any] | None:
    try:
        return api.myself()
    except Refused as refused:
        if refused.status != UNAUTHORIZED:
            raise
        return None
