import pytest
from django.contrib.auth.models import Group
from django.db import connection

from fl_server_core.models import Token, User
from tests.api.conftest import as_user
from tests.factories import TrainingFactory, UserFactory

URL = "/api/users/"
PUBLIC = {
    "username",
    "first_name",
    "last_name",
    "email",
    "id",
    "actor",
    "client",
    "message_endpoint",
}


@pytest.mark.parametrize("kind", ["json", "multipart"])
def test_a_name_and_a_password_suffice(nobody, db, kind):
    response = nobody.post(URL, {"username": "ann", "password": "secret"}, format=kind)
    user = User.objects.get()
    assert response.status_code == 201
    assert set(response.json()) == PUBLIC | {"token"}
    assert response.json()["token"] == user.auth_token.key
    assert (user.username, user.check_password("secret")) == ("ann", True)


def test_a_client_registers_with_everything(nobody, db):
    fields = {
        "username": "client-01",
        "message_endpoint": "http://client-01:8101/",
        "first_name": "A",
        "last_name": "B",
        "email": "a@example.org",
        "actor": True,
        "client": True,
    }
    response = nobody.post(URL, fields | {"password": "secret"})
    assert response.status_code == 201
    assert fields.items() <= response.json().items()


def test_credentials_are_ignored_when_registering(nobody, db):
    headers = {"Authorization": "Token wrong"}
    body = {"username": "ann", "password": "secret"}
    assert nobody.post(URL, body, headers=headers).status_code == 201


def test_nobody_makes_themselves_more_than_they_are(nobody, db):
    group = Group.objects.create(name="g")
    body = {
        "username": "ann",
        "password": "secret",
        "is_superuser": True,
        "is_staff": True,
        "id": "5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4",
        "groups": [group.pk],
        "user_permissions": [1],
        "token": "0" * 40,
    }
    response = nobody.post(URL, body)
    user = User.objects.get()
    assert response.status_code == 201
    assert (user.is_superuser, user.is_staff, user.groups.count()) == (False, False, 0)
    assert str(user.pk) != body["id"]
    assert user.auth_token.key != body["token"]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"username": None}, "username"),
        ({"username": ""}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "a" * 151}, "username"),
        ({"username": "\ufdfa" * 100}, "username"),  # 18 characters each, once normalized
        ({"username": "a\0"}, "username"),
        ({"username": ["a"]}, "username"),
        ({"username": {"a": 1}}, "username"),
        ({"username": True}, "username"),
        ({"password": None}, "password"),
        ({"password": ""}, "password"),
        ({"email": "no address"}, "email"),
        ({"message_endpoint": "ftp://host/"}, "message_endpoint"),
        ({"message_endpoint": "client-01:8101"}, "message_endpoint"),
        ({"message_endpoint": "http://me:secret@client-01:8101/"}, "message_endpoint"),
        ({"message_endpoint": "http://" + "a" * 2048}, "message_endpoint"),
        ({"first_name": "a" * 151}, "first_name"),
        ({"actor": "maybe"}, "actor"),
        ({"client": None}, "client"),
    ],
)
def test_a_bad_field_is_named(nobody, db, fields, wrong):
    response = nobody.post(URL, {"username": "ann", "password": "secret"} | fields)
    assert response.status_code == 400
    if fields.get("username") == "a\0":
        assert response.json() == {"detail": "Text must not contain the NUL character."}
    else:
        assert list(response.json()) == [wrong]
    assert not User.objects.exists()


def test_missing_fields_are_named(nobody, db):
    required = ["This field is required."]
    assert nobody.post(URL, {}).json() == {"username": required, "password": required}


def test_a_name_is_taken_once(nobody, user):
    response = nobody.post(URL, {"username": user.username, "password": "secret"})
    assert (response.status_code, response.json()) == (
        400,
        {"username": ["A user with that username already exists."]},
    )


def test_a_name_taken_at_the_same_time_is_told_alike(nobody, user, monkeypatch):
    monkeypatch.setattr("rest_framework.validators.UniqueValidator.__call__", lambda *_: None)
    response = nobody.post(URL, {"username": user.username, "password": "secret"})
    assert (response.status_code, response.json()) == (
        400,
        {"username": ["A user with that username already exists."]},
    )


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_the_hashing_of_a_password(nobody, monkeypatch):
    held = []
    hashing = User.set_password

    def set_password(*args):
        held.append(connection.in_atomic_block)
        hashing(*args)

    monkeypatch.setattr(User, "set_password", set_password)
    body = {"username": "ann", "password": "secret", "email": "Ann@EXAMPLE.org"}
    assert nobody.post(URL, body).status_code == 201
    assert held == [False]
    assert (User.objects.get().email, User.objects.get().check_password("secret")) == (
        "Ann@example.org",
        True,
    )


