"""What is no matter of one endpoint: bodies, errors, redirects, pages for browsers."""

import errno
import io
import json
import logging

import pytest
from django.db import DataError, IntegrityError, OperationalError
from rest_framework.test import APIClient

from fl_server_api.parsers import InputParser
from fl_server_core.models import User
from tests.api.conftest import as_user, files, make_module, saved, upload
from tests.factories import UserFactory

PART = b'--b\r\nContent-Disposition: form-data; name="name"\r\n%s\r\n%s\r\n--b--\r\n'
GROUPS = "/api/groups/"
TRAININGS = "/api/trainings/"
HUGE = b'{"name": ' + b"9" * 5000 + b"}"


@pytest.mark.parametrize("url", [GROUPS, TRAININGS, "/api/users/", "/api/models/"])
@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"[" * 65 + b"]" * 65,
        b'{"name": NaN}',
        b'{"name": -Infinity}',
        b'{"name": 1e999}',
        HUGE,
        b'{"name": "\\ud800"}',
        b'{"name": "a\\u0000"}',
        b'{"a\\u0000": 1}',
        b'{"name": "\x00"}',
        b'\xef\xbb\xbf{"name": "a"}',
        b"true",
        b"[]",
        b"3",
        b'"x"',
    ],
)
def test_bad_json_is_refused(client, url, content):
    response = client.generic("POST", url, content, content_type="application/json")
    assert response.status_code == 400
    assert response.json()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/x-www-form-urlencoded", b"name=\xff"),
        ("application/x-www-form-urlencoded", b"name=%ff"),
        ("application/x-www-form-urlencoded", b"name=%00"),
        ("application/x-www-form-urlencoded", b"name=%ED%A0%80"),
        ("application/x-www-form-urlencoded; charset=utf-7", b"name=+2AA-\xff"),
        ("application/x-www-form-urlencoded; charset=zlib", b"name=\xff"),
        ("application/x-www-form-urlencoded", b"name=a&name=b"),
        ("application/x-www-form-urlencoded", b"x=1&" * 10_001),
        ("multipart/form-data; boundary=b", PART % (b"", b"\xff")),
        ("multipart/form-data; boundary=b; charset=zlib", PART % (b"", b"\xff")),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=" + "b" * 500, b"x"),
        ("multipart/form-data; boundary=b", b"x"),
        (
            "multipart/form-data; boundary=b",
            PART % (b"Content-Transfer-Encoding: base64\r\n", b"!"),
        ),
    ],
)
def test_bad_forms_are_refused(client, kind, content):
    response = client.generic("POST", GROUPS, content, content_type=kind)
    assert response.status_code in (400, 415)
    assert response.json()


def test_other_content_types_are_unsupported(client):
    response = client.generic("POST", GROUPS, b"x", content_type="text/plain")
    assert response.status_code == 415
    assert "detail" in response.json()


def test_numbers_and_text_that_json_allows_are_kept(client, training):
    options = {"big": 2**80, "tiny": 1e-300, "text": "é\u2028\ufffd𝄞", "deep": [[[[{}]]]]}
    body = {
        "model_id": str(training.model_id),
        "target_num_updates": 1,
        "metric_names": [],
        "aggregation_method": "FedAvg",
        "options": options,
    }
    made = client.post(TRAININGS, body).json()["training_id"]
    assert client.get(f"{TRAININGS}{made}/").json()["options"] == options


# --- Sizes -------------------------------------------------------------------------------


def test_a_json_body_over_the_cap_is_not_read(client, settings):
    settings.FL_SMALL_BODY_BYTES = 100
    response = client.post(GROUPS, {"name": "a" * 100})
    assert response.status_code == 413
    assert response.json() == {"detail": "The request's body is larger than 100 bytes."}


SMALL = ["/api/users/", GROUPS, f"{GROUPS}1/", f"{TRAININGS}x/clients/", "/api-auth/login/"]
LARGER = {TRAININGS: "FL_MAX_BODY_BYTES", "/api/inference/": "FL_MAX_INFERENCE_JSON_BYTES"}


@pytest.mark.parametrize("url", SMALL)
def test_most_bodies_are_small(client, url):
    assert client.put(url, {"name": "a" * 65_536}).status_code == 413


