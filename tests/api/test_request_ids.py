"""Each request has an id: in its answer, and in all lines about it."""

import json
import logging
import re

import pytest

from fl_server_api.views.group import Group
from fl_server_core.log_lines import JSONLine

GROUPS = "/api/groups/"
ID = "X-Request-ID"


@pytest.fixture
def lines(request):
    """What JSON the log would have, as a function."""
    written = []

    class Written(logging.Handler):
        def emit(self, record):
            written.append(json.loads(self.format(record)))

    handler = Written()
    handler.setFormatter(JSONLine())
    logging.getLogger().addHandler(handler)
    yield lambda: written
    logging.getLogger().removeHandler(handler)


def test_each_answer_has_an_id_of_its_own(client, nobody):
    ids = [caller.get(GROUPS)[ID] for caller in (client, client, nobody)]
    assert len(set(ids)) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)


@pytest.mark.parametrize("id", ["a", "My_try-1.2", "x" * 64])
def test_a_caller_may_choose_it(nobody, id):
    assert nobody.get(GROUPS, headers={ID: id})[ID] == id


@pytest.mark.parametrize("id", ["", "x" * 65, "a b", "ü", 'a"}', "a\nb", "a,b"])
def test_what_is_no_id_is_replaced(nobody, id):
    assert re.fullmatch("[0-9a-f]{32}", nobody.get(GROUPS, headers={ID: id})[ID])


def test_a_refusal_is_logged_with_it_and_with_the_user(client, user, lines):
    answer = client.post(GROUPS, {})
    [line] = lines()
    assert (line["request"], line["user"]) == (answer[ID], str(user.pk))
    assert line["status"] == 400


def test_a_strangers_refusal_has_no_user(client, nobody, lines):
    client.get(GROUPS)  # by the same thread
    before = len(lines())
    answer = nobody.get(GROUPS)
    [line] = lines()[before:]
    assert line["request"] == answer[ID]
    assert "user" not in line


def test_a_fault_is_logged_with_it(client, lines, monkeypatch):
    monkeypatch.setattr(Group, "create", lambda *_: 1 / 0)
    client.raise_request_exception = False
    answer = client.post(GROUPS, {"name": "a"})
    assert answer.status_code == 500
    fault, refusal = lines()
    assert fault["request"] == refusal["request"] == answer[ID]
    assert "ZeroDivisionError" in fault["exception"]


def test_what_django_itself_refuses_has_one(client):
    assert client.get("/api/groups/", headers={"host": "elsewhere.example.org"})[ID]
    assert client.get("/nothing/")[ID]
