"""The client of NumPy, which says each request by itself: what it asks, when, and who it is."""

import ast
import json
import runpy
import sys
import threading
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, quote

import numpy as np
import pytest
import requests
import responses
from safetensors.numpy import load, save, save_file

from tests.examples.conftest import EXAMPLES

CLIENT = str(EXAMPLES / "numpy" / "client.py")
client = runpy.run_path(CLIENT)
URL = "http://server.test"
API = f"{URL}/api"
MODEL, MYSELF = f"{API}/models/m/", f"{API}/users/myself/"
WEIGHTS = {"weight": np.zeros((10, 64), "f4"), "bias": np.zeros(10, "f4")}


@pytest.fixture
def data(tmp_path):
    """A client's file: ten images, a digit each."""
    x = np.random.default_rng(0).random((10, 64), dtype=np.float32)
    save_file({"x": x, "y": np.arange(10)}, tmp_path / "client-1.safetensors")
    return tmp_path / "client-1.safetensors"


@pytest.fixture
def token(data):
    """The file in which alice has her token."""
    return data.parent / f"alice@{quote(API, safe='')}.token"


@pytest.fixture
def server():
    """A server that registers anybody, hands out the model and accepts what comes."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.get(MYSELF, status=401)
        mock.post(f"{API}/users/", status=201, json={"id": "u", "token": "secret"})
        mock.get(MODEL, body=save(WEIGHTS))
        mock.post(MODEL, status=201, json={})
        mock.post(f"{MODEL}metrics/", status=201, json={})
        for name in ("n1", "n2", "n3"):
            mock.post(f"{API}/notifications/{name}/ack/", status=204)
        yield mock


@pytest.fixture
def pauses(monkeypatch):
    """How long was waited each time, without waiting."""
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def notification(number, kind, **body):
    body = {"global_model_uuid": "m"} | body
    return {"id": f"n{number}", "notification_type": kind, "training_uuid": "t", "body": body}


UPDATE = notification(1, "UPDATE_ROUND_START", round=3)
TEST = notification(2, "MODEL_TEST_ROUND", round=4)
FINISHED = notification(3, "TRAINING_FINISHED")


def told(server, *items, **headers):
    """Have the server list these when it is asked next."""
    server.get(f"{API}/notifications/", json=list(items), headers=headers)


def take_part(data, url=URL):
    participant = client["Client"](url, data, "alice", None)
    participant.take_part()
    return participant


def made(server):
    requests = [f"{call.request.method} {call.request.path_url}" for call in server.calls]
    return [request.replace("/api/", "/", 1) for request in requests]


UPDATED = ["GET /models/m/", "POST /models/m/", "POST /notifications/n1/ack/"]
TESTED = ["GET /models/m/", "POST /models/m/metrics/", "POST /notifications/n2/ack/"]
ENDED = ["POST /notifications/n3/ack/"]
ASKED = ["GET /notifications/?wait=25"]


def form(request):
    """The fields of a multipart request."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + request.body).get_payload()
    return {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        for part in parts
    }


def sent_to(server, path):
    [request] = [call.request for call in server.calls if call.request.path_url == path]
    return request


def test_an_update_round_sends_trained_weights(data, server):
    told(server, UPDATE, FINISHED)
    take_part(data)
    sent = form(next(c.request for c in server.calls if c.request.url == MODEL and c.request.body))
    assert (sent["round"], sent["sample_size"]) == (b"3", b"8")
    weights = load(sent["model_file"])
    assert {name: array.shape for name, array in weights.items()} == {
        "weight": (10, 64),
        "bias": (10,),
    }
    assert weights["weight"].any()


def test_a_test_round_reports_accuracy_and_loss_on_the_samples_held_out(data, server):
    told(server, TEST, FINISHED)
    take_part(data)
    sent = parse_qs(sent_to(server, "/api/models/m/metrics/").body)
    assert sent["metric_names"] == ["accuracy", "loss"]
    assert float(sent["metric_values"][1]) == pytest.approx(np.log(10), abs=1e-5)


def test_held_out_samples_are_not_trained_on(data, server):
    told(server, FINISHED)
    participant = take_part(data)
    assert set(participant.test[1]).isdisjoint(participant.own[1])
    assert len(participant.test[1]) == 2


def test_training_finds_what_there_is_to_find():
    x = np.eye(10, 64, dtype="f4").repeat(20, axis=0)
    y = np.arange(10).repeat(20)
    before = client["evaluate"](WEIGHTS, x, y)
    after = client["evaluate"](client["train"](WEIGHTS, x, y), x, y)
    assert after["accuracy"] == 1
    assert after["loss"] < before["loss"] == pytest.approx(np.log(10), abs=1e-5)
    assert not WEIGHTS["weight"].any()


def test_what_comes_is_done_in_order_acknowledged_and_the_training_ends_it(data, server):
    told(server, UPDATE, TEST, FINISHED, UPDATE)
    take_part(data)
    assert made(server)[2:] == ASKED + UPDATED + TESTED + ENDED


