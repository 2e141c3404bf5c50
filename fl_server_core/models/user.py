"""Users: clients, actors and operators."""

import uuid
from base64 import b64decode
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import JSONField  # mypy takes `models` for the user's here

from fl_server_core.audit import record_act
from fl_server_core.models.act import ActCode
from fl_server_core.models.sealed import SealedField
from fl_server_core.models.token import issue_token
from fl_server_core.throttles import counted


def validate_endpoint(value: str) -> None:
    """Accept http(s) URLs of any host, also of one without dots such as `client-01`.

    None with credentials, which the server would have to keep for their owner.
    """
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        named = "@" in parts.netloc
    except ValueError:
        usable = named = False
    if not usable or " " in value or not value.isprintable():
        raise ValidationError("Enter a valid http or https URL.")
    if named:
        raise ValidationError("Enter a URL without user name and password.")


SECRET_PREFIX = "whsec_"  # noqa: S105 (what the standard puts before one)


def signing_key(secret: str) -> bytes:
    """Return the key that a secret of Standard Webhooks stands for; ValueError if it is none."""
    key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    if not 24 <= len(key) <= 64:
        raise ValueError(f"{len(key)} bytes")
    return key


def validate_secret(value: str) -> None:
    """Accept what `signing_key` does."""
    try:
        signing_key(value)
    except ValueError as error:
        raise ValidationError(
            "Enter 24 to 64 random bytes in base64, with or without 'whsec_' before them."
        ) from error


class User(AbstractUser):
    """Somebody with a token; `message_endpoint` is where notifications are posted to.

    Without an endpoint the user fetches them. With a `notification_secret` they are signed;
    signing needs it as it is, so that it is stored encrypted and no digest would do.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    actor = models.BooleanField(default=False, help_text="Opens trainings.")
    client = models.BooleanField(default=False, help_text="Takes part in trainings.")
    message_endpoint = models.CharField(max_length=2048, blank=True, validators=[validate_endpoint])

    notification_secret = SealedField(
        max_length=128,
        blank=True,
        validators=[validate_secret],
        help_text=(
            "Signs what is posted to `message_endpoint`, as Standard Webhooks does: 24 to 64 "
            "random bytes in base64, with or without `whsec_` before them. Never shown again."
        ),
    )
    answers_promptly = models.BooleanField(
        default=False, editable=False, help_text="Answered the last message within a second."
    )

    accepts_trainings_from = JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="Ids of the users in whose trainings this one takes part; null: anybody's.",
    )

    def accepts_trainings_of(self, actor: "User") -> bool:
        """Tell whether the user may be enlisted in an actor's trainings; one's own always."""
        accepted = self.accepts_trainings_from
        return accepted is None or actor == self or str(actor.pk) in accepted

    def check_password(self, raw_password: str | None) -> bool:
        """Check a password, whoever asks; raises TooMany where too many were wrong lately."""
        return counted(f"name {self.username}", partial(super().check_password, raw_password))

    def reseal_secret(self) -> None:
        """Have the stored secret closed by the present secret key, if a known one opens it."""
        with transaction.atomic():  # locked, because its user may be replacing it
            user = User.objects.select_for_update().get(pk=self.pk)
            if secret := user.notification_secret:
                User.objects.filter(pk=self.pk).update(notification_secret=secret)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store the user, a new one with its token, whichever way it was made."""
        with transaction.atomic():
            is_new = self._state.adding
            super().save(*args, **kwargs)
            if is_new:
                issue_token(self)
                record_act(ActCode.USER_REGISTERED, self, name=self.username)
