"""Which ids the present work has."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from fl_server_core.log_context import begin, current_request_id, known_ids, log_context, note


def test_ids_are_known_as_long_as_their_block_lasts():
    with log_context(training=1):
        with log_context(round=2, training=3):
            assert known_ids() == {"training": 3, "round": 2}
        assert known_ids() == {"training": 1}
    assert known_ids() == {}


def test_what_becomes_known_in_a_block_goes_with_it():
    with log_context(training=1):
        note(round=2)
        assert known_ids() == {"training": 1, "round": 2}
    assert known_ids() == {}


def test_a_block_that_fails_ends_all_the_same():
    with pytest.raises(ZeroDivisionError), log_context(training=1):
        1 / 0  # noqa: B018
    assert known_ids() == {}


def test_who_begins_forgets_what_was_before():
    begin(request="one", user=1)
    begin(request="other")
    assert known_ids() == {"request": "other"}


def test_none_is_no_id():
    begin(request=None)
    note(user=None)
    with log_context(training=None):
        assert known_ids() == {}
    assert current_request_id() == ""


def test_another_thread_knows_nothing_unless_it_is_given_the_context():
    begin(request="one")
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(current_request_id).result() == ""
        assert threads.submit(copy_context().run, current_request_id).result() == "one"
