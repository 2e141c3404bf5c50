"""What the log says of requests that are refused."""

import logging

import pytest
from rest_framework.test import APIClient

from tests.api.conftest import as_user

GROUPS = "/api/groups/"


@pytest.fixture
def log(caplog):
    """The lines of all loggers, from INFO on."""
    caplog.set_level(logging.INFO)
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_refusal_is_one_line_with_its_reason(client, user, log):
    client.post(GROUPS, {})
    message = f'POST {GROUPS}: 400, user {user.pk}: {{"name": ["This field is required."]}}'
    assert log() == [("WARNING", message)]


@pytest.mark.parametrize(
    ("method", "path", "code", "reason"),
    [
        ("get", "/api/users/x/", 400, "User x not found."),
        ("get", GROUPS, 403, "You are not allowed to access all groups."),
        ("patch", "/api/users/", 405, 'Method "PATCH" not allowed.'),
        ("get", "/api/nothing/", 404, "Not found."),
        ("get", "/nothing/", 404, "Not Found"),
    ],
)
def test_every_kind_of_refusal_is_one_line(client, log, method, path, code, reason):
    getattr(client, method)(path)
    ((level, message),) = log()
    assert level == "WARNING"
    assert message.startswith(f"{method.upper()} {path}: {code}, user ")
    assert message.endswith(f": {reason}")


def test_a_browser_that_is_refused_is_logged_alike(user, log):
    caller = APIClient(headers={"accept": "text/html"})
    caller.force_login(user)
    caller.get(GROUPS)
    ((_, message),) = log()
    assert f"user {user.pk}" in message
    assert message.endswith(": You are not allowed to access all groups.")


def test_who_is_nobody_has_no_id(nobody, db, log):
    nobody.get(GROUPS)
    ((_, message),) = log()
    assert message.startswith(f"GET {GROUPS}: 401, user None: ")


def test_who_a_session_belongs_to_is_not_asked_for_the_log(
    user, log, settings, django_assert_num_queries
):
    settings.FL_SMALL_BODY_BYTES = 10
    caller = APIClient()
    caller.force_login(user)
    with django_assert_num_queries(0):
        caller.post(GROUPS, {"name": "a" * 20})
    assert log()[0][1].startswith(f"POST {GROUPS}: 413, user None: ")


def test_what_is_granted_or_redirected_is_no_line(client, log):
    client.post(GROUPS, {"name": "a"})
    client.get("/api/users")
    assert log() == []


def test_a_refusal_by_django_itself_is_one_line_too(user, log):
    caller = APIClient(enforce_csrf_checks=True)
    caller.post("/api-auth/login/", {"username": "a"}, format="multipart")
    ((level, message),) = log()
    assert (level, "CSRF" in message) == ("WARNING", True)


def test_a_line_is_bounded_and_has_no_control_characters(client, log):
    client.get("/api/users/%0aERROR%20forged%1b[31m" + "a" * 5000 + "/")
    ((_, message),) = log()
    assert message.isprintable()
    assert len(message) < 1000


def test_no_line_tells_a_secret(user, nobody, log):
    token = user.auth_token.key
    nobody.post("/api/users/", {"username": "", "password": "pass-word-1"})
    nobody.get(f"{GROUPS}?token={token}", headers={"Authorization": f"Token {token[:-1]}x"})
    nobody.credentials(HTTP_AUTHORIZATION="Basic cGFzcy13b3JkLTI6cGFzcy13b3JkLTM=")
    nobody.get(GROUPS)
    as_user(user).post(GROUPS, '{"pass-word-4": ', content_type="application/json")
    lines = [message for _, message in log()]
    assert len(lines) == 4
    for secret in (token[:-1], "pass-word", "cGFzcy"):
        assert secret not in "\n".join(lines)
