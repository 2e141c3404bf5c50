"""Users: clients, actors and operators."""

import uuid
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models, transaction
from rest_framework.authtoken.models import Token


def validate_endpoint(value: str) -> None:
    """Accept http(s) URLs of any host, also of one without dots such as `client-01`."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or " " in value or not value.isprintable():
        raise ValidationError("Enter a valid http or https URL.")


class User(AbstractUser):
    """Somebody with a token; `message_endpoint` is where notifications are posted to.

    Without an endpoint the user fetches them.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    actor = models.BooleanField(default=False, help_text="Opens trainings.")
    client = models.BooleanField(default=False, help_text="Takes part in trainings.")
    message_endpoint = models.CharField(max_length=2048, blank=True, validators=[validate_endpoint])

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store the user, a new one with its token, whichever way it was made."""
        with transaction.atomic():
            is_new = self._state.adding
            super().save(*args, **kwargs)
            if is_new:
                Token.objects.create(user=self)
