import base64

import pytest
from rest_framework.test import APIClient

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
