"""Rows that go while a request is on its way: one of both wins, and nothing is a fault."""

import pytest

from fl_server_ai.trainer import opening
from fl_server_core import uploads
from fl_server_core.models import Model, Training
from tests.api.conftest import make_module, saved
from tests.factories import LocalModelFactory, UserFactory

GONE = {"detail": "The model was removed meanwhile."}


@pytest.fixture
def removed_after(monkeypatch, model):
    """Remove the model when a function has done its part of the request."""

    def arrange(module, name):
        function = getattr(module, name)

        def wrapped(*args, **kwargs):
            result = function(*args, **kwargs)
            Model.objects.filter(pk=model.pk).delete()
            return result

        monkeypatch.setattr(module, name, wrapped)

    return arrange


def test_a_model_removed_while_its_preprocessing_was_read(client, model, removed_after):
    removed_after(uploads, "store")
    response = client.post(
        f"/api/models/{model.pk}/preprocessing/",
        {"model_preprocessing_file": saved(make_module())},
        format="multipart",
    )
    assert (response.status_code, response.json()) == (404, GONE)
    assert not Model.objects.exists()


def test_a_model_removed_while_a_training_is_opened(client, model, removed_after):
    removed_after(opening, "_check_trainable")
    wanted = {
        "model_id": str(model.pk),
        "target_num_updates": 1,
        "metric_names": [],
        "aggregation_method": "FedAvg",
    }
    response = client.post("/api/trainings/", wanted)
    assert (response.status_code, response.json()) == (404, GONE)
    assert not Training.objects.exists()


@pytest.mark.parametrize("path", ["models/{training.model_id}/", "trainings/{training.pk}/"])
def test_what_is_removed_twice_at_once_is_removed_once(client, training, monkeypatch, path):
    path = "/api/" + path.format(training=training)
    check = "fl_server_api.views.base.ViewSet.check_object_permissions"
    monkeypatch.setattr(check, lambda *_: Model.objects.all().delete())
    response = client.delete(path)
    assert response.status_code == 404
    assert response.json()["detail"].endswith("was removed meanwhile.")


@pytest.mark.parametrize("tail", ["", "latest/"])
def test_a_model_removed_while_it_is_listed(client, training, monkeypatch, tail):
    check = "fl_server_api.views.base.ViewSet.check_object_permissions"
    monkeypatch.setattr(check, lambda *_: Model.objects.all().delete())
    response = client.get(f"/api/trainings/{training.pk}/models/{tail}")
    assert (response.status_code, response.json()) == (200, [])


def test_the_newest_update_is_that_of_the_latest_round(client, training, participant):
    for number in (1, 0):  # a clock that was set back between the two
        LocalModelFactory(base_model=training.model, owner=participant, round=number)
    rows = client.get(f"/api/trainings/{training.pk}/models/latest/").json()
    assert [row["round"] for row in rows] == [0, 1]


def test_updates_to_a_removed_training_do_not_count_in_the_next(
    client, started, participant, model
):
    second = UserFactory()
    started.participants.add(second)
    LocalModelFactory(base_model=model, owner=participant)
    assert client.delete(f"/api/trainings/{started.pk}/").status_code == 200
    wanted = {
        "model_id": str(model.pk),
        "target_num_updates": 1,
        "metric_names": [],
        "aggregation_method": "FedAvg",
        "clients": [str(participant.pk)],
    }
    response = client.post("/api/trainings/", wanted)
    url = f"/api/trainings/{response.json()['training_id']}/"
    assert client.post(f"{url}start/").status_code == 202
    assert client.get(url).json()["local_models_arrived"] == 0
    assert len(client.get(f"{url}models/").json()) == 1


def test_a_model_whose_training_never_began_is_used_itself(client, training, model):
    training.delete()
    wanted = {
        "model_id": str(model.pk),
        "target_num_updates": 1,
        "metric_names": [],
        "aggregation_method": "FedAvg",
    }
    assert client.post("/api/trainings/", wanted).status_code == 201
    assert Training.objects.get().model == model
