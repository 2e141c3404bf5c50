"""Every message of the wire contract, in its words, its shape and its status.

Clients compare these, slips of spelling included.
"""

from base64 import b64encode
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from django.core.files.storage import default_storage
from rest_framework.test import APIClient

from fl_archive.foreign import SAVE
from fl_server_core.models import Model, Training
from tests.api.conftest import as_user, make_module, saved, upload
from tests.api.serving import _served_here, runners  # noqa: F401 (fixtures)
from tests.factories import ModelFactory, TrainingFactory, UserFactory

UNKNOWN = "00000000-0000-4000-8000-000000000000"
STRANGER = "You do not have permission to perform this action."
VALUES_MISSING = "Metric names or values are missing"
NO_TENSOR = (
    "Model input could not be casted or interpreted as a PyTorch tensor object "
    "and no preprecessing is defined."
)
NO_MODEL = f"The file is text: {SAVE}."
NOT_THE_OWNER = (
    "You are neither the owner of the model nor the actor of the corresponding training."
)


class Form(NamedTuple):
    """A multipart form with these fields."""

    fields: dict[str, Any]


class Text(NamedTuple):
    """A body of a type that isn't read."""

    content: str


def detail(text):
    return {"detail": text}


FILES = {"<module>": lambda: saved(make_module()), "<garbage>": lambda: upload(b"x")}
MODEL = {"name": "n", "description": "d"}
MEAN = MODEL | {"type": "MEAN"}
PLAN = {
    "model_id": "{model}",
    "target_num_updates": 1,
    "metric_names": [],
    "aggregation_method": "FedAvg",
}
UPDATE = {"round": "0", "sample_size": "1", "model_file": "<module>"}
MOMENTS = {
    "round": "0",
    "sample_size": "1",
    "first_moment_file": "<module>",
    "second_moment_file": "<module>",
}

