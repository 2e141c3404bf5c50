"""Who may call what: docs/security-matrix.md, asked of every endpoint as everybody.

`pytest tests/api/test_matrix.py --write-docs` writes it anew.
"""

import io
import re
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.files.storage import default_storage
from django.db import transaction
from rest_framework.test import APIClient

from fl_server_ai.inference import client as serving
from fl_server_api.urls import urlpatterns
from fl_server_core.models import Training
from tests.api.conftest import as_user, end, make_module, saved
from tests.api.tus import KIND, VERSION, begin
from tests.compose import ROOT
from tests.factories import LocalModelFactory, ModelFactory, TrainingFactory, UserFactory

DOCUMENT = ROOT / "docs" / "security-matrix.md"
HEAD = """# Who may call what

Statuses of valid requests to every endpoint, by caller; `tests/api/test_matrix.py` makes them and
compares. The *participant* is who the named user, group, notification or update belongs to, the
*other participant* who is to take part or no longer; the *owner* is the model's. *Staff* have the
permissions to view and to change trainings, given in admin; without these they are strangers that
see where others are reached. Of an upload nobody but its owner, here the participant, learns.

"""
CALLERS = ["anonymous", "stranger", "participant", "other participant", "actor", "owner"]
CALLERS += ["staff", "superuser"]
OPEN = {
    ("POST", "users/", ""),
    ("GET", "schema/", ""),
    ("GET", "schema/swagger-ui/", ""),
    ("GET", "schema/redoc/", ""),
}
MODEL = {"name": "n", "description": "d", "model_file": "<file>"}
UPDATE = {"round": 0, "sample_size": 1, "model_file": "<file>"}
MOMENTS = {
    "round": 0,
    "sample_size": 1,
    "first_moment_file": "<moment>",
    "second_moment_file": "<moment>",
}
METRICS = {"metric_names": ["loss"], "metric_values": [1]}
TRAINING = {"model_id": "{model}", "target_num_updates": 1, "metric_names": []}
TRAINING |= {"aggregation_method": "FedAvg"}
CLIENTS = {"clients": ["{other}"]}
QUESTION = {"model_id": "{model}", "model_input": [[0.0, 0.0, 0.0]]}
TUS = VERSION | {"upload-length": "1", "upload-offset": "0"}

