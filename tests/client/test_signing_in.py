"""Who one is, and who may read what that takes."""

import json

import pytest
from requests.auth import HTTPBasicAuth

from fl_client import Client, FlError, Refused, places, signing_in
from tests.client.conftest import URL

MYSELF = f"{URL}/api/users/myself/"


def registers(server, token="secret"):
    user = {"id": "u", "username": "alice", "token": token, "message_endpoint": ""}
    return server.post(f"{URL}/api/users/", status=201, json=user)


def authorization(server, call=-1):
    return server.calls[call].request.headers.get("Authorization")


def test_who_registered_is_the_same_user_after_a_restart(server, api):
    registers(server)
    signing_in.register(api, "alice", client=True)
    server.get(MYSELF, json={"id": "u"})
    assert signing_in.by_kept_token(api, "alice") == {"id": "u"}
    assert authorization(server) == "Token secret"


def test_who_registered_with_a_server_that_has_forgotten_it_registers_anew(server):
    places.keep("alice", URL, "token", "old")
    server.get(MYSELF, status=401)
    registers(server, "new")
    server.get(f"{URL}/api/notifications/", status=403)
    client = Client(URL, "alice", register=True)
    client.train(len)
    client.test(len)
    with pytest.raises(Refused):
        client.run()
    assert places.kept("alice", URL, "token") == "new"


def test_no_name_is_taken_where_its_token_cant_be_kept(server, api, tmp_path):
    (tmp_path / "config").touch()
    with pytest.raises(OSError, match="config"):
        signing_in.register(api, "alice")
    assert not server.calls


def test_passwords_pass_any_rules_and_are_kept_nowhere(server, api, tmp_path):
    registers(server)
    signing_in.register(api, "alice")
    password = json.loads(server.calls[0].request.body)["password"]
    assert len(password) > 40
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(password in path.read_text() for path in kept)


def test_nobody_else_can_read_a_token(server, api):
    registers(server)
    signing_in.register(api, "alice")
    [file] = places.config_folder().iterdir()
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("secret", 0o600)
    assert places.config_folder().stat().st_mode & 0o777 == 0o700


def test_another_server_or_user_has_another_token():
    places.keep("alice", URL, "token", "mine")
    assert places.kept("alice", f"{URL}/", "token") == "mine"
    for name, url in (("bob", URL), ("alice", "http://server.test:8001")):
        assert places.kept(name, url, "token") == ""


def test_a_name_with_slashes_leads_nowhere_else():
    places.keep("../../alice", URL, "token", "mine")
    assert len(list(places.config_folder().iterdir())) == 1


def test_a_registration_whose_answer_was_lost_is_ones_own(server, api):
    places.keep("alice", URL, "password", "of the first try")
    server.post(f"{URL}/api/users/", status=400, json={"username": ["It is taken."]})
    server.get(MYSELF, json={"id": "u"})
    server.get(f"{URL}/api/users/u/", json={"id": "u", "token": "secret"})
    assert signing_in.register(api, "alice")["id"] == "u"
    expected = HTTPBasicAuth(b"alice", b"of the first try")
    assert server.calls[1].request.headers["Authorization"] == authorization_of(expected)
    assert places.kept("alice", URL, "token") == "secret"
    assert places.kept("alice", URL, "password") == ""


def authorization_of(auth):
    class Request:
        headers: dict = {}

    return auth(Request()).headers["Authorization"]


def test_a_token_that_has_expired_is_replaced_by_the_password(server, api):
    server.get(MYSELF, json={"id": "u"})
    server.get(f"{URL}/api/users/u/", json={"id": "u", "token": None})
    server.post(f"{URL}/api/users/myself/token/", status=201, json={"token": "new"})
    assert signing_in.by_password(api, "alice", "word") == {"id": "u"}
    assert authorization(server).startswith("Basic ")
    assert places.kept("alice", URL, "token") == "new"


def test_anothers_name_is_refused_with_the_servers_reason(server, api):
    server.post(f"{URL}/api/users/", status=400, json={"username": ["It is taken."]})
    server.get(MYSELF, status=401, json={"detail": "Invalid username/password."})
    with pytest.raises(Refused, match=r"It is taken\. Choose another name"):
        signing_in.register(api, "alice", "guessed")
    assert not list(places.config_folder().iterdir())


def test_a_server_that_fails_has_not_forgotten_anybody(server, api):
    places.keep("alice", URL, "token", "secret")
    server.get(MYSELF, status=400)
    with pytest.raises(Refused):
        signing_in.by_kept_token(api, "alice")


def test_a_client_that_is_nobody_says_what_to_do():
    client = Client(URL, "alice")
    client.train(len)
    client.test(len)
    with pytest.raises(FlError, match="register=True"):
        client.run()


def test_a_client_without_a_function_says_which():
    client = Client(URL, "alice")
    client.train(len)
    with pytest.raises(FlError, match=r"@client\.test"):
        client.run()