ROWS = [
    # caller, method, path, body, status, answer
    # --- Authentication
    ("nobody", "GET", "users/", None, 401, detail("Authentication credentials were not provided.")),
    ("false token", "GET", "users/", None, 401, detail("Invalid token.")),
    ("false password", "GET", "users/", None, 401, detail("Invalid username/password.")),
    # --- Ids that are unknown, or none
    ("actor", "GET", "models/{unknown}/", None, 400, detail("Model {unknown} not found.")),
    ("actor", "GET", "models/7f/", None, 400, detail("Model 7f not found.")),
    ("actor", "DELETE", "models/{unknown}/", None, 400, detail("Model {unknown} not found.")),
    ("actor", "GET", "models/7f/metadata/", None, 400, detail("Model 7f not found.")),
    ("actor", "GET", "models/7f/metrics/", None, 400, detail("Model 7f not found.")),
    ("actor", "GET", "models/7f/preprocessing/", None, 400, detail("Model 7f not found.")),
    ("actor", "GET", "trainings/{unknown}/", None, 400, detail("Training {unknown} not found.")),
    ("actor", "POST", "trainings/7f/start/", None, 400, detail("Training 7f not found.")),
    ("actor", "GET", "trainings/7f/models/", None, 400, detail("Training 7f not found.")),
    ("actor", "GET", "trainings/7f/models/latest/", None, 400, detail("Training 7f not found.")),
    ("actor", "GET", "users/{unknown}/", None, 400, detail("User {unknown} not found.")),
    ("actor", "GET", "users/x/", None, 400, detail("User x not found.")),
    ("actor", "GET", "groups/9999/", None, 400, detail("Group 9999 not found.")),
    ("actor", "GET", "groups/x/", None, 400, detail("Group x not found.")),
    ("actor", "POST", "models/7f/", Form(UPDATE), 400, detail("GlobalModel 7f not found.")),
    ("actor", "POST", "models/7f/swag/", Form(MOMENTS), 400, detail("GlobalModel 7f not found.")),
    (
        "actor",
        "POST",
        "models/{unknown}/preprocessing/",
        Form({"model_preprocessing_file": "<module>"}),
        400,
        detail("GlobalModel {unknown} not found."),
    ),
    # --- Groups
    ("actor", "GET", "groups/", None, 403, detail("You are not allowed to access all groups.")),
    ("actor", "POST", "groups/", {}, 400, {"name": ["This field is required."]}),
    ("actor", "POST", "groups/", Form({}), 400, {"name": ["This field is required."]}),
    *(
        (
            "stranger",
            method,
            "groups/{group}/",
            {"name": "x"},
            403,
            detail("You are not allowed to access this group."),
        )
        for method in ("GET", "PUT", "PATCH", "DELETE")
    ),
    # --- Models
    (
        "actor",
        "POST",
        "models/",
        Form(MODEL | {"model_file": "<module>"}),
        201,
        {"detail": "Model Upload Accepted", "model_id": Any},
    ),
    ("actor", "POST", "models/", Form({}), 400, ["Missing required field: name"]),
    (
        "actor",
        "POST",
        "models/",
        Form({"name": "n"}),
        400,
        ["Missing required field: description"],
    ),
    (
        "actor",
        "POST",
        "models/",
        Form(MODEL),
        400,
        detail("No uploaded file 'model_file' found."),
    ),
    (
        "actor",
        "POST",
        "models/",
        Form(MODEL | {"model_file": "<garbage>"}),
        400,
        [f"Invalid model file: {NO_MODEL}"],
    ),
    ("actor", "POST", "models/", MEAN, 400, ["Missing required field: models"]),
    ("actor", "POST", "models/", MEAN | {"models": 1}, 400, ["Invalid type for field: models"]),
    (
        "actor",
        "POST",
        "models/",
        MEAN | {"models": ["{unknown}"]},
        400,
        ["Invalid model UUIDs found."],
    ),
    ("actor", "POST", "models/", MEAN | {"models": ["7f"]}, 400, ["Invalid model UUIDs found."]),
    (
        "stranger",
        "POST",
        "models/",
        MEAN | {"models": ["{model}"]},
        400,
        ["Invalid model selection. Insufficient model permissions."],
    ),
    ("actor", "DELETE", "models/{model}/", None, 200, detail("Model removed!")),
    ("stranger", "DELETE", "models/{model}/", None, 403, detail(NOT_THE_OWNER)),
    ("stranger", "GET", "models/{model}/", None, 403, detail(STRANGER)),
    (
        "actor",
        "GET",
        "models/{model}/preprocessing/",
        None,
        404,
        detail("Model '{model}' has no preprocessing model defined."),
    ),
    (
        "actor",
        "POST",
        "models/{model}/preprocessing/",
        Form({"model_preprocessing_file": "<module>"}),
        202,
        detail("Proprocessing Model Upload Accepted"),
    ),
    (
        "actor",
        "POST",
        "models/{model}/preprocessing/",
        Form({}),
        400,
        detail("No uploaded file 'model_preprocessing_file' found."),
    ),
    (
        "actor",
        "POST",
        "models/{model}/preprocessing/",
        Form({"model_preprocessing_file": "<garbage>"}),
        400,
        [f"Invalid preprocessing file: {NO_MODEL}"],
    ),
    (
        "participant",
        "POST",
        "models/{begun}/preprocessing/",
        Form({"model_preprocessing_file": "<module>"}),
        403,
        detail("You are not the owner of model {begun}!"),
    ),
    # --- Metrics
    (
        "actor",
        "POST",
        "models/{model}/metrics/",
        Form({"metric_names": ["a"], "metric_values": ["1"]}),
        201,
        {"detail": "Model Metrics Upload Accepted", "model_id": "{model}"},
    ),
    *(
        ("actor", "POST", "models/{model}/metrics/", body, 400, detail(VALUES_MISSING))
        for body in ({}, Form({}), Form({"metric_names": "a"}), Form({"metric_values": "1"}))
    ),
    (
        "actor",
        "POST",
        "models/{model}/metrics/",
        Form({"metric_names": ["a", "b"], "metric_values": ["1"]}),
        400,
        detail("Metric names and values must have the same length"),
    ),
    # --- Trainings
    (
        "actor",
        "POST",
        "trainings/",
        PLAN,
        201,
        {"detail": "Training created successfully!", "training_id": Any},
    ),
    (
        "actor",
        "POST",
        "trainings/",
        PLAN | {"clients": ["7f"]},
        400,
        {"clients": {"0": ["Not a valid UUID."]}},
    ),
    ("actor", "POST", "trainings/", PLAN | {"foo": 1}, 400, {"foo": ["Unknown field."]}),
    (
        "actor",
        "POST",
        "trainings/",
        PLAN | {"clients": ["{unknown}"]},
        400,
        detail("Not all provided users were found!"),
    ),
    ("stranger", "POST", "trainings/", PLAN, 403, detail(STRANGER)),
    ("stranger", "GET", "trainings/{running}/", None, 403, detail(STRANGER)),
    ("stranger", "GET", "trainings/{running}/models/", None, 403, detail(STRANGER)),
    ("stranger", "POST", "trainings/{running}/start/", None, 403, detail(STRANGER)),
    ("actor", "DELETE", "trainings/{running}/", None, 200, detail("Training removed!")),
    (
        "participant",
        "DELETE",
        "trainings/{running}/",
        None,
        403,
        detail("You are not the owner the training."),
    ),
    (
        "actor",
        "PUT",
        "trainings/{empty}/clients/",
        {"clients": ["{user}"]},
        202,
        detail("Users registered as participants!"),
    ),
    (
        "actor",
        "DELETE",
        "trainings/{running}/clients/",
        {"clients": ["{user}"]},
        200,
        detail("Users removed from training participants!"),
    ),
    *(
        (
            "actor",
            method,
            "trainings/{running}/clients/",
            {"clients": ["{unknown}"]},
            400,
            detail("Not all provided users were found!"),
        )
        for method in ("PUT", "DELETE")
    ),
    (
        "actor",
        "POST",
        "trainings/{empty}/start/",
        None,
        400,
        detail("At least one participant must be registered!"),
    ),
    ("actor", "POST", "trainings/{ready}/start/", None, 202, detail("Training started!")),
    (
        "actor",
        "POST",
        "trainings/{running}/start/",
        None,
        400,
        detail("Training {running} is not in state INITIAL!"),
    ),
    # --- Updates
    (
        "participant",
        "POST",
        "models/{begun}/",
        Form(UPDATE),
        201,
        detail("Model Update Accepted"),
    ),
    ("participant", "POST", "models/{begun}/", Form({}), 400, detail("'round'")),
    (
        "participant",
        "POST",
        "models/{begun}/",
        Form({"round": "0"}),
        400,
        detail("'sample_size'"),
    ),
    (
        "participant",
        "POST",
        "models/{begun}/",
        Form({"round": "0", "sample_size": "1"}),
        400,
        detail("No uploaded file 'model_file' found."),
    ),
    (
        "participant",
        "POST",
        "models/{begun}/",
        Form(UPDATE | {"round": "7"}),
        400,
        ["Training with ID {running} is not currently in round 7"],
    ),
    (
        "participant",
        "POST",
        "models/{begun}/",
        Form(UPDATE | {"model_file": "<garbage>"}),
        400,
        [f"Invalid model file: {NO_MODEL}"],
    ),
    (
        "participant",
        "POST",
        "models/{begun}/",
        Form(UPDATE | {"metric_names": "a"}),
        400,
        detail(VALUES_MISSING),
    ),
    (
        "participant",
        "POST",
        "models/{begun}/",
        Form(UPDATE | {"metric_names": ["a", "b"], "metric_values": "1"}),
        400,
        detail("Metric names and values must have the same length"),
    ),
    (
        "participant",
        "POST",
        "models/{waiting}/",
        Form(UPDATE),
        400,
        ["Training with ID {ready} is in state I"],
    ),
    (
        "actor",
        "POST",
        "models/{model}/",
        Form(UPDATE),
        404,
        detail("Model with ID {model} does not have a training process running"),
    ),
    (
        "actor",
        "POST",
        "models/{begun}/",
        Form(UPDATE),
        403,
        detail("You are not a participant of training {running}!"),
    ),
    # --- SWAG
    (
        "participant",
        "POST",
        "models/{swag model}/swag/",
        Form(MOMENTS),
        201,
        detail("SWAG Statistic Accepted"),
    ),
    (
        "participant",
        "POST",
        "models/{swag model}/swag/",
        Form(MOMENTS | {"second_moment_file": ""}),
        400,
        detail("No uploaded file 'second_moment_file' found."),
    ),
    (
        "participant",
        "POST",
        "models/{begun}/swag/",
        Form(MOMENTS),
        400,
        ["Training with ID {running} is in state O"],
    ),
    (
        "stranger",
        "POST",
        "models/{swag model}/swag/",
        Form(MOMENTS),
        403,
        detail("You are not a participant of training {swag}!"),
    ),
    # --- Inference
    ("actor", "POST", "inference/", {}, 400, ["No 'model_id' provided in request."]),
    (
        "actor",
        "POST",
        "inference/",
        {"model_id": "{unknown}"},
        400,
        detail("Model {unknown} not found."),
    ),
    ("actor", "POST", "inference/", {"model_id": "7f"}, 400, detail("Model 7f not found.")),
    (
        "actor",
        "POST",
        "inference/",
        {"model_id": "{model}", "model_input": [[1]], "return_format": "xml"},
        400,
        ["Unknown return format 'xml'. Supported are binary and json."],
    ),
    *(
        (
            "actor",
            "POST",
            "inference/",
            body,
            400,
            ["No uploaded file 'model_input' found."],
        )
        for body in ({"model_id": "{model}"}, Form({"model_id": "{model}"}))
    ),
    (
        "actor",
        "POST",
        "inference/",
        {"model_id": "{model}", "model_input": [[1, 2]]},
        400,
        [
            "Input shape does not match model input shape.",
            "The input's shape is [1, 2], the model's [null, 3]; null is any size.",
        ],
    ),
    (
        "actor",
        "POST",
        "inference/",
        {"model_id": "{model}", "model_input": "?"},
        400,
        [NO_TENSOR],
    ),
    (
        "actor",
        "POST",
        "inference/",
        {"model_id": "{broken}", "model_input": [[1, 2, 3]]},
        500,
        ["Error loading torch object"],
    ),
    ("stranger", "POST", "inference/", {"model_id": "{model}"}, 403, detail(STRANGER)),
    # --- Bodies of other types
    *(
        (
            "actor",
            "POST",
            path,
            Text("x"),
            415,
            detail('Unsupported media type "text/plain" in request.'),
        )
        for path in ("inference/", "models/", "groups/")
    ),
]


