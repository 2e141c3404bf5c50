import json
import uuid
from datetime import datetime, timedelta

import pytest
import torch
from django.utils import timezone

from fl_server_ai.trainer.phases import Phase
from fl_server_core.models import Model, Training
from fl_server_core.models.training import TrainingState
from tests.api.conftest import as_user, make_module, saved
from tests.factories import LocalModelFactory, ModelFactory, TrainingFactory, UserFactory

URL = "/api/trainings/"
FORBIDDEN = {"detail": "You do not have permission to perform this action."}
FIELDS = {
    "id",
    "model",
    "actor",
    "participants",
    "state",
    "state_reason",
    "target_num_updates",
    "last_update",
    "uncertainty_method",
    "aggregation_method",
    "options",
    "locked",
}


SHARE = "Must be a whole number from 1 on, or between 0 and 1."
BELOW_1 = "Must be greater than or equal to 0 and less than 1."
NOT_FINITE = "Special numeric values (nan or infinity) are not permitted."


def body(model, **fields):
    return {
        "model_id": str(model.pk),
        "target_num_updates": 3,
        "metric_names": ["accuracy"],
        "aggregation_method": "FedAvg",
    } | fields


def test_a_training_is_created(client, user, model, participant):
    wanted = body(
        model,
        target_num_updates="3",
        uncertainty_method="MC_DROPOUT",
        options={"uncertainty": {"N": 5, "softmax": True}, "daisy_chain_period": 0},
        clients=[str(participant.pk), str(participant.pk)],
    )
    response = client.post(URL, wanted)
    training = Training.objects.get()
    assert response.status_code == 201
    assert response.json() == {
        "detail": "Training created successfully!",
        "training_id": str(training.pk),
    }
    assert (training.actor, training.model, training.target_num_updates) == (user, model, 3)
    assert list(training.participants.all()) == [participant]
    assert training.options == wanted["options"]
    assert training.metric_names == ["accuracy"]


def test_options_that_mean_nothing_are_kept_and_named(client, model):
    options = {"uncertanty": {"N": 5}, "uncertainty": {"n": 5, "N": 5}, "round": {"quorum": 1}}
    response = client.post(URL, body(model, options=options))
    assert response.json()["unknown_options"] == ["uncertanty", "uncertainty.n"]
    assert Training.objects.get().options == options


@pytest.mark.parametrize(
    ("method", "given", "kept"),
    [
        ("FedMedian", {}, {}),
        ("FedAdam", {"aggregation": {"tau": "0.1"}}, {"aggregation": {"tau": 0.1}}),
        ("NormBoundedFedAvg", {"aggregation": {"bound": 3}}, {"aggregation": {"bound": 3.0}}),
    ],
)
def test_a_method_has_options_of_its_own(client, model, method, given, kept):
    response = client.post(URL, body(model, aggregation_method=method, options=given))
    assert "unknown_options" not in response.json()
    training = Training.objects.get()
    assert (training.aggregation_method, training.options) == (method, kept)


def test_a_method_that_must_be_told_something_says_so(client, model):
    response = client.post(URL, body(model, aggregation_method="NormBoundedFedAvg"))
    wanted = {"options": {"aggregation": {"bound": ["Missing data for required field."]}}}
    assert (response.status_code, response.json()) == (400, wanted)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "x/y"])
def test_the_body_is_json_whatever_its_type_says(client, model, kind):
    response = client.generic("POST", URL, json.dumps(body(model)), content_type=kind)
    assert response.status_code == 201


@pytest.mark.parametrize("method", ["FedAvg", "FedProx"])
def test_the_methods_on_offer(client, model, method):
    assert client.post(URL, body(model, aggregation_method=method)).status_code == 201


