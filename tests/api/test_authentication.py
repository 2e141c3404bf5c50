import base64

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.cache import caches
from rest_framework.test import APIClient

from tests.factories import UserFactory

URL = "/api/users/myself/"


def basic(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def get(nobody, authorization):
    return nobody.get(URL, headers={"Authorization": authorization})


def test_no_credentials(nobody, db):
    response = nobody.get(URL)
    assert response.status_code == 401
    assert response.json() == {"detail": "Authentication credentials were not provided."}
    assert response["WWW-Authenticate"] == "Token"


def test_a_token_a_token_as_name_and_a_password(nobody, user):
    token = user.auth_token.key
    for header in (f"Token {token}", basic(token, ""), basic(user.username, "secret")):
        assert get(nobody, header).json()["id"] == str(user.pk)


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        ("Token " + "0" * 40, "Invalid token."),
        ("Token x", "Invalid token."),
        (basic("0" * 40, ""), "Invalid token."),
        (basic("ann", "wrong"), "Invalid username/password."),
        (basic("ann", ""), "Invalid username/password."),
        (basic("a\0", "x"), "Invalid username/password."),
        (basic("a", "\0"), "Invalid username/password."),
        (basic("a" * 5000, "x"), "Invalid username/password."),
        ("Token", "Invalid token header. No credentials provided."),
        ("Basic !", "Invalid basic header. Credentials not correctly base64 encoded."),
    ],
)
def test_wrong_credentials(nobody, db, header, detail):
    response = get(nobody, header)
    assert (response.status_code, response.json()) == (401, {"detail": detail})
    assert response["WWW-Authenticate"] == "Token"


def test_an_inactive_user_is_nobody(nobody, user):
    user.is_active = False
    user.save()
    assert get(nobody, f"Token {user.auth_token.key}").status_code == 401


def test_a_session_reads_freely_and_writes_with_its_csrf_token(user):
    caller = APIClient(enforce_csrf_checks=True)
    caller.force_login(user)
    assert caller.get(URL).json()["id"] == str(user.pk)
    for data, kind in (({"name": "g"}, "json"), ({"name": "g"}, "multipart")):
        response = caller.post("/api/groups/", data, format=kind)
        assert response.status_code == 403
        assert response.json()["detail"].startswith("CSRF Failed")
    caller.cookies["csrftoken"] = token = "a" * 32
    headers = {"X-CSRFToken": token}
    response = caller.post("/api/groups/", {"name": "g"}, format="json", headers=headers)
    assert response.status_code == 201
    form = {"name": ["a", "b"]}
    response = caller.post("/api/groups/", form, format="multipart", headers=headers)
    assert response.json() == {"name": ["This field was given more than once."]}


def test_a_session_can_log_in_through_a_page(nobody, user):
    page = nobody.get("/api-auth/login/")
    assert page.status_code == 200
    data = {"username": user.username, "password": "secret", "next": URL}
    response = nobody.post("/api-auth/login/", data, format="multipart")
    assert (response.status_code, response["Location"]) == (302, URL)
    assert nobody.get(URL).status_code == 200


# --- Passwords that were right a moment ago ----------------------------------------------


@pytest.fixture
def hashed(monkeypatch):
    """The passwords that were hashed."""
    passwords, encode = [], MD5PasswordHasher.encode
    monkeypatch.setattr(
        MD5PasswordHasher,
        "encode",
        lambda self, password, salt: passwords.append(password) or encode(self, password, salt),
    )
    return passwords


def test_a_right_password_is_hashed_once(nobody, user, hashed):
    for _ in range(3):
        assert get(nobody, basic(user.username, "secret")).json()["id"] == str(user.pk)
    assert hashed == ["secret"]


def test_a_wrong_password_is_hashed_each_time(nobody, user, hashed):
    assert get(nobody, basic(user.username, "secret")).status_code == 200
    hashed.clear()
    for _ in range(2):
        assert get(nobody, basic(user.username, "wrong")).status_code == 401
        assert get(nobody, basic("nobody-of-this-name", "secret")).status_code == 401
    assert len(hashed) == 4


def test_a_remembered_password_is_its_users_alone(nobody, user):
    other = UserFactory(password="another")
    assert get(nobody, basic(user.username, "secret")).status_code == 200
    assert get(nobody, basic(other.username, "secret")).status_code == 401
    assert get(nobody, basic(user.username.upper(), "secret")).status_code == 401


def test_a_changed_password_holds_at_once(nobody, user):
    assert get(nobody, basic(user.username, "secret")).status_code == 200
    user.set_password("new")
    user.save()
    assert get(nobody, basic(user.username, "secret")).status_code == 401
    assert get(nobody, basic(user.username, "new")).status_code == 200
    user.set_unusable_password()
    user.save()
    assert get(nobody, basic(user.username, "new")).status_code == 401


@pytest.mark.parametrize("end", ["deactivate", "delete"])
def test_a_user_who_is_gone_is_nobody_at_once(nobody, user, end):
    header = basic(user.username, "secret")
    assert get(nobody, header).status_code == 200
    if end == "delete":
        user.delete()
    else:
        user.is_active = False
        user.save()
    assert get(nobody, header).status_code == 401


def test_no_password_is_kept(nobody, user):
    caches["passwords"].clear()
    assert get(nobody, basic(user.username, "secret")).status_code == 200
    (key,) = caches["passwords"]._cache
    assert len(key.split(":")[-1]) == 64  # a digest
    assert "secret" not in key


def test_what_is_remembered_is_bounded_and_forgotten(settings):
    remembered = settings.CACHES["passwords"]
    assert remembered["BACKEND"].endswith("LocMemCache")  # of this process, and its memory
    assert remembered["TIMEOUT"] == 300
    assert remembered["OPTIONS"] == {"MAX_ENTRIES": 1000}
