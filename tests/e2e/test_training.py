"""A whole training over HTTP: clients as processes, some of them stock ones, on real data."""

import io
import os
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest
import torch

from tests.e2e.clients import at_home
from tests.e2e.conftest import ROOT
from tests.e2e.people import Person
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.e2e

DIGITS = ROOT / "examples" / "digits"
STOCK = ROOT / "tests" / "e2e" / "stock_client.py"
CLIENTS = 5
ROUNDS = 3


def run(*command):
    subprocess.run([sys.executable, *map(str, command)], check=True)


def command_of(number, server, folder):
    """The first two are posted to, the third fetches its notifications, the others are stock."""
    data, name = folder / f"client-{number}.npz", f"{folder.name}-{number}"
    if number > 3:
        return STOCK, server, data, name
    posted = ("--port", 0) if number <= 2 else ()
    return DIGITS / "client.py", data, "--name", name, "--once", *posted


@pytest.fixture
def clients(server, tmp_path):
    """Five processes, which register; each writes a log beside its slice of the data."""
    run(DIGITS / "data.py", tmp_path, "--of", CLIENTS, "--seed", 1)
    with ExitStack() as stack:
        processes = []
        for number in range(1, CLIENTS + 1):
            command = [sys.executable, *map(str, command_of(number, server, tmp_path))]
            log = stack.enter_context((tmp_path / f"client-{number}.log").open("w"))
            processes.append(
                subprocess.Popen(
                    command,
                    env=os.environ | at_home(tmp_path, server),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
            stack.callback(processes[-1].wait)
            stack.callback(processes[-1].kill)
        yield processes


def registered(actor, tmp_path):
    users = [u for u in actor.ask("GET", "/users/") if u["username"].startswith(tmp_path.name)]
    return users if len(users) == CLIENTS else None


def accuracy(content, test):
    model = torch.jit.load(io.BytesIO(content)).eval()
    with torch.no_grad():
        hits = model(torch.from_numpy(test["x"])).argmax(dim=1).numpy() == test["y"]
    return hits.mean()


@pytest.fixture
def trained(server, clients, tmp_path):
    """A function that runs a training to its end; it returns actor, participants and model."""

    def run_training(rounds, **fields):
        run(DIGITS / "model.py", tmp_path / "model.pt")
        actor = Person(server).be_patient()
        model = actor.upload_model((tmp_path / "model.pt").read_bytes())
        people = wait_until(lambda: registered(actor, tmp_path))
        training = actor.open_training(model, [], rounds, **fields)
        form = {"clients": [user["id"] for user in people]}
        actor.ask("PUT", f"/trainings/{training}/clients/", json=form, expect=202)
        actor.start(training)
        state = wait_until(lambda: finished(actor, training))
        assert (state["state"], state["state_reason"]) == ("C", "")
        for process in clients:
            assert process.wait(timeout=PATIENCE) == 0
        return actor, people, model

    return run_training


@pytest.mark.smoke
@pytest.mark.parametrize("server", ["embedded"], indirect=True)
def test_five_clients_learn_together_what_none_could_alone(trained, tmp_path):
    actor, people, model = trained(ROUNDS)
    metrics = actor.ask("GET", f"/models/{model}/metrics/")
    reports = sorted((row["step"], row["reporter"]) for row in metrics if row["key"] == "accuracy")
    assert reports == sorted((n, user["id"]) for n in range(1, ROUNDS + 1) for user in people)
    with np.load(tmp_path / "test.npz") as test:
        assert accuracy(actor.ask("GET", f"/models/{model}/"), test) >= 0.93


@pytest.mark.parametrize("server", ["production"], indirect=True)
def test_swag_moments_of_five_clients_make_predictions_with_their_spread(trained, tmp_path):
    actor, _, model = trained(2, uncertainty_method="SWAG")
    for number in range(1, CLIENTS + 1):
        said = (tmp_path / f"client-{number}.log").read_text()
        assert (said.count("SWAG_ROUND_START"), said.count("too late")) == (2, 0)
    with np.load(tmp_path / "test.npz") as test:
        form = {"model_id": model, "model_input": test["x"][:100].tolist()}
        answer = actor.ask("POST", "/inference/", json=form)
        hits = np.argmax(answer["inference"], axis=1) == test["y"][:100]
    assert hits.mean() >= 0.85
    assert np.min(answer["uncertainty"]["std"]) > 0


def finished(actor, training):
    state = actor.ask("GET", f"/trainings/{training}/")
    return state if state["state"] in "CE" else None