def test_a_busy_server_is_asked_when_it_says_so(data, server, pauses):
    told(server, **{"Retry-After": "7"})
    told(server, notification(3, "CLIENT_REMOVED"))
    take_part(data)
    assert made(server)[2:] == ASKED + ASKED + ENDED
    assert pauses == [7]


def test_a_refused_repeat_does_no_harm(data, server, capsys):
    server.replace("POST", MODEL, status=400, json=["not currently in round 3"])
    told(server, UPDATE, TEST, FINISHED)
    take_part(data)
    assert made(server)[-4:] == TESTED + ENDED
    assert "not currently in round 3" in capsys.readouterr().out


def test_a_notification_that_is_gone_with_its_training_does_no_harm(data, server, capsys):
    server.replace("POST", f"{API}/notifications/n1/ack/", status=400, json={"detail": "not found"})
    told(server, UPDATE, TEST, FINISHED)
    take_part(data)
    assert made(server)[-4:] == TESTED + ENDED
    assert "not found" in capsys.readouterr().out


def test_a_server_that_stumbles_is_asked_again(data, server):
    server.replace("POST", MODEL, status=503)
    server.post(MODEL, status=201, json={})
    told(server, UPDATE, FINISHED)
    take_part(data)
    assert made(server).count("POST /models/m/") == 2


@pytest.fixture
def broken_server():
    """The URL of a server that answers nothing but 502."""

    class Broken(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(502)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Broken) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_server_that_stays_broken_is_given_up_after_growing_pauses(data, broken_server, pauses):
    with pytest.raises(requests.exceptions.RetryError):
        take_part(data, broken_server)
    assert pauses == sorted(pauses)
    assert 10 < sum(pauses) < 60


def test_a_server_that_cant_be_reached_is_given_up(data, pauses):
    with pytest.raises(requests.ConnectionError):
        take_part(data, "http://127.0.0.1:1")
    assert 10 < sum(pauses) < 60


def test_it_registers_and_keeps_its_token_where_nobody_else_reads_it(data, server, token):
    told(server, FINISHED)
    take_part(data)
    user = json.loads(sent_to(server, "/api/users/").body)
    assert (user["username"], user["client"]) == ("alice", True)
    assert sent_to(server, "/api/notifications/?wait=25").headers["Authorization"] == "Token secret"
    assert (token.read_text(), token.stat().st_mode & 0o777) == ("secret", 0o600)
    assert len(user["password"]) > 40
    assert {path.name for path in data.parent.iterdir()} == {data.name, token.name}


def test_started_again_it_is_the_same_user(data, server, token):
    token.write_text("kept")
    server.replace("GET", MYSELF, json={"id": "u"})
    told(server, FINISHED)
    take_part(data)
    assert {call.request.headers["Authorization"] for call in server.calls} == {"Token kept"}


def test_who_registered_with_a_server_that_has_forgotten_it_registers_anew(data, server, token):
    token.write_text("old")
    told(server, FINISHED)
    take_part(data)
    assert token.read_text() == "secret"


def test_a_name_with_slashes_leads_nowhere_else(data, server):
    told(server, FINISHED)
    client["Client"](URL, data, "../../alice", None)
    assert len(list(data.parent.glob("*.token"))) == 1


def test_no_name_is_taken_where_its_token_cant_be_kept(data, server, token):
    token.mkdir()
    with pytest.raises(IsADirectoryError):
        take_part(data)
    assert made(server) == []


def test_with_a_name_that_is_taken_it_ends_with_the_servers_reason(data, server, monkeypatch):
    server.replace("POST", f"{API}/users/", status=400, json={"username": ["taken"]})
    monkeypatch.setattr("sys.argv", ["client.py", URL, str(data), "--name", "alice"])
    with pytest.raises(SystemExit, match="taken"):
        runpy.run_path(CLIENT, run_name="__main__")


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("digits/client.py", 105),
        ("numpy/client.py", 130),
        ("sklearn/client.py", 60),
        ("javascript/client.mjs", 180),
        ("curl/client.sh", 50),
    ],
)
def test_the_clients_are_short(name, lines):
    assert (EXAMPLES / name).read_text().count("\n") <= lines


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("digits/client.py", {"fl_client", "model", "numpy", "torch"}),
        ("numpy/client.py", {"numpy", "requests", "safetensors"}),
        ("numpy/prepare.py", {"numpy", "safetensors"}),
        ("sklearn/client.py", {"fl_client", "numpy", "safetensors", "sklearn"}),
    ],
)
def test_they_need_no_more_than_they_say(name, needed):
    imported = [
        name.split(".")[0]
        for node in ast.walk(ast.parse((EXAMPLES / name).read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else _names(node))
    ]
    assert set(imported) - sys.stdlib_module_names == needed


def _names(node):
    return [alias.name for alias in node.names]
