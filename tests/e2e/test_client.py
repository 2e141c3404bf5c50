"""The Python client against real servers: pushed to and pulling, killed, cut off, isolated."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from benchmarks.links import Proxy
from tests.e2e.clients import ended, users_of, zeros
from tests.e2e.people import Person
from tests.e2e.test_uploads import serve
from tests.e2e.tiny import scripted, weight_of
from tests.servers import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture
def users(tmp_path, embedded):
    with users_of(tmp_path, embedded) as started:
        yield started


def begin(actor, content, ids, rounds=2, **fields):
    model = actor.upload_model(content)
    plan = {
        "model_id": model,
        "clients": ids,
        "target_num_updates": rounds,
        "metric_names": ["accuracy"],
        "aggregation_method": "FedAvg",
    }
    training = actor.ask("POST", "/trainings/", json=plan | fields)["training_id"]
    actor.start(training)
    return model


def until(line, process):
    """Wait until it says a line that begins so; return that."""
    found = next((said for said in process.stdout if said.startswith(line)), None)
    assert found, f"it never said {line}"
    return found


def test_one_that_pulls_and_one_that_is_posted_to_train_together(users):
    actor = Person(users.url)
    pulls = users.start("pulls", 1, encoding="delta")
    posted = users.start("posted", 3, listen=["127.0.0.1", 0], encoding="topk", share=1)
    model = begin(actor, zeros(), users.registered(actor, "pulls", "posted"))
    for said in ended(pulls, posted):
        assert said.count("training") == 2
    assert load(actor.ask("GET", f"/models/{model}/"))["weight"].tolist() == [[4, 4]]


@pytest.mark.parametrize(
    ("fields", "weight"),
    [
        ({"options": {"daisy_chain_period": 2}}, 8),
        ({"uncertainty_method": "SWAG", "options": {"exchange": {"dtype": "int8"}}}, 4),
    ],
)
def test_a_client_does_what_the_trainings_options_ask_for(users, fields, weight):
    actor, options = Person(users.url), {"encoding": "delta", "dtype": "float16"}
    clients = [users.start("alice", 1, **options), users.start("bob", 3, **options)]
    model = begin(actor, zeros(), users.registered(actor, "alice", "bob"), **fields)
    ended(*clients)
    assert load(actor.ask("GET", f"/models/{model}/"))["weight"].tolist() == [[weight] * 2]


def test_a_client_killed_over_its_work_does_it_when_it_is_back(users):
    actor, slow = Person(users.url), users.slow("alice")
    killed = users.start("alice", 1)
    begin(actor, zeros(), users.registered(actor, "alice"))
    until("training 0", killed)
    killed.kill()
    slow.unlink()
    [said] = ended(users.start("alice", 1))
    assert said.count("training") == 2


def test_one_posted_to_that_is_killed_still_has_its_message(users):
    actor, slow = Person(users.url), users.slow("alice")
    killed = users.start("alice", 1, listen=["127.0.0.1", 0])
    begin(actor, zeros(), users.registered(actor, "alice"))
    until("training 0", killed)
    killed.kill()
    slow.unlink()
    [said] = ended(users.start("alice", 1, listen=["127.0.0.1", 0]))
    assert "training 0" in said


def test_a_client_outlives_its_server_that_is_killed_over_a_round(tmp_path):
    port, url = (number := free_port()), f"http://127.0.0.1:{number}"
    with users_of(tmp_path, url) as users:
        slow, client = users.slow("alice"), None
        with serve(tmp_path, port):
            actor, client = Person(url), users.start("alice", 1)
            model = begin(actor, zeros(), users.registered(actor, "alice"))
            until("training 0", client)
        slow.unlink()
        until(f"{url} can't be reached", client)
        with serve(tmp_path, port):
            assert ended(client)[0].count("training") == 1  # it goes on with what it has trained
            weight = load(actor.be_patient().ask("GET", f"/models/{model}/"))["weight"]
            assert weight.tolist() == [[2, 2]]


def test_large_models_come_through_links_that_are_cut(tmp_path, embedded):
    inputs = 4_000_000  # 16 MB, which the link lets through in three pieces on average
    proxy = Proxy(embedded, 6e6)
    with proxy.listening() as url, users_of(tmp_path, embedded, inputs=inputs) as users:
        actor, client = Person(embedded), users.start("alice", 1, url=url)
        ids = users.registered(actor, "alice")
        model = begin(actor, zeros(inputs), ids)
        ended(client)
    assert proxy.cuts > 2
    assert np.array_equal(
        load(actor.ask("GET", f"/models/{model}/"))["weight"], np.full((1, inputs), 2)
    )


def test_a_model_with_code_runs_where_that_is_wanted(users):
    actor = Person(users.url)
    trusting, isolating = (
        users.start("trusts", 1, trust_model=True),
        users.start("isolates", 3, isolate=True),
    )
    model = begin(actor, scripted(0.0), users.registered(actor, "trusts", "isolates"))
    assert f"training 0 {isolating.pid}\n" not in ended(trusting, isolating)[1]
    assert weight_of(actor.ask("GET", f"/models/{model}/")).tolist() == [[4, 4]]


def test_a_process_for_a_models_code_goes_with_its_client(users):
    actor = Person(users.url)
    users.slow("alice")
    client = users.start("alice", 1, isolate=True)
    begin(actor, scripted(0.0), users.registered(actor, "alice"))
    child = int(until("training 0", client).split()[2])
    assert child != client.pid
    client.kill()
    wait_until(lambda: not Path(f"/proc/{child}").exists())