def test_password_rules_hold_where_they_are_on(nobody, db, settings):
    settings.AUTH_PASSWORD_VALIDATORS = [
        {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
        {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    ]
    for password in ("short", "annabella"):
        response = nobody.post(URL, {"username": "annabell", "password": password})
        assert (response.status_code, list(response.json())) == (400, ["password"])
    assert not User.objects.exists()


def test_the_list_shows_no_tokens(client, nobody, django_assert_max_num_queries):
    UserFactory.create_batch(5)
    with django_assert_max_num_queries(2):
        rows = client.get(URL).json()
    assert len(rows) == 6
    assert all(set(row) == PUBLIC for row in rows)
    assert nobody.get(URL).status_code == 401


def test_where_somebody_is_reached_is_not_for_others(user, client, stranger):
    reached = {"email": "a@example.org", "message_endpoint": "http://client-01:8101/"}
    User.objects.filter(pk=user.pk).update(**reached)
    staff = as_user(UserFactory(is_staff=True))
    for caller in (client, staff):
        rows = {row["id"]: row for row in caller.get(URL).json()}
        assert reached.items() <= rows[str(user.pk)].items()
        assert reached.items() <= caller.get(f"{URL}{user.pk}/").json().items()
    assert reached.items() <= client.get(f"{URL}myself/").json().items()
    rows = {row["id"]: row for row in stranger.get(URL).json()}
    for row in (rows[str(user.pk)], stranger.get(f"{URL}{user.pk}/").json()):
        assert (row["email"], row["message_endpoint"]) == ("", "")


def test_the_token_is_shown_to_oneself(client, user, stranger, nobody):
    own = client.get(f"{URL}{user.pk}/").json()
    assert own["token"] == user.auth_token.key
    assert set(stranger.get(f"{URL}{user.pk}/").json()) == PUBLIC
    assert set(client.get(f"{URL}myself/").json()) == PUBLIC | {"accepts_trainings_from"}
    for path in (f"{user.pk}/", "myself/", "groups/", "trainings/"):
        assert nobody.get(f"{URL}{path}").status_code == 401


@pytest.mark.parametrize("id", ["x", "5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4"])
def test_unknown_users_are_told_so(client, id):
    response = client.get(f"{URL}{id}/")
    assert (response.status_code, response.json()) == (400, {"detail": f"User {id} not found."})


def test_own_groups_and_trainings(client, user, django_assert_max_num_queries):
    mine = Group.objects.create(name="mine")
    Group.objects.create(name="theirs")
    user.groups.add(mine)
    run = TrainingFactory(actor=user, participants=UserFactory.create_batch(3))
    joined = TrainingFactory(participants=[user])
    TrainingFactory()
    assert client.get(f"{URL}groups/").json() == [{"id": mine.pk, "name": "mine"}]
    with django_assert_max_num_queries(3):
        rows = client.get(f"{URL}trainings/").json()
    assert [row["id"] for row in rows] == [str(run.pk), str(joined.pk)]


def test_a_user_without_a_token_still_sees_itself(user):
    caller = as_user(user)
    Token.objects.all().delete()
    caller.force_authenticate(User.objects.get())
    assert caller.get(f"{URL}{user.pk}/").json()["token"] is None


SECRET = "whsec_" + "c2VjcmV0" * 5


def test_a_secret_is_taken_and_shown_nowhere(nobody, db):
    body = {"username": "ann", "password": "secret", "notification_secret": SECRET}
    answer = nobody.post(URL, body)
    user = User.objects.get()
    assert (answer.status_code, user.notification_secret) == (201, SECRET)
    own = as_user(user)
    shown = [answer] + [own.get(f"{URL}{path}") for path in ("", "myself/", f"{user.pk}/")]
    for response in shown:
        assert response.status_code in (200, 201)
        assert b"c2VjcmV0" not in response.content
        assert b"notification_secret" not in response.content


def test_a_secret_that_is_none_is_refused_and_not_repeated(nobody, db):
    body = {"username": "ann", "password": "secret", "notification_secret": "too short"}
    answer = nobody.post(URL, body)
    assert (answer.status_code, list(answer.json())) == (400, ["notification_secret"])
    assert b"too short" not in answer.content


def test_nobody_says_of_themselves_that_they_are_prompt(nobody, db):
    nobody.post(URL, {"username": "ann", "password": "secret", "answers_promptly": True})
    assert not User.objects.get().answers_promptly


# --- Who may register ---------------------------------------------------------------------

ANN = {"username": "ann", "password": "secret"}


def test_nobody_registers_where_that_is_closed(nobody, user, settings):
    settings.FL_REGISTRATION = "closed"
    for body in (ANN, ANN | {"username": user.username}, {}):
        response = nobody.post(URL, body)
        assert (response.status_code, response.json()) == (
            403,
            {"detail": "Registration is closed; ask an administrator for an account."},
        )
    assert User.objects.get() == user
