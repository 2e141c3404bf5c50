"""What signs a user's notifications: encrypted in the database, and with it under a new key."""

import logging

import pytest
from django.db import connection

from fl_server_core.models import User
from fl_server_core.models.token import find_token
from tests.factories import UserFactory

SECRET = "c2VjcmV0" * 5


@pytest.fixture
def user(db):
    return UserFactory(notification_secret=SECRET)


def stored():
    with connection.cursor() as cursor:
        cursor.execute("SELECT notification_secret FROM fl_server_core_user")
        return cursor.fetchone()[0]


def read():
    return User.objects.get().notification_secret


def test_a_row_tells_nothing_of_its_secret(user):
    assert SECRET[:8] not in stored()
    assert read() == SECRET
    User.objects.update(notification_secret=SECRET[8:])
    assert SECRET[:8] not in stored()
    assert read() == SECRET[8:]


def test_no_secret_is_stored_as_none(db):
    UserFactory()
    assert (stored(), read()) == ("", "")
    assert User.objects.filter(notification_secret="").exists()


def test_saving_something_else_leaves_what_is_stored(user):
    first = stored()
    again = User.objects.get()
    again.first_name = "Ada"
    again.save()
    assert stored() == first


def test_without_the_secret_key_there_is_none_and_it_is_kept(user, settings, caplog):
    kept, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    with caplog.at_level(logging.WARNING):
        assert read() == ""
    assert "can't be opened" in caplog.text
    User.objects.get().save()
    settings.SECRET_KEY = kept
    assert read() == SECRET


def test_it_moves_to_a_new_secret_key_with_its_users_token(user, settings):
    key = user.auth_token.key
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next"
    assert find_token(key).user.notification_secret == SECRET
    settings.SECRET_KEY_FALLBACKS = []
    assert read() == SECRET
