"""Pages of other origins that call the API."""

import pytest

ORIGIN = "https://app.example.org"
SENT = ["authorization", "content-encoding", "content-type", "if-none-match", "if-range", "range"]
SENT += ["traceparent", "x-request-id"]
READ = ["Accept-Ranges", "Content-Disposition", "Content-Range", "ETag", "Retry-After"]
READ += ["X-Request-ID"]


@pytest.fixture(autouse=True)
def _page(settings):
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]


def listed(response, header):
    return {name.strip() for name in response[header].split(",")}


@pytest.mark.parametrize("path", ["/api/models/x/", "/api/models/x", "/api/notifications/"])
def test_a_preflight_allows_what_the_api_takes(nobody, path):
    response = nobody.options(
        path,
        headers={
            "origin": ORIGIN,
            "access-control-request-method": "GET",
            "access-control-request-headers": ",".join(SENT),
        },
    )
    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    assert set(SENT) <= listed(response, "Access-Control-Allow-Headers")


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=0-1"}, {"range": "bytes=999999-"}])
def test_an_answer_shows_what_the_api_says(client, model, headers):
    response = client.get(f"/api/models/{model.pk}/", headers=headers | {"origin": ORIGIN})
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    assert listed(response, "Access-Control-Expose-Headers") >= set(READ)
    response.close()


def test_a_redirect_may_be_followed(client):
    response = client.post("/api/groups", {"name": "a"}, headers={"origin": ORIGIN})
    assert (response.status_code, response["Access-Control-Allow-Origin"]) == (308, ORIGIN)


def test_other_pages_may_nothing(client):
    response = client.get("/api/users/", headers={"origin": "https://elsewhere.example.org"})
    assert "Access-Control-Allow-Origin" not in response