@pytest.fixture
def world(client, user):
    """Callers and what there is, by the names that the table uses."""
    participant = UserFactory()
    file = {"file": default_storage.save("stored", saved(make_module())), "input_shape": [None, 3]}
    model, begun, waiting, swag_model = ModelFactory.create_batch(4, owner=user, **file)
    file = {"file": default_storage.save("broken", upload(b"no model"))}
    broken = ModelFactory(owner=user, sha256="b" * 64, **file)
    trainings = {
        name: TrainingFactory(actor=user, model=row, participants=[participant])
        for name, row in (("running", begun), ("ready", waiting), ("swag", swag_model))
    }
    for name in ("running", "swag"):
        assert client.post(f"/api/trainings/{trainings[name].pk}/start/").status_code == 202
    Training.objects.filter(pk=trainings["swag"].pk).update(state="S", phase="swag")
    asked = trainings["swag"].notifications.filter(type="UPDATE_ROUND_START")
    asked.update(type="SWAG_ROUND_START")
    trainings["empty"] = TrainingFactory(actor=user, model=ModelFactory(owner=user))
    models = {"model": model, "begun": begun, "waiting": waiting, "broken": broken}
    rows = models | trainings | {"swag model": swag_model, "user": participant}
    names = {name: str(row.pk) for name, row in rows.items()} | {"unknown": UNKNOWN}
    names["group"] = str(client.post("/api/groups/", {"name": "g"}).json()["id"])
    password = b64encode(f"{user.username}:wrong".encode()).decode()
    callers = {
        "actor": client,
        "participant": as_user(participant),
        "stranger": as_user(UserFactory()),
        "nobody": APIClient(),
        "false token": APIClient(headers={"Authorization": "Token 0"}),
        "false password": APIClient(headers={"Authorization": f"Basic {password}"}),
    }
    return SimpleNamespace(names=names, callers=callers)


