"""The example's actor: what it asks, and what it says when things don't go on."""

import json
import runpy

import pytest
import responses
from server import Server

from tests.examples.conftest import EXAMPLE

URL = "http://server.test"
API = f"{URL}/api"
USERS = [{"id": "a", "username": "alice"}, {"id": "b", "username": "bob"}]


@pytest.fixture
def api():
    """A server that has both clients and takes whatever the actor sends."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.post(f"{API}/users/", status=201, json={"id": "u", "token": "secret"})
        mock.get(f"{API}/users/", json=USERS)
        mock.post(f"{API}/models/", status=201, json={"model_id": "m"})
        mock.post(f"{API}/trainings/", status=201, json={"training_id": "t"})
        mock.post(f"{API}/trainings/t/start/", status=202, json={})
        mock.get(f"{API}/models/m/metrics/", json=[])
        mock.get(f"{API}/models/m/", body=b"trained")
        yield mock


def stands(api, state, *, reason="", awaited=()):
    body = {"state": state, "state_reason": reason, "round": {"awaited": list(awaited)}}
    api.get(f"{API}/trainings/t/", json=body)


@pytest.fixture
def act(monkeypatch, tmp_path):
    """A function that runs the actor with these options; the folder has its model."""
    (tmp_path / "digits.pt").write_bytes(b"model")

    def run(*options):
        arguments = (URL, tmp_path / "digits.pt", "--clients", "alice", "bob", *options)
        monkeypatch.setattr("sys.argv", ["actor.py", *map(str, arguments)])
        monkeypatch.setattr("time.sleep", lambda _: None)
        runpy.run_path(str(EXAMPLE / "actor.py"), run_name="__main__")

    return run


def test_it_has_its_model_trained_by_the_clients_and_keeps_the_result(api, act, tmp_path):
    stands(api, "C")
    act("--rounds", 7)
    [plan] = [call.request for call in api.calls if call.request.path_url == "/api/trainings/"]
    assert json.loads(plan.body)["clients"] == ["a", "b"]
    assert json.loads(plan.body)["target_num_updates"] == 7
    assert plan.headers["Authorization"] == "Token secret"
    assert (tmp_path / "digits-trained.pt").read_bytes() == b"trained"


def test_it_shows_each_round_that_all_have_tested(api, act, capsys):
    rows = [(1, "a", 0.5), (1, "b", 0.7), (2, "b", 0.9)]
    metrics = [{"key": "accuracy", "step": n, "reporter": r, "value_float": v} for n, r, v in rows]
    api.replace("GET", f"{API}/models/m/metrics/", json=metrics)
    stands(api, "O")
    stands(api, "C")
    act()
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "round 1: accuracy 0.60 (alice 0.50, bob 0.70)"
    ]


def test_it_waits_for_clients_that_register_late(api, act):
    api.replace("GET", f"{API}/users/", json=USERS[:1])
    api.get(f"{API}/users/", json=USERS)
    stands(api, "C")
    act()


def test_clients_that_never_register_are_named(api, act):
    api.replace("GET", f"{API}/users/", json=USERS[:1])
    with pytest.raises(SystemExit, match="Not registered after 0 s: bob"):
        act("--patience", 0)


def test_clients_that_never_answer_are_named(api, act):
    stands(api, "O", awaited=["b"])
    with pytest.raises(SystemExit, match=r"are these running\? bob"):
        act("--patience", 0.01)


def test_a_training_that_fails_is_told_with_its_reason(api, act, tmp_path):
    stands(api, "E", reason="No participant is left.")
    with pytest.raises(SystemExit, match="No participant is left"):
        act()
    assert not (tmp_path / "digits-trained.pt").exists()


@pytest.mark.parametrize("path", ["users", "models", "trainings", "trainings/t/start"])
def test_a_refusal_ends_it_with_the_servers_reason(api, act, path):
    api.replace("POST", f"{API}/{path}/", status=400, json={"detail": "because"})
    with pytest.raises(SystemExit, match="because"):
        act()


def test_a_second_time_it_is_the_same_user(api, act, tmp_path):
    Server(URL).file("ada", tmp_path).write_text("kept")
    api.get(f"{API}/users/myself/", json={"id": "u"})
    stands(api, "C")
    act()
    made = [(call.request.method, call.request.path_url) for call in api.calls]
    assert ("POST", "/api/users/") not in made
    assert {call.request.headers["Authorization"] for call in api.calls} == {"Token kept"}