def test_round_control_is_kept_as_numbers(client, model):
    options = {
        "round": {
            "quorum": "0.5",
            "deadline_seconds": "90",
            "round_retries": "2",
            "sample": "3",
            "over_selection": "1.3",
            "late_updates": "discard",
            "stop_when": {"metric": "loss", "goal": "min", "value": "0.1", "patience": "3"},
        },
        "checkpoints": {"last": 3, "every": "10", "best": {"metric": "accuracy"}},
    }
    assert client.post(URL, body(model, options=options)).status_code == 201
    kept = Training.objects.get().options
    assert kept["round"] == {
        "quorum": 0.5,
        "deadline_seconds": 90.0,
        "round_retries": 2,
        "sample": 3,
        "over_selection": 1.3,
        "late_updates": "discard",
        "stop_when": {"metric": "loss", "goal": "min", "value": 0.1, "patience": 3},
    }
    assert kept["checkpoints"] == {"last": 3, "every": 10, "best": {"metric": "accuracy"}}


def test_a_model_in_use_is_cloned_at_round_0(client, training):
    Model.objects.update(round=4)
    assert client.post(URL, body(training.model)).status_code == 201
    clone = Training.objects.exclude(pk=training.pk).get().model
    assert clone != training.model
    assert (clone.round, clone.file.name) == (0, training.model.file.name)


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"foo": 1}, {"foo": ["Unknown field."]}),
        ({"clients": ["x"]}, {"clients": {"0": ["Not a valid UUID."]}}),
        ({"clients": "x"}, {"clients": ["Not a valid list."]}),
        ({"clients": [str(uuid.uuid4())]}, {"detail": "Not all provided users were found!"}),
        ({"model_id": "x"}, {"model_id": ["Not a valid UUID."]}),
        ({"target_num_updates": 0}, None),
        ({"target_num_updates": True}, {"target_num_updates": ["Not a valid integer."]}),
        ({"target_num_updates": 1.5}, {"target_num_updates": ["Not a valid integer."]}),
        ({"target_num_updates": "x"}, {"target_num_updates": ["Not a valid integer."]}),
        ({"target_num_updates": 2**31}, None),
        ({"target_num_updates": 10**100}, None),
        ({"metric_names": "accuracy"}, {"metric_names": ["Not a valid list."]}),
        ({"metric_names": [1]}, {"metric_names": {"0": ["Not a valid string."]}}),
        ({"metric_names": ["a" * 256]}, None),
        ({"aggregation_method": "FedX"}, None),
        ({"uncertainty_method": "BAYES"}, None),
        ({"options": []}, {"options": {"_schema": ["Invalid input type."]}}),
        (
            {"target_num_updates": 2**20, "options": {"daisy_chain_period": 2**20}},
            {"target_num_updates": ["Too many rounds."]},
        ),
        ({"options": {"daisy_chain_period": -1}}, None),
        ({"options": {"uncertainty": {"N": 0}}}, None),
        ({"options": {"uncertainty": {"N": True}}}, None),
        ({"options": {"uncertainty": {"softmax": "maybe"}}}, None),
        ({"options": {"uncertainty": 3}}, None),
        ({"options": {"uncertainty": {"swag": "nobody"}}}, None),
        ({"options": {"round": 3}}, None),
        *(
            ({"options": {"round": wrong}}, answer and {"options": {"round": answer}})
            for wrong, answer in (
                ({"quorom": 1}, {"quorom": ["Unknown field."]}),
                ({"quorum": 1.5}, {"quorum": [SHARE]}),
                ({"quorum": 0}, {"quorum": [SHARE]}),
                ({"sample": -0.5}, {"sample": [SHARE]}),
                ({"sample": True}, {"sample": ["Not a valid number."]}),
                ({"quorum": "nan"}, {"quorum": [NOT_FINITE]}),
                ({"deadline_seconds": 0}, None),
                ({"deadline_seconds": 1e9}, None),
                ({"round_retries": -1}, None),
                ({"round_retries": 101}, None),
                ({"over_selection": 1.3}, {"over_selection": ["Needs sample."]}),
                ({"over_selection": 0.5, "sample": 2}, None),
                ({"late_updates": "keep"}, None),
                ({"stop_when": {"metric": "loss"}}, None),
                ({"stop_when": {"value": 1}}, None),
                ({"stop_when": {"metric": "loss", "value": 1, "goal": "up"}}, None),
                ({"stop_when": {"metric": "loss", "patience": 0}}, None),
            )
        ),
        *(
            (
                {"aggregation_method": method, "options": {"aggregation": wrong}},
                {"options": {"aggregation": answer}},
            )
            for method, wrong, answer in (
                ("FedAvg", {"bound": 1}, {"bound": ["Unknown field."]}),
                ("FedAdam", {"bound": 1}, {"bound": ["Unknown field."]}),
                ("FedAdam", {"beta_1": 1}, {"beta_1": [BELOW_1]}),
                ("NormBoundedFedAvg", {}, {"bound": ["Missing data for required field."]}),
            )
        ),
        (
            {"options": {"aggregation": 3}},
            {"options": {"aggregation": ["Not a valid mapping type."]}},
        ),
        ({"options": {"checkpoints": {"last": 0}}}, None),
        ({"options": {"checkpoints": {"every": 0}}}, None),
        ({"options": {"checkpoints": {"best": "loss"}}}, None),
        (
            {"options": {"daisy_chain_period": 2, "round": {"sample": 2}}},
            {"options": {"round": {"sample": ["Not with a daisy chain."]}}},
        ),
    ],
)
def test_what_the_schema_refuses(client, model, fields, answer):
    response = client.post(URL, body(model, **fields))
    assert response.status_code == 400
    if answer is None:
        assert list(response.json()) == list(fields)
    else:
        assert response.json() == answer
    assert not Training.objects.exists()


