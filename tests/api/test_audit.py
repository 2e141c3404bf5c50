"""Which acts of the audit log each endpoint that changes something leaves."""

import json
import re
from ipaddress import ip_network

import pytest
from django.db import connection, transaction

from fl_server_api.urls import urlpatterns
from fl_server_core.models import Act, Invitation, Model, Training, User
from fl_server_core.models.act import ActQuerySet
from tests.api.conftest import as_user
from tests.api.test_matrix import CALLERS, ROWS, TRAINING, send, world  # noqa: F401 (a fixture)
from tests.factories import UserFactory

ACTS = {
    ("POST", "groups/"): ["group.added"],
    ("PUT", "groups/<id>/"): ["group.changed"],
    ("PATCH", "groups/<id>/"): ["group.changed"],
    ("DELETE", "groups/<id>/"): ["group.removed"],
    ("POST", "users/"): ["user.registered"],
    ("PATCH", "users/myself/"): ["user.changed"],
    ("POST", "users/myself/token/"): ["token.renewed"],
    ("POST", "models/"): ["model.uploaded"],
    ("DELETE", "models/<id>/"): ["model.removed", "training.removed"],
    ("POST", "models/<id>/preprocessing/"): ["model.preprocessing_uploaded"],
    ("POST", "models/<id>/serving/"): ["model.serving_uploaded"],
    ("POST", "trainings/"): ["model.copied", "training.client_added", "training.opened"],
    ("DELETE", "trainings/<id>/"): ["training.removed"],
    ("PUT", "trainings/<id>/clients/"): ["training.client_added"],
    ("DELETE", "trainings/<id>/clients/"): ["training.client_removed"],
    ("POST", "trainings/<id>/start/"): ["training.started"],
    ("POST", "trainings/<id>/stop/"): ["training.stopped"],
    ("POST", "trainings/<id>/resume/"): ["training.resumed"],
    ("POST", "trainings/<id>/rollback/"): ["training.rolled_back"],
    ("POST", "trainings/<id>/notify/"): ["training.asked_again"],
}
"""The codes, by name, of a valid request."""

NONE = {
    ("POST", "models/<id>/"): "an update is a row, which the training's record shows",
    ("POST", "models/<id>/swag/"): "moments are rows until they are merged, which is an act",
    ("POST", "models/<id>/metrics/"): "metrics are rows, with who reported them",
    ("POST", "inference/"): "asking a model changes nothing",
    ("POST", "notifications/<id>/ack/"): "the notification's row tells it",
    ("POST", "uploads/"): "what is made of an upload is the act",
    ("PATCH", "uploads/<id>/"): "the same",
    ("DELETE", "uploads/<id>/"): "the same",
}
"""Why others leave none."""

AN_UPDATE = "an update"
"""It has no training of its own that would fall with it."""

CLIENT = {"clients": ["{newcomer}"]}
BODIES = {("PUT", "trainings/<id>/clients/"): CLIENT, ("POST", "trainings/"): TRAINING | CLIENT}
"""In place of the matrix's, which add nobody."""

PASSWORD, NEXT = "hunter-2-rather-long", "hunter-3-rather-long"
SECRET = "c2VjcmV0" * 5


def named(path):
    return re.sub(r"\{\w+\}|<str:\w+>", "<id>", path)


def test_each_endpoint_that_may_change_something_is_decided_about():
    served = set()
    for pattern in urlpatterns:
        methods = getattr(pattern.callback, "actions", None) or {"get"}
        served |= {(method.upper(), named(str(pattern.pattern))) for method in methods}
    changing = {row for row in served if row[0] not in ("GET", "HEAD")}
    assert ACTS.keys().isdisjoint(NONE)
    assert ACTS.keys() | NONE.keys() == changing


@pytest.fixture
def depths(monkeypatch):
    """In how many transactions each act was written, the test's own among them."""
    found, write = [], ActQuerySet.bulk_create

    def bulk_create(queryset, acts):
        found.extend(len(connection.atomic_blocks) for _ in acts)
        return write(queryset, acts)

    monkeypatch.setattr(ActQuerySet, "bulk_create", bulk_create)
    return found


def acts_of(world, method, path, body):  # noqa: F811 (a fixture)
    """Send a request as the first who may; return who, the acts, and how deep it was sent."""
    for caller in CALLERS:
        with transaction.atomic():
            last = Act.objects.last()
            code = send(world, caller, method, path, body)
            acts = list(Act.objects.filter(pk__gt=last.pk).order_by("code"))
            depth = len(connection.atomic_blocks)
            transaction.set_rollback(True)
        assert code < 400 or acts == [], f"{caller} was refused, with an act"
        if code < 400:
            return caller, acts, depth
    raise AssertionError(f"nobody may {method} {path}")


def test_each_endpoint_leaves_its_acts_and_no_others(world, depths):  # noqa: F811
    world.names["newcomer"] = str(UserFactory().pk)
    for method, path, note, body in ROWS:
        row = (method, named(path))
        if method in ("GET", "HEAD"):
            continue
        expected = list(ACTS.get(row, []))
        if row == ("DELETE", "models/<id>/") and note == AN_UPDATE:
            expected.remove("training.removed")
        depths.clear()
        caller, acts, depth = acts_of(world, method, path, BODIES.get(row, body))
        assert [act.code for act in acts] == expected, row
        assert all(each > depth for each in depths), f"{row}: not in the change's transaction"
        who = {act.user_name for act in acts}
        if acts and caller != "anonymous":
            me = world.callers[caller].get("/api/users/myself/").json()
            assert who == {me["username"]}, row
            assert {str(act.user_id) for act in acts} == {me["id"]}


