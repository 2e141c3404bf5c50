"""How a log's lines are written: as text for people, or as JSON for what collects logs.

Imports nothing of Django, because the runners' host writes such lines, too.
"""

import json
import logging
from datetime import UTC, datetime

from fl_server_core import spans
from fl_server_core.log_context import current_request_id, known_ids

SHOWN = dict.fromkeys((*range(32), *range(127, 160)), "?") | {9: "\t", 10: "\n    "}
"""What stands for control characters in text: a terminal would obey them."""

_process = ""
"""Its name."""


def name_process(name: str) -> None:
    """Have lines tell this name of the process, and of those forked from it."""
    global _process
    _process = name


class TextLine(logging.Formatter):
    """Time, level, logger, message and the request's id.

    Further lines, as tracebacks have, are indented: so nothing that is quoted in a message can
    look like a line of its own.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: D102, N802
        request_id, line = current_request_id(), super().formatMessage(record)
        return f"{line} [{request_id}]" if request_id else line

    def format(self, record: logging.LogRecord) -> str:  # noqa: D102
        return super().format(record).translate(SHOWN)


class JSONLine(logging.Formatter):
    """One object a line, in ASCII; of what else a record carries only a response's status.

    Django's records have the whole request, whose query string may hold a token.
    """

    def format(self, record: logging.LogRecord) -> str:  # noqa: D102
        line: dict[str, object] = {
            "time": as_time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "process": _process or record.processName,
            "message": record.getMessage(),
            **known_ids(),
        }
        if trace := spans.trace_id():
            line["trace"] = trace
        if status := getattr(record, "status_code", None):
            line["status"] = status
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, default=str)


def as_time(seconds: float) -> str:
    """Return seconds since 1970 in ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextLine, "json": JSONLine}
"""By the value of FL_LOG_FORMAT."""
