"""Request bodies, held to what every database can store.

All bodies are UTF-8. Python's JSON reader admits more than JSON does (NaN, 1e999, half of a
surrogate pair), and PostgreSQL admits less (no NUL in text): what doesn't fit is refused
here, at one place.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import IO, Any

from django.http import QueryDict
from rest_framework import parsers
from rest_framework.exceptions import ParseError

MAX_DEPTH = 64


class JSONParser(parsers.JSONParser):
    """JSON, as the standard has it and at most MAX_DEPTH levels deep."""

    def parse(  # noqa: D102
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002 (DRF's signature)
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Any:
        try:
            text = stream.read().decode("utf-8")
            data = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise ParseError(f"JSON parse error - {error}") from error
        _check_values(data)
        return data


class AnyTypeJSONParser(JSONParser):
    """JSON whatever the Content-Type says: clients in the field send none."""

    media_type = "*/*"


class FormParser(parsers.FormParser):
    """An urlencoded form; Django would take bytes that aren't UTF-8 for Latin-1."""

    def parse(  # noqa: D102
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Any:
        try:
            return QueryDict(stream.read().decode("utf-8"), encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ParseError("The form is not UTF-8.") from error


class MultiPartParser(parsers.MultiPartParser):
    """A form with files; of a form that can't be read none stays."""

    def parse(  # noqa: D102
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except Exception:
            for handler in (parser_context or {})["request"].upload_handlers:
                handler.discard()
            raise


def _check_values(data: object) -> None:
    """Refuse text that can't be stored, and nesting that recursion couldn't follow."""
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ParseError(f"JSON parse error - nested more than {MAX_DEPTH} levels deep")
        level = [child for node in level for child in _children(node)]


def _children(node: object) -> Iterable[object]:
    if isinstance(node, str):
        _check_text(node)
    elif isinstance(node, dict):
        yield from node
        yield from node.values()
    elif isinstance(node, list):
        yield from (child for child in node if isinstance(child, (str, dict, list)))


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ParseError("Text must not contain the NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ParseError("Text must not contain half of a surrogate pair.") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is too large a number")
    return value
