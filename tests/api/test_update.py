import errno
import gc
import os
import uuid
from pathlib import Path

import pytest
import torch
from django.core.files.uploadhandler import TemporaryFileUploadHandler

from fl_server_ai.trainer import ModelTrainer
from fl_server_core.models import LocalModel, Metric, Model, Training
from fl_server_core.models.training import TrainingState
from tests.api.conftest import (
    as_user,
    body_of,
    end,
    files,
    load,
    make_module,
    saved,
    scripted,
    tensors,
    upload,
)
from tests.factories import LocalModelFactory, ModelFactory, TrainingFactory, UserFactory


def update(client, id, **fields):
    data = {"round": 0, "sample_size": 5, "model_file": saved(make_module(1.0))} | fields
    data = {name: value for name, value in data.items() if value is not None}
    return client.post(f"/api/models/{id}/", data, format="multipart")


@pytest.mark.parametrize("form", [saved, scripted, tensors])
def test_an_update_is_kept_as_numbers(started, participant, form, sent):
    response = update(as_user(participant), started.model_id, model_file=form(make_module(1.0)))
    assert (response.status_code, response.json()) == (201, {"detail": "Model Update Accepted"})
    row = LocalModel.objects.get()
    assert (row.owner, row.base_model_id, row.round) == (participant, started.model_id, 0)
    assert row.sample_size == 5
    with row.file.open("rb") as file:
        assert file.read(200)[8:9] == b"{"  # safetensors


def test_nothing_is_left_of_an_update_that_finds_no_room(
    started, participant, monkeypatch, settings
):
    def find_no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TemporaryFileUploadHandler, "receive_data_chunk", find_no_room)
    gc.disable()
    try:
        response = update(as_user(participant), started.model_id)
        assert response.status_code == 507
        assert list(settings.SCRATCH_DIR.iterdir()) == []
    finally:
        gc.enable()


