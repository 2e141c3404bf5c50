import uuid
from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from django.db.models.signals import post_init

from fl_server_api.serializers.model import MAX_MEMBERS
from fl_server_core.models import Model, Training, User
from fl_server_core.models.model import ModelKind
from tests.api.conftest import as_user, files, make_module, saved, scripted, upload
from tests.factories import LocalModelFactory, ModelFactory, TrainingFactory

URL = "/api/models/"


def form(**fields):
    return {"name": "a", "description": "b", "model_file": saved(make_module())} | fields


def post(client, data, **kwargs):
    return client.post(URL, data, format="multipart", **kwargs)


# --- Uploads -----------------------------------------------------------------------------


def test_an_upload_becomes_a_model_of_the_caller(client, user):
    response = post(client, form(input_shape=["None", "3"], round="2"))
    model = Model.objects.get()
    assert response.status_code == 201
    assert response.json() == {"detail": "Model Upload Accepted", "model_id": str(model.pk)}
    assert (model.owner, model.kind, model.round) == (user, ModelKind.GLOBAL, 2)
    assert (model.name, model.description, model.input_shape) == ("a", "b", [None, 3])
    assert files() == {model.file.name}


def test_a_torchscript_archive_is_a_model(client):
    assert post(client, form(model_file=scripted(make_module()))).status_code == 201


@pytest.mark.parametrize(
    ("given", "kind"), [("swag", "SWAG"), ("SWAG", "SWAG"), ("global", "GLOBAL")]
)
def test_the_type_may_be_written_in_any_case(client, given, kind):
    assert post(client, form(type=given)).status_code == 201
    assert Model.objects.get().kind == kind


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (["null", "3"], [None, 3]),
        (["None"], [None]),
        (["3", "x"], None),
        (["-1"], None),
        (["9" * 5000], None),
        ([str(2**63)], None),
        (["1"] * 65, None),
        ([""], None),
    ],
)
def test_an_unusable_input_shape_counts_as_not_given(client, given, stored):
    assert post(client, form(input_shape=given)).status_code == 201
    assert Model.objects.get().input_shape == stored


def test_an_upload_may_bring_its_preprocessing(client):
    preprocessing = saved(torch.nn.Sequential(torch.nn.Flatten()))
    assert post(client, form(model_preprocessing_file=preprocessing)).status_code == 201
    assert Model.objects.get().preprocessing_file


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ({}, ["Missing required field: name"]),
        ({"name": "a"}, ["Missing required field: description"]),
        ({"name": "a", "description": "b"}, {"detail": "No uploaded file 'model_file' found."}),
        (
            {"name": "a", "description": "b", "model_file": ""},
            {"detail": "No uploaded file 'model_file' found."},
        ),
        ({"name": "a" * 256, "description": "b"}, {"name": ["Longer than maximum length 255."]}),
        (
            {"name": "a", "description": "b", "type": "LOCAL"},
            {"type": ["Must be one of: GLOBAL, SWAG, MEAN."]},
        ),
        (
            {"name": "a", "description": "b", "round": "x"},
            {"round": ["Not a valid integer."]},
        ),
        (
            {"name": ["a", "b"], "description": "b"},
            {"name": ["This field was given more than once."]},
        ),
        ({"name": "a\0", "description": "b"}, {"name": ["Not UTF-8 text without NUL."]}),
    ],
)
def test_a_refused_form_leaves_nothing(client, data, answer):
    response = post(client, data)
    assert (response.status_code, response.json()) == (400, answer)
    assert not Model.objects.exists()
    assert files() == set()


@pytest.mark.parametrize("number", ["-1", str(2**31), "1.5"])
def test_a_round_out_of_range_is_refused(client, number):
    response = post(client, form(round=number))
    assert (response.status_code, list(response.json())) == (400, ["round"])


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\3\4 and no more", b"\x80\2."])
def test_a_file_that_is_no_model_is_refused_and_gone(client, content):
    response = post(client, form(model_file=upload(content)))
    assert response.status_code == 400
    assert response.json()[0].startswith("Invalid model file: ")
    assert not Model.objects.exists()
    assert files() == set()


def test_a_refused_preprocessing_leaves_no_model(client):
    response = post(client, form(model_preprocessing_file=saved(make_module().state_dict())))
    assert response.status_code == 400
    assert response.json() == [
        "Invalid preprocessing file: Loaded torch object is not of expected type."
    ]
    assert not Model.objects.exists()
    assert files() == set()


def test_uploading_needs_credentials(nobody, db):
    assert post(nobody, form()).status_code == 401
    assert files() == set()


# --- MEAN --------------------------------------------------------------------------------


def mean(models, **fields):
    return {"type": "mean", "name": "m", "description": "d", "models": models} | fields


def test_a_mean_model_has_members_and_no_file(client, user):
    members = ModelFactory.create_batch(2, owner=user)
    response = client.post(URL, mean([str(member.pk) for member in members]))
    model = Model.objects.get(pk=response.json()["model_id"])
    assert response.status_code == 201
    assert (model.kind, set(model.members.all())) == (ModelKind.MEAN, set(members))
    answer = client.get(f"{URL}{model.pk}/")
    assert (answer.status_code, answer.json()) == (400, [f"Model {model.pk} has no file."])


