import ast
import io
import itertools
import json
import runpy
import sys
import threading
import time
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import client
import listener
import pytest
import requests
import responses
import torch
from server import Server
from torch.nn.functional import cross_entropy

from fl_server_ai.notification import signature
from tests.examples.conftest import EXAMPLE
from tests.servers import free_port
from tests.waiting import PATIENCE

URL = "http://server.test"
MODEL = f"{URL}/api/models/m/"


@pytest.fixture
def server():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def participant(samples):
    return client.Client(Server(URL), str(samples), 1, 0.0)


@pytest.fixture
def serving(server, archive):
    """A server that hands out the model and accepts what comes."""
    server.get(MODEL, body=archive)
    server.post(MODEL, status=201, json={})
    server.post(f"{MODEL}metrics/", status=201, json={})
    server.post(f"{MODEL}swag/", status=201, json={})
    return server


@pytest.fixture
def pauses(monkeypatch):
    """How long was waited each time, without waiting."""
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def notification(kind, **body):
    body = {"global_model_uuid": "m"} | body
    return {"notification_type": kind, "training_uuid": "t", "body": body}


UPDATE = notification("UPDATE_ROUND_START", round=3)
SWAG = notification("SWAG_ROUND_START", round=4)
TEST = notification("MODEL_TEST_ROUND", round=4)
FINISHED = notification("TRAINING_FINISHED")


def made(server):
    return [f"{call.request.method} {call.request.path_url}" for call in server.calls]