def test_an_update_is_put_on_the_disk_once_and_then_its_name(
    started, participant, monkeypatch, settings
):
    synced, sync = [], os.fsync

    def note(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    assert update(as_user(participant), started.model_id).status_code == 201
    file, folder = synced
    assert (Path(file).parent, Path(folder)) == (settings.SCRATCH_DIR, settings.MODEL_DIR)


def test_the_last_update_starts_the_merge(
    started, participant, sent, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        update(as_user(participant), started.model_id)
    assert ("merge_round", str(started.pk), 0, 0) in sent


def test_an_updates_download_is_the_actors_model_with_its_numbers(started, participant, client):
    update(as_user(participant), started.model_id, model_file=tensors(make_module(2.0)))
    row = LocalModel.objects.get()
    url = f"/api/models/{row.pk}/"
    first, again = client.get(url), client.get(url)
    assert first["Content-Disposition"] == f'filename="model-{row.pk}.pt"'
    tag, content = first["ETag"], body_of(first)
    assert (tag, content) == (again["ETag"], body_of(again))
    assert row.sha256 in tag
    module = load(client.get(url))
    assert isinstance(module, torch.nn.Linear)
    assert torch.equal(module.weight, torch.full((1, 3), 2.0))
    part = client.get(url, headers={"range": "bytes=5-9"})
    assert (part.status_code, body_of(part)) == (206, content[5:10])
    seen = client.get(url, headers={"if-none-match": tag})
    assert seen.status_code == 304


@pytest.mark.parametrize(
    ("options", "code"),
    [({}, 403), ({"daisy_chain_period": 1}, 403), ({"daisy_chain_period": 2}, 200)],
)
def test_anothers_update_is_used_only_where_a_chain_hands_it_out(
    client, started, participant, stranger, options, code
):
    other = UserFactory()
    started.participants.add(other)
    assert update(as_user(participant), started.model_id).status_code == 201
    Training.objects.update(options=options)
    row = LocalModel.objects.get()
    question = {"model_id": str(row.pk), "return_format": "none"}
    everyone = [(client, 200), (as_user(participant), 200), (as_user(other), code), (stranger, 403)]
    for caller, expected in everyone:
        response = caller.get(f"/api/models/{row.pk}/")
        assert response.status_code == expected
        end(response)
        asked = caller.post("/api/inference/", question).status_code
        assert asked == (403 if expected == 403 else 400)
    assert as_user(other).get(f"/api/models/{row.pk}/metadata/").status_code == 200


def test_an_update_may_bring_metrics(started, participant):
    response = update(
        as_user(participant),
        started.model_id,
        metric_names=["loss", "note"],
        metric_values=["0.5", "nan"],
        owner="whoever",
    )
    assert response.status_code == 201
    shown = as_user(participant).get(f"/api/models/{LocalModel.objects.get().pk}/metrics/").json()
    assert [(m["key"], m["value_float"], m["value_binary"]) for m in shown] == [
        ("loss", 0.5, None),
        ("note", None, "bmFu"),
    ]


def test_an_update_replaces_ones_own(started, participant):
    second = UserFactory()
    started.participants.add(second)
    update(as_user(second), started.model_id)
    for value in (1.0, 2.0):
        model_file = saved(make_module(value))
        assert (
            update(as_user(participant), started.model_id, model_file=model_file).status_code == 201
        )
    assert LocalModel.objects.count() == 2


def test_a_local_models_id_stands_for_its_base_model(started, participant):
    other = LocalModelFactory(base_model=started.model)
    assert update(as_user(participant), other.pk).status_code == 201
    assert LocalModel.objects.get(owner=participant).base_model == started.model


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"round": None, "sample_size": None, "model_file": None}, {"detail": "'round'"}),
        ({"sample_size": None, "model_file": None}, {"detail": "'sample_size'"}),
        ({"round": "x", "model_file": None}, {"round": ["Not a valid integer."]}),
        ({"round": "1.0"}, {"round": ["Not a valid integer."]}),
        ({"round": "9" * 5000}, {"round": ["Not a valid integer."]}),
        ({"round": ["0", "0"]}, {"round": ["This field was given more than once."]}),
        ({"sample_size": "", "model_file": None}, {"sample_size": ["Not a valid integer."]}),
        ({"model_file": None}, {"detail": "No uploaded file 'model_file' found."}),
        ({"model_file": ""}, {"detail": "No uploaded file 'model_file' found."}),
        ({"metric_names": ["a"]}, {"detail": "Metric names or values are missing"}),
        ({"metric_values": ["1"]}, {"detail": "Metric names or values are missing"}),
        (
            {"metric_names": ["a", "b"], "metric_values": ["1"]},
            {"detail": "Metric names and values must have the same length"},
        ),
        (
            {"metric_names": ["a" * 256], "metric_values": ["1"]},
            {"metric_names": {"0": ["Longer than maximum length 255."]}},
        ),
    ],
)
def test_nothing_of_a_refused_form_is_kept(started, participant, fields, answer):
    before = files()
    response = update(as_user(participant), started.model_id, **fields)
    assert (response.status_code, response.json()) == (400, answer)
    assert not LocalModel.objects.exists()
    assert not Metric.objects.exists()
    assert files() == before


def test_the_log_says_more_of_a_missing_field_than_the_answer(started, participant, caplog):
    update(as_user(participant), started.model_id, round=None, rounds=0)
    assert "without the field 'round'" in caplog.text
    assert "['sample_size', 'rounds'" in caplog.text


@pytest.mark.parametrize("size", [-1, 2**63])
def test_a_sample_size_out_of_range_is_refused(started, participant, size):
    response = update(as_user(participant), started.model_id, sample_size=size)
    assert (response.status_code, list(response.json())) == (400, ["sample_size"])


@pytest.mark.parametrize(
    "content",
    [
        upload(b"no model"),
        upload(b""),
        saved(torch.nn.Linear(4, 1)),
        saved(make_module(float("nan"))),
        saved(make_module(float("inf"))),
        saved(make_module().double()),
        saved(torch.zeros(4)),
    ],
    ids=["bytes", "empty", "shape", "nan", "inf", "dtype", "tensor"],
)
def test_a_file_that_does_not_fit_is_refused_and_gone(started, participant, content):
    content.seek(0)
    before = files()
    response = update(
        as_user(participant),
        started.model_id,
        model_file=content,
        metric_names=["a"],
        metric_values=["1"],
    )
    assert response.status_code == 400
    assert response.json()[0].startswith("Invalid model file: ")
    assert not LocalModel.objects.exists()
    assert not Metric.objects.exists()
    assert files() == before


