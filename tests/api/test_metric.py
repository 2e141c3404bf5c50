import base64

import pytest

from fl_server_core.models import Metric, metric
from fl_server_core.models.training import PhaseName
from tests.api.conftest import as_user
from tests.factories import LocalModelFactory


def url(model):
    return f"/api/models/{model.pk}/metrics/"


ONE = {"metric_names": ["a"], "metric_values": ["1"]}


@pytest.mark.parametrize("kind", ["json", "multipart"])
def test_a_participant_reports(training, participant, client, kind):
    data = {"metric_names": ["accuracy", "note"], "metric_values": ["0.5", "good"]}
    response = as_user(participant).post(url(training.model), data, format=kind)
    assert response.status_code == 201
    assert response.json() == {
        "detail": "Model Metrics Upload Accepted",
        "model_id": str(training.model_id),
    }
    first, second = client.get(url(training.model)).json()
    assert first == {
        "id": Metric.objects.earliest("id").pk,
        "model": str(training.model_id),
        "identifier": None,
        "key": "accuracy",
        "value_float": 0.5,
        "value_binary": None,
        "step": 0,
        "reporter": str(participant.pk),
    }
    assert second["value_float"] is None
    assert base64.b64decode(second["value_binary"]) == b"good"


def test_an_urlencoded_form_does_too(training, participant):
    response = as_user(participant).post(
        url(training.model),
        "metric_names=a&metric_values=1&metric_names=b&metric_values=inf",
        content_type="application/x-www-form-urlencoded",
    )
    assert response.status_code == 201
    assert list(Metric.objects.values_list("value_float", flat=True)) == [1.0, None]


def test_an_owner_reports_on_a_model_without_training(client, model):
    assert client.post(url(model), ONE).status_code == 201
    assert client.post(url(model), ONE | {"metric_values": [2]}).status_code == 201
    assert Metric.objects.get().value_float == 2.0


def test_the_last_report_ends_the_test_phase(started, participant):
    type(started).objects.update(phase=PhaseName.TEST)
    update = {"round": 0, "attempt": 0, "type": "MODEL_TEST_ROUND"}
    started.notifications.filter(type="UPDATE_ROUND_START").update(**update)
    assert as_user(participant).post(url(started.model), ONE).status_code == 201
    started.refresh_from_db()
    assert started.phase == PhaseName.UPDATE


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ({}, {"detail": "Metric names or values are missing"}),
        ({"metric_names": ["a"]}, {"detail": "Metric names or values are missing"}),
        ({"metric_values": [1]}, {"detail": "Metric names or values are missing"}),
        (
            {"metric_names": ["a"], "metric_values": [1, 2]},
            {"detail": "Metric names and values must have the same length"},
        ),
        (
            {"metric_names": ["a"], "metric_values": [True]},
            {"metric_values": {"0": ["Not a valid string or number."]}},
        ),
        (
            {"metric_names": ["a"], "metric_values": [10**400]},
            {"metric_values": {"0": ["Not a valid string or number."]}},
        ),
        (
            {"metric_names": ["a"], "metric_values": [None]},
            {"metric_values": {"0": ["Field may not be null."]}},
        ),
        (
            {"metric_names": "a", "metric_values": ["1"]},
            {"metric_names": ["Not a valid list."]},
        ),
        (
            {"metric_names": ["a" * 256], "metric_values": ["1"]},
            {"metric_names": {"0": ["Longer than maximum length 255."]}},
        ),
        ([], {"detail": "The body must be an object."}),
        ("x", {"detail": "The body must be an object."}),
    ],
)
def test_refused_metrics_leave_nothing(client, model, data, answer):
    response = client.post(url(model), data)
    assert (response.status_code, response.json()) == (400, answer)
    assert not Metric.objects.exists()


def test_strangers_neither_report_nor_read(training, stranger, nobody):
    assert stranger.post(url(training.model), ONE).status_code == 403
    assert stranger.get(url(training.model)).status_code == 403
    assert nobody.post(url(training.model), ONE).status_code == 401
    assert nobody.get(url(training.model)).status_code == 401
    assert not Metric.objects.exists()


def test_a_merged_rounds_updates_and_their_metrics_are_gone(client, training):
    update = LocalModelFactory(base_model=training.model, closed_at="2026-01-01T00:00Z")
    assert client.get(url(update)).json() == {"detail": f"Model {update.pk} not found."}


def test_names_are_bounded_over_all_requests_of_a_round(client, model, monkeypatch):
    monkeypatch.setattr(metric, "MAX_NAMES", 2)
    url = f"/api/models/{model.pk}/metrics/"
    for name in ("a", "b", "a"):
        body = {"metric_names": [name], "metric_values": [1]}
        assert client.post(url, body, format="json").status_code == 201
    answer = client.post(url, {"metric_names": ["c", "d"], "metric_values": [1, 1]}, format="json")
    assert (answer.status_code, answer.json()) == (
        429,
        {"detail": "You may report 2 metrics on a model in one round."},
    )
    assert [row["key"] for row in client.get(url).json()] == ["a", "b"]


def test_text_is_bounded_over_all_requests_of_a_round(client, model, settings):
    settings.FL_MAX_BODY_BYTES = 250
    url = f"/api/models/{model.pk}/metrics/"

    def report(name, value):
        body = {"metric_names": [name], "metric_values": [value]}
        return client.post(url, body, format="json")

    assert [report(name, "é" * 50).status_code for name in "abaa"] == 4 * [201]
    answer = report("c", "é" * 50)
    assert (answer.status_code, answer.json()) == (
        429,
        {"detail": "Metrics on a model in one round may have 250 bytes of text."},
    )
    assert report("c", 1).status_code == 201
    assert [row["key"] for row in client.get(url).json()] == ["a", "b", "c"]
