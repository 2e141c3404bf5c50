"""Ways of saying who one is, beside the token header and the session that DRF brings."""

import re
from typing import Any

from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

TOKEN = re.compile(r"[0-9a-f]{40}")


class BasicAuthentication(authentication.BasicAuthentication):
    """HTTP Basic with user name and password, or with a token and an empty password.

    The latter puts a token into a URL. No user name of 40 hexadecimal digits loses by it:
    nobody has an empty password.
    """

    def authenticate_credentials(  # noqa: D102
        self, userid: str, password: str, request: Request | None = None
    ) -> tuple[Any, Any]:
        if not password and TOKEN.fullmatch(userid):
            return authentication.TokenAuthentication().authenticate_credentials(userid)
        if "\0" in userid:  # PostgreSQL can't be asked for it
            raise AuthenticationFailed("Invalid username/password.")
        return super().authenticate_credentials(userid, password, request)
