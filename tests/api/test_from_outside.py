"""What CONTRIBUTING.md shows is what a training runs with: each a file and an entry in a registry.

`pytest tests/api/test_from_outside.py --write-docs` writes the files into the document anew.
"""

import json
import re

import pytest
import torch
from django.core.files.base import ContentFile
from torch import nn

from fl_archive.formats import FORMATS
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
from tests.compose import ROOT
from tests.contributed.announcement import Announcement
from tests.contributed.json_file import JSON
from tests.contributed.largest import Largest
from tests.factories import UserFactory

DOCUMENT = ROOT / "CONTRIBUTING.md"
SHOWN = re.compile(r"(`(tests/contributed/\w+\.py)`:\n\n```python\n)(.*?)(?=```)", re.DOTALL)
METHODS_OF_OTHERS = {"aggregation_method": "Largest", "uncertainty_method": "MARGIN"}


@pytest.fixture
def _registered(monkeypatch):
    monkeypatch.setitem(STRATEGIES, "Largest", Largest)
    monkeypatch.setitem(PHASES, Announcement.name, Announcement)
    margin = Method("tests.contributed.margin.margin", "one", phase=Announcement.name)
    monkeypatch.setitem(METHODS, "MARGIN", margin)
    monkeypatch.setitem(FORMATS, "json", JSON)
    launcher = Launcher(terms(memory_bytes=1 << 30))
    monkeypatch.setattr(worker, "RUNNERS", Pool(launcher, idle=0))
    yield
    launcher.close()


def constant(*rows):
    module = nn.Linear(1, 2, bias=False)
    module.weight.data = torch.tensor(rows).reshape(2, 1)
    return saved(module)


def as_json(*rows):
    return ContentFile(json.dumps({"weight": [[row] for row in rows]}), "weights.json")


def phase():
    return Training.objects.get().phase


def test_the_document_shows_the_files(pytestconfig):
    text = DOCUMENT.read_text()
    if pytestconfig.getoption("--write-docs"):
        text = SHOWN.sub(lambda found: found[1] + (ROOT / found[2]).read_text(), text)
        DOCUMENT.write_text(text)
    shown = {found[2]: found[3] for found in SHOWN.finditer(text)}
    files = (ROOT / "tests" / "contributed").glob("[a-z]*.py")
    assert shown == {f"tests/contributed/{path.name}": path.read_text() for path in files}


@pytest.mark.usefixtures("_registered")
def test_a_training_runs_with_all_four(client):
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
    for user, file in zip(people, (constant(1.0, 5.0), as_json(3.0, 2.0)), strict=True):
        update = {"round": 0, "sample_size": 1, "model_file": file}
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
