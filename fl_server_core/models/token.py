"""Tokens: what a user comes with, kept so that a copy of the database holds none that works.

A row holds an HMAC of the token, by which it is found, and the token encrypted for its owner.
Both keys are made of the secret key, which lies elsewhere. Earlier secret keys go on opening
what they closed; a token that comes in is then stored anew under the present one.
"""

import secrets
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac

if TYPE_CHECKING:  # its module imports this one
    from fl_server_core.models.user import User


class TokenQuerySet(models.QuerySet["Token"]):
    """Which tokens are whose."""

    def matching(self, key: str) -> Self:
        """Keep the row of this token, whichever secret key it was stored under."""
        return self.filter(digest__in=[_digest(key, secret) for secret in _secret_keys()])


class Token(models.Model):
    """A user's only token."""

    user = models.OneToOneField(
        "fl_server_core.User", primary_key=True, on_delete=models.CASCADE, related_name="auth_token"
    )
    digest = models.CharField(max_length=64, unique=True)
    encrypted = models.CharField(max_length=255)
    created_at = models.DateTimeField(default=timezone.now)

    objects = TokenQuerySet.as_manager()

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
        try:
            return None if self.is_over else _cipher().decrypt(self.encrypted).decode()
        except InvalidToken:
            return None


def issue_token(user: "User") -> Token:
    """Give a user a new token; the one it had ends."""
    token = Token(user=user, **stored_form(secrets.token_hex(20)))
    token.save()
    return token


def find_token(key: str) -> Token | None:
    """Return the row of a token that is valid."""
    token = Token.objects.select_related("user").matching(key).first()
    if token is None or token.is_over:
        return None
    stored = stored_form(key)
    if token.digest != stored["digest"]:  # unless another request has ended or stored it meanwhile
        Token.objects.filter(pk=token.pk, digest=token.digest).update(**stored)
    return token


def stored_form(key: str) -> dict[str, str]:
    """Return what is stored of a token."""
    digest = _digest(key, settings.SECRET_KEY)
    return {"digest": digest, "encrypted": _cipher().encrypt(key.encode()).decode()}


def _secret_keys() -> list[str]:
    return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]


def _digest(key: str, secret: str) -> str:
    return salted_hmac(
        "fl_server_core.token.digest", key, secret=secret, algorithm="sha256"
    ).hexdigest()


def _cipher() -> MultiFernet:
    return MultiFernet([_fernet(secret) for secret in _secret_keys()])


def _fernet(secret: str) -> Fernet:
    key = salted_hmac("fl_server_core.token.cipher", "", secret=secret, algorithm="sha256").digest()
    return Fernet(urlsafe_b64encode(key))
