"""A token gets its user in; what the database holds of it gets nobody in."""

from datetime import timedelta

import pytest
from django.utils import timezone

from fl_server_core.models import Token, User
from fl_server_core.models.token import find_token, issue_token
from tests.factories import UserFactory


@pytest.fixture
def user(db):
    return UserFactory()


def stored():
    return Token.objects.values("digest", "encrypted").get()


def test_a_row_tells_nothing_of_its_token(user):
    key = user.auth_token.key
    assert (len(key), find_token(key).user) == (40, user)
    for value in stored().values():
        assert key not in value
        assert find_token(value) is None


def test_a_row_is_of_no_use_without_the_secret_key(user, settings):
    key = user.auth_token.key
    settings.SECRET_KEY = "another"
    assert find_token(key) is None
    assert Token.objects.get().key is None


def test_a_token_moves_to_a_new_secret_key_when_it_is_used(user, settings):
    key, first = user.auth_token.key, stored()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next"
    assert Token.objects.get().key == key
    assert stored() == first
    assert find_token(key).user == user
    settings.SECRET_KEY_FALLBACKS = []
    assert find_token(key).user == user
    assert Token.objects.get().key == key


def test_a_token_that_was_ended_meanwhile_does_not_come_back(user, settings, monkeypatch):
    key = user.auth_token.key
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next"
    read = find_token.__globals__["stored_form"]

    def while_another_ends_it(key):
        monkeypatch.undo()
        issue_token(user)
        return read(key)

    monkeypatch.setitem(find_token.__globals__, "stored_form", while_another_ends_it)
    find_token(key)
    assert find_token(key) is None


def test_a_new_token_ends_the_old_one(user):
    old = user.auth_token.key
    new = issue_token(user).key
    assert find_token(old) is None
    assert find_token(new).user == user
    assert User.objects.get().auth_token.key == user.auth_token.key == new


@pytest.mark.parametrize(("days", "found"), [(0, True), (30, False), (31, True), (10**12, True)])
def test_a_token_is_valid_for_so_many_days(user, settings, days, found):
    key = user.auth_token.key
    Token.objects.update(created_at=timezone.now() - timedelta(days=30))
    settings.FL_TOKEN_DAYS = days
    assert (find_token(key) is not None) == (Token.objects.get().key is not None) == found
