"""marshmallow fields and schemas that the requests share."""

import logging
from typing import Any

from marshmallow import EXCLUDE, Schema, fields, pre_load, validate
from marshmallow.types import UnknownOption
from rest_framework.exceptions import APIException, ParseError

logger = logging.getLogger(__name__)

MAX_ITEMS = 10_000
"""Entries of a list; SQLite binds no more than some thousand values in a statement."""

MAX_TEXT = 10_000

SMALL = 2**31 - 1
"""What a PositiveIntegerField holds."""

BIG = 2**63 - 1


class WholeNumber(fields.Integer):
    """An integer or its text: no 3.7, no true."""

    def _validated(self, value: Any) -> int:
        if isinstance(value, float) and not value.is_integer():
            raise self.make_error("invalid")
        return super()._validated(value)


class Upload(fields.Field[Any]):
    """An uploaded file. For the documentation: a view fetches it by `get_file`."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = kwargs.pop("metadata", {}) | {"type": "string", "format": "binary"}
        super().__init__(metadata=metadata, **kwargs)


class FormSchema(Schema):
    """Fields of a form: others are ignored, as clients send more than is read."""

    class Meta:
        unknown: UnknownOption | None = EXCLUDE

    def missing(self, name: str) -> APIException:
        """Return the error for a required field that isn't there."""
        return ParseError(f"'{name}'")

    @pre_load
    def require(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Name the first missing field, in the order of declaration."""
        for name, field in self.fields.items():
            if field.required and name not in data and not isinstance(field, Upload):
                # The contract fixes this answer.
                given = [str(key)[:80] for key in list(data)[:20]]
                logger.warning("a form without the field %r is refused; it has %r", name, given)
                raise self.missing(name)
        return {key: value for key, value in data.items() if key not in self._uploads()}

    def read(self, data: dict[str, Any]) -> dict[str, Any]:
        """Load what isn't an uploaded file."""
        loaded: dict[str, Any] = self.load(data, partial=self._uploads())
        return loaded

    def _uploads(self) -> tuple[str, ...]:
        return tuple(name for name, field in self.fields.items() if isinstance(field, Upload))


def short_text(**kwargs: Any) -> fields.String:
    """Return a field for text of up to 255 characters."""
    return fields.String(validate=validate.Length(max=255), **kwargs)


def long_text(**kwargs: Any) -> fields.String:
    """Return a field for text that people read, of up to MAX_TEXT characters."""
    return fields.String(validate=validate.Length(max=MAX_TEXT), **kwargs)


def ids(**kwargs: Any) -> fields.List[Any]:
    """Return a field for a list of UUIDs."""
    return fields.List(fields.UUID(), validate=validate.Length(max=MAX_ITEMS), **kwargs)
