"""Predictions with weights that came alone, by code that stays on the server."""

import pytest
import torch
from django.core.files.storage import default_storage
from safetensors.torch import save as save_tensors

from fl_server_ai.aggregation import merging
from fl_server_core.models import LocalModel, Model, Training
from tests.api.conftest import as_user, files, make_module, saved, scripted, tensors, upload
from tests.api.serving import (
    _served_here,  # noqa: F401 (a fixture)
    ask,
    post_model,
    read,
    refusal,
    runners,  # noqa: F401 (a fixture)
)
from tests.factories import UserFactory

INPUT = [[1.0, 2.0, 3.0]]


def attach(client, model, file):
    data = {"serving_file": file} if file else {}
    return client.post(f"/api/models/{model.pk}/serving/", data, format="multipart")


def predict(client, model):
    """Return the model's output, of which an ensemble of one makes no class."""
    body = {"type": "MEAN", "name": "m", "description": "d", "models": [str(model.pk)]}
    mean = Model.objects.get(pk=client.post("/api/models/", body).json()["model_id"])
    return read(ask(client, mean, INPUT))["inference"]


def state_dict(module):
    return saved(module.state_dict())


@pytest.fixture(params=[state_dict, tensors])
def weights(request, client):
    """A linear model's weights, all 2."""
    return post_model(client, request.param(make_module(2.0)))


@pytest.mark.parametrize("save", [saved, scripted])
def test_weights_predict_with_code_that_is_attached(client, weights, save):
    told = refusal(ask(client, weights, INPUT))[0]
    assert f"/api/models/{weights.pk}/serving/" in told
    response = attach(client, weights, save(make_module(7.0)))  # its own weights don't matter
    assert (response.status_code, response.json()) == (
        202,
        {"detail": "Serving Module Upload Accepted"},
    )
    assert predict(client, weights) == [[14.0]]


def test_code_is_replaced_and_what_it_was_let_go(
    client, weights, django_capture_on_commit_callbacks
):
    attach(client, weights, saved(make_module()))
    before = len(default_storage.listdir("")[1])
    with django_capture_on_commit_callbacks(execute=True):
        attach(client, weights, saved(torch.nn.Linear(3, 1)))
    assert len(default_storage.listdir("")[1]) == before
    assert predict(client, weights) == [[14.0]]


def test_each_version_and_each_update_predicts(client, weights):
    attach(client, weights, scripted(make_module()))
    user = UserFactory()
    body = {"model_id": str(weights.pk), "clients": [str(user.pk)], "target_num_updates": 1}
    body |= {"metric_names": [], "aggregation_method": "FedAvg"}
    body |= {"uncertainty_method": "MC_DROPOUT"}  # which tells the mean of outputs
    body |= {"options": {"exchange": {"tensors": {"include": ["bias"]}}}}
    training = Training.objects.get(pk=client.post("/api/trainings/", body).json()["training_id"])
    client.post(f"/api/trainings/{training.pk}/start/")
    form = {
        "round": 0,
        "sample_size": 1,
        "model_file": upload(save_tensors({"bias": torch.ones(1)})),
    }
    path = f"/api/models/{weights.pk}/"
    assert as_user(user).post(path, form, format="multipart").status_code == 201
    assert read(ask(client, LocalModel.objects.get(), INPUT))["inference"] == [[13.0]]
    assert read(ask(client, weights, INPUT))["inference"] == [[14.0]]
    merging.merge_round(training.pk, 0, 0)
    assert read(ask(client, weights, INPUT))["inference"] == [[13.0]]


def test_an_ensemble_predicts(client, weights):
    attach(client, weights, saved(make_module()))
    other = post_model(client, saved(make_module(1.0)))
    body = {"type": "MEAN", "name": "m", "description": "d"}
    body["models"] = [str(weights.pk), str(other.pk)]
    mean = Model.objects.get(pk=client.post("/api/models/", body).json()["model_id"])
    assert read(ask(client, mean, INPUT))["inference"] == [[10.5]]


def test_nobody_downloads_it(client, weights):
    attach(client, weights, saved(make_module(7.0)))
    weights.refresh_from_db()
    code = weights.serving_file.read()
    weights.serving_file.close()
    told = client.get(f"/api/models/{weights.pk}/metadata/").content
    assert weights.serving_file.name.encode() not in told
    for path in ("", "metadata/", "checkpoints/", "?part=exchanged"):
        response = client.get(f"/api/models/{weights.pk}/{path}")
        content = b"".join(response) if response.streaming else response.content
        for close in response._resource_closers:
            close()
        assert code not in content
    assert client.get(f"/api/models/{weights.pk}/serving/").status_code == 405


MODULES = {
    "of another shape": (lambda: torch.nn.Linear(4, 1), "weight' is F32 of shape"),
    "with more": (lambda: torch.nn.Bilinear(3, 3, 1), ""),
    "with less": (lambda: torch.nn.Linear(3, 1, bias=False), "lacks tensor 'bias' of the model."),
    "of another type": (lambda: make_module().double(), "is F32 of shape"),
    "with names of its own": (lambda: torch.nn.Sequential(make_module()), "lacks tensors"),
}


@pytest.mark.parametrize("kind", MODULES)
def test_code_of_another_model_is_refused(client, weights, kind):
    make, words = MODULES[kind]
    before = files()
    [sentence] = refusal(attach(client, weights, saved(make())))
    assert sentence.startswith("Invalid serving file: ")
    assert words in sentence
    assert files() == before


def test_buffers_that_the_weights_lack_are_told(client):
    model = post_model(client, state_dict(torch.nn.BatchNorm1d(2, track_running_stats=False)))
    [sentence] = refusal(attach(client, model, saved(torch.nn.BatchNorm1d(2))))
    assert "which the model lacks" in sentence


@pytest.mark.parametrize("file", [None, upload(b"no model"), state_dict(make_module())])
def test_what_is_no_code_is_refused(client, weights, file):
    assert attach(client, weights, file).status_code == 400


def test_a_model_with_code_of_its_own_needs_none(client, model):
    [sentence] = refusal(attach(client, model, saved(make_module())))
    assert sentence == f"Model {model.pk} brings its own code: it predicts with that."


def test_the_owner_attaches_it(weights, stranger, nobody):
    assert attach(stranger, weights, saved(make_module())).status_code == 403
    assert attach(nobody, weights, saved(make_module())).status_code == 401


def test_who_may_not_upload_code_attaches_none(client, weights, settings):
    settings.FL_MODEL_CODE = "none"
    assert attach(client, weights, saved(make_module())).status_code == 403


def test_it_counts_and_goes_with_its_model(
    client, weights, settings, django_capture_on_commit_callbacks
):
    attach(client, weights, saved(make_module()))
    weights.refresh_from_db()
    settings.FL_QUOTA_BYTES = weights.size + weights.serving_size
    assert attach(client, weights, saved(make_module())).status_code == 507
    name = weights.serving_file.name
    assert default_storage.exists(name)
    with django_capture_on_commit_callbacks(execute=True):
        assert client.delete(f"/api/models/{weights.pk}/").status_code == 200
    assert not default_storage.exists(name)