def test_stored_texts_have_a_limit(client, user, model, settings):
    settings.FL_MAX_OPTIONS_BYTES = settings.FL_MAX_METRIC_BYTES = 1000
    training = {"model_id": str(model.pk), "target_num_updates": 1, "metric_names": []}
    training |= {"aggregation_method": "FedAvg", "options": {"mine": "o" * 1000}}
    metrics = {"metric_names": ["a", "b"], "metric_values": ["1", "\u00fc" * 501]}
    described = {"name": "n", "description": "d" * 10_001, "model_file": saved(make_module())}
    told = [
        client.post(TRAININGS, training),
        client.post(f"/api/models/{model.pk}/metrics/", metrics),
        client.post("/api/models/", described, format="multipart"),
    ]
    assert [answer.status_code for answer in told] == [400, 400, 400]
    assert [answer.json() for answer in told] == [
        {"options": ["Longer than 1000 bytes as JSON."]},
        {"metric_values": {"1": ["Longer than 1000 bytes."]}},
        {"description": ["Longer than maximum length 10000."]},
    ]


@pytest.mark.parametrize("name", ["username", "first_name", "email", "message_endpoint"])
def test_what_a_user_says_of_itself_has_a_limit(nobody, db, name):
    body = {"username": "u", "password": "p", name: "http://a.example/" + 3000 * "b"}
    answer = nobody.post("/api/users/", body)
    assert (answer.status_code, list(answer.json())) == (400, [name])


@pytest.mark.parametrize("url", LARGER)
def test_those_that_may_be_larger_have_a_limit_too(client, settings, url):
    assert client.post(url, {"name": "a" * 65_536}).status_code == 400
    setattr(settings, LARGER[url], 1000)
    assert client.post(url, {"name": "a" * 1000}).status_code == 413


@pytest.mark.parametrize(
    "body",
    ["[" + "[]," * 99_999 + "[]]", "[" + "0," * 100_001 + "0]", '{"":{"":[{}' + ",{}" * 99_999],
)
def test_too_many_values_are_refused_before_one_is_made(client, monkeypatch, settings, body):
    monkeypatch.setattr("json.loads", lambda *_, **__: pytest.fail("it was read"))
    response = client.generic("POST", TRAININGS, body, "application/json")
    assert response.status_code == 400
    assert b"more than 100000 values" in response.content


def test_predictions_may_hold_many_numbers():
    rows = [[0.5] * 1000] * 1500
    assert InputParser().parse(io.BytesIO(json.dumps(rows).encode())) == rows


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":', "[[],", '["[[]]",'])
def test_deep_nesting_is_refused_before_anything_is_made(client, monkeypatch, opening):
    closing = {"[": "]", "{": "}"}
    body = 65 * opening + "[]" + 65 * "".join(closing[c] for c in opening[::-1] if c in closing)
    monkeypatch.setattr("json.loads", lambda *_, **__: pytest.fail("it was read"))
    response = client.generic("POST", GROUPS, body, "application/json")
    assert b"levels deep" in response.content


@pytest.mark.parametrize(
    "text", ['"' + 30_000 * '\\"', '"' + 30_000 * '\\"' + "\\", 60_000 * '"', "[" * 60_000]
)
def test_what_has_no_end_is_no_json(client, text):
    response = client.generic("POST", GROUPS, text, "application/json")
    assert response.status_code == 400
    assert response.json()["detail"].startswith("JSON parse error - ")


def test_brackets_and_commas_within_text_are_text(client):
    name = '\\\\["\\"' + "[{,:" * 10
    assert client.post(GROUPS, {"name": name}).json()["name"] == name


def test_an_upload_over_the_limit_is_not_read(client, settings):
    settings.FL_MAX_UPLOAD_BYTES = 1000
    data = {"name": "a", "description": "b", "model_file": saved(make_module())}
    response = client.post("/api/models/", data, format="multipart")
    assert response.status_code == 413
    assert files() == set()


def test_the_fields_of_an_upload_are_capped_like_json(client, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    data = {"name": "a" * 200, "description": "b", "model_file": saved(make_module())}
    response = client.post("/api/models/", data, format="multipart")
    assert (response.status_code, list(response.json())) == (413, ["detail"])
    assert files() == set()


@pytest.mark.parametrize("url", ["/api/users/", "/admin/login/"])
def test_only_where_files_belong_an_upload_may_be_large(nobody, db, settings, url):
    settings.FL_SMALL_BODY_BYTES = 1000
    response = nobody.post(url, {"file": upload(b"x" * 2000)}, format="multipart")
    assert response.status_code == 413
    assert files() == set()


def test_an_upload_without_credentials_is_not_read(nobody, db, monkeypatch):
    monkeypatch.setattr("django.http.multipartparser.MultiPartParser.parse", lambda *_: 1 / 0)
    for url in ("/api/models/", "/api/models/x/", "/api/models/x/preprocessing/"):
        response = nobody.post(url, {"model_file": upload(b"x")}, format="multipart")
        assert response.status_code == 401


@pytest.mark.parametrize("length", ["9" * 30, "9" * 5000, "0" * 30 + "9" * 9])
def test_an_absurd_length_is_too_large(client, length):
    response = client.post(GROUPS, {"name": "a"}, headers={"content-length": length})
    assert response.status_code == 413


def test_a_body_of_unknown_length_is_refused(client):
    response = client.post(GROUPS, headers={"transfer-encoding": "chunked", "content-length": ""})
    assert response.status_code == 411
    assert "detail" in response.json()


# --- Faults ------------------------------------------------------------------------------


def failing(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("fl_server_api.views.user.get_entity", fail)
    return as_user(UserFactory()).get("/api/users/x/")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 507),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 507),
        (DataError("A string literal cannot contain NUL (0x00) characters."), 400),
    ],
)
def test_what_a_client_can_do_nothing_about(monkeypatch, error, status):
    response = failing(monkeypatch, error)
    assert response.status_code == status
    assert list(response.json()) == ["detail"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "error", [RuntimeError("secret"), OperationalError("gone"), IntegrityError("x"), OSError("x")]
)
def test_an_unexpected_fault_has_an_id_that_is_in_the_log(monkeypatch, caplog, error):
    with caplog.at_level(logging.ERROR, "fl_server_api.errors"):
        response = failing(monkeypatch, error)
    assert response.status_code == 500
    assert b"secret" not in response.content
    assert response.json()["error_id"] in caplog.text
    assert type(error).__name__ in caplog.text