# Method, path, what is special about it, body. {update} is the participant's, in `running`.
ROWS = [
    ("GET", "schema/", "", None),
    ("GET", "schema/swagger-ui/", "", None),
    ("GET", "schema/redoc/", "", None),
    ("GET", "groups/", "", None),
    ("POST", "groups/", "", {"name": "new"}),
    ("GET", "groups/{group}/", "", None),
    ("PUT", "groups/{group}/", "", {"name": "new"}),
    ("PATCH", "groups/{group}/", "", {"name": "new"}),
    ("DELETE", "groups/{group}/", "", None),
    ("GET", "users/", "", None),
    ("POST", "users/", "", {"username": "new", "password": "a-rather-long-one"}),
    ("GET", "users/myself/", "", None),
    ("PATCH", "users/myself/", "", {"first_name": "A"}),
    ("POST", "users/myself/token/", "", None),
    ("GET", "users/groups/", "", None),
    ("GET", "users/trainings/", "", None),
    ("GET", "users/{participant}/", "", None),
    ("POST", "uploads/", "", None),
    ("HEAD", "uploads/{upload}/", "", None),
    ("PATCH", "uploads/{upload}/", "", b"x"),
    ("DELETE", "uploads/{upload}/", "", None),
    ("GET", "models/", "", None),
    ("POST", "models/", "", MODEL),
    ("GET", "models/{model}/", "", None),
    ("GET", "models/{update}/", "an update", None),
    ("GET", "models/{others}/", "an update, daisy chain", None),
    ("POST", "models/{running_model}/", "", UPDATE),
    ("DELETE", "models/{model}/", "", None),
    ("DELETE", "models/{update}/", "an update", None),
    ("GET", "models/{model}/metadata/", "", None),
    ("GET", "models/{update}/metadata/", "an update", None),
    ("GET", "models/{model}/metrics/", "", None),
    ("GET", "models/{update}/metrics/", "an update", None),
    ("POST", "models/{running_model}/metrics/", "", METRICS),
    ("GET", "models/{model}/preprocessing/", "", None),
    ("POST", "models/{model}/preprocessing/", "", {"model_preprocessing_file": "<file>"}),
    ("POST", "models/{weights_model}/serving/", "weights alone", {"serving_file": "<file>"}),
    ("POST", "models/{swag_model}/swag/", "", MOMENTS),
    ("GET", "models/{running_model}/checkpoints/", "", None),
    ("GET", "models/{running_model}/checkpoints/{checkpoint}/", "", None),
    ("GET", "trainings/", "", None),
    ("POST", "trainings/", "", TRAINING),
    ("GET", "trainings/{ready}/", "", None),
    ("GET", "trainings/{running}/record/", "", None),
    ("GET", "trainings/{running}/metrics/", "", None),
    ("DELETE", "trainings/{ready}/", "", None),
    ("PUT", "trainings/{ready}/clients/", "", CLIENTS),
    ("PUT", "trainings/{managed}/clients/", "managed by its actor", CLIENTS),
    ("DELETE", "trainings/{ready}/clients/", "", CLIENTS),
    ("DELETE", "trainings/{managed}/clients/", "managed by its actor", CLIENTS),
    ("POST", "trainings/{ready}/start/", "", None),
    ("POST", "trainings/{managed}/start/", "managed by its actor", None),
    ("POST", "trainings/{running}/stop/", "", None),
    ("POST", "trainings/{ended}/resume/", "", None),
    ("POST", "trainings/{running}/rollback/", "", {"checkpoint": "{checkpoint}"}),
    ("POST", "trainings/{running}/notify/", "", None),
    ("GET", "trainings/{running}/models/", "", None),
    ("GET", "trainings/{running}/models/latest/", "", None),
    ("POST", "inference/", "", QUESTION),
    ("POST", "inference/", "an update", QUESTION | {"model_id": "{update}"}),
    ("GET", "notifications/", "", None),
    ("POST", "notifications/{notification}/ack/", "", None),
]


@pytest.fixture
def world(db, monkeypatch):
    """Everybody, and a row of each kind that they may or may not touch."""
    users = {name: UserFactory() for name in CALLERS[1:]}
    users["staff"].is_staff = users["superuser"].is_superuser = True
    for name in ("staff", "superuser"):
        users[name].save()
    may = Permission.objects.filter(codename__in=["view_training", "change_training"])
    users["staff"].user_permissions.set(may)
    participants = [users["participant"], users["other participant"]]
    file = {"file": default_storage.save("file", saved(make_module())), "sha256": "a" * 64}

    def open_training(**fields):
        model = ModelFactory(owner=users["owner"], preprocessing_file=file["file"], **file)
        return TrainingFactory(
            actor=users["actor"], model=model, participants=participants, **fields
        )

    weights = default_storage.save("weights", saved(make_module().state_dict()))
    weights_model = ModelFactory(owner=users["owner"], file=weights, weights_only=True)
    ready, running, swag, ended, chain = (open_training() for _ in range(5))
    managed = open_training(options={"managed_by": "actor"})
    actor = as_user(users["actor"])
    for training in (running, swag, ended):
        assert actor.post(f"/api/trainings/{training.pk}/start/").status_code == 202
    assert actor.post(f"/api/trainings/{ended.pk}/stop/").status_code == 202
    Training.objects.filter(pk=swag.pk).update(state="S", phase="swag")
    swag.notifications.filter(type="UPDATE_ROUND_START").update(type="SWAG_ROUND_START")
    update = as_user(users["participant"]).post(
        f"/api/models/{running.model_id}/", filled(UPDATE, {}), format="multipart"
    )
    assert update.status_code == 201
    own = running.model.local_models.get()
    others = LocalModelFactory(base_model=chain.model, owner=users["participant"], file=own.file)
    Training.objects.filter(pk=chain.pk).update(options={"daisy_chain_period": 2})
    group = Group.objects.create(name="g")
    users["participant"].groups.add(group)
    monkeypatch.setattr(serving, "predict", lambda *_, **__: io.BytesIO(b"{}"))
    rows = {
        "ready": ready,
        "running": running,
        "ended": ended,
        "managed": managed,
        "model": ready.model,
        "weights_model": weights_model,
        "running_model": running.model,
        "swag_model": swag.model,
        "update": own,
        "others": others,
        "group": group,
        "participant": users["participant"],
        "other": users["other participant"],
        "checkpoint": running.model.checkpoints.get(),
        "upload": begin(as_user(users["participant"]), 1),
        "notification": running.notifications.filter(receiver=users["participant"]).first(),
    }
    callers = {name: as_user(user) for name, user in users.items()} | {"anonymous": APIClient()}
    return SimpleNamespace(names={key: str(row.pk) for key, row in rows.items()}, callers=callers)


