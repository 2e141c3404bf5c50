"""Serving without a broker: the tasks run in the test, in real runners."""

import json
import pickle

import pytest
from safetensors.torch import load as load_tensors

from fl_server_ai import tasks
from fl_server_ai.inference import client as serving
from fl_server_ai.inference import worker
from fl_server_ai.inference.runner.launcher import Launcher
from fl_server_ai.inference.runner.pool import Pool
from fl_server_core.models import Model
from tests.ai.inference.runner.conftest import terms
from tests.api.conftest import body_of
from tests.waiting import PATIENCE

URL = "/api/inference/"


@pytest.fixture(scope="module")
def runners():
    launcher = Launcher(terms(memory_bytes=1 << 30))
    pool = Pool(launcher, idle=3)
    yield pool
    pool.close()
    launcher.close()


@pytest.fixture(autouse=True)
def _served_here(monkeypatch, settings, runners):
    settings.FL_RUNNER_SECONDS = PATIENCE
    monkeypatch.setattr(worker, "RUNNERS", runners)
    monkeypatch.setattr(worker, "SUMMARISERS", runners)
    monkeypatch.setattr(serving, "ask", lambda task, *args: getattr(tasks, task)(*args))


def post_model(client, file, **fields):
    data = {"name": "m", "description": "d", "model_file": file} | fields
    response = client.post("/api/models/", data, format="multipart")
    assert response.status_code == 201, response.content
    return Model.objects.get(pk=response.json()["model_id"])


def ask(client, model, value, form=None):
    """Send the input as JSON."""
    body = {"model_id": str(model.pk), "model_input": value}
    return client.post(URL, body | ({"return_format": form} if form else {}), format="json")


def send(client, model, file, form=None):
    """Send the input in a form."""
    body = {"model_id": str(model.pk), "model_input": file}
    return client.post(URL, body | ({"return_format": form} if form else {}), format="multipart")


def read(response):
    """Return what an answer of any form says."""
    assert response.status_code == 200, response.content
    content = body_of(response)
    if response["Content-Type"] == "application/json":
        return json.loads(content)
    return load_tensors(content) if content[8:9] == b"{" else pickle.loads(content)


def refusal(response, code=400):
    """Return what is said with an error."""
    assert response.status_code == code, response.content
    return response.json()
