"""A text that its row holds encrypted."""

import logging
from typing import Any

from django.db import models
from django.db.models.query_utils import DeferredAttribute

from fl_server_core.encryption import decrypt, encrypt

PURPOSE = "fl_server_core.sealed.cipher"

logger = logging.getLogger(__name__)


class Sealed(str):
    """What is stored, as the database has it."""

    __slots__ = ()


class _Opening(DeferredAttribute):
    """Opens what was read when it is asked for: most who read a row don't."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        return unseal(value) if isinstance(value, Sealed) else value

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class SealedField(models.CharField):  # type: ignore[type-arg]  # generic only in the stubs
    """Text of up to `max_length` characters; it can't be searched for, but for the empty one.

    Reads as empty where no known secret key opens it; who saves the row for something else leaves
    what is stored.
    """

    descriptor_class = _Opening

    def get_internal_type(self) -> str:  # noqa: D102 (longer than what is in it)
        return "TextField"

    def from_db_value(self, value: str | None, *_: Any) -> str | None:  # noqa: D102
        return Sealed(value) if value else value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:  # noqa: ARG002, D102 (Django's)
        return model_instance.__dict__[self.attname]

    def get_prep_value(self, value: Any) -> Any:  # noqa: D102
        value = super().get_prep_value(value)
        return encrypt(value, PURPOSE) if value and not isinstance(value, Sealed) else value


def unseal(stored: str) -> str:
    """Return the text; an empty one where no known secret key opens it."""
    text = decrypt(stored, PURPOSE)
    if text is None:
        logger.warning("a stored secret can't be opened: it was closed by another secret key")
    return text or ""
