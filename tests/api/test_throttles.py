"""What may not be tried too often: passwords, and registering."""

import threading
import time
from ipaddress import ip_network

import pytest
from django.core.cache import cache
from django.test import Client

from fl_server_core import passwords
from fl_server_core.models import Act, LocalModel, Model
from tests.api.conftest import as_user, make_module, tensors
from tests.api.test_authentication import basic, get
from tests.factories import UserFactory

USERS = "/api/users/"


@pytest.fixture(autouse=True)
def _few(settings):
    settings.FL_WRONG_PASSWORDS = settings.FL_REGISTRATIONS = 3


def guess(nobody, name, password="wrong", **kwargs):
    return nobody.get(
        "/api/users/myself/", headers={"Authorization": basic(name, password)}, **kwargs
    )


def login(nobody, url, name, password="wrong", **kwargs):
    return nobody.post(url, {"username": name, "password": password}, format="multipart", **kwargs)


def test_after_some_wrong_passwords_not_even_the_right_one_is_checked(nobody, user):
    assert [guess(nobody, user.username).status_code for _ in range(3)] == 3 * [401]
    response = guess(nobody, user.username, "secret")
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 300
    assert response.json()["detail"].startswith("Too many wrong passwords. Expected available in ")
    assert get(nobody, f"Token {user.auth_token.key}").status_code == 200


def test_one_name_is_guarded_against_many_addresses(nobody, user):
    answers = [guess(nobody, user.username, REMOTE_ADDR=f"192.0.2.{n}") for n in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]