def test_who_and_what_stay_known_after_both_are_removed(client, user, training):
    name = user.username
    client.post(f"/api/trainings/{training.pk}/start/")
    user.delete()
    act = Act.objects.get(code="training.started")
    assert (act.user_name, act.object_type) == (name, "training")
    assert act.object_id == str(training.pk)


def test_each_client_of_a_new_training_is_named(client, model, participant):
    asked = {"model_id": str(model.pk), "target_num_updates": 1, "metric_names": []}
    asked |= {"aggregation_method": "FedAvg", "clients": [str(participant.pk)]}
    training = client.post("/api/trainings/", asked).json()["training_id"]
    act = Act.objects.get(code="training.client_added")
    assert act.object_id == training
    assert act.details == {"user": str(participant.pk), "name": participant.username}


@pytest.mark.parametrize(
    ("peer", "said", "noted"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("2001:db8::1", "", "2001:db8::1"),
    ],
)
def test_the_address_is_the_peers_or_what_a_known_proxy_says(client, settings, peer, said, noted):
    settings.FL_PROXIES = [ip_network("10.0.0.0/8")]
    headers = {"X-Forwarded-For": "203.0.113.1"} | ({"X-Real-IP": said} if said else {})
    client.post("/api/users/myself/token/", headers=headers, REMOTE_ADDR=peer)
    assert Act.objects.get(code="token.renewed").address == noted


def test_a_refused_request_leaves_none(stranger, training):
    before = Act.objects.count()
    assert stranger.post(f"/api/trainings/{training.pk}/start/").status_code == 403
    assert stranger.post("/api/groups/", {"name": ""}).status_code == 400
    assert Act.objects.count() == before


def test_what_a_participant_happens_to_end_is_the_servers_act(client, started, participant):
    call = started.notifications.filter(type="UPDATE_ROUND_START")
    call.update(type="MODEL_TEST_ROUND", round=started.target_num_updates)
    Training.objects.filter(pk=started.pk).update(phase="test")
    Model.objects.filter(pk=started.model_id).update(round=started.target_num_updates)
    answer = as_user(participant).post(
        f"/api/models/{started.model_id}/metrics/",
        {"metric_names": ["loss"], "metric_values": [1]},
    )
    assert answer.status_code == 201, answer.content
    act = Act.objects.get(code="training.completed")
    assert (act.user_id, act.user_name, act.address) == (None, "", "")


def test_a_wrong_password_is_noted_without_it(nobody, user):
    headers = {"Authorization": "Basic " + "dXNlcjpodW50ZXI="}  # a user whom nobody knows
    assert nobody.get("/api/users/", headers=headers).status_code == 401
    act = Act.objects.get(code="user.login_failed")
    assert (act.user_name, act.object_id, act.details, act.address) == ("", "", {}, "127.0.0.1")
    assert not nobody.login(username=user.username, password="wrong")
    assert Act.objects.filter(code="user.login_failed").last().object_id == str(user.pk)


def test_wrong_passwords_are_noted_no_more_often_than_they_are_tried(nobody, db, settings):
    settings.FL_WRONG_PASSWORDS = 2
    for _ in range(5):
        nobody.get("/api/users/", headers={"Authorization": "Basic dXNlcjpodW50ZXI="})
    assert Act.objects.filter(code="user.login_failed").count() == 2


def test_a_login_is_noted(nobody, user):
    form = {"username": user.username, "password": "secret"}
    assert nobody.post("/api-auth/login/", form, format="multipart").status_code == 302
    act = Act.objects.get(code="user.logged_in")
    assert (act.user_id, act.object_id, act.address) == (user.pk, str(user.pk), "127.0.0.1")


def test_no_secret_ever_stands_in_it(
    nobody, settings, caplog, django_capture_on_commit_callbacks, db
):
    caplog.set_level("INFO", "fl_server_core.audit")
    with django_capture_on_commit_callbacks(execute=True):
        code = Invitation(note="for Ann").issue()
        settings.FL_REGISTRATION = "invitation"
        asked = {"username": "ann", "password": PASSWORD, "invitation": code}
        asked |= {"notification_secret": SECRET, "message_endpoint": "http://ann.test/"}
        answer = nobody.post("/api/users/", asked)
        assert answer.status_code == 201, answer.content
        ann = as_user(User.objects.get(username="ann"))
        change = {
            "old_password": PASSWORD,
            "password": NEXT,
            "notification_secret": SECRET + "c2Vj",
        }
        assert ann.patch("/api/users/myself/", change).status_code == 200
        token = ann.post("/api/users/myself/token/").json()["token"]
        nobody.login(username=NEXT, password="wrong")  # typed into the wrong field
    told = json.dumps([act.told for act in Act.objects.all()]) + caplog.text
    codes = list(Act.objects.values_list("code", flat=True))
    assert codes == [
        "invitation.made",
        "user.registered",
        "invitation.used",
        "user.changed",
        "token.renewed",
        "user.login_failed",
    ]
    assert told.count('"act": "user.changed"') == 2
    for secret in (PASSWORD, NEXT, SECRET, code, answer.json()["token"], token):
        assert secret not in told


def test_a_request_that_changes_nothing_leaves_none(client, training, participant):
    before = Act.objects.count()
    clients = {"clients": [str(participant.pk)]}
    assert client.patch("/api/users/myself/", {}).status_code == 200
    assert client.put(f"/api/trainings/{training.pk}/clients/", clients).status_code == 202
    assert Act.objects.count() == before
