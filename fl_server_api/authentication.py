"""Ways of saying who one is, beside the session that DRF brings."""

import hmac
import re
import secrets
from functools import cache
from typing import Any

from django.core.cache import caches
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from fl_server_core.exceptions import TooMany
from fl_server_core.models import Token, User
from fl_server_core.models.token import find_token

TOKEN = re.compile(r"[0-9a-f]{40}")


class TokenAuthentication(authentication.TokenAuthentication):
    """The header `Authorization: Token <token>`."""

    def authenticate_credentials(self, key: str) -> tuple[User, Token]:  # noqa: D102
        token = find_token(key)
        if token is None:
            raise AuthenticationFailed("Invalid token.")
        if not token.user.is_active:
            raise AuthenticationFailed("User inactive or deleted.")
        return token.user, token


class BasicAuthentication(authentication.BasicAuthentication):
    """HTTP Basic with user name and password, or with a token and an empty password.

    The latter puts a token into a URL. No user name of 40 hexadecimal digits loses by it:
    nobody has an empty password.

    Clients send the password with every request, and to hash one takes a quarter of a second
    by design: a process remembers that a password was right until it hasn't come for some
    minutes. So nobody who guesses keeps its user out meanwhile.
    """

    def authenticate_credentials(  # noqa: D102
        self, userid: str, password: str, request: Request | None = None
    ) -> tuple[Any, Any]:
        if not password and TOKEN.fullmatch(userid):
            return TokenAuthentication().authenticate_credentials(userid)
        if "\0" in userid:  # PostgreSQL can't be asked for it
            raise AuthenticationFailed("Invalid username/password.")
        user = User.objects.filter(username=userid, is_active=True).first()
        if user and caches["passwords"].touch(_mark(user, password)):
            return user, None
        try:
            user, _ = super().authenticate_credentials(userid, password, request)
        except TooMany as error:  # as DRF knows it: it may ask again who it is, to show a page
            raise Throttled(error.seconds, str(error)) from error
        caches["passwords"].set(_mark(user, password), True)
        return user, None


def _mark(user: User, password: str) -> str:
    """Return what is remembered of a right password; it is another once that is changed."""
    known = f"{user.pk} {user.password} {password}"
    return hmac.digest(_key(), known.encode(), "sha256").hex()


@cache
def _key() -> bytes:
    return secrets.token_bytes(32)