def form(request):
    """The fields of a multipart request."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + request.body).get_payload()
    return {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        for part in parts
    }


def test_an_update_round_sends_trained_weights(participant, serving, archive):
    participant.take_part(iter([UPDATE]))
    sent = form(serving.calls[-1].request)
    assert (sent["round"], sent["sample_size"]) == (b"3", b"8")
    weights = torch.load(io.BytesIO(sent["model_file"]), weights_only=True)
    received = torch.jit.load(io.BytesIO(archive)).state_dict()
    assert weights.keys() == received.keys()
    assert not torch.equal(weights["1.weight"], received["1.weight"])


def sent_moments(call):
    sent = form(call.request)
    assert (sent["round"], sent["sample_size"]) == (b"4", b"8")
    files = (sent["first_moment_file"], sent["second_moment_file"])
    return [torch.load(io.BytesIO(file), weights_only=True) for file in files]


def test_a_swag_round_sends_flat_moments(participant, serving):
    participant.take_part(iter([SWAG]))
    assert made(serving) == ["GET /api/models/m/", "POST /api/models/m/swag/"]
    assert [moment.shape for moment in sent_moments(serving.calls[-1])] == 2 * [(64 * 10 + 10,)]


def test_a_swag_round_asked_for_again_begins_anew(participant, serving, archive):
    torch.manual_seed(1)
    participant.take_part(iter([SWAG]))
    torch.manual_seed(1)
    participant.take_part(iter([SWAG]))
    before, after = (sent_moments(serving.calls[place]) for place in (1, 3))
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_test_round_reports_accuracy_and_loss_on_the_samples_held_out(
    participant, serving, archive
):
    participant.take_part(iter([TEST]))
    sent = parse_qs(serving.calls[-1].request.body)
    assert sent["metric_names"] == ["accuracy", "loss"]
    model = torch.jit.load(io.BytesIO(archive))
    expected = cross_entropy(model(participant.test_x), participant.test_y).item()
    assert float(sent["metric_values"][1]) == pytest.approx(expected)


def test_held_out_samples_are_not_trained_on(participant):
    assert len(participant.test_y) == 2
    assert set(participant.test_y.tolist()).isdisjoint(participant.y.tolist())


def test_what_comes_is_done_in_order_until_the_only_training_is_over(participant, serving):
    items = [notification("TRAINING_START"), UPDATE, TEST, FINISHED, UPDATE]
    participant.take_part(iter(items), once=True)
    update = ["GET /api/models/m/", "POST /api/models/m/"]
    test = ["GET /api/models/m/", "POST /api/models/m/metrics/"]
    assert made(serving) == update + test


def test_a_client_that_is_removed_from_its_only_training_ends(participant, serving):
    participant.take_part(iter([notification("CLIENT_REMOVED"), UPDATE]), once=True)
    assert made(serving) == []


def test_after_a_training_comes_the_next(participant, serving):
    participant.take_part(iter([FINISHED, notification("CLIENT_REMOVED"), UPDATE]))
    assert made(serving) == ["GET /api/models/m/", "POST /api/models/m/"]


def test_a_notification_that_is_gone_with_its_training_does_no_harm(participant, serving, capsys):
    gone = serving.post(f"{URL}/api/notifications/n/ack/", status=400, json={"detail": "not found"})
    participant.take_part(iter([UPDATE | {"id": "n"}, TEST]))
    assert gone.call_count == 1
    assert "not found" in capsys.readouterr().out
    assert made(serving)[-1] == "POST /api/models/m/metrics/"


def test_a_repeat_that_the_server_refuses_does_no_harm(participant, serving, capsys):
    participant.take_part(iter([UPDATE]))
    serving.replace("POST", MODEL, status=400, json=["not currently in round 3"])
    participant.take_part(iter([UPDATE, TEST]))
    assert made(serving)[-1] == "POST /api/models/m/metrics/"
    assert "not currently in round 3" in capsys.readouterr().out


def test_a_pulled_notification_is_ticked_off_when_its_work_is_done(participant, serving, pauses):
    inbox = f"{URL}/api/notifications/"
    serving.get(inbox, json=[], headers={"Retry-After": "7"})
    serving.get(inbox, json=[UPDATE | {"id": "n1"}, FINISHED | {"id": "n2"}])
    serving.post(f"{inbox}n1/ack/", status=204)
    serving.post(f"{inbox}n2/ack/", status=204)
    participant.take_part(client.pull(participant.server), once=True)
    assert made(serving) == [
        "GET /api/notifications/?wait=25",
        "GET /api/notifications/?wait=25",
        "GET /api/models/m/",
        "POST /api/models/m/",
        "POST /api/notifications/n1/ack/",
        "POST /api/notifications/n2/ack/",
    ]
    assert pauses == [7]  # after the empty answer


def test_a_server_that_stumbles_is_asked_again(participant, serving):
    serving.replace("POST", MODEL, status=503)
    serving.post(MODEL, status=201, json={})
    participant.take_part(iter([UPDATE]))
    assert made(serving) == ["GET /api/models/m/"] + 2 * ["POST /api/models/m/"]


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


def test_a_server_that_stays_broken_is_given_up_after_growing_pauses(
    samples, broken_server, pauses
):
    participant = client.Client(Server(broken_server), str(samples), 1, 0.0)
    with pytest.raises(requests.exceptions.RetryError):
        participant.take_part(iter([UPDATE]))
    assert pauses == sorted(pauses)
    assert 10 < sum(pauses) < 60


def test_a_server_that_cant_be_reached_is_given_up(samples, pauses):
    nobody = client.Client(Server("http://127.0.0.1:1"), str(samples), 1, 0.0)
    with pytest.raises(requests.ConnectionError):
        nobody.take_part(iter([UPDATE]))
    assert 10 < sum(pauses) < 60


def come(notifications, count):
    """The next that came, without the files that keep them."""
    return [{k: v for k, v in next(notifications).items() if k != "file"} for _ in range(count)]


def test_pushes_are_answered_while_the_work_is_still_to_be_done_and_keep_their_order(tmp_path):
    url, notifications = listener.listen(0, tmp_path)
    for item in (UPDATE, TEST, TEST, FINISHED):
        assert requests.post(url, json=item, timeout=PATIENCE).status_code == 204
    assert come(notifications, 4) == [UPDATE, TEST, TEST, FINISHED]


def test_what_was_accepted_and_not_done_comes_first_after_a_restart(participant, serving, tmp_path):
    url, notifications = listener.listen(0, tmp_path / "inbox")
    serving.add_passthru(url)
    for item in (TEST, UPDATE, FINISHED):
        requests.post(url, json=item, timeout=PATIENCE)
    participant.take_part(itertools.islice(notifications, 1))  # and dies
    url, notifications = listener.listen(0, tmp_path / "inbox")
    serving.add_passthru(url)
    requests.post(url, json=TEST, timeout=PATIENCE)
    assert come(notifications, 3) == [UPDATE, FINISHED, TEST]


SECRET = "whsec_" + "c2VjcmV0" * 5


def signed(item, folder, *, secret=SECRET, at=0.0, **changed):
    """Post an item to a listener with SECRET as the server would; return the status."""
    url, notifications = listener.listen(0, folder, SECRET)
    body = json.dumps(item).encode()
    headers = signature.headers(secret, message_id="n", timestamp=int(time.time() + at), body=body)
    answer = requests.post(url, data=body, headers=headers | changed, timeout=PATIENCE)
    return answer.status_code, notifications


def test_what_is_signed_is_taken(tmp_path):
    status, notifications = signed(UPDATE, tmp_path)
    assert (status, come(notifications, 1)) == (204, [UPDATE])


@pytest.mark.parametrize(
    "forged",
    [
        {"secret": "b3RoZXIh" * 5},
        {"at": -3600.0},
        {"at": 3600.0},
        {"webhook-id": "other"},
        {"webhook-timestamp": "x"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,\xe9"},
    ],
)
def test_what_is_not_signed_now_and_with_the_secret_is_refused(forged, tmp_path):
    assert signed(UPDATE, tmp_path, **forged)[0] == 401
    assert list(tmp_path.iterdir()) == []


def test_of_several_signatures_one_suffices():
    body = json.dumps(UPDATE).encode()
    one = signature.headers(SECRET, message_id="n", timestamp=int(time.time()), body=body)
    one["webhook-signature"] = f"v1,AAAA {one['webhook-signature']}"
    assert listener.is_genuine(SECRET, one, body)


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["client.py", *map(str, arguments)])
    runpy.run_path(str(EXAMPLE / "client.py"), run_name="__main__")


def myself(server, **user):
    return server.get(f"{URL}/api/users/myself/", json={"id": "u", "message_endpoint": ""} | user)


@pytest.fixture
def last_message(server):
    """What ends a client that pulls and was told to take part once."""
    server.get(f"{URL}/api/notifications/", json=[FINISHED | {"id": "n"}])
    server.post(f"{URL}/api/notifications/n/ack/", status=204)


def test_with_a_token_it_is_that_user_and_pulls(monkeypatch, server, samples, last_message):
    myself(server)
    run(monkeypatch, URL, samples, "--token", "secret", "--once")
    sent = [call.request.headers["Authorization"] for call in server.calls]
    assert sent == 3 * ["Token secret"]


def test_a_token_that_is_unknown_is_told(monkeypatch, server, samples):
    server.get(f"{URL}/api/users/myself/", status=401)
    with pytest.raises(SystemExit, match="no such token"):
        run(monkeypatch, URL, samples, "--token", "secret")


def test_with_a_name_it_registers_and_pulls(monkeypatch, server, samples, last_message):
    server.post(f"{URL}/api/users/", status=201, json={"id": "u", "token": "secret"})
    run(monkeypatch, URL, samples, "--name", "alice", "--once")
    user = json.loads(server.calls[0].request.body)
    assert (user["username"], user["client"], user["message_endpoint"]) == ("alice", True, "")
    assert server.calls[1].request.headers["Authorization"] == "Token secret"


def test_with_a_port_it_listens_where_it_said(monkeypatch, server, samples):
    def register(request):
        user = json.loads(request.body)
        assert user["notification_secret"] == ""
        requests.post(user["message_endpoint"], json=FINISHED, timeout=PATIENCE)
        return 201, {}, json.dumps({"id": "u", "token": "secret"})

    server.add_passthru("http://127.0.0.1")
    server.add_callback("POST", f"{URL}/api/users/", register)
    run(monkeypatch, URL, samples, "--name", "alice", "--port", "0", "--once")
    assert made(server) == ["POST /api/users/"]


def test_started_again_it_listens_where_the_server_posts_to(monkeypatch, server, samples):
    Server(URL).file("alice", samples.parent, ".token").write_text("secret")
    endpoint = f"http://127.0.0.1:{free_port()}/"

    def answer(request):
        threading.Timer(0.2, requests.post, [endpoint], {"json": FINISHED}).start()
        return 200, {}, json.dumps({"id": "u", "message_endpoint": endpoint})

    server.add_passthru("http://127.0.0.1")
    server.add_callback("GET", f"{URL}/api/users/myself/", answer)
    run(monkeypatch, URL, samples, "--name", "alice", "--port", "0", "--once")
    assert made(server) == ["GET /api/users/myself/"]


def test_with_a_name_that_is_taken_it_ends_with_the_servers_reason(monkeypatch, server, samples):
    server.post(f"{URL}/api/users/", status=400, json={"username": ["taken"]})
    with pytest.raises(SystemExit, match="taken"):
        run(monkeypatch, URL, samples, "--name", "alice")


def test_torch_gets_one_thread_or_as_many_as_asked_for(monkeypatch, server, samples, last_message):
    threads = []
    monkeypatch.setattr("torch.set_num_threads", threads.append)
    myself(server)
    for options in ((), ("--threads", "3")):
        run(monkeypatch, URL, samples, "--token", "secret", "--once", *options)
    assert threads == [1, 3]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("client.py", 150),
        ("../numpy/client.py", 120),
        ("../sklearn/client.py", 120),
        ("../javascript/client.mjs", 180),
        ("../curl/client.sh", 50),
    ],
)
def test_the_clients_are_short(name, lines):
    assert (EXAMPLE / name).read_text().count("\n") <= lines


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("client.py", {"learning", "listener", "requests", "server", "torch"}),
        ("server.py", {"requests"}),
        ("listener.py", set()),
        ("learning.py", {"numpy", "torch"}),
        ("actor.py", {"server"}),
        ("../numpy/client.py", {"numpy", "requests", "safetensors"}),
        ("../numpy/prepare.py", {"numpy", "safetensors"}),
        ("../sklearn/client.py", {"fl_client", "numpy", "safetensors", "sklearn"}),
    ],
)
def test_the_example_needs_nothing_of_this_project(name, needed):
    imported = [
        name.split(".")[0]
        for node in ast.walk(ast.parse((EXAMPLE / name).read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else _names(node))
    ]
    assert set(imported) - sys.stdlib_module_names == needed


def _names(node):
    return [alias.name for alias in node.names]
