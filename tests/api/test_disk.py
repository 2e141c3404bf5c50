"""What is replaced, deleted or refused takes no room on the disk any more."""

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from fl_server_core.models import Model
from fl_server_core.removal import remove_model
from tests.api.conftest import as_user, body_of, files, load, make_module, saved
from tests.api.test_update import update
from tests.factories import UserFactory


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    """Return a call's result when what it has waited with is done too."""

    def call(function, *args, **kwargs):
        with django_capture_on_commit_callbacks(execute=True):
            return function(*args, **kwargs)

    return call


def give_preprocessing(client, model):
    form = {"model_preprocessing_file": saved(make_module())}
    url = f"/api/models/{model.pk}/preprocessing/"
    assert client.post(url, form, format="multipart").status_code == 202


def test_of_repeated_updates_one_is_stored(started, participant, committed):
    before = files()
    for number in range(5):
        module = saved(make_module(number))
        response = committed(update, as_user(participant), started.model_id, model_file=module)
        assert response.status_code == 201
        assert len(files() - before) == 1


@pytest.mark.parametrize("sent", ["stranger", "of another round", "twice"])
def test_a_refused_update_is_not_stored(started, participant, committed, sent):
    update(as_user(participant), started.model_id)
    before = files()
    caller = as_user(UserFactory() if sent == "stranger" else participant)
    committed(update, caller, started.model_id, round=1 if sent == "of another round" else 0)
    assert len(files()) == len(before)


def test_a_replaced_preprocessing_is_gone(client, model, committed):
    give_preprocessing(client, model)
    before = files()
    committed(give_preprocessing, client, model)
    assert len(files()) == len(before)
    assert len(files() & before) == len(before) - 1


def test_a_removed_model_takes_its_files_along(client, started, participant, committed):
    give_preprocessing(client, started.model)
    update(as_user(participant), started.model_id)
    assert len(files()) == 3
    committed(client.delete, f"/api/models/{started.model_id}/")
    assert files() == set()


def test_while_a_backup_is_made_everything_stays(client, model, committed):
    default_storage.save("keep", ContentFile(b""))
    committed(remove_model, model)
    assert files() == {"keep", model.file.name}


def test_a_file_that_a_copy_of_the_model_names_stays(client, user, training, committed):
    wanted = {"model_id": str(training.model_id), "target_num_updates": 1, "metric_names": []}
    made = client.post("/api/trainings/", wanted | {"aggregation_method": "FedAvg"})
    clone = Model.objects.exclude(pk=training.model_id).get()
    assert (made.status_code, clone.file.name) == (201, training.model.file.name)
    committed(remove_model, training.model)
    assert load(client.get(f"/api/models/{clone.pk}/")).weight.tolist() == [[0.0] * 3]
    committed(remove_model, clone)
    assert files() == set()


def test_a_download_under_way_comes_to_its_end(client, model, committed):
    response = client.get(f"/api/models/{model.pk}/")
    committed(remove_model, model)
    assert files() == set()
    assert len(body_of(response)) == model.size


def test_what_is_rolled_back_deletes_nothing(client, model, committed):
    before = files()
    with pytest.raises(Model.DoesNotExist):
        remove_model(Model(kind="GLOBAL"))
    assert files() == before
