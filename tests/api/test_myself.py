"""What users change of themselves."""

import pytest
from rest_framework.test import APIClient

from fl_server_core.models import Notification, User
from tests.api.conftest import as_user
from tests.api.test_authentication import basic
from tests.factories import NotificationFactory, UserFactory

URL = "/api/users/myself/"
SECRET = "c2VjcmV0" * 5
NEW = {"password": "another", "old_password": "secret"}


@pytest.mark.parametrize("kind", ["json", "multipart"])
def test_own_fields_are_changed_and_the_others_stay(client, user, kind):
    stays = UserFactory()
    changed = {
        "first_name": "Ann",
        "email": "Ann@example.org",
        "message_endpoint": "http://client-01:8101/",
    }
    response = client.patch(URL, changed | {"notification_secret": SECRET}, format=kind)
    assert response.status_code == 200
    assert response.json() == client.get(URL).json()
    assert changed.items() <= response.json().items()
    user.refresh_from_db()
    assert (user.notification_secret, user.check_password("secret")) == (SECRET, True)
    assert User.objects.get(pk=stays.pk).first_name == ""


def test_nobody_changes_what_they_are(client, user):
    before = User.objects.filter(pk=user.pk).values().get()
    body = {"id": "x", "username": "root", "is_staff": True, "is_superuser": True, "groups": [1]}
    assert client.patch(URL, body | {"actor": True, "token": "0" * 40}).status_code == 200
    assert User.objects.filter(pk=user.pk).values().get() == before


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"email": "no address"}, "email"),
        ({"message_endpoint": "ftp://host/"}, "message_endpoint"),
        ({"message_endpoint": "http://me:secret@host/"}, "message_endpoint"),
        ({"notification_secret": "short"}, "notification_secret"),
        ({"first_name": None}, "first_name"),
        ({"first_name": "a" * 151}, "first_name"),
        ({"password": "another"}, "old_password"),
        ({"password": "another", "old_password": "wrong"}, "old_password"),
        ({"password": "", "old_password": "secret"}, "password"),
        ({"password": "another", "old_password": None}, "old_password"),
    ],
)
def test_a_bad_field_changes_nothing(client, user, fields, wrong):
    response = client.patch(URL, {"last_name": "B"} | fields)
    assert (response.status_code, list(response.json())) == (400, [wrong])
    user.refresh_from_db()
    assert (user.last_name, user.check_password("secret")) == ("", True)


def test_a_new_password_ends_what_the_old_one_began(client, user, nobody):
    session = APIClient()
    session.login(username=user.username, password="secret")
    old, new = ({"Authorization": basic(user.username, word)} for word in ("secret", "another"))
    assert nobody.get(URL, headers=old).status_code == 200  # and is remembered
    assert session.get(URL).status_code == 200
    assert client.patch(URL, NEW).status_code == 200
    assert nobody.get(URL, headers=old).status_code == session.get(URL).status_code == 401
    assert nobody.get(URL, headers=new).status_code == 200
    assert client.get(URL).status_code == 200  # a token has its own end


def test_the_password_rules_hold(client, user, settings):
    rule = "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"
    settings.AUTH_PASSWORD_VALIDATORS = [{"NAME": rule}]
    body = NEW | {"password": "annabella", "first_name": "annabell"}
    response = client.patch(URL, body)
    assert (response.status_code, list(response.json())) == (400, ["password"])
    user.refresh_from_db()
    assert (user.first_name, user.check_password("secret")) == ("", True)


def test_undelivered_messages_follow_ones_endpoint(user, client):
    message = NotificationFactory(receiver=user)
    done = NotificationFactory(receiver=user, state="delivered")
    others = NotificationFactory()
    client.patch(URL, {"message_endpoint": "http://client-01:8101/"})
    assert Notification.objects.due().get() == message
    client.patch(URL, {"message_endpoint": ""})
    assert not Notification.objects.due().exists()
    assert set(Notification.objects.filter(next_attempt_at=None)) == {message, done, others}


def test_a_new_token_ends_the_old_one(client, user):
    response = client.post(f"{URL}token/")
    assert (response.status_code, set(response.json())) == (201, {"token"})
    assert client.get(URL).status_code == 401
    renewed = as_user(User.objects.get())
    assert renewed.get(URL).status_code == 200
    assert renewed.get(f"/api/users/{user.pk}/").json()["token"] == response.json()["token"]


def test_who_has_lost_the_token_gets_a_new_one_by_password(nobody, user):
    headers = {"Authorization": basic(user.username, "secret")}
    token = nobody.post(f"{URL}token/", headers=headers).json()["token"]
    assert nobody.get(URL, headers={"Authorization": f"Token {token}"}).status_code == 200


def test_nobody_changes_nobody(nobody, user):
    assert nobody.patch(URL, {"first_name": "A"}).status_code == 401
    assert nobody.post(f"{URL}token/").status_code == 401


def test_a_user_says_in_whose_trainings_it_takes_part(client, user, participant, model):
    stranger = UserFactory()
    sentence = f"Not taking part in trainings of {user.username}: {participant.username}."
    wanted = {"model_id": str(model.pk), "target_num_updates": 1, "metric_names": []}
    wanted |= {"aggregation_method": "FedAvg", "clients": [str(participant.pk)]}

    def accept(ids):
        answer = as_user(participant).patch(URL, {"accepts_trainings_from": ids})
        assert (answer.status_code, answer.json()["accepts_trainings_from"]) == (200, ids)

    for ids in ([], [str(stranger.pk)]):
        accept(ids)
        refused = client.post("/api/trainings/", wanted)
        assert (refused.status_code, refused.json()) == (400, {"detail": sentence})
    for ids in ([str(user.pk)], None):
        accept(ids)
        assert client.post("/api/trainings/", wanted).status_code == 201


def test_nor_is_it_added_later_though_who_takes_part_stays(client, training, participant):
    newcomer = UserFactory(accepts_trainings_from=[])
    User.objects.filter(pk=participant.pk).update(accepts_trainings_from=[])
    url = f"/api/trainings/{training.pk}/clients/"
    refused = client.put(url, {"clients": [str(newcomer.pk)]})
    assert (refused.status_code, newcomer.username in refused.json()["detail"]) == (400, True)
    assert client.put(url, {"clients": [str(participant.pk)]}).status_code == 202
    own = as_user(newcomer)
    assert list(training.participants.all()) == [participant]
    assert own.get(URL).json()["accepts_trainings_from"] == []


@pytest.mark.parametrize("ids", ["x", ["x"], [1], {}, ["5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4"]])
def test_whom_one_accepts_exists(client, user, ids):
    answer = client.patch(URL, {"accepts_trainings_from": ids})
    assert (answer.status_code, list(answer.json())) == (400, ["accepts_trainings_from"])
