"""A participant as a program: its whole way by recorded answers, and what ends it."""

import numpy as np
import pytest
from responses.matchers import json_params_matcher
from safetensors.numpy import load, save
from torch import nn

from fl_client import Client, Refused, places
from tests.client.conftest import URL

API = f"{URL}/api"
ME = {"id": "me", "username": "alice", "message_endpoint": ""}


@pytest.fixture
def client():
    client = Client(URL, "alice")
    places.keep("alice", URL, "token", "secret")
    client.train(lambda model, job: ({"w": model["w"] + 1}, 3))
    client.test(lambda model, job: {"loss": 0.5})
    return client


def item(kind, number=0):
    body = {"round": number, "global_model_uuid": "m"}
    return {"id": f"n{number}", "notification_type": kind, "training_uuid": "t", "body": body}


def test_an_update_is_one_request_which_says_all(server, client):
    server.get(f"{API}/users/myself/", json=ME)
    items = [item("UPDATE_ROUND_START"), item("TRAINING_FINISHED", 1)]
    server.get(f"{API}/notifications/", json=items)
    now = {"phase": "update", "number": 0, "awaited": ["me"]}
    training = {
        "id": "t",
        "model": "m",
        "aggregation_method": "FedAvg",
        "options": {},
        "round": now,
    }
    server.get(f"{API}/trainings/t/", json=training)
    content = save({"w": np.zeros(2, "f4")})
    server.get(f"{API}/models/m/", body=content, headers={"ETag": '"v1"'})
    server.post(f"{API}/models/m/", status=201, json={})
    server.post(f"{API}/notifications/n0/ack/", status=204)
    server.post(f"{API}/notifications/n1/ack/", status=204)
    client.run(once=True)
    [update] = [call.request for call in server.calls if call.request.method == "POST"][:1]
    assert update.params == {"round": "0", "sample_size": "3", "encoding": "state", "base": "v1"}
    assert load(bytes(update.body))["w"].tolist() == [1, 1]
    assert {call.request.headers["Authorization"] for call in server.calls} == {"Token secret"}


def test_metrics_that_are_no_numbers_are_reported_as_text(server, client):
    said = {"metric_names": ["loss", "accuracy"], "metric_values": ["nan", 0.5]}
    server.post(f"{API}/models/m/metrics/", json={}, match=[json_params_matcher(said)])
    client.api.report_metrics("m", {"loss": float("nan"), "accuracy": 0.5})


def test_ctrl_c_ends_it_without_a_word(server, client):
    server.get(f"{API}/users/myself/", json=ME)

    def interrupt(request):
        raise KeyboardInterrupt

    server.add_callback("GET", f"{API}/notifications/", interrupt)
    client.run()


def test_who_pulls_is_posted_to_no_more(server, client):
    server.get(f"{API}/users/myself/", json=ME | {"message_endpoint": "http://old.test/"})
    change = json_params_matcher({"message_endpoint": ""})
    server.patch(f"{API}/users/myself/", json=ME, match=[change])
    items = [item("CLIENT_REMOVED")]
    server.get(f"{API}/notifications/", json=items)
    server.post(f"{API}/notifications/n0/ack/", status=204)
    client.run(once=True)


def test_each_training_gets_a_module_of_its_own():
    with pytest.raises(TypeError, match="Net"):
        Client(URL, model=nn.Linear(1, 1))
    assert Client(URL, model=nn.Identity).api.transport.url == URL


def test_a_token_of_the_environment_is_nobodys_who_has_a_name(server, client, monkeypatch):
    monkeypatch.setenv("FL_TOKEN", "the actor's")
    server.get(f"{API}/users/myself/", json=ME)
    server.get(f"{API}/notifications/", status=403)
    for who, token in ((client, "secret"), (Client(URL), "the actor's")):
        who.train(len)
        who.test(len)
        with pytest.raises(Refused):
            who.run()
        assert server.calls[-1].request.headers["Authorization"] == f"Token {token}"


def test_the_environment_says_where_the_server_is(monkeypatch):
    assert Client().api.transport.url == "http://127.0.0.1:8000"
    monkeypatch.setenv("FL_URL", URL)
    assert Client().api.transport.url == URL
