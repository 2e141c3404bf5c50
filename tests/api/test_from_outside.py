"""A strategy, a phase and an uncertainty method are a file and an entry in a registry each."""

import pytest
import torch
from torch import nn

from fl_server_ai.aggregation import merging
from fl_server_ai.aggregation.strategies import STRATEGIES
from fl_server_ai.inference import worker
from fl_server_ai.inference.runner.launcher import Launcher
from fl_server_ai.inference.runner.pool import Pool
from fl_server_ai.trainer import ModelTrainer
from fl_server_ai.trainer.phases import PHASES
from fl_server_ai.uncertainty.registry import METHODS, Method
from fl_server_core.models import Training
from tests.ai.inference.runner.conftest import terms
from tests.api.conftest import as_user, saved
from tests.api.serving import (
    _served_here,  # noqa: F401 (a fixture)
    ask,
    post_model,
    read,
    runners,  # noqa: F401 (a fixture)
)
from tests.api.toys import Announcement, Largest
from tests.factories import UserFactory

METHODS_OF_OTHERS = {"aggregation_method": "Largest", "uncertainty_method": "MARGIN"}


@pytest.fixture
def _registered(monkeypatch):
    monkeypatch.setitem(STRATEGIES, "Largest", Largest)
    monkeypatch.setitem(PHASES, Announcement.name, Announcement)
    toy = Method("tests.ai.uncertainty.toy.margin", "one", phase=Announcement.name)
    monkeypatch.setitem(METHODS, "MARGIN", toy)
    launcher = Launcher(terms(memory_bytes=1 << 30))
    monkeypatch.setattr(worker, "RUNNERS", Pool(launcher, idle=0))
    yield
    launcher.close()


def constant(*rows):
    module = nn.Linear(1, 2, bias=False)
    module.weight.data = torch.tensor(rows).reshape(2, 1)
    return saved(module)


def phase():
    return Training.objects.get().phase


@pytest.mark.usefixtures("_registered")
def test_a_training_runs_with_all_three(client):
    model, people = post_model(client, constant(0.0, 0.0)), UserFactory.create_batch(2)
    wanted = METHODS_OF_OTHERS | {
        "model_id": str(model.pk),
        "clients": [str(user.pk) for user in people],
        "target_num_updates": 1,
        "metric_names": [],
        "options": {"aggregation": {"times": 2}},
    }
    training = client.post("/api/trainings/", wanted).json()["training_id"]
    client.post(f"/api/trainings/{training}/start/")
    url = f"/api/models/{model.pk}/"
    for user, rows in zip(people, ((1.0, 5.0), (3.0, 2.0)), strict=True):
        update = {"round": 0, "sample_size": 1, "model_file": constant(*rows)}
        assert as_user(user).post(url, update, format="multipart").status_code == 201
    merging.merge_round(training, 0, 0)

    assert phase() == "announce"
    for user in people:
        [*_, called] = as_user(user).get("/api/notifications/").json()
        acknowledge = f"/api/notifications/{called['id']}/ack/"
        assert as_user(user).post(acknowledge).status_code == 204
    with ModelTrainer.locked(training) as trainer:
        trainer.advance()
    assert phase() == "test"
    for user in people:
        metric = {"metric_names": ["loss"], "metric_values": ["1"]}
        as_user(user).post(f"{url}metrics/", metric, format="multipart")
    assert Training.objects.get().state == "C"

    answer = read(ask(client, model, [[1.0]]))
    assert answer == {"inference": [1], "uncertainty": {"margin": [2.0]}}  # of 6 and 10