def filled(node, names):
    """Return what a row of the table says, with the ids and files that its names stand for."""
    if isinstance(node, dict):
        return {key: filled(value, names) for key, value in node.items()}
    if isinstance(node, list):
        return [filled(value, names) for value in node]
    if node in FILES:
        return FILES[node]()
    return node.format_map(names) if isinstance(node, str) else node


def sent(caller, method, path, body):
    if isinstance(body, Text):
        return caller.generic(method, path, body.content, content_type="text/plain")
    if isinstance(body, Form):
        return getattr(caller, method.lower())(path, body.fields, format="multipart")
    return getattr(caller, method.lower())(path, body, format="json")


@pytest.mark.parametrize(("who", "method", "path", "body", "code", "answer"), ROWS)
def test_a_message(world, who, method, path, body, code, answer):
    if isinstance(body, Form):
        body = Form(filled(body.fields, world.names))
    elif not isinstance(body, Text):
        body = filled(body, world.names)
    path = "/api/" + filled(path, world.names)
    response = sent(world.callers[who], method, path, body)
    said = response.json()
    wanted = filled(answer, world.names)
    if isinstance(answer, dict) and Any in answer.values():
        made = next(key for key, value in answer.items() if value is Any)
        assert (Model if made == "model_id" else Training).objects.filter(pk=said[made]).exists()
        wanted[made] = said[made]
    assert (response.status_code, said) == (code, wanted)


def test_malformed_json_is_a_detail(client):
    response = client.generic("POST", "/api/trainings/", "{", content_type="application/json")
    assert response.status_code == 400
    assert response.json()["detail"].startswith("JSON parse error - ")


def test_a_message_does_not_change_with_its_form(client, training):
    """What `start/` refuses is told alike to a browser."""
    training.participants.clear()
    page = client.post(f"/api/trainings/{training.pk}/start/", headers={"accept": "text/html"})
    assert b"At least one participant must be registered!" in page.content
