"""`/trainings/new/`: the form that opens a training, checked as the API's request is."""

import pytest
from django.test import Client

from fl_server_core.models import Model, Training
from tests.api.browsing import browser_of, text_of
from tests.api.conftest import as_user, make_module, saved
from tests.factories import ModelFactory, UserFactory

PATH = "/trainings/new/"


@pytest.fixture
def form(model):
    """What the form sends for the user's model."""
    return {
        "model_id": str(model.pk),
        "target_num_updates": "3",
        "metric_names": "accuracy, loss",
        "aggregation_method": "FedAvg",
        "uncertainty_method": "NONE",
        "options": "",
    }


def test_a_training_is_opened(user, form, participant):
    other = UserFactory(username="carla")
    form |= {"clients": [str(participant.pk)], "names": "carla"}
    form["options"] = '{"round": {"quorum": 0.5}, "batch_size": 8}'
    answer = browser_of(user).post(PATH, form)
    training = Training.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/trainings/{training.pk}/")
    assert (training.actor, str(training.model_id)) == (user, form["model_id"])
    assert set(training.participants.all()) == {participant, other}
    assert training.metric_names == ["accuracy", "loss"]
    assert training.options == {"round": {"quorum": 0.5}, "batch_size": 8}
    page = text_of(browser_of(user).get(answer["Location"]))
    assert "Not started yet 0 of 3 rounds done" in page


def test_options_that_mean_nothing_are_told(user, form):
    browser = browser_of(user)
    answer = browser.post(PATH, form | {"options": '{"batch_size": 8}'}, follow=True)
    assert "mean nothing to the server are kept: batch_size." in text_of(answer)


@pytest.mark.parametrize(
    ("field", "sent", "said"),
    [
        ("model_id", "", "Not a valid UUID."),
        ("model_id", "00000000-0000-0000-0000-000000000000", "Choose one of your models."),
        ("target_num_updates", "0", "Must be greater than or equal to 1"),
        ("target_num_updates", "x", "Not a valid integer."),
        ("aggregation_method", "FedX", "Must be one of"),
        ("uncertainty_method", "", "Must be one of"),
        ("clients", "x", "0: Not a valid UUID."),
        ("clients", "00000000-0000-0000-0000-000000000000", "Not all of these users were found."),
        ("names", "carla dora", "Nobody is called carla, dora."),
        ("options", "{", "JSON parse error"),
        ("options", "[]", "Invalid"),
        ("options", "[" * 30_000, "JSON parse error"),
        ("options", '{"x": NaN}', "JSON parse error"),
        ("options", '{"x": 1e999}', "JSON parse error"),
        ("options", '{"x": "\\u0000"}', "NUL"),
        ("options", '{"round": {"quorum": 0}}', "round.quorum: Must be a whole number"),
        ("options", '{"aggregation": {"x": 1}}', "aggregation.x: Unknown field."),
    ],
)
def test_what_is_wrong_is_said_at_its_field(user, form, field, sent, said):
    answer = browser_of(user).post(PATH, form | {field: sent})
    assert answer.status_code == 400
    assert said in " ".join(answer.context["errors"][field])
    assert f'id="{field}-error"' in answer.content.decode()
    assert not Training.objects.exists()


def test_what_was_written_stays(user, form, participant):
    participant.client = True
    participant.save()
    form |= {"options": '{"<b>', "clients": str(participant.pk), "target_num_updates": "77"}
    content = browser_of(user).post(PATH, form).content.decode()
    assert 'value="77"' in content
    assert "{&quot;&lt;b&gt;</textarea>" in content
    assert f'value="{participant.pk}" checked' in content


def test_what_the_address_says_is_filled_in(user, form):
    ModelFactory(owner=user)
    content = browser_of(user).get(PATH, {"model_id": form["model_id"]}).content.decode()
    assert f'value="{form["model_id"]}" selected' in content


def test_the_apis_refusals_are_said_above(user, form):
    UserFactory(username="carla", accepts_trainings_from=[])
    answer = browser_of(user).post(PATH, form | {"names": "carla"})
    assert f"Not taking part in trainings of {user.username}: carla." in text_of(answer)


def test_ones_own_models_alone_can_be_chosen(user, form, participant):
    other = as_user(participant)
    fields = {"name": "theirs", "description": "d", "model_file": saved(make_module())}
    theirs = other.post("/api/models/", fields, format="multipart").json()["model_id"]
    ModelFactory(owner=user, kind="MEAN", name="a mean")
    answer = browser_of(user).get(PATH)
    assert [str(model.pk) for model in answer.context["models"]] == [form["model_id"]]
    refused = browser_of(user).post(PATH, form | {"model_id": theirs})
    assert refused.context["errors"] == {"model_id": ["Choose one of your models."]}


def test_clients_who_would_take_part_are_listed(user):
    UserFactory(username="anna", client=True)
    UserFactory(username="ben", client=True, accepts_trainings_from=[])
    UserFactory(username="carla")
    shown = browser_of(user).get(PATH).context["clients"]
    assert [client.username for client in shown] == ["anna"]


def test_no_other_site_opens_one(user, form):
    assert browser_of(user, enforce_csrf_checks=True).post(PATH, form).status_code == 403
    assert Client().post(PATH, form).status_code == 302
    assert not Training.objects.exists()
    assert Model.objects.count() == 1