def test_a_path_adds_no_line_to_the_log(monkeypatch, user, caplog):
    caller = APIClient(raise_request_exception=False)
    monkeypatch.setattr("fl_server_api.middleware.BodyLimit._limit", lambda *_: 1 / 0)
    caller.get("/api/users/%0aERROR forged/")
    (line,) = [r.getMessage() for r in caplog.records if r.name == "fl_server_api.errors"]
    assert "\n" not in line


def test_a_fault_outside_of_the_views_is_json_too(monkeypatch, user, caplog):
    caller = APIClient(raise_request_exception=False)
    monkeypatch.setattr("fl_server_api.middleware.BodyLimit._limit", lambda *_: 1 / 0)
    response = caller.get("/api/users/")
    assert response.status_code == 500
    assert response.json()["error_id"] in caplog.text


# --- Methods -----------------------------------------------------------------------------


def test_a_method_that_a_path_has_not(client):
    response = client.patch("/api/users/")
    assert (response.status_code, response.json()) == (
        405,
        {"detail": 'Method "PATCH" not allowed.'},
    )
    assert client.options("/api/users/").status_code == 200


# --- Browsers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        GROUPS,
        TRAININGS,
        "/api/models/",
        "/api/users/",
        "/api/users/myself/",
        "/api/notifications/",
        "/api/models/x/metrics/",
        "/api/trainings/x/clients/",
        "/api/trainings/x/start/",
    ],
)
def test_a_browser_gets_a_page(user, url):
    caller = APIClient(headers={"accept": "text/html"})
    caller.force_login(user)
    response = caller.get(url)
    assert response["Content-Type"].startswith("text/html")
    assert b"Traceback (most" not in response.content
    assert b'src="http' not in response.content
    assert b'<link rel="stylesheet" type="text/css" href="http' not in response.content


def test_a_page_offers_a_form_for_json(user):
    caller = APIClient(headers={"accept": "text/html"})
    caller.force_login(user)
    page = caller.get(TRAININGS).content.decode()
    assert "application/json" in page
    assert 'name="_content"' in page


def test_a_stranger_in_a_browser_gets_a_page_with_the_error(db):
    response = APIClient(headers={"accept": "text/html"}).get(GROUPS)
    assert response.status_code == 401
    assert b"Authentication credentials were not provided." in response.content


def test_json_answers_are_utf8(nobody, db):
    body = json.dumps({"username": "ünal", "password": "secret"}, ensure_ascii=False).encode()
    response = nobody.generic("POST", "/api/users/", body, content_type="application/json")
    assert "ünal".encode() in response.content
    assert User.objects.get().username == "ünal"