@pytest.mark.parametrize(
    "field", ["model_id", "target_num_updates", "metric_names", "aggregation_method"]
)
def test_required_fields_are_named(client, model, field):
    data = body(model)
    del data[field]
    response = client.post(URL, data)
    assert (response.status_code, response.json()) == (
        400,
        {field: ["Missing data for required field."]},
    )


@pytest.mark.parametrize("data", [[], "x", None, 3])
def test_a_body_that_is_no_object_is_refused(client, data):
    response = client.generic("POST", URL, json.dumps(data), content_type="application/json")
    assert (response.status_code, response.json()) == (400, {"_schema": ["Invalid input type."]})


def test_only_own_models_are_trained(client, stranger, nobody, model):
    unknown = uuid.uuid4()
    response = client.post(URL, body(model, model_id=str(unknown)))
    assert (response.status_code, response.json()) == (
        400,
        {"detail": f"Model {unknown} not found."},
    )
    response = stranger.post(URL, body(model))
    assert (response.status_code, response.json()) == (403, FORBIDDEN)
    assert nobody.post(URL, body(model)).status_code == 401
    assert not Training.objects.exists()


def test_what_can_not_be_trained_is_refused(client, user):
    local = LocalModelFactory(owner=user)
    mean = ModelFactory(owner=user, kind="MEAN")
    form = {"name": "a", "description": "b", "model_file": saved(torch.nn.ReLU())}
    fixed = client.post("/api/models/", form, format="multipart").json()["model_id"]
    for model in (local, mean, Model.objects.get(pk=fixed)):
        response = client.post(URL, body(model))
        assert response.status_code == 400
        assert f"Model {model.pk}" in response.json()[0]
    assert not Training.objects.exists()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (torch.tensor([1.0, float("nan")]), "'1.weight' holds NaN or infinite values"),
        (torch.tensor([float("-inf")]), "'1.weight' holds NaN or infinite values"),
        (torch.ones(2, dtype=torch.complex64), "'1.weight' is of type C64"),
    ],
)
def test_a_model_whose_moments_would_all_be_refused_is_not_trained_with_swag(client, value, reason):
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.PReLU(len(value)))
    module[1].weight = torch.nn.Parameter(value)
    form = {"name": "a", "description": "b", "model_file": saved(module)}
    uploaded = client.post("/api/models/", form, format="multipart").json()
    model = Model.objects.get(pk=uploaded["model_id"])
    response = client.post(URL, body(model, uncertainty_method="SWAG"))
    assert response.status_code == 400
    assert reason in response.json()[0]
    assert not Training.objects.exists()
    assert client.post(URL, body(model)).status_code == 201