def test_one_address_can_not_try_many_names(nobody, user):
    answers = [guess(nobody, f"n{number}") for number in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert guess(nobody, user.username, "secret", REMOTE_ADDR="192.0.2.1").status_code == 200


def test_right_passwords_do_not_count(nobody, user):
    for _ in range(5):
        assert login(nobody, "/api-auth/login/", user.username, "secret").status_code in (200, 302)
    assert guess(nobody, user.username).status_code == 401


@pytest.mark.parametrize("url", ["/admin/login/", "/api-auth/login/"])
def test_the_pages_to_log_in_count_too(nobody, db, url):
    assert [login(nobody, url, "ann").status_code for _ in range(4)] == [200, 200, 200, 429]
    response = login(nobody, url, "ann")
    assert (list(response.json()), int(response["Retry-After"]) > 0) == (["detail"], True)


def test_a_token_does_not_help_to_guess_the_password(client, user):
    def guess_old(password):
        body = {"password": "another", "old_password": password}
        return client.patch("/api/users/myself/", body).status_code

    assert [guess_old("wrong") for _ in range(4)] == [400, 400, 400, 429]
    assert guess_old("secret") == 429
    assert client.get("/api/users/myself/").status_code == 200


def test_nor_does_a_session_in_admin(admin_client, admin_user):
    body = {"old_password": "wrong", "new_password1": "another", "new_password2": "another"}
    url = "/admin/password_change/"
    answers = [admin_client.post(url, body).status_code for _ in range(4)]
    assert answers == [200, 200, 200, 429]


def test_who_is_at_work_is_not_kept_out_by_who_guesses(nobody, user, monkeypatch):
    begun = time.time()
    for minutes in (0, 4, 8):  # longer than a right password is remembered
        monkeypatch.setattr(time, "time", lambda seconds=begun + 60 * minutes: seconds)
        for number in range(4):
            guess(nobody, user.username, REMOTE_ADDR=f"192.0.2.{number}") if minutes else None
        assert guess(nobody, user.username, "secret").status_code == 200


def test_a_browser_is_told_as_well(nobody, db):
    headers = {"Authorization": basic("ann", "wrong"), "Accept": "text/html"}
    answers = [nobody.get("/api/users/", headers=headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]


def test_registrations_of_one_address_are_limited(nobody, db):
    def register(number, **kwargs):
        return nobody.post(USERS, {"username": f"u{number}", "password": "p"}, **kwargs)

    assert [register(number).status_code for number in range(4)] == [201, 201, 201, 429]
    assert int(register(5)["Retry-After"]) > 0
    assert register(6, REMOTE_ADDR="2001:db8::1").status_code == 201


def test_only_a_proxy_says_whom_a_request_comes_from(nobody, db, settings):
    def ask(number, proxy):
        headers = {"Authorization": basic(f"n{number}", "wrong"), "X-Real-IP": f"192.0.2.{number}"}
        return nobody.get(f"{USERS}myself/", headers=headers, REMOTE_ADDR=proxy).status_code

    settings.FL_PROXIES = [ip_network("10.0.0.0/8")]
    assert [ask(number, "10.0.0.1") for number in range(4)] == 4 * [401]
    assert [ask(number, "198.51.100.1") for number in range(4, 8)] == [401, 401, 401, 429]


def test_the_addresses_of_an_ipv6_network_are_one(nobody, db):
    answers = [guess(nobody, f"n{n}", REMOTE_ADDR=f"2001:db8::{n}") for n in range(4)]
    assert answers[-1].status_code == 429


def test_without_its_cache_the_server_lets_people_in(nobody, user, monkeypatch):
    def unreachable(*_):
        raise ConnectionError

    monkeypatch.setattr(type(cache._connections["default"]), "add", unreachable)
    assert guess(nobody, user.username, "secret").status_code == 200


def test_passwords_beyond_the_line_are_not_hashed(nobody, user, settings, monkeypatch):
    settings.PASSWORD_HASHERS = ["fl_server_core.passwords.PBKDF2PasswordHasher"]
    monkeypatch.setattr(passwords.PBKDF2PasswordHasher, "iterations", 1)
    slow = UserFactory(password="slow")
    assert guess(nobody, slow.username, "slow").status_code == 200
    monkeypatch.setattr(passwords, "_in_line", line := threading.BoundedSemaphore(1))
    with line:
        response = guess(nobody, slow.username, "other")
        assert (response.status_code, response["Retry-After"]) == (429, "1")
    assert guess(nobody, slow.username, "slow").status_code == 200


def test_nobody_fills_the_audit_log(client, user, settings):
    settings.FL_ACTS = 3
    kept = Act.objects.count()
    answers = [client.patch("/api/users/myself/", {"last_name": str(n)}) for n in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].json()["detail"].startswith("Too many changes. Expected available in ")
    assert int(answers[-1]["Retry-After"]) > 0
    assert client.post("/api/users/myself/token/").status_code == 429
    assert client.post("/api/groups/", {"name": "more"}).status_code == 429
    assert client.get("/api/users/myself/").json()["last_name"] == "2"  # nothing is half done
    assert Act.objects.count() == kept + 3


def test_what_only_ends_something_is_done_and_noted_beyond_the_limit(
    client, started, participant, settings
):
    group = client.post("/api/groups/", {"name": "ours"}).json()["id"]
    spare = Model.objects.create(owner=started.actor, name="spare")
    settings.FL_ACTS = 0
    last = Act.objects.latest("pk").pk
    training, model = f"/api/trainings/{started.pk}/", f"/api/models/{spare.pk}/"
    assert client.post(f"{training}stop/").status_code == 202
    assert client.post(f"{training}stop/").status_code == 400  # noted once
    assert client.post(f"{training}resume/").status_code == 429
    clients = {"clients": [str(participant.pk)]}
    for _ in range(2):  # the second finds nobody
        answer = as_user(participant).delete(f"{training}clients/", clients, format="json")
        assert answer.status_code in (200, 403)
    assert client.put(f"{training}clients/", clients, format="json").status_code == 429
    for url in (training, model, f"/api/groups/{group}/"):
        assert client.delete(url).status_code in (200, 204)
        assert client.delete(url).status_code in (400, 404)
    noted = Act.objects.filter(pk__gt=last)
    assert list(noted.values_list("code", "user_name")) == [
        ("training.stopped", started.actor.username),
        ("training.client_removed", participant.username),
        ("training.removed", started.actor.username),
        ("model.removed", started.actor.username),
        ("group.removed", started.actor.username),
    ]


def test_updates_are_not_handed_in_and_taken_back_without_end(started, participant, settings):
    client, url = as_user(participant), f"/api/models/{started.model_id}/"
    settings.FL_ACTS = 2

    def go_back_and_forth():
        sent = {"round": 0, "sample_size": 1, "model_file": tensors(make_module(1.0))}
        handed_in = client.post(url, sent, format="multipart").status_code
        update = LocalModel.objects.get(owner=participant)
        return handed_in, client.delete(f"/api/models/{update.pk}/").status_code

    other = UserFactory()
    started.participants.add(other)  # whom the round awaits
    assert [go_back_and_forth() for _ in range(3)] == [(201, 200), (201, 200), (201, 429)]
    assert Act.objects.filter(code="model.removed").count() == 2


def test_a_login_that_can_not_be_noted_is_none(db, settings):
    settings.FL_ACTS = 1
    user, browser = UserFactory(), Client()
    sent = {"username": user.username, "password": "secret"}
    assert browser.post("/api-auth/login/", sent).status_code == 302
    browser = Client()
    assert browser.post("/api-auth/login/", sent).status_code == 429
    assert browser.get("/trainings/").status_code == 302


def test_staff_may_change_as_much_as_there_is(client, user, settings):
    settings.FL_ACTS = 1
    user.is_staff = True
    user.save()
    answers = [client.patch("/api/users/myself/", {"last_name": str(n)}) for n in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
