"""Asking until there is an answer, and what is asked once only."""

import pytest
import requests
from requests.exceptions import ConnectTimeout

from fl_client import Refused, Transport, Unreachable
from tests.client.conftest import URL

PATH = "/api/users/"
BROKEN = requests.ConnectionError("cut")


def test_what_gets_no_answer_is_asked_again(server, transport, waited):
    server.get(URL + PATH, body=BROKEN)
    server.get(URL + PATH, status=502)
    server.get(URL + PATH, json=[])
    assert transport.ask("GET", PATH).json() == []
    assert len(waited) == 2
    assert 0 < waited[0] <= 0.5 < waited[1] <= 1  # with jitter


def test_a_busy_server_says_how_long_to_wait(server, transport, waited):
    server.get(URL + PATH, status=429, headers={"Retry-After": "7"})
    server.get(URL + PATH, json=[])
    transport.ask("GET", PATH)
    assert 7 <= waited[0] < 8


def test_a_quota_is_no_matter_of_time(server, transport):
    server.get(URL + PATH, status=429, json={"detail": "You have enough."})
    with pytest.raises(Refused, match=r"You have enough\.") as refused:
        transport.ask("GET", PATH)
    assert refused.value.status == 429


def test_patience_ends(server):
    server.get(URL + PATH, body=BROKEN)
    with pytest.raises(Unreachable, match=r"server\.test:8000 can't be reached"):
        Transport(URL, patience=0).ask("GET", PATH)


def test_what_may_have_been_done_is_not_done_twice(server, transport):
    server.post(URL + PATH, body=BROKEN)
    with pytest.raises(Unreachable, match="may have been done"):
        transport.ask("POST", PATH, once=True)


def test_what_surely_never_arrived_is_sent_again(server, transport):
    server.post(URL + PATH, body=ConnectTimeout("nobody there"))
    server.post(URL + PATH, json={})
    assert transport.ask("POST", PATH, once=True).json() == {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": "Not found."}, "Not found."),
        (["One.", "Two."], "One. Two."),
        (
            {"clients": {"0": ["No UUID."]}, "round": ["Too low."]},
            "clients: 0: No UUID. round: Too low.",
        ),
    ],
)
def test_a_refusal_is_a_sentence_whatever_its_shape(server, transport, body, said):
    server.get(URL + PATH, status=400, json=body)
    with pytest.raises(Refused) as refused:
        transport.ask("GET", PATH)
    assert str(refused.value) == said


def test_a_refusal_that_is_no_json_tells_its_status(server, transport):
    server.get(URL + PATH, status=404, body="<html>")
    with pytest.raises(Refused, match="404"):
        transport.ask("GET", PATH)


def test_no_netrc_replaces_the_token(server, transport, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine server.test login other password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.get(URL + PATH, json=[])
    transport.be("mine")
    transport.ask("GET", PATH)
    assert server.calls[0].request.headers["Authorization"] == "Token mine"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "http://other.test:8000/api/users/",
        "//other.test/api/users/",
        "http://server.test:9000/api/users/",
        "http://server.test:8000@other.test/",
    ],
)
def test_no_redirect_takes_a_password_to_another_server(server, transport, elsewhere):
    server.post(URL + PATH, status=307, headers={"Location": elsewhere})
    with pytest.raises(Refused, match="to another"):
        transport.ask("POST", PATH, json={"password": "secret"})


def test_a_redirect_within_the_server_is_followed(server, transport):
    transport.be("secret")
    server.get(f"{URL}/api/users", status=301, headers={"Location": PATH})
    server.get(URL + PATH, json=[])
    assert transport.ask("GET", "/api/users").json() == []
    assert server.calls[-1].request.headers["Authorization"] == "Token secret"
