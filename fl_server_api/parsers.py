"""Request bodies, limited to what every database can store.

All bodies are UTF-8. Python's JSON reader admits more than JSON does (NaN, 1e999, half of a
surrogate pair), and PostgreSQL admits less (no NUL in text): what doesn't fit is refused
here, at one place.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from rest_framework import parsers
from rest_framework.exceptions import ParseError

MAX_DEPTH = 64
MAX_NODES = 100_000
MAX_NODES_OF_INPUT = 2_000_000
"""Values and keys in a body: each takes some 60 bytes of memory."""

STRING = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
LISTS = bytes.maketrans(b"{}", b"[]")
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class JSONParser(parsers.JSONParser):
    """JSON, as the standard has it, at most MAX_DEPTH levels deep and of `max_nodes` at most."""

    max_nodes = MAX_NODES

    def parse(  # noqa: D102
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002 (DRF's signature)
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Any:
        try:
            body = stream.read()
            _check_structure(body, self.max_nodes)
            data = json.loads(
                body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite
            )
        except (ValueError, RecursionError) as error:
            raise ParseError(f"JSON parse error - {error}") from error
        _check_values(data)
        return data


class AnyTypeJSONParser(JSONParser):
    """JSON whatever the Content-Type says: clients in the field send none."""

    media_type = "*/*"


class InputParser(JSONParser):
    """JSON that may hold many numbers."""

    max_nodes = MAX_NODES_OF_INPUT


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
    """A form with files; if it can't be read, none of its files stays."""

    def parse(  # noqa: D102
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        with _whole_or_gone((parser_context or {})["request"]):
            return super().parse(stream, media_type, parser_context)


class ModelFileParser(parsers.BaseParser):
    """A model's file as the whole body; what else a form would hold is in the query string."""

    media_type = "application/octet-stream"

    def parse(  # noqa: D102
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        request = (parser_context or {})["request"]
        [handler] = request.upload_handlers
        size = 0
        with _whole_or_gone(request):
            handler.new_file("model_file", "file", media_type, None)
            while data := stream.read(handler.chunk_size):
                handler.receive_data_chunk(data, size)
                size += len(data)
            files = MultiValueDict({"model_file": [handler.file_complete(size)]})
        request._request._files = files  # closed with the request; DRF does that for forms only
        return parsers.DataAndFiles(request.query_params, files)


@contextmanager
def _whole_or_gone(request: Any) -> Iterator[None]:
    """Keep no file of a body that can't be read to its end."""
    try:
        yield
    except Exception:
        for handler in request.upload_handlers:
            handler.discard()
        raise


def _check_structure(body: bytes, max_nodes: int) -> None:
    """Refuse what would become too many objects, or too deep ones, before any is made.

    Takes a few fast passes over the text. What isn't well-formed is left to the JSON reader.
    """
    bare = STRING.sub(b"", body)
    if sum(map(bare.count, (b",", b":", b"[", b"{"))) > max_nodes:
        raise ParseError(f"JSON parse error - more than {max_nodes} values")
    brackets = bare.translate(LISTS, NO_BRACKETS)
    for _ in range(MAX_DEPTH):  # each pass removes the innermost
        brackets, before = brackets.replace(b"[]", b""), len(brackets)
        if len(brackets) == before:
            return
    if brackets:
        raise ParseError(f"JSON parse error - nested more than {MAX_DEPTH} levels deep")


def _check_values(data: object) -> None:
    """Refuse text that can't be stored."""
    level = [data]
    while level:
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
