"""Paths that no view answers to: redirects, unknown ones, hosts that aren't ours."""

import pytest

SAFE, OTHERS = ("get", "head"), ("post", "put", "patch", "delete", "options")


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("method", SAFE + OTHERS)
def test_a_path_without_its_slash_is_redirected_with_its_method(client, settings, method, debug):
    settings.DEBUG = debug
    response = getattr(client, method)("/api/models/x/metrics?a=b%20c")
    assert response.status_code == (301 if method in SAFE else 308)
    assert response["Location"] == "/api/models/x/metrics/?a=b%20c"


def test_what_is_redirected_has_the_same_effect(client, db):
    response = client.post("/api/groups", {"name": "g"}, follow=True)
    assert (response.status_code, response.json()["name"]) == (201, "g")


def test_a_redirect_comes_before_the_body_is_checked(client, settings):
    settings.FL_SMALL_BODY_BYTES = 10
    headers = {"Content-Encoding": "br"}
    assert client.post("/api/groups", {"name": "a" * 20}, headers=headers).status_code == 308
    assert client.post("/api/groups/", {"name": "a" * 20}, headers=headers).status_code == 413


@pytest.mark.parametrize("method", SAFE + OTHERS)
def test_the_way_to_https_keeps_the_method_too(client, settings, method):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    response = getattr(client, method)("/api/models?a=b")
    assert response.status_code == (301 if method in SAFE else 308)
    assert response["Location"] == "https://testserver/api/models?a=b"
    response = getattr(client, method)("/api/models?a=b", headers={"x-forwarded-proto": "https"})
    assert response["Location"] == "/api/models/?a=b"


def test_the_admins_own_redirect_keeps_the_method(admin_client):
    assert admin_client.post("/admin/fl_server_core/user").status_code == 308


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("path", ["/api", "/api/", "/api/x", "/api/nothing/here/", "/api/dummy/"])
def test_an_unknown_path_below_api_is_json(client, settings, path, debug):
    settings.DEBUG = debug
    for method in OTHERS + SAFE:
        response = getattr(client, method)(path)
        assert (response.status_code, response["Content-Type"]) == (404, "application/json")
        assert method == "head" or response.json() == {"detail": "Not found."}


@pytest.mark.parametrize(
    "path", ["//api/users/", "//api/users", "///api/users/", "/api//users/", "//api", "//api//"]
)
def test_two_slashes_in_a_row_are_told(client, path):
    for method in ("GET", "POST"):
        response = client.generic(method, "/", PATH_INFO=path)
        assert (response.status_code, response["Content-Type"]) == (404, "application/json")
        assert response.json() == {"detail": "Not found: the path has two slashes in a row."}


def test_no_path_leads_to_another_host(client):
    for path in ("//example.org/api/users", "//example.org/%2e%2e/api/users", "/\\example.org"):
        assert "Location" not in client.generic("POST", "/", PATH_INFO=path)


def test_an_unknown_path_elsewhere_is_a_page(client):
    response = client.get("/nothing/")
    assert (response.status_code, response["Content-Type"][:9]) == (404, "text/html")


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("fl-server", "fl-server"),
        ("fl-server:8000", "fl-server"),
        ("10.1.2.3:80", "10.1.2.3"),
        ("[fe80::1]:8000", "[fe80::1]"),
        ("a<b>\x1b", "a?b??"),
        ("a" * 5000, "a" * 100),
    ],
)
def test_an_unknown_host_is_told_which_setting_is_behind_it(client, settings, host, shown, debug):
    settings.DEBUG = debug
    response = client.get("/api/users/", headers={"host": host})
    assert (response.status_code, response.json()) == (
        400,
        {
            "detail": f"The host name '{shown}' is not allowed: the server's setting "
            "FL_DJANGO_ALLOWED_HOSTS has to name it."
        },
    )
