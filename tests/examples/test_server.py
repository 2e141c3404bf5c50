"""Being the same user again, and who may read what that takes."""

import json

import pytest
import requests
import responses
from server import Server

URL = "http://server.test:8000"


@pytest.fixture
def api():
    with responses.RequestsMock() as mock:
        yield mock


def registers(api, token="secret"):
    return api.post(f"{URL}/api/users/", status=201, json={"id": "u", "token": token})


def test_who_registered_is_the_same_user_after_a_restart(api, tmp_path):
    registers(api)
    Server(URL).register("alice", tmp_path, client=True)
    api.get(f"{URL}/api/users/myself/", json={"id": "u"})
    assert Server(URL).resume("alice", tmp_path) == {"id": "u"}
    assert api.calls[-1].request.headers["Authorization"] == "Token secret"


def test_who_never_registered_is_nobody(tmp_path):
    assert Server(URL).resume("alice", tmp_path) is None


def test_who_registered_with_a_server_that_has_forgotten_it_registers_anew(api, tmp_path):
    registers(api, "old")
    Server(URL).register("alice", tmp_path)
    api.get(f"{URL}/api/users/myself/", status=401)
    registers(api, "new")
    server = Server(URL)
    assert server.resume("alice", tmp_path) is None
    server.register("alice", tmp_path)
    assert server.file("alice", tmp_path).read_text() == "new"


def test_a_server_that_fails_has_not_forgotten_anybody(api, tmp_path):
    Server(URL).file("alice", tmp_path).write_text("secret")
    api.get(f"{URL}/api/users/myself/", status=400)
    with pytest.raises(requests.HTTPError):
        Server(URL).resume("alice", tmp_path)


def test_nobody_else_can_read_a_token(api, tmp_path):
    registers(api)
    server = Server(URL)
    server.register("alice", tmp_path)
    assert server.file("alice", tmp_path).stat().st_mode & 0o777 == 0o600


def test_another_server_or_user_has_another_token(tmp_path):
    files = {
        Server(url).file(name, tmp_path)
        for url in (URL, "http://server.test:8001", "https://server.test:8000")
        for name in ("alice", "bob")
    }
    assert len(files) == 6
    assert {file.parent for file in files} == {tmp_path}


def test_a_name_with_slashes_leads_nowhere_else(tmp_path):
    assert Server(URL).file("../../alice", tmp_path).parent == tmp_path


def test_no_name_is_taken_where_its_token_cant_be_kept(api, tmp_path):
    with pytest.raises(FileNotFoundError):
        Server(URL).register("alice", tmp_path / "gone")


def test_passwords_pass_any_rules_and_are_kept_nowhere(api, tmp_path):
    registers(api)
    Server(URL).register("alice", tmp_path)
    password = json.loads(api.calls[0].request.body)["password"]
    assert len(password) > 40
    assert not any(password in file.read_text() for file in tmp_path.iterdir())
