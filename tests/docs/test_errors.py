"""docs/errors.md has every error that the server answers with, and why trainings end.

`pytest tests/docs/test_errors.py --write-docs` writes the tables anew, but for the last column:
what to do stands in the document alone.
"""

import inspect
import re

import pytest
from django.core.exceptions import RequestDataTooBig
from django.test import RequestFactory
from rest_framework import exceptions as drf

from fl_server import checks
from fl_server_ai import failures
from fl_server_api import errors
from fl_server_api.tus import UnknownVersion
from fl_server_core import exceptions as fl
from fl_server_core.models.training import ReasonCode
from tests.compose import ROOT

DOCUMENT = ROOT / "docs" / "errors.md"

GROUPS = (fl.FLError, fl.UploadRefused)  # are never raised themselves
OF_REST_FRAMEWORK = (
    drf.ParseError,
    drf.ValidationError,
    drf.NotAuthenticated,
    drf.AuthenticationFailed,
    drf.MethodNotAllowed,
    drf.NotAcceptable,
    drf.UnsupportedMediaType,
)
OF_THE_API = (UnknownVersion, errors.Busy, errors.DiskFull, errors.TooLarge)
ARGUMENTS = {
    fl.NameTaken: {"field": "name"},
    fl.TooMany: {"seconds": 1},
    drf.MethodNotAllowed: {"method": "GET"},
    drf.UnsupportedMediaType: {"media_type": "a/b"},
    drf.ValidationError: {"detail": {"field": ["It is wrong."]}},
}


def family(kind):
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def kinds():
    yield from (kind for kind in family(fl.FLError) if kind not in GROUPS)
    yield from (kind for kind in errors.TRANSLATIONS if issubclass(kind, failures.Failure))
    yield from (*OF_REST_FRAMEWORK, *OF_THE_API, failures.RunnerFault)


def answer_to(kind):
    told = ARGUMENTS.get(kind, {})
    sentence = ["It is."] if kind.__module__.startswith(("fl_server_core", "fl_server_ai")) else []
    request = RequestFactory().get("/")
    return errors.handle(kind(*sentence, **told), {"request": request, "view": None})


def shape(data):
    if isinstance(data, list):
        return "list"
    return "detail" if "detail" in data else "fields"


def meaning(kind):
    if kind in OF_REST_FRAMEWORK:
        return re.sub(r" ?['\"]\{\w+\}['\"]", "", str(kind.default_detail))
    return inspect.getdoc(kind).splitlines()[0]


def by_status():
    rows = []
    for kind in kinds():
        answer = answer_to(kind)
        rows.append(
            [str(answer.status_code), f"`{kind.__name__}`", shape(answer.data), meaning(kind)]
        )
    return sorted(rows)


def by_reason():
    return [[f"`{code.value}`", code.label] for code in ReasonCode if code.value]


def by_check():
    docs = [inspect.getdoc(each) for _, each in inspect.getmembers(checks, inspect.isfunction)]
    found = [re.match(r"(fl_server\.E\d+): (.+)", doc or "") for doc in docs]
    return sorted([f"`{each[1]}`", each[2]] for each in found if each)


TABLES = {
    "| status | name | shape | it means | what to do |": by_status,
    "| code | it means | what to do |": by_reason,
    "| id | it means | what to do |": by_check,
}


@pytest.mark.parametrize("head", TABLES)
def test_the_document_has_all_and_says_what_to_do(pytestconfig, head):
    rows, advice = [tuple(row) for row in TABLES[head]()], read(head)
    if pytestconfig.getoption("--write-docs"):
        write(head, [(*row, advice.get(row, "…")) for row in rows])
        advice = read(head)
    assert list(advice) == rows
    assert all(len(words) > 10 for words in advice.values())


def lines_below(head):
    return re.compile(rf"(?<={re.escape(head)}\n)(\|[- |]+\n)((?:\|.*\n)*)")


def read(head):
    """Return what to do, by the other columns."""
    lines = lines_below(head).search(DOCUMENT.read_text())[2].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines]
    return {tuple(row[:-1]): row[-1] for row in rows}


def write(head, rows):
    lines = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    text = lines_below(head).sub(lambda found: found[1] + lines, DOCUMENT.read_text())
    DOCUMENT.write_text(text)


def test_a_body_that_is_too_large_is_one_of_them():
    answer = errors.handle(RequestDataTooBig(), {"request": RequestFactory().get("/")})
    assert (answer.status_code, shape(answer.data)) == (413, "detail")