def filled(body, names):
    if isinstance(body, dict):
        return {key: filled(value, names) for key, value in body.items()}
    if isinstance(body, list):
        return [filled(value, names) for value in body]
    if body == "<file>":
        return saved(make_module())
    if body == "<moment>":
        return saved(make_module().state_dict())
    return body.format_map(names) if isinstance(body, str) else body


def status(world, caller, method, path, body):
    """Send a request of which nothing stays; return its status."""
    with transaction.atomic():
        code = send(world, caller, method, path, body)
        transaction.set_rollback(True)
    return code


def send(world, caller, method, path, body):
    """Send a request; return its status."""
    kind = {"format": "multipart" if "<" in str(body) else "json"} if body else {}
    kind = {"content_type": KIND} if isinstance(body, bytes) else kind
    headers = TUS if path.startswith("uploads/") else {}
    call = getattr(world.callers[caller], method.lower())
    url = "/api/" + path.format_map(world.names)
    response = call(url, filled(body, world.names), headers=headers, **kind)
    end(response)
    return response.status_code


@pytest.fixture
def matrix(world):
    """The status of each row for each caller."""
    return {
        (method, path, note): [status(world, who, method, path, body) for who in CALLERS]
        for method, path, note, body in ROWS
    }


def rendered(matrix):
    head = ["endpoint", *CALLERS]
    lines = [head, ["---"] * len(head)]
    for (method, path, note), codes in matrix.items():
        named = re.sub(r"\{(\w+?_)?(\w+)\}", "<id>", path)
        lines.append([f"`{method} /{named}`{note and f' ({note})'}", *map(str, codes)])
    return HEAD + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def test_everybody_may_what_the_document_says(matrix, pytestconfig):
    if pytestconfig.getoption("--write-docs"):
        DOCUMENT.write_text(rendered(matrix))
    assert DOCUMENT.read_text() == rendered(matrix)
    for row, codes in matrix.items():
        assert (codes[0] == 401) == (row not in OPEN)
        hidden = 404 if "{upload}" in row[1] else 403
        assert {code for code in codes if code >= 400} <= {401, hidden}, row
        assert any(code < 400 for code in codes), row


def test_no_endpoint_is_left_out():
    asked = {(method, re.sub(r"\{\w+\}", "<id>", path)) for method, path, *_ in ROWS}
    served = set()
    for pattern in urlpatterns:
        path = re.sub(r"<str:\w+>", "<id>", str(pattern.pattern))
        methods = getattr(pattern.callback, "actions", None) or {"get"}
        served |= {(method.upper(), path) for method in methods}
        served -= {("HEAD", path)} if ("GET", path) in served else set()
    assert asked == served
