"""Which models predict together, and by which method."""

import pytest
import torch
from django.utils import timezone
from safetensors.torch import save_file
from torch import nn

from fl_server_core.files import scratch_path, store
from fl_server_core.models import LocalModel
from tests.api.conftest import saved, scripted
from tests.api.serving import (
    _served_here,  # noqa: F401 (a fixture)
    ask,
    post_model,
    read,
    refusal,
    runners,  # noqa: F401 (a fixture)
)
from tests.factories import LocalModelFactory, TrainingFactory, UserFactory


def linear(value=1.0):
    """Return a model whose two outputs are the input times this."""
    module = nn.Linear(1, 2, bias=False)
    nn.init.constant_(module.weight, value)
    return module


def stored(**tensors):
    """Return the stored safetensors file of these."""
    with scratch_path() as path:
        save_file(tensors, path)
        return store(path)


def update(model, value, **fields):
    """Return a local model of this weight."""
    file = stored(weight=torch.full((2, 1), value))
    fields = {"owner": UserFactory(), "closed_at": timezone.now()} | fields
    return LocalModelFactory(base_model=model, file=file.name, sha256=file.sha256, **fields)


@pytest.fixture
def model(client):
    return post_model(client, scripted(linear()))


@pytest.fixture
def mean(client, user):
    """A MEAN model of weights 1 and 3, without a training."""
    members = [post_model(client, saved(linear(value))) for value in (1.0, 3.0)]
    body = {"type": "MEAN", "name": "m", "description": "d"}
    body["models"] = [str(member.pk) for member in members]
    answer = client.post("/api/models/", body, format="json").json()
    return type(members[0]).objects.get(pk=answer["model_id"])


def test_without_a_training_there_is_no_uncertainty(client, model):
    assert read(ask(client, model, [[2.0]])) == {"inference": [0], "uncertainty": {}}


def test_a_mean_model_is_an_ensemble_without_a_training(client, mean):
    answer = read(ask(client, mean, [[2.0]]))
    assert answer["inference"] == [[4.0, 4.0]]
    assert answer["uncertainty"]["variance"] == [[8.0, 8.0]]


def test_a_mean_model_may_hold_updates(client, model, user):
    members = [
        update(model, value, owner=user, closed_at=None, round=n)
        for n, value in enumerate((2.0, 4.0))
    ]
    body = {"type": "MEAN", "name": "m", "description": "d"}
    body["models"] = [str(member.pk) for member in members]
    answer = client.post("/api/models/", body, format="json").json()
    mean = type(model).objects.get(pk=answer["model_id"])
    assert read(ask(client, mean, [[1.0]]))["inference"] == [[3.0, 3.0]]


def test_an_ensemble_is_the_updates_of_the_last_merged_round(client, model, user):
    TrainingFactory(model=model, actor=user, uncertainty_method="ENSEMBLE")
    assert "no ensemble yet" in refusal(ask(client, model, [[1.0]]))[0]
    update(model, 100.0, round=0)
    for value in (2.0, 4.0):
        update(model, value, round=1)
    update(model, 100.0, round=2, closed_at=None)  # of the round that is under way
    answer = read(ask(client, model, [[1.0]]))
    assert answer["inference"] == [[3.0, 3.0]]
    assert answer["uncertainty"]["variance"] == [[2.0, 2.0]]
    LocalModel.objects.filter(round=1).update(file="")  # kept as a ledger
    assert read(ask(client, model, [[1.0]]))["inference"] == [[100.0, 100.0]]


def test_an_update_is_served_by_its_base_models_training(client, model, user):
    local = update(model, 5.0, owner=user, closed_at=None)
    assert read(ask(client, local, [[1.0]]))["uncertainty"] == {}
    training = TrainingFactory(model=model, actor=user, uncertainty_method="MC_DROPOUT")
    assert read(ask(client, local, [[1.0]]))["inference"] == [[5.0, 5.0]]
    training.uncertainty_method = "ENSEMBLE"
    training.save()
    answer = read(ask(client, local, [[1.0]]))
    assert answer["inference"] == [[5.0, 5.0]]
    assert answer["uncertainty"]["variance"] == [[0.0, 0.0]]


def test_swag_samples_what_the_moments_say(client, model, user):
    options = {"uncertainty": {"N": 500}}
    TrainingFactory(model=model, actor=user, uncertainty_method="SWAG", options=options)
    assert "no SWAG moments yet" in refusal(ask(client, model, [[1.0]]))[0]
    first = torch.full((2, 1), 3.0)
    model.swag_first_moment = stored(weight=first).name
    model.swag_second_moment = stored(weight=first**2 + 0.25).name
    model.save()
    answer = read(ask(client, model, [[1.0]]))
    assert answer["inference"][0] == pytest.approx([3.0, 3.0], rel=0.05)
    assert answer["uncertainty"]["std"][0] == pytest.approx([0.5, 0.5], rel=0.2)
    assert answer["inference"][0][0] != answer["inference"][0][1]


def test_softmax_is_applied_where_the_training_says_so(client, model, user):
    options = {"uncertainty": {"N": 2, "softmax": True}}
    TrainingFactory(model=model, actor=user, uncertainty_method="MC_DROPOUT", options=options)
    answer = read(ask(client, model, [[2.0]]))
    assert answer["inference"] == [[0.5, 0.5]]
    assert answer["uncertainty"]["predictive_entropy"][0] == pytest.approx(0.6931, abs=1e-3)


def test_the_new_round_is_served_as_soon_as_it_is_there(client, model):
    first = read(ask(client, model, [[1.0]], "safetensors"))
    other = post_model(client, saved(nn.Linear(1, 5)))
    type(model).objects.filter(pk=model.pk).update(file=other.file.name, sha256=other.sha256)
    assert read(ask(client, model, [[1.0]], "safetensors")).keys() == first.keys()


def test_two_models_of_one_file_share_nothing_but_it(client, user):
    models = [post_model(client, saved(linear(7.0))) for _ in range(2)]
    TrainingFactory(model=models[0], actor=user, uncertainty_method="MC_DROPOUT")
    assert read(ask(client, models[0], [[1.0]]))["inference"] == [[7.0, 7.0]]
    assert read(ask(client, models[1], [[1.0]]))["inference"] == [0]
