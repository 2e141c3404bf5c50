"""What a task's message carries, and what becomes of it."""

import pytest
from celery.signals import before_task_publish

from fl_server.celery import app
from fl_server.handing_on import REQUEST
from fl_server_core.log_context import begin, current_request_id, known_ids, log_context


@pytest.fixture
def task():
    """A task that returns the ids that it knows."""

    @app.task(name="tests.known")
    def known():
        return dict(known_ids())

    yield known
    app.tasks.unregister("tests.known")


def published():
    headers = {}
    before_task_publish.send(sender="a task", headers=headers)
    return headers


def test_a_message_carries_the_requests_id():
    begin(request="r-1", user=1)
    assert published() == {REQUEST: "r-1"}


def test_without_one_it_carries_nothing():
    assert published() == {}


def test_a_task_goes_on_with_the_id_and_nothing_of_the_task_before(task):
    for given in ("r-1", None):
        begin(request="another", training=1)
        task.push_request(called_directly=False, **({REQUEST: given} if given else {}))
        assert task() == ({"request": given} if given else {})
        task.pop_request()


def test_called_as_a_function_it_belongs_to_its_caller(task):
    with log_context(request="r-1", training=1):
        assert task() == {"request": "r-1", "training": 1}
        assert current_request_id() == "r-1"
