"""Tokens, by which users log in, stored so that a copy of the database holds none that works.

A row holds an HMAC of the token, by which it is found, and the token encrypted for its owner.
Both keys are made of the secret key, which isn't in the database. Tokens stored under an earlier
secret key stay valid; when one is used, it is stored anew under the present key.
"""

import secrets
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac

from fl_server_core.compiled import compiled
from fl_server_core.encryption import decrypt, encrypt, secret_keys

if TYPE_CHECKING:  # its module imports this one
    from fl_server_core.models.user import User

PURPOSE = "fl_server_core.token.cipher"


class Token(models.Model):
    """A user's only token."""

    user = models.OneToOneField(
        "fl_server_core.User", primary_key=True, on_delete=models.CASCADE, related_name="auth_token"
    )
    digest = models.CharField(max_length=64, unique=True)
    encrypted = models.CharField(max_length=255)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"token of {self.user_id}"

    @property
    def is_over(self) -> bool:
        """Whether it has been valid for as long as a token may be."""
        days: int = settings.FL_TOKEN_DAYS
        return 0 < days <= (timezone.now() - self.created_at).days

    @property
    def key(self) -> str | None:
        """The token itself; None for one that is over, and where no known secret key opens it."""
        return None if self.is_over else decrypt(self.encrypted, PURPOSE)


def issue_token(user: "User") -> Token:
    """Give a user a new token; the one it had ends."""
    token = Token(user=user, **stored_form(secrets.token_hex(20)))
    token.save()
    return token


def find_token(key: str) -> Token | None:
    """Return the row of a token that is valid.

    One that was stored under an earlier secret key is stored anew, and so is its user's secret.
    """
    digests = (_digest(key, secret) for secret in secret_keys())
    token = next((row for digest in digests for row in _stored_under(digest)), None)
    if token is None or token.is_over:
        return None
    if token.digest != _digest(key, settings.SECRET_KEY):
        mine = Token.objects.filter(pk=token.pk, digest=token.digest)
        # Unless another request has ended it, or stored it anew, meanwhile.
        if mine.update(**stored_form(key)):
            token.user.reseal_secret()
    return token


@compiled
def _stored_under(digest: str) -> models.QuerySet[Token]:
    return Token.objects.select_related("user").filter(digest=digest)


def stored_form(key: str) -> dict[str, str]:
    """Return what is stored of a token."""
    digest = _digest(key, settings.SECRET_KEY)
    return {"digest": digest, "encrypted": encrypt(key, PURPOSE)}


def _digest(key: str, secret: str) -> str:
    return salted_hmac(
        "fl_server_core.token.digest", key, secret=secret, algorithm="sha256"
    ).hexdigest()
