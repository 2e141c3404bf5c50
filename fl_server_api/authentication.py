"""How a request names its user, besides the session that DRF brings."""

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

    The latter lets a URL carry a token. A user whose name is 40 hexadecimal digits can still log
    in, because no password is empty.

    Clients send the password with every request, and hashing it takes a quarter of a second by
    design. So a process remembers a right password until it hasn't been sent for some minutes.
    Then its user also isn't locked out while somebody else guesses wrong ones.
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
        except TooMany as error:  # an error of DRF's, which authenticates again to show a page
            raise Throttled(error.seconds, str(error)) from error
        caches["passwords"].set(_mark(user, password), True)
        return user, None


def _mark(user: User, password: str) -> str:
    """Return what is remembered of a right password; changing the password changes it."""
    known = f"{user.pk} {user.password} {password}"
    return hmac.digest(_key(), known.encode(), "sha256").hex()


@cache
def _key() -> bytes:
    return secrets.token_bytes(32)