@pytest.mark.parametrize(
    ("models", "answer"),
    [
        ("x", "Invalid type for field: models"),
        ({}, "Invalid type for field: models"),
        ([], "Invalid model UUIDs found."),
        (["x"], "Invalid model UUIDs found."),
        ([None], "Invalid model UUIDs found."),
        ([3], "Invalid model UUIDs found."),
        ([str(uuid.uuid4())], "Invalid model UUIDs found."),
    ],
)
def test_a_mean_model_needs_models(client, models, answer):
    response = client.post(URL, mean(models))
    assert (response.status_code, response.json()) == (400, [answer])
    assert not Model.objects.exists()


def test_a_mean_model_says_what_it_misses(client):
    for field in ("name", "description", "models"):
        body = mean([])
        del body[field]
        assert client.post(URL, body).json() == [f"Missing required field: {field}"]


def test_a_mean_model_is_of_own_models_only(client):
    response = client.post(URL, mean([str(ModelFactory().pk)]))
    assert response.json() == ["Invalid model selection. Insufficient model permissions."]


# --- Lists -------------------------------------------------------------------------------


def test_the_list_has_own_models_and_those_of_own_trainings(client, user, nobody):
    own = ModelFactory(owner=user, input_shape=[None, 3])
    update = LocalModelFactory(owner=user)
    trained = TrainingFactory(participants=[user]).model
    ModelFactory()
    LocalModelFactory(base_model=trained)  # somebody else's
    rows = {row["id"]: row for row in client.get(URL).json()}
    assert set(rows) == {str(model.pk) for model in (own, update, trained)}
    assert rows[str(own.pk)] == {
        "id": str(own.pk),
        "owner": str(user.pk),
        "round": 0,
        "name": own.name,
        "description": own.description,
        "input_shape": [None, 3],
        "has_preprocessing": False,
    }
    assert rows[str(update.pk)] == {
        "id": str(update.pk),
        "owner": str(user.pk),
        "round": 0,
        "base_model": str(update.base_model_id),
        "sample_size": 1,
    }
    assert nobody.get(URL).status_code == 401


def test_a_mean_model_lists_its_members(client, user):
    member = ModelFactory(owner=user)
    client.post(URL, mean([str(member.pk)]))
    shown = next(row for row in client.get(URL).json() if "models" in row)
    assert shown["models"] == [str(member.pk)]


def test_a_mean_model_has_so_many_members(client, user):
    members = ModelFactory.create_batch(MAX_MEMBERS + 1, owner=user)
    ids = [str(member.pk) for member in members]
    response = client.post(URL, mean(ids))
    assert (response.status_code, response.json()) == (400, ["A MEAN model has up to 100 models."])
    assert client.post(URL, mean(ids[1:])).status_code == 201


def test_a_list_reads_nothing_of_members_but_their_ids(client, user, participant, training):
    members = ModelFactory.create_batch(3, owner=user)
    client.post(URL, mean([str(member.pk) for member in reversed(members)]))
    lists = (URL, "/api/trainings/", "/api/users/trainings/")
    with rows_made() as made:
        answers = [client.get(url).json() for url in lists]
    assert made[User] == len(lists)  # the caller
    assert made[Model] == len(answers[0]) == 5
    shown = next(row["models"] for row in answers[0] if "models" in row)
    assert shown == [str(member.pk) for member in members]
    assert [rows[0]["participants"] for rows in answers[1:]] == 2 * [[str(participant.pk)]]


@contextmanager
def rows_made():
    """Count what is made of rows read, by model."""
    made = Counter()

    def count(sender, **kwargs):
        made[sender] += 1

    post_init.connect(count)
    yield made
    post_init.disconnect(count)


# --- Removal -----------------------------------------------------------------------------


def test_the_owner_removes_a_model_and_its_training(client, training):
    response = client.delete(f"{URL}{training.model_id}/")
    assert (response.status_code, response.json()) == (200, {"detail": "Model removed!"})
    assert not Model.objects.exists()
    assert not Training.objects.exists()


def test_the_actor_removes_a_participants_update(client, training, participant):
    update = LocalModelFactory(base_model=training.model, owner=participant)
    assert client.delete(f"{URL}{update.pk}/").status_code == 200
    assert Model.objects.get() == training.model
    assert Training.objects.exists()


def test_others_remove_nothing(training, participant, stranger, nobody):
    for caller in (as_user(participant), stranger):
        response = caller.delete(f"{URL}{training.model_id}/")
        assert response.status_code == 403
        assert response.json() == {
            "detail": "You are neither the owner of the model nor the actor of the "
            "corresponding training."
        }
    assert nobody.delete(f"{URL}{training.model_id}/").status_code == 401
    assert Model.objects.exists()


# --- Metadata ----------------------------------------------------------------------------


def test_metadata_is_the_model_and_its_preprocessing(client, model, stranger, nobody):
    url = f"{URL}{model.pk}/metadata/"
    answer = client.get(url).json()
    assert answer["id"] == str(model.pk)
    assert (answer["has_preprocessing"], answer["stats"]) == (False, None)
    assert stranger.get(url).status_code == 403
    assert nobody.get(url).status_code == 401


def test_an_updates_metadata_tells_of_its_base_models_preprocessing(client, user):
    base = ModelFactory(preprocessing_file="some")
    update = LocalModelFactory(owner=user, base_model=base)
    answer = client.get(f"{URL}{update.pk}/metadata/").json()
    assert (answer["base_model"], answer["has_preprocessing"]) == (str(base.pk), True)
