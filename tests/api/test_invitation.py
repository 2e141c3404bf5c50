"""Registration by invitation: one code lets one user in."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from fl_server_core.models import Invitation, User
from tests.factories import UserFactory

URL = "/api/users/"
ANN = {"username": "ann", "password": "secret"}
NEEDED = {"detail": "Registration needs the invitation code, as the field 'invitation'."}


@pytest.fixture
def invitation(db, settings):
    settings.FL_REGISTRATION = "invitation"
    return Invitation(note="for Ann")


@pytest.fixture
def code(invitation):
    return invitation.issue()


def register(caller, code, **fields):
    return caller.post(URL, ANN | fields | {"invitation": code})


@pytest.mark.parametrize("wrong", [None, "", "x", "é", 1, ["a"], {"a": "b"}])
def test_who_has_none_learns_nothing(nobody, user, code, wrong):
    answer = register(nobody, wrong, username=user.username)
    assert (answer.status_code, answer.json()) == (403, NEEDED)


@pytest.mark.parametrize("kind", ["json", "multipart"])
def test_it_lets_one_register(nobody, invitation, code, kind):
    answer = nobody.post(URL, ANN | {"invitation": code}, format=kind)
    assert answer.status_code == 201
    invitation.refresh_from_db()
    assert invitation.used_by == User.objects.get(username="ann")
    again = register(nobody, code, username="eve")
    assert (again.status_code, again.json()) == (403, NEEDED)


def test_a_registration_that_fails_leaves_it_unused(nobody, user, invitation, code):
    assert register(nobody, code, username=user.username).status_code == 400
    assert register(nobody, code).status_code == 201


def test_of_two_at_once_the_second_is_refused_and_not_kept(nobody, code, monkeypatch):
    first, hash_it = UserFactory(), User.set_password

    def meanwhile(user, password):
        Invitation.objects.use(code, first)
        hash_it(user, password)

    monkeypatch.setattr(User, "set_password", meanwhile)
    answer = register(nobody, code)
    assert (answer.status_code, answer.json()) == (
        403,
        {"detail": "This invitation was used meanwhile."},
    )
    assert not User.objects.filter(username="ann").exists()


def test_it_is_over_some_day(nobody, invitation, code):
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert register(nobody, code).status_code == 403


def test_it_is_not_needed_where_registration_is_open(nobody, code, settings):
    settings.FL_REGISTRATION = "open"
    assert register(nobody, "x").status_code == 201


def test_the_database_holds_no_code(code):
    row = Invitation.objects.values().get()
    assert code not in str(row)


def test_a_command_makes_one(nobody, invitation, capsys):
    call_command("invite", note="Ann", days=1)
    assert register(nobody, capsys.readouterr().out.strip()).status_code == 201
    made = Invitation.objects.get()
    assert (made.note, (made.expires_at - made.created_at).days) == ("Ann", 1)