def test_the_list_has_the_trainings_that_one_runs(
    client, user, nobody, django_assert_max_num_queries
):
    trainings = [
        TrainingFactory(actor=user, participants=UserFactory.create_batch(2)) for _ in range(4)
    ]
    TrainingFactory(participants=[user])
    with django_assert_max_num_queries(3):
        rows = client.get(URL).json()
    assert [row["id"] for row in rows] == [str(training.pk) for training in trainings]
    assert set(rows[0]) == FIELDS
    assert set(rows[0]["participants"]) == {
        str(pk) for pk in trainings[0].participants.values_list("pk", flat=True)
    }
    assert (rows[0]["state"], rows[0]["locked"]) == ("I", False)
    assert nobody.get(URL).status_code == 401


def test_a_training_tells_how_far_its_round_is(client, started, participant):
    second = UserFactory()
    LocalModelFactory(base_model=started.model, owner=participant)
    LocalModelFactory(base_model=started.model, owner=second)  # takes no part
    started.participants.add(second)
    started.participants.remove(second)
    for caller in (client, as_user(participant)):
        answer = caller.get(f"{URL}{started.pk}/").json()
        counts = {"local_models_arrived", "local_models_expected", "round"}
        assert set(answer) == FIELDS | counts
        assert (answer["local_models_arrived"], answer["local_models_expected"]) == (1, 1)


def test_a_training_that_moves_on_while_it_is_shown_is_shown_as_it_is_then(
    client, started, monkeypatch
):
    count = Phase.quorum

    def move_on_and_count(phase):
        monkeypatch.undo()
        Training.objects.filter(pk=started.pk).update(phase="test", attempt=5)
        return count(phase)

    monkeypatch.setattr(Phase, "quorum", move_on_and_count)
    shown = client.get(f"{URL}{started.pk}/").json()["round"]
    assert (shown["phase"], shown["attempt"], shown["asked"]) == ("test", 5, [])


def test_a_training_tells_who_is_awaited_and_since_when(client, started, participant):
    second = UserFactory()
    training = {**body(started.model), "clients": [str(participant.pk), str(second.pk)]}
    options = {"round": {"quorum": 0.5, "deadline_seconds": 60}}
    opened = client.post(URL, training | {"options": options}).json()
    url = f"{URL}{opened['training_id']}/"
    before = client.get(url).json()["round"]
    assert (before["phase"], before["since"], before["awaited"]) == ("", None, [])
    asked_at = timezone.now()
    client.post(f"{url}start/")
    shown = client.get(url).json()
    assert shown["options"] == options
    now = shown["round"]
    assert (now["number"], now["attempt"], now["phase"]) == (0, 0, "update")
    assert (now["target"], now["quorum"]) == (2, 1)
    assert set(now["asked"]) == set(now["awaited"]) == {str(participant.pk), str(second.pk)}
    since, deadline = (datetime.fromisoformat(now[name]) for name in ("since", "deadline"))
    assert asked_at - timedelta(seconds=1) < since <= timezone.now()
    assert abs(deadline - since - timedelta(seconds=60)) < timedelta(seconds=1)
    model_file = saved(make_module())
    form = {"round": 0, "sample_size": 1, "model_file": model_file}
    as_user(second).post(f"/api/models/{shown['model']}/", form, format="multipart")
    assert client.get(url).json()["round"]["awaited"] == [str(participant.pk)]


