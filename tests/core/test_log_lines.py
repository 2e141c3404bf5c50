"""How a line is written, as text and as JSON."""

import json
import logging
import re
import sys
from uuid import UUID

import pytest
from django.test import RequestFactory

from fl_server_core.log_context import log_context
from fl_server_core.log_lines import JSONLine, TextLine

FORGED = "failed:\r\x1b[2J\n2026-11-28 09:00:00,000 INFO fl_server all is well"


def record(message, *args, **extra):
    made = logging.LogRecord("fl.test", logging.WARNING, __file__, 1, message, args, None)
    made.created = 0.5
    vars(made).update(extra)
    return made


def failed():
    try:
        raise OSError("no\nroom")
    except OSError:
        return sys.exc_info()


def test_json_has_what_was_said_and_the_ids():
    some = UUID(int=1)
    with log_context(request="r-1", training=some, round=2, user=some):
        line = JSONLine().format(record("training %s: %s", 1, "ü", processName="rounds"))
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.500+00:00",
        "level": "WARNING",
        "logger": "fl.test",
        "process": "rounds",
        "message": "training 1: ü",
        "request": "r-1",
        "training": str(some),
        "round": 2,
        "user": str(some),
    }


def test_json_is_one_line_of_ascii_whatever_is_in_it():
    line = JSONLine().format(record(f"{FORGED}\u2028\udc80"))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"].startswith(FORGED)


def test_json_has_the_exception_in_a_field():
    line = json.loads(JSONLine().format(record("alas", exc_info=failed())))
    assert line["message"] == "alas"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("OSError: no\nroom")


def test_json_tells_a_refusals_status_and_nothing_else_of_the_request():
    request = RequestFactory().get("/api/?token=secret")
    line = JSONLine().format(record("refused", status_code=403, request=request))
    assert json.loads(line)["status"] == 403
    assert "secret" not in line


def test_text_ends_with_the_requests_id():
    with log_context(request="r-1", training=1):
        assert TextLine().format(record("said")).endswith(" WARNING fl.test said [r-1]")
    assert TextLine().format(record("said")).endswith(" WARNING fl.test said")


@pytest.mark.parametrize("extra", [{}, {"exc_info": failed()}])
def test_text_that_is_quoted_looks_like_no_line_of_its_own(extra):
    with log_context(request="r-1"):
        first, *others = TextLine().format(record(FORGED, **extra)).split("\n")
    assert re.match(r"\d{4}-", first)
    assert first.isprintable()
    assert others
    assert all(line.startswith("    ") for line in others)
