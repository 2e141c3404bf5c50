"""Tables that are sent row by row, as CSV or as JSON, however long they are."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.utils.encoders import JSONEncoder

ROWS = 200
"""In one piece of an answer."""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection)."""


class _Line:
    """A file that gives back what is written."""

    def write(self, text: str) -> str:
        return text


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield the lines of a table; texts that would be formulas get an apostrophe before them."""
    writer = csv.writer(_Line())
    yield writer.writerow([_cell(name) for name in columns])
    for row in rows:
        yield writer.writerow([_cell(value) for value in row])


def json_lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield a JSON list, a line for each row."""
    encode, before = JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode, "["
    for row in rows:
        yield f"{before}{encode(row)}"
        before = ",\n"
    yield "]" if before != "[" else "[]"


def streamed(
    parts: Iterator[str] | Iterator[bytes], content_type: str, filename: str = ""
) -> StreamingHttpResponse:
    """Answer with these parts, as they come; as a file of this name, if there is one."""
    answer = StreamingHttpResponse(parts, content_type=content_type)
    answer["Cache-Control"] = "private, no-cache"
    if filename:
        answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    return answer


def in_pieces(lines: Iterator[str]) -> Iterator[str]:
    """Yield some lines at a time, because each piece is a system call."""
    return iter(lambda: "".join(islice(lines, ROWS)), "")


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