def test_a_training_is_locked_while_it_is_merged(client, training):
    Training.objects.update(claimed_until=timezone.now() + timedelta(minutes=1))
    assert client.get(f"{URL}{training.pk}/").json()["locked"] is True


def test_an_initial_training_expects_all_participants(client, training):
    training.participants.add(UserFactory())
    answer = client.get(f"{URL}{training.pk}/").json()
    assert (answer["local_models_arrived"], answer["local_models_expected"]) == (0, 2)


def test_an_error_shows_its_reason(client, training):
    Training.objects.update(state=TrainingState.ERROR, state_reason="No participant is left.")
    answer = client.get(f"{URL}{training.pk}/").json()
    assert (answer["state"], answer["state_reason"]) == ("E", "No participant is left.")


def test_the_actor_removes_a_training_and_keeps_the_model(client, training):
    response = client.delete(f"{URL}{training.pk}/")
    assert (response.status_code, response.json()) == (200, {"detail": "Training removed!"})
    assert not Training.objects.exists()
    assert Model.objects.exists()


def test_participants_and_strangers_do_not(training, participant, stranger, nobody):
    for caller in (as_user(participant), stranger):
        response = caller.delete(f"{URL}{training.pk}/")
        assert (response.status_code, response.json()) == (
            403,
            {"detail": "You are not the owner the training."},
        )
    assert nobody.delete(f"{URL}{training.pk}/").status_code == 401
    assert Training.objects.exists()


def test_starting_notifies_and_happens_once(client, training):
    url = f"{URL}{training.pk}/start/"
    response = client.post(url)
    assert (response.status_code, response.json()) == (202, {"detail": "Training started!"})
    assert list(training.notifications.values_list("type", flat=True)) == [
        "TRAINING_START",
        "UPDATE_ROUND_START",
    ]
    response = client.post(url)
    assert (response.status_code, response.json()) == (
        400,
        {"detail": f"Training {training.pk} is not in state INITIAL!"},
    )


def test_starting_needs_participants(client, training):
    training.participants.clear()
    response = client.post(f"{URL}{training.pk}/start/")
    assert (response.status_code, response.json()) == (
        400,
        {"detail": "At least one participant must be registered!"},
    )


def test_a_participant_may_start(training, participant):
    assert as_user(participant).post(f"{URL}{training.pk}/start/").status_code == 202


def test_a_trainings_models(client, training, participant, django_assert_max_num_queries):
    old = LocalModelFactory(base_model=training.model, owner=participant, round=0)
    new = LocalModelFactory(base_model=training.model, owner=participant, round=1)
    gone = LocalModelFactory(base_model=training.model)
    LocalModelFactory(base_model=training.model, closed_at="2026-01-01T00:00Z")
    url = f"{URL}{training.pk}/models/"
    with django_assert_max_num_queries(5):
        rows = client.get(url).json()
    assert [row["id"] for row in rows] == [
        str(model.pk) for model in (training.model, old, new, gone)
    ]
    with django_assert_max_num_queries(6):
        rows = as_user(participant).get(f"{url}latest/").json()
    assert [row["id"] for row in rows] == [str(training.model.pk), str(new.pk)]


@pytest.mark.parametrize(
    ("method", "tail"),
    [
        ("get", ""),
        ("put", "clients/"),
        ("delete", "clients/"),
        ("post", "start/"),
        ("get", "models/"),
        ("get", "models/latest/"),
    ],
)
def test_strangers_have_no_part(training, stranger, nobody, client, method, tail):
    url = f"{URL}{training.pk}/{tail}"
    response = getattr(stranger, method)(url, {"clients": []})
    assert (response.status_code, response.json()) == (403, FORBIDDEN)
    assert getattr(nobody, method)(url).status_code == 401
    for unknown in ("x", uuid.uuid4()):
        response = getattr(client, method)(f"{URL}{unknown}/{tail}")
        assert (response.status_code, response.json()) == (
            400,
            {"detail": f"Training {unknown} not found."},
        )
