"""The Python client against real servers: pushed to and pulling, killed, cut off, isolated."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from safetensors.numpy import load, save

from benchmarks.links import Proxy
from tests.e2e.conftest import ROOT
from tests.e2e.people import Person
from tests.e2e.test_uploads import serve
from tests.e2e.tiny import scripted, weight_of
from tests.servers import free_port
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.e2e

SCRIPT = ROOT / "tests" / "e2e" / "client_script.py"


class Users:
    """Starts clients in a folder of the test's; each keeps its token there."""

    def __init__(self, folder, url, inputs=2):
        self.folder, self.url, self.inputs, self.processes = folder, url, inputs, []

    def start(self, name, add, url="", **options):
        command = [sys.executable, SCRIPT, self.name(name), add, self.inputs, json.dumps(options)]
        homes = {f"XDG_{kind}_HOME": str(self.folder / kind) for kind in ("CONFIG", "STATE")}
        environment = {"FL_URL": url or self.url, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=self.folder,
            env=os.environ | homes | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def name(self, name):
        return f"{self.folder.name}-{name}"

    def registered(self, person, *names):
        """Wait for users of these names; return their ids."""
        wanted = {self.name(name) for name in names}

        def found():
            users = person.ask("GET", "/users/")
            ids = [user["id"] for user in users if user["username"] in wanted]
            return ids if len(ids) == len(wanted) else None

        return wait_until(found)

    def slow(self, name):
        """Have a client's training take as long as this file is there."""
        file = self.folder / f"{self.name(name)}.slow"
        file.touch()
        return file


@contextmanager
def users_of(folder, url, **options):
    users = Users(folder, url, **options)
    try:
        yield users
    finally:
        for process in users.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def users(tmp_path, embedded):
    with users_of(tmp_path, embedded) as started:
        yield started


def zeros(inputs=2):
    return save({"weight": np.zeros((1, inputs), "f4")})


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


def ended(*processes):
    """Wait for their ends; return what they said."""
    said = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said


def until(line, process):
    assert any(said.startswith(line) for said in process.stdout), f"it never said {line}"


def test_one_that_pulls_and_one_that_is_posted_to_train_together(users):
    actor = Person(users.url)
    pulls = users.start("pulls", 1, encoding="delta")
    posted = users.start("posted", 3, listen=["127.0.0.1", 0], encoding="topk", share=1)
    model = begin(actor, zeros(), users.registered(actor, "pulls", "posted"))
    for said in ended(pulls, posted):
        assert said.count("training") == 2
    assert load(actor.ask("GET", f"/models/{model}/"))["weight"].tolist() == [[4, 4]]


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
    actor, refusing = Person(users.url), users.start("refuses", 1)
    begin(actor, scripted(0.0), users.registered(actor, "refuses"))
    said, _ = refusing.communicate(timeout=PATIENCE)
    assert refusing.returncode == 1
    assert "holds code" in said
    trusting, isolating = (
        users.start("trusts", 1, trust_model=True),
        users.start("isolates", 3, isolate=True),
    )
    model = begin(actor, scripted(0.0), users.registered(actor, "trusts", "isolates"))
    assert f"training 0 {isolating.pid}\n" not in ended(trusting, isolating)[1]
    assert weight_of(actor.ask("GET", f"/models/{model}/")).tolist() == [[4, 4]]