def test_a_refusal_in_a_known_sentence_is_followed_by_what_to_do(started, participant):
    response = update(as_user(participant), started.model_id, model_file=saved(torch.zeros(4)))
    assert (response.status_code, response.json()) == (
        400,
        [
            "Invalid model file: Loaded torch object is not of expected type.",
            "It is a tensor: send the whole model.state_dict().",
        ],
    )


class Masked(torch.nn.Linear):
    """With a constant that a script keeps and a state dict doesn't."""

    def __init__(self):
        super().__init__(3, 1)
        self.register_buffer("mask", torch.ones(3), persistent=False)

    def forward(self, x):
        return torch.nn.functional.linear(x * self.mask, self.weight, self.bias)


def test_the_log_names_buffers_that_an_update_leaves_as_they_are(client, user, participant, caplog):
    form = {"name": "n", "description": "d", "model_file": scripted(Masked())}
    uploaded = client.post("/api/models/", form, format="multipart").json()
    training = TrainingFactory(
        actor=user,
        model=Model.objects.get(pk=uploaded["model_id"]),
        participants=[participant],
    )
    client.post(f"/api/trainings/{training.pk}/start/")
    state = Masked().state_dict()
    response = update(as_user(participant), training.model_id, model_file=saved(state))
    assert response.status_code == 201
    assert (
        f"model {training.model_id}: an update lacks buffers, which stay: ['mask']" in caplog.text
    )


def test_a_checkpoint_is_told_what_to_send_of_it(started, participant):
    checkpoint = {"epoch": 2, "state_dict": make_module().state_dict()}
    response = update(as_user(participant), started.model_id, model_file=saved(checkpoint))
    assert response.status_code == 400
    [sentence] = response.json()
    assert sentence.startswith("Invalid model file: The file is a checkpoint")
    assert "torch.save(checkpoint['state_dict'], file)" in sentence


@pytest.mark.parametrize("id", ["x", str(uuid.UUID(int=0))])
def test_an_update_to_an_unknown_model_is_refused(client, id):
    response = update(client, id)
    assert (response.status_code, response.json()) == (
        400,
        {"detail": f"GlobalModel {id} not found."},
    )


def test_the_form_is_looked_at_before_the_model(client):
    for left_out, answer in (
        ("round", "'round'"),
        ("sample_size", "'sample_size'"),
        ("model_file", "No uploaded file 'model_file' found."),
    ):
        response = update(client, "x", **{left_out: None})
        assert (response.status_code, response.json()) == (400, {"detail": answer})


def test_a_model_without_training_takes_no_update(client):
    model = ModelFactory()
    response = update(client, model.pk)
    assert (response.status_code, response.json()) == (
        404,
        {"detail": f"Model with ID {model.pk} does not have a training process running"},
    )


def test_only_participants_hand_in(started, client, stranger, nobody):
    for caller in (client, stranger):  # the actor takes no part here
        response = update(caller, started.model_id, round=7)
        assert response.status_code == 403
        assert response.json() == {"detail": f"You are not a participant of training {started.pk}!"}
    assert update(nobody, started.model_id).status_code == 401


@pytest.mark.parametrize("state", sorted({*TrainingState} - {TrainingState.ONGOING}))
def test_a_training_that_is_not_under_way_takes_no_update(training, participant, state):
    type(training).objects.update(state=state)
    response = update(as_user(participant), training.model_id, round=7)
    assert (response.status_code, response.json()) == (
        400,
        [f"Training with ID {training.pk} is in state {state}"],
    )


@pytest.mark.parametrize("number", [1, -1, 2**70])
def test_only_the_current_round_takes_updates(started, participant, number):
    response = update(
        as_user(participant), started.model_id, round=number, model_file=upload(b"no model")
    )
    assert (response.status_code, response.json()) == (
        400,
        [f"Training with ID {started.pk} is not currently in round {number}"],
    )


def test_a_training_removed_while_the_file_was_read_is_a_404(started, participant, monkeypatch):
    locked = ModelTrainer.locked

    def removed_first(id):
        started.delete()
        return locked(id)

    monkeypatch.setattr(ModelTrainer, "locked", removed_first)
    assert update(as_user(participant), started.model_id).status_code == 404
    assert not LocalModel.objects.exists()
