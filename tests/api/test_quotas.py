"""What one user may have."""

import pytest
from django.test import Client

from fl_server_ai.trainer import ModelTrainer
from fl_server_core.models import Moments, User
from fl_server_core.quotas import stored_bytes
from tests.api.conftest import as_user, files, make_module, saved, upload
from tests.api.test_swag import send as send_moments
from tests.api.test_swag import swag  # noqa: F401 (a fixture)
from tests.api.test_update import update

TRAINING = {"target_num_updates": 1, "metric_names": [], "aggregation_method": "FedAvg"}


def post_model(client):
    form = {"name": "m", "description": "d", "model_file": saved(make_module())}
    return client.post("/api/models/", form, format="multipart")


def told(response):
    return response.status_code, response.json()


def test_no_more_is_stored_than_the_quota(client, stranger, model, settings):
    settings.FL_QUOTA_BYTES = saved(make_module()).size + 10  # admission makes it smaller
    before = files()
    sentence = f"You may store {settings.FL_QUOTA_BYTES} bytes on this server: delete models first."
    assert told(post_model(client)) == (507, {"detail": sentence})
    assert files() == before
    assert post_model(stranger).status_code == 201
    client.delete(f"/api/models/{model.pk}/")
    assert post_model(client).status_code == 201


def test_versions_count_for_the_owner_and_updates_for_the_participant(
    started, user, participant, settings
):
    model = started.model
    assert stored_bytes(user) == model.size
    model.checkpoints.update(file="an earlier one")
    assert stored_bytes(user) == 2 * model.size
    assert update(as_user(participant), model.pk).status_code == 201
    settings.FL_QUOTA_BYTES = stored_bytes(participant)
    assert update(as_user(participant), model.pk).status_code == 507


@pytest.mark.parametrize("kind", ["file", "mean"])
def test_a_user_has_so_many_models(client, model, settings, kind):
    settings.FL_QUOTA_MODELS = 1
    mean = {"type": "MEAN", "name": "m", "description": "d", "models": [str(model.pk)]}
    response = post_model(client) if kind == "file" else client.post("/api/models/", mean)
    assert told(response) == (429, {"detail": "You may have 1 models: delete some first."})


def test_an_actor_has_so_many_trainings(client, training, settings):
    settings.FL_QUOTA_TRAININGS = 1
    response = client.post("/api/trainings/", TRAINING | {"model_id": str(training.model_id)})
    assert told(response) == (429, {"detail": "You may have 1 trainings: delete some first."})


def test_an_actor_runs_so_many_trainings_at_once(client, started, participant, settings):
    settings.FL_QUOTA_RUNNING = 1
    wanted = TRAINING | {"model_id": str(started.model_id), "clients": [str(participant.pk)]}
    second = client.post("/api/trainings/", wanted).json()["training_id"]
    full = (429, {"detail": "You may run 1 trainings at once: stop one, or wait."})
    assert told(client.post(f"/api/trainings/{second}/start/")) == full
    with ModelTrainer.locked(started.pk) as trainer:
        trainer.stop()
    assert client.post(f"/api/trainings/{second}/start/").status_code == 202
    assert told(client.post(f"/api/trainings/{started.pk}/resume/")) == full


def test_a_user_makes_so_many_groups(client, stranger, settings):
    settings.FL_QUOTA_GROUPS = 1
    first = client.post("/api/groups/", {"name": "a"})
    full = (429, {"detail": "You may be in 1 groups: delete some first."})
    assert told(client.post("/api/groups/", {"name": "b"})) == full
    assert stranger.post("/api/groups/", {"name": "b"}).status_code == 201
    client.delete(f"/api/groups/{first.json()['id']}/")
    assert client.post("/api/groups/", {"name": "c"}).status_code == 201


def test_zero_is_no_limit(client, settings):
    for name in ("BYTES", "MODELS", "TRAININGS", "RUNNING", "GROUPS"):
        setattr(settings, f"FL_QUOTA_{name}", 0)
    assert client.post("/api/groups/", {"name": "a"}).status_code == 201
    assert post_model(client).status_code == 201


def test_admin_shows_what_a_user_has(started, user):
    admin = Client()
    admin.force_login(User.objects.create_superuser("root", password="secret"))
    page = admin.get(f"/admin/fl_server_core/user/{user.pk}/change/").content.decode()
    assert "1 models, 1 trainings, 1 of them running" in page


def test_preprocessing_counts_for_the_owner(client, model, user, settings):
    before, module = stored_bytes(user), saved(make_module()).read()
    form = {"model_preprocessing_file": upload(module)}
    url = f"/api/models/{model.pk}/preprocessing/"
    assert client.post(url, form, format="multipart").status_code == 202
    model.refresh_from_db()
    assert stored_bytes(user) == before + model.preprocessing_file.size
    settings.FL_QUOTA_BYTES = stored_bytes(user)
    form = {"model_preprocessing_file": upload(module)}
    assert client.post(url, form, format="multipart").status_code == 507


@pytest.mark.usefixtures("swag")
def test_moments_count_for_the_participant_while_they_are_kept(started, participant, settings):
    before = stored_bytes(participant)
    assert send_moments(as_user(participant), started.model_id).status_code == 201
    row = Moments.objects.get()
    assert stored_bytes(participant) == before + row.first.size + row.second.size
    settings.FL_QUOTA_BYTES = stored_bytes(participant)
    assert send_moments(as_user(participant), started.model_id).status_code == 507
    Moments.objects.update(first="", second="")
    assert stored_bytes(participant) == before
